//! Keeping and forgetting: restarts, trimming, named readers.

use runtime::Random;

use super::Backend;
use super::stage::{ALL, Stage, noise, read, record, sized, texts, within};
use crate::{Append, Entry, Offset, Partition, ReadError, ReaderProgress, Receipt};

/// A restart changes nothing: records, offsets, identity; appending goes on behind them.
pub async fn reopening_keeps_everything(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    stage.append((0..50).map(|i| record(i % 2, i64::from(i), format!("{i}"))).collect()).await;
    stage.flush().await;
    let before = stage.journal.describe().await.expect("it describes");
    let entries = read(&mut *stage.reader_of(&[0]).await, 25).await;

    let mut stage = stage.reopened().await;
    assert_eq!(stage.journal.describe().await.expect("it describes"), before);
    assert_eq!(read(&mut *stage.reader_of(&[0]).await, 25).await, entries);
    assert_eq!(stage.append(vec![record(0, 0, "new")]).await, Receipt(1));
    let end = before.partitions.first().expect("there are two").end;
    let new = read(&mut *stage.reader(&[(0, end)]).await, 1).await;
    assert_eq!(texts(&new), ["new"]);
    assert!(new.iter().all(|entry| entries.iter().all(|old| old.offset < entry.offset)));
}

/// Trimmed offsets are refused with the start that is left, also after a restart.
pub async fn trimmed_offsets_are_out_of_retention(backend: &dyn Backend) {
    let (stage, entries) = a_mebibyte(backend).await;
    let first = stage.range(0).await.start;
    let asked = entries.get(200).expect("there are 256").offset;
    let other_end = stage.range(1).await.end;
    let trimmed = stage.journal.trim(vec![(Partition(0), asked), (Partition(1), other_end)]).await;
    trimmed.expect("it trims");
    let start = stage.range(0).await.start;
    assert!(first < start && start <= asked, "trimmed to {start:?}, asked for {asked:?}");

    let stage = stage.reopened().await;
    assert_eq!(stage.range(0).await.start, start);
    let refused = match stage.journal.reader(vec![(Partition(0), first)]).await {
        Ok(mut reader) => within("read", reader.next(ALL)).await.map(|_| ()),
        Err(refused) => Err(refused),
    };
    let named = matches!(refused, Err(ReadError::OutOfRetention { partition, offset, start: left })
        if partition == Partition(0) && offset == first && left == start);
    assert!(named, "{refused:?}");
}

/// What was not asked to go can still be read, in both partitions.
pub async fn what_is_not_trimmed_stays(backend: &dyn Backend) {
    let (stage, entries) = a_mebibyte(backend).await;
    let end = stage.range(0).await.end;
    let kept_start = stage.range(1).await.start;
    stage.journal.trim(vec![(Partition(0), end)]).await.expect("it trims");
    assert_eq!(stage.range(1).await.start, kept_start, "this partition was not named");
    let kept = read(&mut *stage.reader(&[(1, kept_start)]).await, 4).await;
    assert_eq!(texts(&kept), ["kept"; 4]);

    let start = stage.range(0).await.start;
    let expected: Vec<_> = entries.iter().filter(|entry| entry.offset >= start).cloned().collect();
    if !expected.is_empty() {
        assert_eq!(read(&mut *stage.reader(&[(0, start)]).await, expected.len()).await, expected);
    }
}

/// What a named reader has released is known, also after a restart, until it is forgotten.
pub async fn a_named_reader_is_remembered_until_forgotten(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    stage.append_durably((0..20).map(|i| record(i % 2, 0, format!("{i}"))).collect()).await;
    let offsets: Vec<Offset> =
        read(&mut *stage.reader_of(&[0]).await, 10).await.iter().map(|e| e.offset).collect();
    let (third, fifth) = (at(&offsets, 3), at(&offsets, 5));
    let journal = &stage.journal;
    journal.release("a", vec![(Partition(0), third)]).await.expect("noted");
    journal
        .release("b", vec![(Partition(0), fifth), (Partition(1), Offset(0))])
        .await
        .expect("noted");
    journal.release("a", vec![(Partition(0), fifth)]).await.expect("noted");
    journal.release("b", vec![(Partition(0), third)]).await.expect("going back is allowed");
    journal.forget_reader("never heard of").await.expect("nothing to do");
    let progress = |name: &str, released: &[(Partition, Offset)]| ReaderProgress {
        name: name.to_owned(),
        released: released.to_vec(),
    };
    let a = progress("a", &[(Partition(0), fifth)]);
    let b = progress("b", &[(Partition(0), third), (Partition(1), Offset(0))]);

    let stage = stage.reopened().await;
    assert_eq!(readers_of(&stage).await, [a, b.clone()]);
    stage.journal.forget_reader("a").await.expect("forgotten");
    let stage = stage.reopened().await;
    assert_eq!(readers_of(&stage).await, [b]);
}

/// 256 records of 4 KiB in partition 0 and a few in partition 1.
async fn a_mebibyte(backend: &dyn Backend) -> (Stage<'_>, Vec<Entry>) {
    let mut stage = Stage::new(backend, 2).await;
    let mut random = Random::from_seed(7);
    for batch in 0..32 {
        let mut records: Vec<Append> =
            (0..8).map(|_| sized(0, 0, noise(&mut random, 4096))).collect();
        if batch % 10 == 0 {
            records.push(record(1, 0, "kept"));
        }
        stage.append_durably(records).await;
    }
    let entries = read(&mut *stage.reader_of(&[0]).await, 256).await;
    (stage, entries)
}

async fn readers_of(stage: &Stage<'_>) -> Vec<ReaderProgress> {
    let mut readers = stage.journal.describe().await.expect("it describes").readers;
    readers.sort_by(|one, other| one.name.cmp(&other.name));
    for reader in &mut readers {
        reader.released.sort();
    }
    readers
}

fn at(offsets: &[Offset], place: usize) -> Offset {
    *offsets.get(place).expect("ten were read")
}
