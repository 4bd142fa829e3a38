//! Reading: from anywhere, at the tail, beside others, within limits, by time.

use std::collections::{BTreeSet, VecDeque};

use futures::future::poll_immediate;

use super::Backend;
use super::stage::{ALL, Stage, assert_offsets_grow, read, record, sized, texts, within};
use crate::{Entry, Offset, Partition, ReadLimit};

/// Each record's own offset finds it.
pub async fn reading_starts_at_any_offset(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    for batch in 0..8 {
        stage.append((0..25).map(|i| record(i % 2, 0, format!("{batch}/{i}"))).collect()).await;
    }
    let of_each = [
        read(&mut *stage.reader_of(&[0]).await, 104).await,
        read(&mut *stage.reader_of(&[1]).await, 96).await,
    ];
    for all in &of_each {
        for (place, entry) in all.iter().enumerate().step_by(7) {
            let mut reader = stage.reader(&[(entry.partition.0, entry.offset)]).await;
            let rest = read(&mut *reader, all.len() - place).await;
            assert!(rest.iter().eq(all.iter().skip(place)), "read from {:?}", entry.offset);
        }
    }
    let [zero, one] = of_each;
    let from_middle: Vec<&Entry> = zero.iter().skip(90).chain(one.iter().skip(3)).collect();
    let places: Vec<_> = [zero.get(90), one.get(3)].into_iter().flatten().map(place_of).collect();
    let mixed = read(&mut *stage.reader(&places).await, from_middle.len()).await;
    assert_offsets_grow(&mixed);
    assert!(from_middle.iter().all(|entry| mixed.contains(entry)), "different places at once");
}

/// A reader at the end gets what is appended later, and only that.
pub async fn a_reader_at_the_end_waits_for_what_comes(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    stage.append_durably(vec![record(0, 0, "old")]).await;
    let end = stage.range(0).await.end;
    let mut reader = stage.reader(&[(0, end)]).await;
    let waiting = reader.next(ALL);
    tokio::pin!(waiting);
    assert!(poll_immediate(&mut waiting).await.is_none(), "nothing is there to read");
    stage.append(vec![record(1, 0, "elsewhere")]).await;
    assert_eq!(texts(&read(&mut *stage.reader_of(&[1]).await, 1).await), ["elsewhere"]);
    assert!(poll_immediate(&mut waiting).await.is_none(), "it is another partition's");
    stage.append(vec![record(0, 0, "new")]).await;
    let entries = within("the new record", waiting).await.expect("it can be read");
    assert_eq!(texts(&entries), ["new"]);
}

/// An offset that does not exist yet is waited for; what comes before it is left out.
pub async fn a_reader_beyond_the_end_waits_for_its_offset(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 1).await;
    stage.append_durably(vec![record(0, 0, "old")]).await;
    let beyond = stage.range(0).await.end.after(5);
    let mut reader = stage.reader(&[(0, beyond)]).await;
    let mut all = stage.reader_of(&[0]).await;
    let mut count = 1;
    while stage.range(0).await.end <= beyond {
        stage.append_durably(vec![record(0, 0, format!("{count}"))]).await;
        count += 1;
    }
    let everything = read(&mut *all, count).await;
    let expected: Vec<_> = everything.into_iter().filter(|e| e.offset >= beyond).collect();
    assert!(!expected.is_empty(), "the end has passed the offset");
    assert_eq!(read(&mut *reader, expected.len()).await, expected);
}

/// A reader that has read everything gets each new batch.
pub async fn readers_follow_the_tail(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    let mut reader = stage.reader_of(&[0, 1]).await;
    for round in 0..50_u16 {
        let append = stage.append(vec![record(round % 2, 0, format!("{round}"))]);
        let (_, entries) = tokio::join!(append, read(&mut *reader, 1));
        assert_eq!(texts(&entries), [format!("{round}")]);
    }
}

/// Readers at different places and speeds each get everything, once.
pub async fn readers_do_not_disturb_each_other(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 3).await;
    let mut fast = stage.reader_of(&[0, 1, 2]).await;
    let mut slow = stage.reader_of(&[0, 1, 2]).await;
    let mut one = stage.reader_of(&[1]).await;
    let (mut of_fast, mut of_slow) = (Vec::new(), Vec::new());
    for round in 0..20 {
        stage.append((0..30).map(|i| record(i % 3, 0, format!("{round}/{i}"))).collect()).await;
        of_fast.extend(read(&mut *fast, 30).await);
        of_slow.extend(read(&mut *slow, 10).await);
    }
    of_slow.extend(read(&mut *slow, 400).await);
    let of_one = read(&mut *one, 200).await;
    for partition in 0..3 {
        assert_eq!(only(&of_fast, partition), only(&of_slow, partition));
    }
    assert_eq!(only(&of_fast, 1), of_one.iter().collect::<Vec<_>>());
}

