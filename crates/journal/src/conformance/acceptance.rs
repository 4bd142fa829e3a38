//! Accepting and becoming durable: receipts, limits, refusals, the one writer.

use bytes::Bytes;
use runtime::Random;

use super::Backend;
use super::stage::{ALL, Stage, noise, read, record, sized, texts, within};
use crate::{
    Append, AppendError, Appender, Assignment, Offset, OpenError, Partition, ReadError, Receipt,
    Writer,
};

/// A receipt is the number of records so far; durability grows towards it and gets there.
pub async fn receipts_count_records_and_durability_reaches_them(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 3).await;
    let mut durable = stage.appender.durable();
    assert_eq!(*durable.borrow(), Receipt(0));
    let mut last = Receipt(0);
    let mut count = 0;
    for batch in 1..20_u16 {
        let accepted =
            stage.append((0..batch).map(|i| record(i % 3, 0, format!("{i}"))).collect()).await;
        count += u64::from(batch);
        assert_eq!(accepted, Receipt(count));
        let now = *durable.borrow_and_update();
        assert!(last <= now && now <= accepted, "{now:?} after {last:?}, accepted {accepted:?}");
        last = now;
    }
    within("become durable", durable.wait_for(|now| *now == Receipt(count))).await.expect("open");
    assert_eq!(stage.flush().await, Receipt(count));
}

/// Nothing to append and nothing to flush is fine.
pub async fn an_empty_batch_changes_nothing(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 1).await;
    assert_eq!(stage.flush().await, Receipt(0));
    assert_eq!(stage.append(Vec::new()).await, Receipt(0));
    stage.append_durably(vec![record(0, 0, "one")]).await;
    assert_eq!(stage.append(Vec::new()).await, Receipt(1));
    assert_eq!(texts(&read(&mut *stage.reader_of(&[0]).await, 1).await), ["one"]);
}

/// `start <= durable <= end`; after a flush the last two agree and cover what was appended.
pub async fn the_description_follows_the_stream(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 3).await;
    let before = within("describe", stage.journal.describe()).await.expect("it describes");
    assert_eq!(before.partitions.len(), 3);
    assert!(before.max_record_bytes > 0 && !before.stream.is_empty());
    stage.append((0..10).map(|i| record(2, 0, format!("{i}"))).collect()).await;
    let unflushed = stage.range(2).await;
    assert!(unflushed.start <= unflushed.durable && unflushed.durable <= unflushed.end);
    stage.flush().await;
    let after = within("describe", stage.journal.describe()).await.expect("it describes");
    assert_eq!(after.incarnation, before.incarnation);
    assert_eq!(after.partitions.first(), before.partitions.first(), "nothing was appended there");
    let range = stage.range(2).await;
    assert_eq!(range.durable, range.end);
    let entries = read(&mut *stage.reader(&[(2, range.start)]).await, 10).await;
    assert!(entries.iter().all(|e| e.offset >= range.start && e.offset < range.end));
}

/// The smallest and the largest record come back as they were.
pub async fn records_of_no_bytes_and_of_the_limit_are_kept(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 1).await;
    let limit = stage.journal.describe().await.expect("it describes").max_record_bytes;
    let mut random = Random::from_seed(1);
    let payloads = [Bytes::new(), noise(&mut random, limit), Bytes::new(), vec![0; limit].into()];
    stage.append_durably(payloads.iter().map(|p| sized(0, 0, p.clone())).collect()).await;
    let entries = read(&mut *stage.reader_of(&[0]).await, payloads.len()).await;
    assert!(
        entries.iter().map(|entry| &entry.payload).eq(payloads.iter()),
        "other bytes came back"
    );
}

/// Nothing of a batch is taken when one record is too large, and the appender still works.
pub async fn a_batch_with_a_record_too_large_is_refused_whole(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    let limit = stage.journal.describe().await.expect("it describes").max_record_bytes;
    let mut batch =
        vec![record(0, 0, "before"), sized(1, 0, vec![7; limit + 1].into()), record(0, 0, "after")];
    let refused = stage.appender.append(&mut batch).await;
    let named = matches!(refused, Err(AppendError::TooLarge { partition: Partition(1), bytes, .. })
        if bytes == limit + 1);
    assert!(named, "{refused:?}");
    assert_eq!(stage.append(vec![record(0, 0, "good")]).await, Receipt(1));
    assert_eq!(texts(&read(&mut *stage.reader_of(&[0, 1]).await, 1).await), ["good"]);
}

/// Every operation that names a partition refuses one that is not there.
pub async fn a_partition_that_does_not_exist_is_refused(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    let missing = Partition(2);
    let appended = stage.appender.append(&mut vec![record(0, 0, "a"), record(2, 0, "b")]).await;
    let trimmed = stage.journal.trim(vec![(missing, Offset(0))]).await;
    let released = stage.journal.release("reader", vec![(missing, Offset(0))]).await;
    for refused in [appended.map(|_| ()), trimmed, released] {
        let named = matches!(
            refused,
            Err(AppendError::NoSuchPartition { partition: Partition(2), count: 2 })
        );
        assert!(named, "{refused:?}");
    }
    let read = stage.journal.reader(vec![(Partition(0), Offset(0)), (missing, Offset(0))]).await;
    let looked_up = stage.journal.offset_at_time(missing, 0).await;
    for refused in [read.map(|_| ()), looked_up.map(|_| ())] {
        let named = matches!(
            refused,
            Err(ReadError::NoSuchPartition { partition: Partition(2), count: 2 })
        );
        assert!(named, "{refused:?}");
    }
    assert_eq!(stage.append(vec![record(1, 0, "good")]).await, Receipt(1));
}

