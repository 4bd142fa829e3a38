//! What third parties see: events written by keyferry, read by Python's protobuf with code made
//! from the schema alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use event::image::{Flavour, Image, ImageHead, ImageValue};
use event::{Body, Effect, Event, KeyArgs, Position, Shard, Stamp, codec};
use prost::encoding::encode_varint;
use serde_json::{Value, json};
use wire::slot::Slot;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The interpreter that `scripts/python-env` prepares; like there, a relative cache starts at the
/// project's root.
fn python() -> Result<PathBuf> {
    let cache = std::env::var_os("KEYFERRY_CACHE").unwrap_or_else(|| ".cache".into());
    let python = root().join(cache).join("python/bin/python");
    if !python.exists() {
        bail!("{} is missing: run scripts/python-env", python.display());
    }
    Ok(python)
}

/// What Python makes of encoded events: a value each, and the events as it encodes them itself.
fn read_with_python(events: &[Bytes]) -> Result<(Vec<Value>, Vec<u8>)> {
    let folder = tempfile::tempdir()?;
    let (file, copy) = (folder.path().join("events"), folder.path().join("copy"));
    std::fs::write(&file, delimited(events))?;
    let output = Command::new(python()?)
        .arg(root().join("tests/python/read_events.py"))
        .args([&root().join("proto"), &file, &copy])
        .output()
        .context("run read_events.py")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "read_events.py: {}: {errors}", output.status);
    let lines = String::from_utf8(output.stdout)?;
    let values = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok((values, std::fs::read(&copy)?))
}

fn delimited(events: &[Bytes]) -> Vec<u8> {
    let mut file = Vec::new();
    for event in events {
        encode_varint(event.len() as u64, &mut file);
        file.extend_from_slice(event);
    }
    file
}

fn encoded(event: &Event) -> Result<Bytes> {
    let mut buf = BytesMut::new();
    codec::encode(event, &mut buf)?;
    Ok(buf.freeze())
}

/// Every golden event, in the order of names.
fn golden() -> Result<Vec<Bytes>> {
    let folder = root().join("crates/event/tests/golden/v1");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".bin") && !name.starts_with("checkpoint") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|file| Ok(std::fs::read(file)?.into())).collect()
}

fn event(body: Body) -> Event {
    let key = Bytes::from_static(b"\x00key\xff");
    Event {
        position: Position { shard: Shard(3), epoch: 2, offset: u64::MAX, index: 7 },
        stamp: Stamp { time_ms: 1_760_000_000_123, counter: 4, site: "köln".to_owned() },
        db: 15,
        slot: Slot::of_key(&key),
        key,
        body,
        seen: vec![],
    }
}

fn image(expire_at_ms: Option<i64>) -> Body {
    let (idle_s, freq) = (None, Some(0));
    let head = ImageHead {
        type_byte: 4,
        flavour: Flavour::Valkey,
        rdb_version: 80,
        expire_at_ms,
        idle_s,
        freq,
        snapshot_id: 0,
    };
    Body::Image(Image { head, value: ImageValue::Rdb(Bytes::new()) })
}

#[test]
fn python_sees_position_stamp_key_and_arguments() -> Result<()> {
    let args = [&b"LMOVE"[..], b"\x00key\xff", b"", b"LEFT", b"RIGHT"].map(Bytes::from_static);
    let command = event::Command {
        args: args.to_vec(),
        effect: Effect::Merge,
        keys: KeyArgs::Listed { written: vec![1, 2], read: vec![] },
    };
    let (values, _) = read_with_python(&[encoded(&event(Body::Command(command)))?])?;
    let expected = json!({
        "schema": 1,
        "position": { "shard": 3, "epoch": "2", "offset": "18446744073709551615", "index": "7" },
        "stamp": { "time_ms": "1760000000123", "counter": 4, "site": "köln" },
        "db": 15,
        "slot": Slot::of_key(b"\x00key\xff").get(),
        "key": "AGtlef8=",
        "command": {
            "args": ["TE1PVkU=", "AGtlef8=", "", "TEVGVA==", "UklHSFQ="],
            "effect": "EFFECT_MERGE",
            "written": [1, 2],
        },
    });
    assert_eq!(values, [expected]);
    Ok(())
}

#[test]
fn python_tells_absent_from_zero() -> Result<()> {
    let events = [image(None), image(Some(0))].map(event);
    let events: Vec<_> = events.iter().map(encoded).collect::<Result<_>>()?;
    let (values, _) = read_with_python(&events)?;
    let head = json!({ "type": 4, "flavour": "FLAVOUR_VALKEY", "rdb_version": 80, "freq": 0 });
    let mut with_expiry = head.clone();
    with_expiry["expire_at_ms"] = json!("0");
    assert_eq!(values[0]["image"], json!({ "head": head, "rdb": "" }));
    assert_eq!(values[1]["image"], json!({ "head": with_expiry, "rdb": "" }));
    Ok(())
}

#[test]
fn python_reads_every_kind_and_writes_the_same_bytes() -> Result<()> {
    let events = golden()?;
    ensure!(!events.is_empty(), "no golden events");
    let (values, copy) = read_with_python(&events)?;
    assert_eq!(values.len(), events.len());
    for (value, bytes) in values.iter().zip(&events) {
        let event = codec::decode(bytes.clone())?;
        let body = match &event.body {
            Body::Command(_) => "command",
            Body::Image(_) => "image",
            Body::ImagePart(_) => "image_part",
            Body::Group(_) => "group",
            Body::Fragment(_) => "fragment",
            Body::Control(_) => "control",
        };
        assert!(value[body].is_object(), "{} is no {body} to Python: {value}", event.kind());
        assert_eq!(value["position"]["offset"], event.position.offset.to_string());
        assert_eq!(value["stamp"]["site"], event.stamp.site);
    }
    // What the schema did not name would be gone, or in another place.
    assert_eq!(copy, delimited(&events));
    Ok(())
}

#[test]
fn python_stops_at_a_kind_that_it_does_not_know() -> Result<()> {
    // Schema 1, empty position and stamp, and a field 13 that no version has.
    let unknown = Bytes::from_static(&[8, 1, 0x12, 0, 0x1a, 0, 0x6a, 0]);
    let refused = read_with_python(&[unknown]).unwrap_err();
    assert!(refused.to_string().contains("a kind that this schema does not have"), "{refused}");
    Ok(())
}
