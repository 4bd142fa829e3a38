//! Order: per partition always, over partitions where it is claimed.

use super::Backend;
use super::stage::{Stage, assert_offsets_grow, read, record, texts, within};

/// What goes into a partition comes out in the same order, with the same bytes and times.
pub async fn a_partition_is_read_as_it_was_written(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 2).await;
    let mut expected = Vec::new();
    for batch in 0..10_i64 {
        let records: Vec<_> =
            (0..20).map(|i| record(1, batch - i, format!("{batch}/{i}"))).collect();
        expected.extend(records.iter().map(|r| (r.timestamp_ms, r.payload.clone())));
        stage.append(records).await;
    }
    let entries = read(&mut *stage.reader_of(&[1]).await, expected.len()).await;
    assert_offsets_grow(&entries);
    assert!(entries.iter().all(|entry| entry.partition.0 == 1), "another partition's record");
    let found: Vec<_> = entries.into_iter().map(|e| (e.timestamp_ms, e.payload)).collect();
    assert_eq!(found, expected);
}

/// A stream that says so returns records of all partitions in append order.
pub async fn a_total_order_is_kept_where_it_is_claimed(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 4).await;
    let described = within("describe", stage.journal.describe()).await.expect("it describes");
    let mut expected = Vec::new();
    for batch in 0..10_u16 {
        let records: Vec<_> =
            (0..30).map(|i| record((i * 7 + batch) % 4, 0, format!("{batch}/{i}"))).collect();
        expected.extend(texts_of(&records));
        stage.append(records).await;
    }
    let entries = read(&mut *stage.reader_of(&[3, 1, 0, 2]).await, expected.len()).await;
    assert_offsets_grow(&entries);
    let mut found = texts(&entries);
    if !described.totally_ordered {
        found.sort();
        expected.sort();
    }
    assert_eq!(found, expected);
}

/// Records of other partitions are left out.
pub async fn a_reader_sees_only_what_it_asked_for(backend: &dyn Backend) {
    let mut stage = Stage::new(backend, 5).await;
    let records: Vec<_> = (0..100).map(|i| record(i % 5, 0, format!("{}:{i}", i % 5))).collect();
    stage.append(records).await;
    let entries = read(&mut *stage.reader_of(&[1, 4]).await, 40).await;
    assert_offsets_grow(&entries);
    for wanted in [1_u16, 4] {
        let of_one: Vec<_> =
            entries.iter().filter(|entry| entry.partition.0 == wanted).cloned().collect();
        let expected: Vec<_> = (0..20).map(|i| format!("{wanted}:{}", i * 5 + wanted)).collect();
        assert_eq!(texts(&of_one), expected);
    }
}

fn texts_of(records: &[crate::Append]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}
