//! Snapshots: values byte by byte, large ones, and what is cut short.

use std::collections::BTreeMap;

use event::image::ImageValue;
use event::{Body, Event};
use testkit::{Client, Dataset, Kind, Server, Tolerance, assert_same, command};
use wire::rdb::dump;

use crate::applier::Applier;
use crate::follow::{Follower, is_snapshot_end};
use crate::running::Setup;

/// Values of every type, small enough for one image.
fn fill(client: &mut Client) {
    let lines = [
        "SET string value",
        "SET number 12345",
        "SET expiring value PX 100000000",
        "RPUSH list a b c 1 2 3",
        "SADD ints 1 2 3",
        "SADD set a b c",
        "ZADD zset 1 a 2.5 b -inf c",
        "HSET hash f v g w",
        "XADD stream 1-1 f v",
        "XGROUP CREATE stream g 0",
        "XREADGROUP GROUP g c STREAMS stream >",
        "PFADD hll a b c",
        "SETBIT bits 77 1",
    ];
    for line in lines {
        client.cmd(&line.split(' ').collect::<Vec<_>>()).unwrap();
    }
    client.select(7).unwrap();
    client.cmd(&["SET", "elsewhere", "7"]).unwrap();
    let long = "x".repeat(70_000);
    client.cmd(&["SET", &long, "long key"]).unwrap();
    client.select(0).unwrap();
}

/// Values of every type, each too large for one image.
fn fill_large(client: &mut Client) {
    let item = |number: usize| format!("{number:06}-{}", "x".repeat(93)).into_bytes();
    let text = "text ".repeat(200_000).into_bytes();
    client.cmd(&[b"SET".as_slice(), b"big:string", &text]).unwrap();
    client.cmd(&["SET", "big:zeros", &"0".repeat(3_000_000)]).unwrap();
    for chunk in 0..10 {
        let numbers = || (chunk * 500)..(chunk * 500 + 500);
        let items: Vec<Vec<u8>> = numbers().map(item).collect();
        let with =
            |name: &str, key: &str, items: Vec<Vec<u8>>| [command(&[name, key]), items].concat();
        let pairs = items.iter().flat_map(|i| [i.clone(), b"value".to_vec()]).collect();
        let scores = items
            .iter()
            .enumerate()
            .flat_map(|(n, i)| [format!("{}.5", n * 7).into_bytes(), i.clone()]);
        client.cmd(&with("ZADD", "big:zset", scores.collect())).unwrap();
        client.cmd(&with("HSET", "big:hash", pairs)).unwrap();
        client.cmd(&with("RPUSH", "big:list", items.clone())).unwrap();
        client.cmd(&with("SADD", "big:set", items.clone())).unwrap();
        for (number, item) in numbers().zip(&items) {
            let id = format!("{}-{}", number + 1, number % 3 + 1);
            client.cmd(&[b"XADD".as_slice(), b"big:stream", id.as_bytes(), b"f", item]).unwrap();
        }
    }
    client.cmd(&["XDEL", "big:stream", "7-1", "9-3"]).unwrap();
    for group in ["one", "two"] {
        client.cmd(&["XGROUP", "CREATE", "big:stream", group, "0"]).unwrap();
        for consumer in ["alice", "bob"] {
            let read = ["XREADGROUP", "GROUP", group, consumer, "COUNT", "700", "STREAMS"];
            client.cmd(&[read.as_slice(), &["big:stream", ">"]].concat()).unwrap();
        }
    }
    client.cmd(&["PEXPIRE", "big:list", "100000000"]).unwrap();
}

async fn snapshot_of(server: &Server) -> Follower {
    let setup = Setup::new(server);
    let running = setup.start().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.until("the end of the snapshot", is_snapshot_end).await;
    running.stop().await;
    follower
}

fn images(events: &[(u16, Event)]) -> BTreeMap<(u32, Vec<u8>), &Event> {
    let images = events.iter().map(|(_, event)| event);
    let images = images.filter(|event| matches!(event.body, Body::Image(_)));
    images.map(|event| ((event.db, event.key.to_vec()), event)).collect()
}

