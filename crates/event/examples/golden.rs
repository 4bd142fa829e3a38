//! Writes the golden files that are missing. Those that are there stay as they are, for ever.

#[path = "../tests/golden/values.rs"]
mod values;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use bytes::BytesMut;
use event::{codec, text};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut description = String::new();
    for (name, event) in values::events() {
        let mut buf = BytesMut::new();
        codec::encode(&event, &mut buf)?;
        write_new(&format!("{name}.bin"), &buf)?;
        description += &text::json(&event);
        description.push('\n');
    }
    for (name, checkpoint) in values::checkpoints() {
        let mut buf = BytesMut::new();
        codec::checkpoint::encode(&checkpoint, &mut buf)?;
        write_new(&format!("{name}.bin"), &buf)?;
    }
    write_new("events.jsonl", description.as_bytes())?;
    Ok(())
}

fn write_new(name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    match File::create_new(folder.join(name)) {
        Ok(mut file) => file.write_all(bytes),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
