//! The spool keeps order and bounds over memory and disk.

use super::*;

fn config(memory_bytes: usize, disk_bytes: u64) -> (tempfile::TempDir, SpoolConfig) {
    let dir = tempfile::tempdir().unwrap();
    let config = SpoolConfig { dir: dir.path().join("spool"), memory_bytes, disk_bytes };
    (dir, config)
}

fn stream(text: &str) -> Piece {
    Piece::Stream { bytes: Bytes::copy_from_slice(text.as_bytes()), arrived_ms: 7 }
}

#[tokio::test]
async fn keeps_order_over_memory_and_disk() {
    let (_dir, config) = config(10, 1000);
    let (mut writer, mut reader) = spool(config).unwrap();
    let pieces: Vec<Piece> = (0..50)
        .map(|number| match number % 10 {
            9 => Piece::Continued(None),
            4 => Piece::Snapshot(Bytes::from(format!("snapshot {number}"))),
            _ => stream(&format!("piece {number}")),
        })
        .collect();
    for piece in &pieces {
        writer.push(piece.clone()).await.unwrap();
    }
    assert!(writer.gauge().held().disk_bytes > 0);
    drop(writer);
    let mut out = Vec::new();
    while let Some(piece) = reader.pop().await.unwrap() {
        out.push(piece);
    }
    assert_eq!(out, pieces);
}

#[tokio::test]
async fn goes_back_to_memory_once_the_disk_is_drained() {
    let (_dir, config) = config(10, 1000);
    let (mut writer, mut reader) = spool(config).unwrap();
    for number in 0..5 {
        writer.push(stream(&format!("piece {number}"))).await.unwrap();
    }
    for _ in 0..5 {
        reader.pop().await.unwrap().unwrap();
    }
    assert_eq!(writer.gauge().held(), SpoolUse::default());
    writer.push(stream("next")).await.unwrap();
    assert_eq!(writer.gauge().held(), SpoolUse { memory_bytes: 4, disk_bytes: 0 });
}

#[tokio::test]
async fn fails_beyond_the_disk_share() {
    let (_dir, config) = config(4, 10);
    let (mut writer, _reader) = spool(config).unwrap();
    writer.push(stream("1234")).await.unwrap();
    writer.push(stream("1234567890")).await.unwrap();
    let error = writer.push(stream("1")).await.unwrap_err();
    assert!(matches!(error, SpoolError::Full { limit: 10, .. }), "{error}");
}

#[tokio::test]
async fn wakes_a_waiting_reader() {
    let (_dir, config) = config(100, 100);
    let (mut writer, mut reader) = spool(config).unwrap();
    let (popped, ()) = tokio::join!(reader.pop(), async {
        tokio::task::yield_now().await;
        writer.push(stream("late")).await.unwrap();
    });
    assert_eq!(popped.unwrap(), Some(stream("late")));
}

#[tokio::test]
async fn leaves_no_file_behind() {
    let (_dir, config) = config(1, 1000);
    let dir = config.dir.clone();
    let (mut writer, reader) = spool(config).unwrap();
    writer.push(stream("to disk")).await.unwrap();
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    drop(writer);
    drop(reader);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}
