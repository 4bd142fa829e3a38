//! Writers side by side: each has a lease and fences of its own, and what becomes of one is nothing to the others.

use journal::kafka::{KafkaConfig, KafkaJournal};
use journal::{Appender, Journal, Offset, OpenError, Partition, Writer};

use crate::lease::{note, send_as, send_raw};
use crate::stage::{append, appender, end, open, read, record, shared, take, texts, within};

/// The other writer.
const OTHER: Writer = Writer(5);
/// The number before that of its first holder.
const OTHERS: u64 = 5 << 32;

async fn other(journal: &KafkaJournal) -> Box<dyn Appender> {
    within("it becomes the other writer", journal.appender_of(OTHER)).await.expect("it is free")
}

#[tokio::test]
async fn each_has_a_leader_and_others_stand_by() {
    let config = KafkaConfig { client_id: "left".into(), ..shared(1) };
    let (one, two) = (open(&config).await, open(&config).await);
    let mut first = appender(&one).await;
    let mut beside = other(&two).await;
    append(&mut *first, vec![record(0, "a")]).await;
    append(&mut *beside, vec![record(0, "b")]).await;
    for (writer, journal) in [(OTHER, &one), (Writer::FIRST, &two)] {
        match journal.appender_of(writer).await {
            Err(OpenError::Led { holder, .. }) => assert!(holder.contains("left"), "{holder}"),
            Err(error) => panic!("refused for another reason: {error}"),
            Ok(_) => panic!("there are two of {writer:?}"),
        }
    }
    drop(beside);
    let mut beside = other(&one).await;
    append(&mut *beside, vec![record(0, "c")]).await;
    append(&mut *first, vec![record(0, "d")]).await;
    assert_eq!(texts(&read(&two, 0, 4).await), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_leader_that_wakes_up_too_late_voids_nothing_of_the_other_writer() {
    let config = shared(1);
    let journal = open(&config).await;
    let mut first = appender(&journal).await;
    let beside = other(&journal).await;
    let mut following = journal.reader(vec![(Partition(0), Offset(0))]).await.unwrap();
    append(&mut *first, vec![record(0, "a")]).await;
    drop(beside);
    let mut beside = other(&journal).await;
    send_as(OTHERS + 1, &config, "too late");
    append(&mut *first, vec![record(0, "b")]).await;
    append(&mut *beside, vec![record(0, "c")]).await;
    drop(first);
    let mut first = appender(&journal).await;
    send_as(1, &config, "too late as well");
    append(&mut *beside, vec![record(0, "d")]).await;
    append(&mut *first, vec![record(0, "e")]).await;
    send_as(OTHERS + 1, &config, "later still");
    let expected = ["a", "b", "c", "d", "e"];
    assert_eq!(texts(&read(&journal, 0, 5).await), expected);
    let taken = take(&mut *following, 5).await;
    assert_eq!(texts(&taken), expected);
    let last = taken.last().expect("there are five").offset;
    assert_eq!(end(&journal).await, [last.after(1)], "the end is behind what counts");
}

#[tokio::test]
async fn a_fence_whose_note_is_missing_holds_back_nothing_of_the_other_writer() {
    let config = shared(1);
    let journal = open(&config).await;
    let mut first = appender(&journal).await;
    append(&mut *first, vec![record(0, "a")]).await;
    let mut reader = journal.reader(vec![(Partition(0), Offset(0))]).await.unwrap();
    let number = (OTHERS + 1).to_string();
    let claim = format!(r#"{{"number":{number},"token":7,"holder":"standby","says":"claim"}}"#);
    note(&config, "lease/5", &claim);
    send_raw(&config, &config.topic, "", "", &[("kf-lease", &number), ("kf-kind", "fence")]);
    append(&mut *first, vec![record(0, "b")]).await;
    assert_eq!(texts(&take(&mut *reader, 2).await), ["a", "b"]);
    // It is alone in not having been overtaken.
    append(&mut *first, vec![record(0, "c")]).await;
    assert_eq!(texts(&take(&mut *reader, 1).await), ["c"]);
}

#[tokio::test]
async fn who_knows_of_one_writer_only_stops_at_records_of_another() {
    // Of a build without them: numbers of other writers are ones that it has never heard of.
    let config = shared(1);
    let journal = open(&config).await;
    let mut beside = other(&journal).await;
    append(&mut *beside, vec![record(0, "b")]).await;
    let facts = journal.facts();
    let numbers: Vec<u64> =
        facts.writers.iter().filter_map(|of| of.lease.as_ref()).map(|of| of.number).collect();
    assert_eq!(numbers, [OTHERS + 1]);
    assert!(facts.writers.iter().all(|of| of.writer == OTHER && of.fences[0].0 > 1 << 32));
}