/// A second appender is refused, or fences the first; a later one is welcome.
pub async fn a_second_appender_never_interleaves(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 1).await;
    stage.append(vec![record(0, 0, "first")]).await;
    match within("ask for a second writer", stage.journal.appender()).await {
        Err(OpenError::HasWriter { .. } | OpenError::Led { .. }) => {
            stage.append_durably(vec![record(0, 0, "second")]).await;
            drop(stage.appender);
            stage.appender =
                within("the writer's place", stage.journal.appender()).await.expect("it is free");
        }
        Err(other) => assert!(other.to_string().is_empty(), "refused for another reason"),
        Ok(mut second) => {
            let mut late = vec![record(0, 0, "late")];
            let first = match within("append", stage.appender.append(&mut late)).await {
                Ok(_) => within("flush", stage.appender.flush()).await,
                Err(refused) => Err(refused),
            };
            assert!(matches!(first, Err(AppendError::Fenced { .. })), "{first:?}");
            within("append", second.append(&mut vec![record(0, 0, "second")])).await.expect("ok");
            stage.appender = second;
        }
    }
    stage.append_durably(vec![record(0, 0, "third")]).await;
    let mut reader = stage.reader_of(&[0]).await;
    assert_eq!(texts(&read(&mut *reader, 3).await), ["first", "second", "third"]);
}

/// A backend that has several writers lets them write into the same partition; one that is replaced takes nothing with
/// it of the others.
pub async fn writers_side_by_side_leave_one_another_alone(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    let other = match within("another writer", stage.journal.appender_of(OTHER)).await {
        Err(OpenError::OneWriter) => return,
        other => other.expect("it is free"),
    };
    stage.append_durably(vec![record(0, 0, "a")]).await;
    let other = write(other, vec![record(0, 0, "b"), record(1, 0, "c")]).await;
    stage.append_durably(vec![record(0, 0, "d")]).await;
    let again = within("ask for it twice", stage.journal.appender_of(OTHER)).await;
    assert!(matches!(again, Err(OpenError::HasWriter { .. } | OpenError::Led { .. })));
    drop(other);
    let other = within("take it over", stage.journal.appender_of(OTHER)).await;
    let other = write(other.expect("it is free"), vec![record(0, 0, "e")]).await;
    stage.append_durably(vec![record(0, 0, "f")]).await;
    drop(stage.appender);
    stage.appender = within("the first again", stage.journal.appender()).await.expect("free");
    write(other, vec![record(0, 0, "g")]).await;
    let mut reader = stage.reader_of(&[0, 1]).await;
    let mut entries = read(&mut *reader, 7).await;
    entries.sort_by_key(|entry| (entry.partition, entry.offset));
    assert_eq!(texts(&entries), ["a", "b", "d", "e", "f", "g", "c"]);
}

/// One of the writers but the first.
const OTHER: Writer = Writer(7);

/// Has a writer write until it is durable.
async fn write(mut appender: Box<dyn Appender>, mut records: Vec<Append>) -> Box<dyn Appender> {
    within("append", appender.append(&mut records)).await.expect("the records are accepted");
    within("flush", appender.flush()).await.expect("the records become durable");
    appender
}

/// Receipts are an appender's own; the stream goes on where the last one ended.
pub async fn a_new_appender_counts_from_zero(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 1).await;
    stage.append(vec![record(0, 0, "a"), record(0, 0, "b")]).await;
    drop(stage.appender);
    stage.appender = within("become the writer", stage.journal.appender()).await.expect("free");
    assert_eq!(*stage.appender.durable().borrow(), Receipt(0));
    assert_eq!(stage.append(vec![record(0, 0, "c")]).await, Receipt(1));
    assert_eq!(stage.flush().await, Receipt(1));
    let mut reader = stage.reader_of(&[0]).await;
    let entries = within("read", reader.next(ALL)).await.expect("readable");
    assert_eq!(texts(&entries).first().map(String::as_str), Some("a"));
}

/// The only member of a name has all partitions, and has them again after it has left and come back.
pub async fn a_member_alone_has_all_partitions(backend: &dyn Backend) {
    let stage = Stage::new(backend, 3).await;
    for _ in 0..2 {
        let member = within("join", stage.journal.join("shop")).await.expect("it may join");
        let mut assigned = member.assigned();
        let all = |assignment: &Assignment| assignment.partitions.len() == 3;
        // Not kept as it is: while somebody looks, nothing can be assigned.
        let assignment =
            within("an assignment", assigned.wait_for(all)).await.expect("a member").clone();
        let Assignment { generation, partitions } = assignment;
        assert_eq!(partitions, [0, 1, 2].map(Partition));
        assert_ne!(generation, 0);
        member.settled(generation);
        within("leave", member.leave()).await.expect("it may leave");
    }
}
