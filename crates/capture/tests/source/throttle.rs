//! Limits and pauses on the way into the journal, and on the way out of the source.

use std::ops::Range;
use std::time::Duration;

use runtime::{Limits, Rate};
use testkit::{Client, Deadline, Kind, Server};

use crate::follow::Follower;
use crate::running::{PATIENCE, Running, Setup};

fn write(client: &mut Client, range: Range<u32>, value: &str) {
    let commands: Vec<_> =
        range.map(|number| testkit::command(&["SET", &format!("key:{number}"), value])).collect();
    client.all(&commands).unwrap();
}

#[expect(clippy::cast_precision_loss, reason = "these are small")]
fn number(running: &Running, name: &str) -> f64 {
    running.number(name) as f64
}

async fn until_streaming(running: &Running) {
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
}

async fn sets(setup: &Setup) -> usize {
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    follower.assert_in_order();
    follower.commands().iter().filter(|words| words[0] == "SET").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_goes_into_the_journal_no_faster_than_its_limit_though_it_is_read_at_once() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let mut client = server.client().unwrap();
    write(&mut client, 0..600, "v");
    let setup = Setup::new(&server);
    setup.throttle.set_limits(Limits { full: Rate { rows: 200, bytes: 0 }, ..Limits::default() });
    let since = Deadline::after(PATIENCE);
    let running = setup.start().await;
    running
        .until("the source has sent everything", |_| {
            let mut client = server.client().unwrap();
            let line = client.info_field("replication", "slave0").unwrap().unwrap_or_default();
            line.contains("state=online")
        })
        .await;
    let within = |it: &Running| {
        let keys = number(it, "snapshot_keys");
        // A burst, and what was cut off at once: keys are smaller here than they are taken for.
        let may = 200.0 * (since.elapsed().as_secs_f64() + 0.1) + 64.0;
        assert!(keys <= may, "{keys} keys where at most {may} may be");
        keys >= 500.0
    };
    running.until("a limit holds it", |it| it.status("held_by") == "throttle").await;
    running.until("most of it is recorded", within).await;
    assert!(since.elapsed() > Duration::from_millis(1_800), "{:?}", since.elapsed());
    setup.throttle.set_limits(Limits::default());
    until_streaming(&running).await;
    running.until("nothing holds it", |it| it.status("held_by").is_null()).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_into_the_journal_no_faster_than_its_limit_in_bytes() {
    let server = Server::start(Kind::Valkey9_1, &[]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    until_streaming(&running).await;
    let incremental = Rate { rows: 0, bytes: 1_000_000 };
    setup.throttle.set_limits(Limits { incremental, ..Limits::default() });
    let (since, before) = (Deadline::after(PATIENCE), number(&running, "record_bytes"));
    write(&mut client, 0..3_000, &"x".repeat(1_000));
    let end = client.info_field("replication", "master_repl_offset").unwrap().unwrap();
    let end: i64 = end.parse().unwrap();
    let within = |it: &Running| {
        let bytes = number(it, "record_bytes") - before;
        let may = 1_000_000.0 * (since.elapsed().as_secs_f64() + 0.1) + 100_000.0;
        assert!(bytes <= may, "{bytes} bytes where at most {may} may be");
        it.number("durable_offset") >= end
    };
    running.until("everything is recorded", within).await;
    assert!(since.elapsed() > Duration::from_secs(2), "{:?}", since.elapsed());
    running.stop().await;
    assert_eq!(sets(&setup).await, 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_fills_the_spool_and_not_the_source() {
    let server = Server::start(Kind::Redis7_0, &["repl-backlog-size 1mb"]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server).with(|config| config.spool.memory_bytes = 1 << 20);
    let running = setup.start().await;
    until_streaming(&running).await;
    setup.throttle.pause();
    running.until("a pause holds it", |it| it.status("held_by") == "pause").await;
    let records = running.number("records");
    write(&mut client, 0..2_000, &"x".repeat(10_000));
    let spooled = |it: &Running| it.number("spool_disk_bytes") > 15_000_000;
    running.until("it waits on disk", spooled).await;
    assert_eq!(running.number("records"), records, "something was recorded");
    setup.throttle.resume();
    running.until_in_step(&server).await;
    running.until("nothing holds it", |it| it.status("held_by").is_null()).await;
    assert_eq!(running.number("full_transfers"), 1);
    running.stop().await;
    assert_eq!(sets(&setup).await, 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_a_pause_records_what_has_come() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    until_streaming(&running).await;
    setup.throttle.pause();
    running.until("a pause holds it", |it| it.status("held_by") == "pause").await;
    write(&mut client, 0..100, "v");
    running.until("it waits", |it| it.number("spool_memory_bytes") > 2_000).await;
    let summary = running.stop().await;
    assert!(summary.complete);
    assert_eq!(sets(&setup).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_read_no_faster_than_its_limit_and_the_stream_at_once() {
    for how in ["yes", "no"] {
        let lines = ["rdbcompression no", &format!("repl-diskless-sync {how}")];
        let server = Server::start(Kind::Redis7_0, &lines).unwrap();
        let mut client = server.client().unwrap();
        let value = "x".repeat(10_000);
        write(&mut client, 0..300, &value);
        let setup = Setup::new(&server);
        setup.throttle.set_limits(Limits { source_read_bytes: 1_000_000, ..Limits::default() });
        let since = Deadline::after(PATIENCE);
        let running = setup.start().await;
        let within = |it: &Running| {
            let bytes = number(it, "snapshot_bytes");
            // A burst, and one read.
            let may = 1_000_000.0 * (since.elapsed().as_secs_f64() + 0.1) + 300_000.0;
            assert!(bytes <= may, "{bytes} bytes where at most {may} may be");
            it.status("phase") == "stream"
        };
        running.until("the stream flows", within).await;
        assert!(since.elapsed() > Duration::from_secs(2), "{:?}", since.elapsed());
        // Its end may come by itself, and what is owed is paid at the new rate.
        client.cmd(&["SET", "after", "1"]).unwrap();
        running.until_in_step(&server).await;
        setup.throttle.set_limits(Limits { source_read_bytes: 1, ..Limits::default() });
        write(&mut client, 0..300, &value);
        running.until_in_step(&server).await;
        assert_eq!(running.number("full_transfers"), 1, "{how}");
        running.stop().await;
        assert_eq!(sets(&setup).await, 301);
    }
}
