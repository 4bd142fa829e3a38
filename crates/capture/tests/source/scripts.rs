//! Sources that replicate scripts as such: their text comes once, and is recorded every time.

use event::Command;
use testkit::{Client, Kind, Server};

use crate::follow::{Follower, commands_of, words};
use crate::running::{PARTITIONS, Setup};

const OLD: [Kind; 2] = [Kind::Redis2_8, Kind::Redis3_2];
const COUNT: &str = "redis.call('incr',ARGV[1]); return redis.call('rpush',KEYS[1],ARGV[2])";
const ELSEWHERE: &str = "redis.call('select',5); return redis.call('incr','undeclared')";

fn load(client: &mut Client, text: &str) -> String {
    client.cmd(&["SCRIPT", "LOAD", text]).unwrap().text().unwrap().to_owned()
}

/// The scripts that were recorded, with their databases, where each of them stands over all partitions.
fn scripts(follower: &Follower) -> Vec<(u32, Vec<String>)> {
    let events = follower.events.iter().map(|(_, event)| event);
    let mut found = Vec::new();
    for event in events {
        let scripts = commands_of(event).into_iter().filter(Command::is_script);
        let scripts: Vec<_> = scripts.map(|command| (event.db, words(&command))).collect();
        if let (false, event::Body::Group(group)) = (scripts.is_empty(), &event.body) {
            assert_eq!(group.partitions.len(), usize::from(PARTITIONS));
        }
        found.extend(scripts);
    }
    found
}

fn eval(db: u32, words: &[&str]) -> (u32, Vec<String>) {
    let words = ["EVAL"].iter().chain(words).map(|word| (*word).to_owned());
    (db, words.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_recorded_by_their_text() {
    for kind in OLD {
        let server = Server::start(kind, &[]).unwrap();
        let mut client = server.client().unwrap();
        // Known to the source before anybody listens.
        let count = load(&mut client, COUNT);
        let setup = Setup::new(&server);
        let running = setup.start().await;
        running.until("the stream flows", |it| it.status("phase") == "stream").await;
        let elsewhere = load(&mut client, ELSEWHERE);
        client.cmd(&["EVALSHA", &count, "1", "list", "n", "1"]).unwrap();
        client.cmd(&["EVALSHA", &count, "1", "list", "n", "2"]).unwrap();
        client.cmd(&["EVAL", COUNT, "1", "list", "n", "3"]).unwrap();
        client.cmd(&["SELECT", "2"]).unwrap();
        for _ in 0..2 {
            client.cmd(&["EVALSHA", &elsewhere, "0"]).unwrap();
        }
        client.cmd(&["MULTI"]).unwrap();
        client.cmd(&["SET", "in", "1"]).unwrap();
        client.cmd(&["EVALSHA", &count, "1", "list", "n", "4"]).unwrap();
        client.cmd(&["EXEC"]).unwrap();
        client.cmd(&["SCRIPT", "FLUSH"]).unwrap();
        client.cmd(&["EVAL", COUNT, "1", "list", "n", "5"]).unwrap();
        running.until_in_step(&server).await;
        running.stop().await;
        let mut follower = Follower::of(&setup.journal).await;
        follower.read_all(&setup.journal).await;
        follower.assert_in_order();
        let counted = |db: u32, value: &str| eval(db, &[COUNT, "1", "list", "n", value]);
        let elsewhere = || eval(2, &[ELSEWHERE, "0"]);
        let expected = vec![
            counted(0, "1"),
            counted(0, "2"),
            counted(0, "3"),
            elsewhere(),
            elsewhere(),
            counted(2, "4"),
            counted(2, "5"),
        ];
        assert_eq!(scripts(&follower), expected, "{kind}");
    }
}

/// The source takes for known what it sent to the process before: only another snapshot makes it send it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_an_earlier_process_was_sent_leads_to_a_new_snapshot() {
    for kind in OLD {
        let server = Server::start(kind, &["repl-backlog-size 16mb"]).unwrap();
        let mut client = server.client().unwrap();
        let count = load(&mut client, COUNT);
        let setup = Setup::new(&server);
        let running = setup.start().await;
        running.until("the stream flows", |it| it.status("phase") == "stream").await;
        client.cmd(&["EVALSHA", &count, "1", "list", "n", "1"]).unwrap();
        running.until_in_step(&server).await;
        running.stop().await;
        // What it has not sent yet needs nothing.
        client.cmd(&["EVAL", ELSEWHERE, "0"]).unwrap();
        let running = setup.start().await;
        running.until_in_step(&server).await;
        assert_eq!(running.number("full_transfers"), 0, "{kind}");
        client.cmd(&["EVALSHA", &count, "1", "list", "n", "2"]).unwrap();
        running.until("it is read again", |it| it.number("resyncs") == 1).await;
        // Until then the phase is that of the stream before.
        running.until("the snapshot comes", |it| it.number("full_transfers") == 1).await;
        running.until("the stream flows", |it| it.status("phase") == "stream").await;
        client.cmd(&["EVALSHA", &count, "1", "list", "n", "3"]).unwrap();
        client.cmd(&["EVALSHA", &count, "1", "list", "n", "4"]).unwrap();
        running.until_in_step(&server).await;
        let cause = running.status("resync_cause").to_string();
        assert!(cause.contains("script"), "{cause}");
        running.stop().await;
        let mut follower = Follower::of(&setup.journal).await;
        follower.read_all(&setup.journal).await;
        follower.assert_in_order();
        assert_eq!(follower.epochs(), (2, 2), "{kind}: two full transfers");
        let last: Vec<_> = scripts(&follower).into_iter().rev().take(2).rev().collect();
        let counted = |value: &str| eval(0, &[COUNT, "1", "list", "n", value]);
        assert_eq!(last, [counted("3"), counted("4")], "{kind}");
    }
}
