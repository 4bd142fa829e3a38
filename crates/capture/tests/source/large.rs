//! What is larger than a record may be: cut, and gone on with after a crash in between.

use event::fragment::Assembler;
use event::{Body, codec, limits};
use journal::Append;
use testkit::{Kind, Server};

use crate::follow::{Follower, cut, is_command, records};
use crate::running::Setup;

const VALUE_BYTES: usize = 5 << 20;

fn is_piece(record: &Append) -> bool {
    let event = codec::decode(record.payload.clone()).unwrap();
    match event.body {
        Body::Fragment(_) => true,
        Body::Group(group) => group.number > 0 || !group.last,
        _ => false,
    }
}

/// Records `write`, cuts the journal after each of its pieces in turn, and goes on from there.
async fn assert_goes_on_after_any_piece(pieces: usize, write: fn(&mut testkit::Client)) {
    let server = Server::start(Kind::Redis7_0, &["repl-backlog-size 64mb"]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    client.cmd(&["RPUSH", "list", "before"]).unwrap();
    write(&mut client);
    client.cmd(&["RPUSH", "list", "after"]).unwrap();
    running.until_in_step(&server).await;
    running.stop().await;
    let whole = records(&setup.journal).await;
    assert!(whole.iter().all(|record| record.payload.len() <= limits::MAX_EVENT_BYTES));
    let places: Vec<usize> = (0..whole.len()).filter(|at| is_piece(&whole[*at])).collect();
    assert!(places.len() >= pieces, "{} pieces", places.len());
    let mut straight = Follower::of(&setup.journal).await;
    straight.read_all(&setup.journal).await;
    let expected = straight.commands();
    for place in places {
        let journal = std::sync::Arc::new(cut(&setup.journal, place + 1).await);
        let setup = Setup { journal, ..setup.clone() };
        let running = setup.start().await;
        let mut follower = Follower::of(&setup.journal).await;
        follower.until("the rest", is_command("RPUSH list after")).await;
        assert_eq!(running.number("full_transfers"), 0, "it goes on");
        running.stop().await;
        assert!(follower.commands() == expected, "cut after record {place}");
        follower.assert_in_order();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_5_mb_goes_in_fragments() {
    assert_goes_on_after_any_piece(7, |client| {
        client.cmd(&["SET", "large", &"x".repeat(VALUE_BYTES)]).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_5_mb_goes_in_several_records() {
    assert_goes_on_after_any_piece(6, |client| {
        client.cmd(&["MULTI"]).unwrap();
        for number in 0..512 {
            let key = format!("{{key}}:{number}");
            client.cmd(&["SET", &key, &"x".repeat(VALUE_BYTES / 512)]).unwrap();
        }
        client.cmd(&["EXEC"]).unwrap();
    })
    .await;
}

/// Partitions, databases, a value that is itself larger than a record, and emptying in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_everything_goes_in_records_and_fragments() {
    assert_goes_on_after_any_piece(6, |client| {
        client.cmd(&["MULTI"]).unwrap();
        for db in ["0", "3", "5"] {
            client.cmd(&["SELECT", db]).unwrap();
            for key in ["foo", "bar", "hello", "x"] {
                client.cmd(&["SET", key, &"x".repeat(200_000)]).unwrap();
            }
        }
        client.cmd(&["SET", "large", &"y".repeat(2_000_000)]).unwrap();
        client.cmd(&["FLUSHDB"]).unwrap();
        client.cmd(&["RENAME", "nosuch", "other"]).unwrap();
        client.cmd(&["SWAPDB", "0", "3"]).unwrap();
        client.cmd(&["SET", "foo", "last"]).unwrap();
        client.cmd(&["SELECT", "0"]).unwrap();
        // One of them fails, as in life.
        client.ask(&["EXEC"]).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_a_snapshot_has_compressed_is_larger_than_a_record() {
    let server = Server::start(Kind::Valkey9_1, &[]).unwrap();
    let mut client = server.client().unwrap();
    client.cmd(&["SET", "large", &"x".repeat(VALUE_BYTES)]).unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    running.stop().await;
    let records = records(&setup.journal).await;
    let mut assembler = Assembler::new(usize::MAX >> 1);
    let mut found = None;
    for record in records {
        let event = codec::decode(record.payload).unwrap();
        if let Body::Fragment(fragment) = event.body {
            found = assembler.push(fragment, event.position).unwrap().or(found);
        }
    }
    let event = codec::decode(found.expect("fragments")).unwrap();
    let Body::Image(image) = event.body else { panic!("{}", event.kind()) };
    let event::image::ImageValue::Text(text) = image.value else { panic!("{:?}", image.head) };
    assert_eq!(text.len(), VALUE_BYTES);
}
