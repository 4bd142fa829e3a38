//! The spool keeps order and bounds over memory and disk.

use runtime::SystemClock;

use super::*;
use crate::looks::Looks;
use crate::piece::Peer;

fn config(memory_bytes: usize, disk_bytes: u64) -> (tempfile::TempDir, SpoolConfig) {
    let dir = tempfile::tempdir().unwrap();
    let config = SpoolConfig { dir: dir.path().join("spool"), memory_bytes, disk_bytes };
    (dir, config)
}

async fn spool_of(config: SpoolConfig) -> Result<(SpoolWriter, SpoolReader), SpoolError> {
    spool(config, &SystemClock::new(), Looks::default()).await
}

fn stream_at(text: &str, arrived_ms: i64) -> Piece {
    Piece::Stream { bytes: Bytes::copy_from_slice(text.as_bytes()), arrived_ms }
}

fn stream(text: &str) -> Piece {
    stream_at(text, 7)
}

fn snapshot(text: &str) -> Piece {
    Piece::Snapshot(Bytes::copy_from_slice(text.as_bytes()))
}

fn continued() -> Piece {
    let peer = Peer { shown: String::new(), era: wire::command::normalise::Era::V7_0 };
    Piece::Continued { peer, branch: None }
}

async fn drain(reader: &mut SpoolReader) -> Vec<Piece> {
    let mut out = Vec::new();
    while reader.shared.queue.lock().waiting.front().is_some() {
        out.extend(reader.pop().await.unwrap());
    }
    out
}

fn spool_files(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "spool")).count()
}

#[tokio::test]
async fn keeps_order_over_memory_and_disk() {
    let (_dir, config) = config(10, 1000);
    let (mut writer, mut reader) = spool_of(config).await.unwrap();
    let pieces: Vec<Piece> = (0..50)
        .map(|number| match number % 10 {
            9 => continued(),
            4 => snapshot(&format!("snapshot {number}")),
            _ => stream_at(&format!("piece {number}"), number * 1000),
        })
        .collect();
    for piece in &pieces {
        writer.push(piece.clone()).await.unwrap();
    }
    assert!(writer.gauge().held().disk_bytes > 0);
    drop(writer);
    assert_eq!(drain(&mut reader).await, pieces);
    assert_eq!(reader.pop().await.unwrap(), None);
}

#[tokio::test]
async fn small_pieces_on_disk_are_joined() {
    let (_dir, config) = config(1, 1_000_000);
    let (mut writer, mut reader) = spool_of(config).await.unwrap();
    writer.push(snapshot("ab")).await.unwrap();
    writer.push(snapshot("cd")).await.unwrap();
    writer.push(stream_at("ef", 100)).await.unwrap();
    writer.push(stream_at("gh", 110)).await.unwrap();
    writer.push(stream_at("ij", 111)).await.unwrap();
    writer.push(stream_at("kl", 105)).await.unwrap();
    let long = "x".repeat(JOINED_BYTES - 1);
    writer.push(stream_at(&long, 105)).await.unwrap();
    assert_eq!(writer.gauge().held().disk_bytes, 12 + long.len() as u64);
    let expected = [
        snapshot("abcd"),
        stream_at("efgh", 100),
        stream_at("ij", 111),
        stream_at("kl", 105),
        stream_at(&long, 105),
    ];
    assert_eq!(drain(&mut reader).await, expected);
    assert_eq!(writer.gauge().held(), SpoolUse::default());
}

#[tokio::test]
async fn what_is_being_read_is_not_added_to() {
    let (_dir, config) = config(1, 1000);
    let (mut writer, mut reader) = spool_of(config).await.unwrap();
    for number in 0..20 {
        let text = format!("piece {number}");
        writer.push(stream(&text)).await.unwrap();
        assert_eq!(reader.pop().await.unwrap(), Some(stream(&text)));
    }
    assert_eq!(writer.gauge().held(), SpoolUse::default());
}

#[tokio::test]
async fn goes_back_to_memory_once_the_disk_is_drained() {
    let (_dir, config) = config(10, 1000);
    let (mut writer, mut reader) = spool_of(config).await.unwrap();
    for number in 0..5 {
        writer.push(stream(&format!("piece {number}"))).await.unwrap();
    }
    assert!(writer.gauge().held().disk_bytes > 0);
    drain(&mut reader).await;
    assert_eq!(writer.gauge().held(), SpoolUse::default());
    writer.push(stream("next")).await.unwrap();
    assert_eq!(writer.gauge().held(), SpoolUse { memory_bytes: 4, disk_bytes: 0 });
}

#[tokio::test]
async fn fails_beyond_the_disk_share() {
    let (_dir, config) = config(4, 10);
    let (mut writer, mut reader) = spool_of(config).await.unwrap();
    writer.push(stream("1234")).await.unwrap();
    writer.push(stream("1234567890")).await.unwrap();
    let error = writer.push(stream("1")).await.unwrap_err();
    assert!(matches!(error, SpoolError::Full { limit: 10, .. }), "{error}");
    drop(writer);
    assert_eq!(drain(&mut reader).await, [stream("1234"), stream("1234567890")]);
}

#[tokio::test]
async fn wakes_a_waiting_reader() {
    let (_dir, config) = config(100, 100);
    let (mut writer, mut reader) = spool_of(config).await.unwrap();
    let (popped, ()) = tokio::join!(reader.pop(), async {
        tokio::task::yield_now().await;
        writer.push(stream("late")).await.unwrap();
    });
    assert_eq!(popped.unwrap(), Some(stream("late")));
    let (popped, ()) = tokio::join!(reader.pop(), async {
        tokio::task::yield_now().await;
        drop(writer);
    });
    assert_eq!(popped.unwrap(), None);
}