/// Images are what DUMP gives, but for version and checksum.
#[tokio::test(flavor = "multi_thread")]
async fn images_are_the_values_as_the_source_dumps_them() {
    for (kind, how) in Kind::ALL.iter().flat_map(|kind| [(*kind, "no"), (*kind, "yes")]) {
        let server = Server::start(kind, &[&format!("repl-diskless-sync {how}")]).unwrap();
        let mut client = server.client().unwrap();
        fill(&mut client);
        let follower = snapshot_of(&server).await;
        let images = images(&follower.events);
        assert_eq!(images.len(), 13, "{kind}");
        for ((db, key), event) in images {
            client.select(db).unwrap();
            let dump = client.cmd(&[b"DUMP".as_slice(), &key]).unwrap().bytes().unwrap();
            let payload = dump::parse(&dump.into()).unwrap();
            let Body::Image(image) = &event.body else { panic!("{event:?}") };
            match &image.value {
                ImageValue::Text(text) => {
                    let value = client.cmd(&[b"GET".as_slice(), &key]).unwrap().bytes().unwrap();
                    assert_eq!(text[..], value[..]);
                }
                ImageValue::Rdb(raw) => {
                    let found = (image.head.type_byte, raw);
                    assert_eq!(found, (payload.kind, &payload.raw), "{kind} {key:?}");
                }
            }
            assert_eq!(image.head.expire_at_ms.is_some(), key == b"expiring", "{kind} {key:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_of_every_type_come_in_parts_and_make_the_same_data() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &["rdbcompression no"]).unwrap();
        let target = Server::start(kind, &[]).unwrap();
        let mut client = server.client().unwrap();
        fill_large(&mut client);
        if kind.has_field_expiry() {
            let words = ["HPEXPIREAT", "big:hash", "4102444800123", "FIELDS", "1"];
            let field = format!("000007-{}", "x".repeat(93));
            client.cmd(&[words.as_slice(), &[field.as_str()]].concat()).unwrap();
        }
        let follower = snapshot_of(&server).await;
        let parts: Vec<_> =
            follower.events.iter().filter(|(_, event)| event.kind() == "image-part").collect();
        let keys: std::collections::BTreeSet<_> =
            parts.iter().map(|(_, event)| event.key.clone()).collect();
        assert_eq!(keys.len(), 7, "{kind}: {keys:?}");
        assert!(parts.len() > 3 * keys.len(), "{kind}: {} parts", parts.len());
        let mut applier = Applier::to(&target);
        applier.apply_all(&follower.events);
        let supported = |text: &String| kind != Kind::Redis6_2 || !text.starts_with("X");
        let refused: Vec<_> = applier.refused.iter().filter(|text| supported(text)).collect();
        assert_eq!(refused, Vec::<&String>::new(), "{kind}");
        let (mut left, mut right) = (Dataset::read(&mut client).unwrap(), applier.data());
        if kind == Kind::Redis6_2 {
            // The applier speaks to streams as 7.0 understands it.
            for data in [&mut left, &mut right] {
                data.dbs.get_mut(&0).unwrap().remove(b"big:stream".as_slice());
            }
        }
        assert_same(&left, &right, &Tolerance::native(kind, kind));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_the_source_cuts_short_is_begun_again_in_a_new_epoch() {
    // So slow that it can be killed in the middle.
    let slow = ["repl-diskless-sync yes", "rdb-key-save-delay 2000"];
    let server = Server::start(Kind::Redis7_0, &slow).unwrap();
    let mut client = server.client().unwrap();
    for number in 0..3000 {
        let value = format!("{number}").repeat(20);
        client.cmd(&["SET", &format!("key:{number}"), &value]).unwrap();
    }
    let setup = Setup::new(&server);
    let running = setup.start().await;
    let some = |it: &crate::running::Running| it.number("snapshot_keys") > 100;
    running.until("some keys are read", some).await;
    client.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).unwrap();
    client.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    assert_eq!(running.number("full_transfers"), 2);
    running.stop().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    follower.assert_in_order();
    assert_eq!(follower.epochs(), (2, 2));
    let last = follower.events.iter().map(|(_, event)| event.position.epoch).max().unwrap();
    let of_last = |event: &Event| event.position.epoch == last && event.kind() == "image";
    let images = follower.events.iter().filter(|(_, event)| of_last(event)).count();
    assert_eq!(images, 3000, "the second snapshot is whole by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_we_cut_short_is_begun_again_in_a_new_epoch() {
    let slow = ["repl-diskless-sync yes", "rdb-key-save-delay 2000"];
    let server = Server::start(Kind::Valkey9_1, &slow).unwrap();
    let mut client = server.client().unwrap();
    for number in 0..3000 {
        let value = format!("{number}").repeat(20);
        client.cmd(&["SET", &format!("key:{number}"), &value]).unwrap();
    }
    let setup = Setup::new(&server);
    for _ in 0..2 {
        let running = setup.start().await;
        let some = |it: &crate::running::Running| it.number("snapshot_keys") > 100;
        running.until("some keys are read", some).await;
        running.kill().await;
    }
    client.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).unwrap();
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    let summary = running.stop().await;
    assert!(summary.durable_offset.is_some());
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    follower.assert_in_order();
    assert_eq!(follower.epochs(), (3, 3));
}
