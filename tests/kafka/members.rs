//! Members of a group share the partitions, and take over from one another.

use std::time::Duration;

use anyhow::{Result, ensure};
use journal::kafka::KafkaConfig;
use journal::{Assignment, Journal, Membership, Offset, Partition, ReadError};
use runtime::{Class, Classified};
use serde_json::Value;
use testkit::http::{Http, TOKEN};
use testkit::{Deadline, Kind, Process};
use tokio::sync::watch;

use crate::apart::{PATIENCE, Stage, stop};
use crate::stage::{open, shared, takes_less_than, within};

/// Tells a child process which stream to join, on which brokers.
const MEMBER: &str = "KEYFERRY_KAFKA_TEST_MEMBER";

const PARTITIONS: u16 = 4;
/// From the end of a member that left in good order until another one has its part.
const TAKE_OVER: Duration = Duration::from_secs(1);

/// Waits until so many partitions are assigned, and gives them back.
async fn assigned(watch: &mut watch::Receiver<Assignment>, count: usize) -> Assignment {
    let what = format!("{count} partitions are assigned");
    let found = within(&what, watch.wait_for(|now| now.partitions.len() == count)).await;
    found.expect("the membership lasts").clone()
}

/// Settles whatever is taken away, at once, like one that has nothing under way.
async fn settle_always(member: &dyn Membership, mut watch: watch::Receiver<Assignment>) {
    loop {
        let generation = watch.borrow_and_update().generation;
        member.settled(generation);
        if watch.changed().await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_share_and_the_one_that_stays_takes_over() {
    let config = shared(PARTITIONS);
    let (one, other) = (open(&config).await, open(&config).await);
    let first = within("it joins", one.join("shop")).await.unwrap();
    let mut of_first = first.assigned();
    let all = assigned(&mut of_first, 4).await;
    assert_eq!(all.partitions, (0..PARTITIONS).map(Partition).collect::<Vec<_>>());

    let second = within("it joins", other.join("shop")).await.unwrap();
    let mut of_second = second.assigned();
    let half = assigned(&mut of_first, 2).await;
    assert!(half.generation > all.generation);
    // Nothing is given away before it has settled, as long as the limit lets it.
    assert!(of_second.borrow().partitions.is_empty());
    first.settled(half.generation);
    let rest = assigned(&mut of_second, 2).await;
    assert!(half.partitions.iter().all(|partition| !rest.partitions.contains(partition)));

    // Members commit for their group.
    for (journal, offset) in [(&one, 0), (&other, 0)] {
        journal.release("shop", vec![(Partition(0), Offset(offset))]).await.unwrap();
    }
    within("it leaves", second.leave()).await.unwrap();
    let settling = settle_always(&*first, first.assigned());
    let back = tokio::select! {
        back = assigned(&mut of_first, 4) => back,
        () = settling => Assignment::default(),
    };
    assert_eq!(back.partitions.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_part_of_a_member_that_leaves_is_taken_over_within_a_second() {
    takes_less_than(TAKE_OVER, async || {
        let config = shared(PARTITIONS);
        let (one, other) = (open(&config).await, open(&config).await);
        let first = within("it joins", one.join("shop")).await.unwrap();
        let mut watch = first.assigned();
        let settling = settle_always(&*first, first.assigned());
        let leaving = async {
            assigned(&mut watch, 4).await;
            let second = within("it joins", other.join("shop")).await.unwrap();
            assigned(&mut second.assigned(), 2).await;
            within("it leaves", second.leave()).await.unwrap();
            let left = Deadline::after(Duration::ZERO);
            assigned(&mut watch, 4).await;
            left.elapsed()
        };
        tokio::select! {
            took = leaving => took,
            () = settling => Duration::MAX,
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_settle_is_waited_for_no_longer_than_the_limit() {
    let config = shared(PARTITIONS);
    let (one, other) = (open(&config).await, open(&config).await);
    let first = within("it joins", one.join("shop")).await.unwrap();
    assigned(&mut first.assigned(), 4).await;
    let second = within("it joins", other.join("shop")).await.unwrap();
    assert_eq!(assigned(&mut second.assigned(), 2).await.partitions.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_also_where_the_brokers_deal_out_the_partitions() {
    let mut config = shared(PARTITIONS);
    config.properties.push(("group.protocol".to_owned(), "consumer".to_owned()));
    let (one, other) = (open(&config).await, open(&config).await);
    let first = within("it joins", one.join("shop")).await.unwrap();
    assigned(&mut first.assigned(), 4).await;
    one.release("shop", vec![(Partition(0), Offset(0))]).await.unwrap();
    let settling = settle_always(&*first, first.assigned());
    let sharing = async {
        let second = within("it joins", other.join("shop")).await.unwrap();
        assigned(&mut second.assigned(), 2).await;
        within("it leaves", second.leave()).await.unwrap();
        assigned(&mut first.assigned(), 4).await;
    };
    tokio::select! {
        () = sharing => {}
        () = settling => panic!("the membership of the first has ended"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_property_that_members_cannot_have_is_refused_by_its_name_and_not_tried_again() {
    let mut config = shared(PARTITIONS);
    for (name, value) in [("group.protocol", "consumer"), ("session.timeout.ms", "7000")] {
        config.properties.push((name.to_owned(), value.to_owned()));
    }
    let journal = open(&config).await;
    let refused = within("it is refused", journal.join("shop")).await.map(drop).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, ReadError::Settings { .. }), "{text}");
    assert!(text.contains("session.timeout.ms"), "{text}");
    assert_eq!(refused.class(), Class::Operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_vanished_is_replaced_within_ten_seconds() {
    if let Some(place) = std::env::var_os(MEMBER) {
        return sit_until_killed(place.to_str().unwrap()).await;
    }
    takes_less_than(Duration::from_secs(10), replace_a_member_that_is_killed).await;
}

/// How long it takes.
async fn replace_a_member_that_is_killed() -> Duration {
    let config = shared(PARTITIONS);
    let journal = open(&config).await;
    let member = within("it joins", journal.join("shop")).await.expect("it may join");
    let mut watch = member.assigned();
    assigned(&mut watch, 4).await;
    let test = "members::a_member_that_vanished_is_replaced_within_ten_seconds";
    let place = format!("{} {}", config.brokers, config.stream);
    let args = ["--exact", test, "--nocapture"];
    let this = std::env::current_exe().expect("a test has a binary");
    let mut child = Process::program(&this, &args, &[(MEMBER, &place)]).expect("it starts");
    let shared = assigned(&mut watch, 2).await;
    member.settled(shared.generation);
    let ready = tokio::task::spawn_blocking(move || {
        let has_joined = |out: &str, _: &str| out.contains("has 2 partitions").then_some(());
        child.until(PATIENCE, "it has its part", has_joined).map(|()| child)
    });
    let mut child = ready.await.expect("it does not panic").expect("it has its part");
    child.kill().expect("it runs");
    let vanished = Deadline::after(Duration::ZERO);
    assigned(&mut watch, 4).await;
    vanished.elapsed()
}

#[expect(clippy::print_stdout, reason = "that is how the test hears of it")]
async fn sit_until_killed(place: &str) {
    let (brokers, stream) = place.split_once(' ').expect("brokers and stream");
    let config = KafkaConfig::new(brokers, stream, PARTITIONS);
    let journal = open(&config).await;
    let member = within("it joins", journal.join("shop")).await.expect("it may join");
    let mut watch = member.assigned();
    assigned(&mut watch, 2).await;
    println!("has 2 partitions");
    std::future::pending::<()>().await;
}

#[test]
fn the_part_of_an_apply_that_is_stopped_is_taken_over_within_a_second() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut capture = stage.capture("capture")?;
    let (mut stays, of_stays) = apply(&stage, "stays")?;
    let mut took = Vec::new();
    while took.len() < 3 && took.last().is_none_or(|took| *took >= TAKE_OVER) {
        let (mut leaves, of_leaves) = apply(&stage, "leaves")?;
        let shared = |of: &Http| of.until("it has a half", |status| partitions(status) == 2);
        shared(&of_stays)?;
        shared(&of_leaves)?;
        stage.caught_up(&mut [&mut capture, &mut stays, &mut leaves])?;
        stop(&mut leaves)?;
        let left = Deadline::after(Duration::ZERO);
        of_stays.until("it has all", |status| partitions(status) == usize::from(PARTITIONS))?;
        took.push(left.elapsed());
    }
    ensure!(took.last().is_some_and(|took| *took < TAKE_OVER), "it took {took:?}");
    stage.caught_up(&mut [&mut capture, &mut stays])?;
    stage.assert_same()?;
    stop(&mut stays)?;
    stop(&mut capture)
}

/// One that tells by HTTP what it has.
fn apply(stage: &Stage, dir: &str) -> Result<(Process, Http)> {
    let destination = stage.destination.uri();
    let words = ["apply", destination.as_str()];
    let more = ["--admin-listen", "127.0.0.1:0"];
    let mut process = stage.process_with((&words, &more), dir, &[TOKEN])?;
    let http = Http::of(&mut process)?;
    Ok((process, http))
}

/// How many an apply has taken over.
fn partitions(status: &Value) -> usize {
    let lanes = status.get("apply").and_then(Value::as_object).into_iter().flatten();
    let parts = lanes.filter_map(|(_, lane)| lane.get("partitions")?.as_object());
    parts.map(serde_json::Map::len).sum()
}
