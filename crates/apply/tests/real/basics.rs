//! The straight path: what is in the journal is at the destination, once.

use anyhow::Result;
use testkit::Kind;

use crate::harness::{Bench, checkpoint};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_and_deleted_arrives() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET a 1", "SET b 2", "DEL a", "SET c 3"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(bench.get("a")?, None);
    assert_eq!(bench.get("b")?.as_deref(), Some("2"));
    bench.feed.commands(&["INCR n", "INCR n", "APPEND b x"]).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("2"));
    assert_eq!(bench.get("b")?.as_deref(), Some("2x"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_every_type_arrive_as_they_are() -> Result<()> {
    for kind in Kind::ALL {
        let mut bench = Bench::streaming(kind).await?;
        let commands = [
            "SET s v PXAT 4102444800000",
            "APPEND s w",
            "SETRANGE s 1 xyz",
            "RPUSH l a b c",
            "LMOVE l m LEFT RIGHT",
            "SADD set a b c",
            "SMOVE set other b",
            "SUNIONSTORE union set other",
            "HSET h f 1 g 2",
            "HINCRBY h f 5",
            "ZADD z 1 a 2.5 b",
            "ZINCRBY z 3 a",
            "XADD x 1-1 f v",
            "XADD x 1-2 f w",
            "XGROUP CREATE x grp 0",
            "PFADD p a b c",
            "SET r v",
            "RENAME r renamed",
            "COPY renamed copied REPLACE",
            "PEXPIREAT h 4102444800000",
            "BITOP AND bits s s",
            "SORT l STORE sorted ALPHA",
            "MSET m1 1 m2 2",
        ];
        bench.feed.commands(&commands).await?;
        let mirror = testkit::Server::start(kind, &[])?;
        let mut expected = mirror.client()?;
        for words in commands {
            expected.cmd(&words.split(' ').collect::<Vec<_>>())?;
        }
        let service = bench.start().await?;
        bench.caught_up()?;
        bench.assert_holds(&mut expected)?;
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_larger_than_a_batch_is_one_step() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let commands: Vec<String> =
        (0..5_000).map(|number| format!("SET key:{number} {number}")).collect();
    let group: Vec<(u32, &str)> = commands.iter().map(|words| (0, words.as_str())).collect();
    let before = bench.client.info_field("stats", "total_commands_processed")?;
    bench.feed.group(&group).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert!(before.is_some());
    assert_eq!(bench.client.cmd(&["DBSIZE"])?.int()?, 5_002);
    service.shows("batches", "1")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_larger_than_a_record_arrives() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let large = "x".repeat(3_000_000);
    bench.feed.args(&[b"SET", b"large", large.as_bytes()]).await?;
    bench.feed.command("APPEND large y").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(bench.client.cmd(&["STRLEN", "large"])?.int()?, 3_000_001);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_moves_the_checkpoint_and_nothing_else() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET a 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    bench.feed.heartbeat().await?;
    let position = bench.feed.position().at_index(event::Position::LAST_INDEX);
    bench.reached(position)?;
    service.shows("phase", "stream")?;
    service.stop().await?;
    let found = checkpoint(&mut bench.client)?.expect("a checkpoint");
    assert_eq!(found.applied[0].judged, found.applied[0].position);
    Ok(())
}
