//! What fuzz targets run, and what must hold whatever the bytes are.
//!
//! The targets under `tests/fuzz` are one line each over these functions. The same functions run
//! over the targets' seeds as ordinary tests, so that a seed that once found something stays found.

use bytes::{Bytes, BytesMut};

use crate::command::keys::keys as keys_of;
use crate::command::normalise::{Context, Era, Normalised, normalise as normalise_one};
use crate::command::script::{Followed, Scripts};
use crate::command::{is_whole_state, lookup, overlap_safe};
use crate::resp::encode::write_command;
use crate::resp::reply::{Reply, ReplyDecoder, ReplyError, ReplyLimits};
use crate::resp::scan::{RawCommand, ScanError, ScanLimits, StreamScanner};

/// A byte stream scanned whole and byte by byte: the same commands, and no byte lost.
///
/// # Panics
/// When the scanner is wrong.
pub fn scan(data: &[u8]) {
    let (whole, error) = scan_chunks([data]);
    let (pieces, piecewise_error) = scan_chunks(data.chunks(1));
    assert_eq!(error, piecewise_error);
    assert!(whole.iter().map(words).eq(pieces.iter().map(words)));
    let mut rest = data;
    for command in &whole {
        rest = rest.strip_prefix(command.frame().as_ref()).expect("frames are the stream");
        let mut copy = BytesMut::new();
        write_command(&mut copy, command.iter());
        let (again, _) = scan_chunks([copy.as_ref()]);
        assert!(command.is_blank() || again.iter().map(words).eq([words(command)]));
    }
}

/// Replies decoded whole and byte by byte: the same.
///
/// # Panics
/// When the decoder is wrong.
pub fn reply(data: &[u8]) {
    assert_eq!(decode_chunks([data]), decode_chunks(data.chunks(1)));
}

/// The keys of a command, given as lines: they are among its arguments.
///
/// # Panics
/// When they are not.
pub fn keys(data: &[u8]) {
    let args: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let Some(spec) = lookup(args.as_slice()) else { return };
    let _judged = (overlap_safe(spec, args.as_slice()), is_whole_state(spec, args.as_slice()));
    if let Ok(keys) = keys_of(spec, args.as_slice()) {
        assert!(keys.iter().all(|key| key.index > 0 && key.index < args.len()));
        assert!(keys.len() < args.len() * 2);
    }
}

/// A command, given as lines, made independent of time: what comes out stays as it is, whenever it
/// is judged.
///
/// # Panics
/// When it does not.
pub fn normalise(data: &[u8]) {
    let args: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let Some(spec) = lookup(args.as_slice()) else { return };
    let mut scripts = Scripts::default();
    if let Ok(Followed::Run(words)) = scripts.follow(args.as_slice()) {
        assert_eq!(scripts.follow(&words), Ok(Followed::Run(words)));
    }
    let now = Context { source: Era::V5_0, received_at_ms: 1_700_000_000_000 };
    let outcome = normalise_one(spec, args.as_slice(), &now);
    if let Ok(Normalised::Rewritten { spec, args }) = outcome {
        let later = Context { source: Era::V7_0, received_at_ms: 1_800_000_000_000 };
        assert_eq!(normalise_one(spec, &args, &later), Ok(Normalised::Verbatim));
    }
}

fn words(command: &RawCommand) -> Vec<&[u8]> {
    command.iter().collect()
}

fn scan_chunks<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<RawCommand>, Option<ScanError>) {
    let limits =
        ScanLimits { max_args: 1 << 10, max_bulk_bytes: 1 << 16, max_frame_bytes: 1 << 20 };
    let mut scanner = StreamScanner::new(limits);
    let mut commands = Vec::new();
    for chunk in chunks {
        scanner.feed(Bytes::copy_from_slice(chunk));
        loop {
            match scanner.next_command() {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => break,
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}

fn decode_chunks<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Reply>, Option<ReplyError>) {
    let mut decoder = ReplyDecoder::new(ReplyLimits { max_depth: 8, max_bytes: 1 << 16 });
    let mut replies = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        loop {
            match decoder.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

#[cfg(test)]
#[path = "../../../tests/fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scanner_survives_its_seeds() {
        seeds::run("resp_scan", scan);
    }

    #[test]
    fn the_reply_decoder_survives_its_seeds() {
        seeds::run("resp_reply", reply);
    }

    #[test]
    fn the_key_finders_survive_their_seeds() {
        seeds::run("command_keys", keys);
    }

    #[test]
    fn the_rewrites_survive_their_seeds() {
        seeds::run("command_normalise", normalise);
    }

    #[test]
    fn the_file_parser_survives_its_seeds() {
        seeds::run("rdb", crate::rdb::fuzzing::file);
    }

    #[test]
    fn the_value_decoders_survive_their_seeds() {
        seeds::run("rdb_value", crate::rdb::fuzzing::whole_value);
    }

    #[test]
    fn what_other_servers_take_survives_its_seeds() {
        seeds::run("rdb_lower", crate::rdb::fuzzing::lowered);
    }

    #[test]
    fn payloads_survive_their_seeds() {
        seeds::run("dump", crate::rdb::fuzzing::payload);
    }
}
