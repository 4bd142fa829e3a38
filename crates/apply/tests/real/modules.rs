//! Values that only a module can read: carried byte for byte, whole or in parts, and never given to a server that they
//! would end.

use anyhow::{Context, Result};
use bytes::Bytes;
use event::image::{Elements, Image, ImagePart, ImageValue};
use testkit::{Client, Kind, Server};
use wire::rdb::dump;

use crate::feed::head;
use crate::harness::Bench;

/// The type byte of a module's value.
const MODULE: u8 = 7;

/// A line of configuration that loads the module that comes with the server.
fn with_module() -> Result<String> {
    Ok(format!("loadmodule {}", Kind::Redis8_2.tool("falkordb.so")?.display()))
}

/// The value of a key, as it stands in a file.
fn raw(client: &mut Client, key: &str) -> Result<Bytes> {
    let payload = dump::parse(&Bytes::from(client.cmd(&["DUMP", key])?.bytes()?))?;
    assert_eq!(payload.kind, MODULE, "{key}");
    Ok(payload.raw)
}

/// A graph of two people.
fn graph() -> Result<Bytes> {
    let source = Server::start(Kind::Redis8_2, &[&with_module()?])?;
    let mut client = source.client()?;
    let query = "CREATE (:Person {name: 'ann'})-[:KNOWS]->(:Person {name: 'bob'})";
    client.cmd(&["GRAPH.QUERY", "graph", query])?;
    raw(&mut client, "graph")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_arrives_where_its_module_is() -> Result<()> {
    let value = ImageValue::Rdb(graph()?);
    let mut bench = Bench::with(Kind::Redis8_2, &[&with_module()?]).await?;
    bench.feed.snapshot().await?;
    bench.feed.image(b"graph", Image { head: head(MODULE), value }).await?;
    bench.feed.end_snapshot().await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("dead_letters", "0")?;
    let query = "MATCH (p:Person)-[:KNOWS]->(q) RETURN p.name, q.name";
    let found = format!("{:?}", bench.client.cmd(&["GRAPH.RO_QUERY", "graph", query])?);
    let name = |name: &str| format!("{:?}", name.as_bytes());
    assert!(found.contains(&name("ann")) && found.contains(&name("bob")), "{found}");
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_never_reaches_a_server_that_it_would_end() -> Result<()> {
    let value = ImageValue::Rdb(graph()?);
    for kind in [Kind::Redis5_0, Kind::Redis6_2, Kind::Redis8_2, Kind::Valkey9_1] {
        let mut bench = Bench::new(kind).await?;
        bench.feed.snapshot().await?;
        let image = Image { head: head(MODULE), value: value.clone() };
        bench.feed.image(b"graph", image).await?;
        bench.feed.text("other", "v").await?;
        bench.feed.end_snapshot().await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        service.shows("dead_letters", "1").with_context(|| format!("{kind}"))?;
        assert_eq!(bench.get("other")?.as_deref(), Some("v"), "{kind}");
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_in_parts_is_put_together() -> Result<()> {
    let source = Server::start(Kind::Redis8_2, &[])?;
    let mut client = source.client()?;
    for number in 0..400_u32 {
        let mut words = vec!["VADD".to_owned(), "vectors".into(), "VALUES".into(), "300".into()];
        words.extend((0..300).map(|at| ((number * 7 + at * 13) % 101).to_string()));
        words.extend([format!("e{number}"), "NOQUANT".to_owned()]);
        client.cmd(&words)?;
    }
    let raw = raw(&mut client, "vectors")?;
    let pieces: Vec<Bytes> = raw.chunks(50_000).map(|piece| raw.slice_ref(piece)).collect();
    assert!(pieces.len() > 3, "only {} bytes", raw.len());
    let mut bench = Bench::new(Kind::Redis8_2).await?;
    bench.feed.snapshot().await?;
    let count = pieces.len();
    for (number, piece) in pieces.into_iter().enumerate() {
        let (last, elements) = (number + 1 == count, Elements::Opaque(piece));
        let part = ImagePart { head: head(MODULE), number: number as u64, last, elements };
        bench.feed.part(b"vectors", part).await?;
    }
    bench.feed.end_snapshot().await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("dead_letters", "0")?;
    service.stop().await?;
    bench.assert_holds(&mut client)
}