#[tokio::test]
async fn what_comes_waits_for_a_look_that_began_after_it_had_come() {
    // In memory, and on disk.
    for memory_bytes in [1000, 0] {
        let (_dir, config) = config(memory_bytes, 1000);
        let looks = Looks::needed();
        let (mut writer, mut reader) =
            spool(config, &SystemClock::new(), looks.clone()).await.unwrap();
        writer.push(stream_at("before", 0)).await.unwrap();
        let look = looks.begin();
        writer.push(stream_at("meanwhile", 10)).await.unwrap();
        drop(writer);
        assert!(!is_ready(&mut reader).await);
        looks.found(look);
        if memory_bytes > 0 {
            assert_eq!(reader.pop().await.unwrap(), Some(stream_at("before", 0)));
        }
        assert!(!is_ready(&mut reader).await);
        // Who waits for the next is woken by it, and what goes together in a file goes with the last of it.
        let (popped, ()) = tokio::join!(reader.pop(), async { looks.found(looks.begin()) });
        let rest = if memory_bytes > 0 { "meanwhile" } else { "beforemeanwhile" };
        assert!(matches!(popped, Ok(Some(Piece::Stream { bytes, .. })) if bytes == rest));
        assert_eq!(reader.pop().await.unwrap(), None);
    }
}

async fn is_ready(reader: &mut SpoolReader) -> bool {
    tokio::select! {
        biased;
        _ = reader.pop() => true,
        () = tokio::task::yield_now() => false,
    }
}

#[tokio::test]
async fn leaves_no_file_behind_and_removes_those_of_before() {
    let (_dir, config) = config(1, 1000);
    let dir = config.dir.clone();
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("00000000.spool"), "of a run before").unwrap();
    std::fs::write(dir.join("notes"), "not ours").unwrap();
    let (mut writer, reader) = spool_of(config).await.unwrap();
    writer.push(stream("to disk")).await.unwrap();
    assert_eq!(spool_files(&dir), 1);
    drop(writer);
    drop(reader);
    assert_eq!(spool_files(&dir), 0);
    assert!(dir.join("notes").exists());
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_left_alone() {
    let (_dir, config) = config(1, 1000);
    let (mut writer, mut reader) = spool_of(config.clone()).await.unwrap();
    writer.push(stream("to disk")).await.unwrap();
    let error = spool_of(config.clone()).await.unwrap_err();
    assert!(matches!(error, SpoolError::InUse { .. }), "{error}");
    assert_eq!(reader.pop().await.unwrap(), Some(stream("to disk")));
    // One that goes in a moment is waited for.
    let (second, ()) = tokio::join!(spool_of(config), async {
        tokio::task::yield_now().await;
        drop((writer, reader));
    });
    second.unwrap();
}

#[tokio::test]
async fn disk_space_comes_back_while_a_long_backlog_is_read() {
    let (_dir, config) = config(1, 1 << 30);
    let dir = config.dir.clone();
    let (mut writer, mut reader) = spool_of(config).await.unwrap();
    let megabyte = "x".repeat(1 << 20);
    for _ in 0..130 {
        writer.push(stream(&megabyte)).await.unwrap();
    }
    assert_eq!(spool_files(&dir), 3);
    for _ in 0..129 {
        reader.pop().await.unwrap().unwrap();
    }
    assert_eq!(spool_files(&dir), 1);
}

#[tokio::test]
async fn what_is_put_aside_counts_in_the_disk_share_until_it_is_dropped() {
    let (_dir, config) = config(0, 10);
    let path = config.dir.clone();
    let (mut writer, reader) = spool_of(config).await.unwrap();
    let mut aside = reader.asides().for_transaction().unwrap();
    aside.put(&[Bytes::from_static(b"fi"), Bytes::from_static(b"rst")]).await.unwrap();
    aside.put(&[Bytes::from_static(b"2nd")]).await.unwrap();
    assert_eq!((writer.gauge().held().disk_bytes, spool_files(&path)), (8, 1));
    let refused = aside.put(&[Bytes::from_static(b"3rd")]).await.unwrap_err();
    assert!(matches!(refused, SpoolError::Full { limit: 10, .. }), "{refused}");
    let refused = writer.push(stream("3rd")).await.unwrap_err();
    assert!(matches!(refused, SpoolError::Full { limit: 10, .. }), "{refused}");
    assert_eq!(aside.take(5).unwrap(), b"first"[..]);
    assert_eq!(aside.take(3).unwrap(), b"2nd"[..]);
    aside.take(1).unwrap_err();
    drop(aside);
    assert_eq!((writer.gauge().held().disk_bytes, spool_files(&path)), (0, 0));
    writer.push(stream("there is room again")).await.unwrap_err();
    writer.push(stream("3rd")).await.unwrap();
}

#[tokio::test]
async fn what_a_killed_run_had_put_aside_is_removed_at_the_start() {
    let (_dir, config) = config(0, 10);
    let reader = spool_of(config.clone()).await.unwrap().1;
    let aside = reader.asides().for_transaction().unwrap();
    // As after a kill: the file is there, and nobody has the directory.
    let left = config.dir.join("transaction.spool");
    drop((aside, reader));
    std::fs::write(&left, b"of a run before").unwrap();
    let _again = spool_of(config).await.unwrap();
    assert!(!left.exists());
}