/// Neither limit is passed, except by a single record that is larger alone.
pub async fn limits_are_kept(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 1).await;
    let sizes = [10, 10, 10, 500, 10, 0, 0, 0, 70, 30, 100, 1];
    let records = sizes.iter().map(|&size| sized(0, 0, vec![b'x'; size].into())).collect();
    stage.append_durably(records).await;
    let mut left: VecDeque<usize> = sizes.into();
    let mut reader = stage.reader_of(&[0]).await;
    let limits = [(1, 1000), (2, 1000), (100, 100), (0, 0), (3, 20), (100, 100), (usize::MAX, 100)];
    let mut limits = limits.into_iter().cycle();
    while !left.is_empty() {
        let (records, bytes) = limits.next().expect("a cycle does not end");
        let limit = ReadLimit { records, bytes };
        let entries = within("read", reader.next(limit)).await.expect("it can be read");
        let total: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        assert!(!entries.is_empty() && entries.len() <= records.max(1), "{limit:?}: {entries:?}");
        assert!(total <= bytes || entries.len() == 1, "{limit:?}: {entries:?}");
        for entry in entries {
            assert_eq!(Some(entry.payload.len()), left.pop_front());
        }
    }
}

/// A read that was given up before it returned has taken nothing.
pub async fn a_dropped_read_loses_nothing(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 1).await;
    let mut reader = stage.reader_of(&[0]).await;
    let mut found = Vec::new();
    for round in 0..40 {
        if let Some(read) = poll_immediate(reader.next(ALL)).await {
            found.extend(texts(&read.expect("it can be read")));
        }
        stage.append(vec![record(0, 0, format!("{round}"))]).await;
        if let Some(read) = poll_immediate(reader.next(ALL)).await {
            found.extend(texts(&read.expect("it can be read")));
        }
    }
    let rest = read(&mut *reader, 40 - found.len()).await;
    found.extend(texts(&rest));
    assert_eq!(found, (0..40).map(|round| format!("{round}")).collect::<Vec<_>>());
}

/// What is held comes on from where it was, also to who waits for it, and holds up nothing else.
pub async fn what_is_held_comes_on_where_it_was(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    let mut reader = stage.reader_of(&[0, 1]).await;
    let mut found = Vec::new();
    let of = |found: &[Entry], partition: u16| only(found, partition).len();
    for round in 0..20_usize {
        reader.hold((round % 2 == 0).then_some(Partition(0)).into_iter().collect());
        stage.append((0..50).map(|i| record(i % 2, 0, format!("{round}/{i}"))).collect()).await;
        while of(&found, 1) < 25 * (round + 1) {
            found.extend(read(&mut *reader, 1).await);
        }
    }
    reader.hold([Partition(0), Partition(1)].into());
    while let Some(read) = poll_immediate(reader.next(ALL)).await {
        found.extend(read.expect("it can be read"));
    }
    reader.hold(BTreeSet::new());
    found.extend(read(&mut *reader, 1_000 - found.len()).await);
    assert_eq!((of(&found, 0), of(&found, 1)), (500, 500));
    assert_offsets_grow(&found);
}

/// The first record that is not older, also when times do not grow; the end when there is none.
pub async fn time_is_looked_up(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    let times = [1_000, 1_010, 1_010, 990, 1_030, 1_020, 1_050];
    for (place, time) in times.into_iter().enumerate() {
        stage
            .append_durably(vec![record(1, 5_000, "other"), record(0, time, format!("{place}"))])
            .await;
    }
    let entries = read(&mut *stage.reader_of(&[0]).await, times.len()).await;
    for (wanted, place) in [(0, 0), (1_000, 0), (1_001, 1), (1_010, 1), (1_011, 4), (1_040, 6)] {
        let found = stage.journal.offset_at_time(Partition(0), wanted).await.expect("it looks up");
        assert_eq!(Some(found), entries.get(place).map(|entry| entry.offset), "time {wanted}");
    }
    let end = stage.range(0).await.end;
    let late = stage.journal.offset_at_time(Partition(0), 1_051).await.expect("it looks up");
    assert_eq!(late, end);
}

fn only(entries: &[Entry], partition: u16) -> Vec<&Entry> {
    entries.iter().filter(|entry| entry.partition.0 == partition).collect()
}

fn place_of(entry: &Entry) -> (u16, Offset) {
    (entry.partition.0, entry.offset)
}
