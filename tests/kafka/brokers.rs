//! Brokers that die, hang or move while records are on their way.

use std::collections::HashSet;
use std::time::Duration;

use journal::kafka::KafkaConfig;
use journal::{Append, AppendError, Appender, Health, Journal, Offset, Partition, Receipt};
use testkit::kafka::{Broker, Cluster};

use crate::leaders::leader;
use crate::stage::{append, appender, on, open, read, record, take, texts, within};

/// Appends numbered records, some at a time, until `enough` says so; how many there are.
async fn append_until(
    appender: &mut dyn Appender,
    mut enough: impl FnMut(u64) -> bool,
) -> Result<u64, AppendError> {
    let mut count = 0;
    while !enough(count) {
        let mut batch: Vec<Append> = (count..count + 50)
            .map(|number| record(number_to_partition(number), number.to_string()))
            .collect();
        appender.append(&mut batch).await?;
        count += 50;
        tokio::task::yield_now().await;
    }
    Ok(count)
}

fn number_to_partition(number: u64) -> u16 {
    u16::from(number.is_multiple_of(3))
}

/// Every number once, and in order within its partition.
fn assert_whole(zero: &[String], one: &[String], count: u64) {
    for (partition, found) in [(0, zero), (1, one)] {
        let wanted: Vec<String> = (0..count)
            .filter(|number| number_to_partition(*number) == partition)
            .map(|number| number.to_string())
            .collect();
        let unique: HashSet<&String> = found.iter().collect();
        assert_eq!(unique.len(), found.len(), "partition {partition}: some came twice");
        assert!(*found == wanted, "partition {partition}: other records than were written");
    }
}

async fn assert_all_is_there(config: &KafkaConfig, count: u64) {
    let journal = open(config).await;
    let of = |partition| (0..count).filter(move |number| number_to_partition(*number) == partition);
    let zero = read(&journal, 0, of(0).count()).await;
    let one = read(&journal, 1, of(1).count()).await;
    assert_whole(&texts(&zero), &texts(&one), count);
    let ends = crate::stage::end(&journal).await;
    let after = |entries: &[journal::Entry]| entries.last().map(|entry| entry.offset.after(1));
    assert_eq!(ends.iter().copied().map(Some).collect::<Vec<_>>(), [after(&zero), after(&one)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing() {
    let mut broker = Broker::start().unwrap();
    let config = on(&broker.bootstrap(), 2);
    let journal = open(&config).await;
    let mut appender = appender(&journal).await;
    let mut reader = journal.reader(vec![(Partition(0), Offset(0))]).await.unwrap();
    append(&mut *appender, vec![record(1, "0")]).await;
    let durable = appender.durable();
    let restart = tokio::task::spawn_blocking(move || {
        broker.kill().unwrap();
        broker.restart().unwrap();
        broker
    });
    // The first record stands for number 0; the others follow.
    let mut count = 1;
    while !restart.is_finished() && count < 90_000 {
        let mut batch: Vec<Append> = (count..count + 20)
            .map(|number| record(number_to_partition(number), number.to_string()))
            .collect();
        within("it is accepted", appender.append(&mut batch)).await.unwrap();
        count += 20;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _broker = restart.await.unwrap();
    assert_eq!(within("it is durable", appender.flush()).await.unwrap(), Receipt(count));
    assert_eq!(*durable.borrow(), Receipt(count));
    let followed = (0..count).filter(|number| number_to_partition(*number) == 0).count();
    assert_eq!(take(&mut *reader, followed).await.len(), followed);
    drop((appender, reader, journal));
    assert_all_is_there(&config, count).await;
}

#[tokio::test]
async fn a_broker_that_hangs_is_told_and_so_is_its_return() {
    let broker = Broker::start().unwrap();
    let config = on(&broker.bootstrap(), 1);
    let journal = open(&config).await;
    let mut appender = appender(&journal).await;
    append(&mut *appender, vec![record(0, "before")]).await;
    let mut health = appender.health();
    assert_eq!(*health.borrow(), Health::Accepting);
    broker.pause().unwrap();
    appender.append(&mut vec![record(0, "meanwhile")]).await.unwrap();
    let stalled = within("it stalls", health.wait_for(|now| *now != Health::Accepting)).await;
    let Health::Stalled(text) = stalled.unwrap().clone() else {
        unreachable!("it is not accepting")
    };
    assert!(text.contains(&config.topic) && text.contains(&config.brokers), "{text}");
    broker.resume().unwrap();
    within("it goes on", health.wait_for(|now| *now == Health::Accepting)).await.unwrap();
    within("it is durable", appender.flush()).await.unwrap();
    assert_eq!(texts(&read(&journal, 0, 2).await), ["before", "meanwhile"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_the_leader_of_a_partition_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start(3).unwrap();
    let config = KafkaConfig {
        replication_factor: Some(3),
        min_insync_replicas: Some(2),
        ..on(&cluster.bootstrap(), 2)
    };
    let journal = open(&config).await;
    let mut appender = appender(&journal).await;
    let leads = |except| leader(&config.brokers, &config.topic, 0, except).unwrap();
    let mut killed = None;
    let count = append_until(&mut *appender, |count| {
        if count == 5_000 {
            let leading = leads(None);
            cluster.kill(leading).unwrap();
            killed = Some(leading);
        }
        count >= 20_000
    });
    let count = within("all is accepted", count).await.unwrap();
    let killed = killed.expect("it was killed on the way");
    assert_ne!(leads(Some(killed)), killed, "another one leads");
    within("it is durable", appender.flush()).await.unwrap();
    drop((appender, journal));
    assert_all_is_there(&config, count).await;
}
