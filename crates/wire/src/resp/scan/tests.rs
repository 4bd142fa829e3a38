//! The scanner against a full decoder, byte by byte accounting, limits, and the bound on its work.

use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

use super::*;
use crate::resp::encode::write_command;

fn scan(chunks: &[&[u8]]) -> Result<Vec<RawCommand>, ScanError> {
    let mut scanner = StreamScanner::default();
    let mut commands = Vec::new();
    for chunk in chunks {
        scanner.feed(Bytes::copy_from_slice(chunk));
        while let Some(command) = scanner.next_command()? {
            commands.push(command);
        }
    }
    Ok(commands)
}

fn words(command: &RawCommand) -> Vec<&[u8]> {
    command.iter().collect()
}

/// What a decoder that is not ours makes of the same bytes.
fn decode_all(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut commands = Vec::new();
    while let Ok(Some((OwnedFrame::Array(items), length))) = decode(bytes) {
        let words = items.into_iter().map(|item| match item {
            OwnedFrame::BulkString(word) => word,
            other => panic!("not a bulk string: {other:?}"),
        });
        commands.push(words.collect());
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty());
    commands
}

proptest! {
    #[test]
    fn finds_what_a_full_decoder_finds_however_the_bytes_are_cut(
        commands in vec(vec(vec(any::<u8>(), 0..40), 1..12), 0..12),
        cuts in vec(1_usize..50, 0..60),
    ) {
        let mut stream = BytesMut::new();
        for command in &commands {
            write_command(&mut stream, command);
        }
        let mut chunks = Vec::new();
        let mut rest = stream.as_ref();
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);

        let found = scan(&chunks).expect("valid commands");
        let frames: Vec<u8> = found.iter().flat_map(|command| command.frame().to_vec()).collect();
        prop_assert_eq!(&frames[..], stream.as_ref());
        let found: Vec<Vec<Vec<u8>>> = found
            .iter()
            .map(|command| command.iter().map(<[u8]>::to_vec).collect())
            .collect();
        prop_assert_eq!(found, decode_all(&stream));
    }

    #[test]
    fn judges_any_bytes_alike_however_they_are_cut(
        bytes in vec(prop_oneof![
            4 => prop::sample::select(b"*$\r\n0123 -".to_vec()),
            1 => any::<u8>(),
        ], 0..80),
        size in 1_usize..10,
    ) {
        let whole = scan(&[&bytes]).map(|commands| commands.len());
        let pieces = scan(&bytes.chunks(size).collect::<Vec<_>>()).map(|commands| commands.len());
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn copies_nothing_of_a_command_that_lies_within_a_chunk() {
    let chunk = Bytes::from_static(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*1\r\n$4\r\nPING\r\n");
    let mut scanner = StreamScanner::default();
    scanner.feed(chunk.clone());
    let first = scanner.next_command().expect("valid").expect("whole");
    assert_eq!(first.frame().as_ptr(), chunk.as_ptr());
    let key = first.bytes(1).expect("two arguments");
    assert_eq!(key.as_ptr(), chunk.slice(18..).as_ptr());
    assert_eq!((scanner.yielded(), scanner.buffered()), (21, 14));
}

#[test]
fn counts_newlines_and_inline_commands() {
    let found =
        scan(&[b"\n*1\r\n$4\r\nPING\r\nPI", b"NG\r\n", b"set  k v\n", b"*0\r\n*-1\r\n\r", b"\n"])
            .expect("all of it is tolerated");
    let words: Vec<_> = found.iter().map(words).collect();
    assert_eq!(
        words,
        [
            vec![],
            vec![b"PING".as_slice()],
            vec![b"PING"],
            vec![b"set", b"k", b"v"],
            vec![],
            vec![],
            vec![]
        ]
    );
    let lengths: Vec<_> = found.iter().map(|command| command.frame().len()).collect();
    assert_eq!(lengths, [1, 14, 6, 9, 4, 5, 2]);
    assert!(found[0].is_blank() && !found[1].is_blank());
}

#[test]
fn takes_chunks_ahead_of_the_commands() {
    let mut scanner = StreamScanner::default();
    for chunk in [b"*2\r\n$3\r\nDE".as_slice(), b"L\r\n$2\r", b"\nab\r\n*1", b"\r\n$4\r\nPING\r\n"]
    {
        scanner.feed(Bytes::copy_from_slice(chunk));
    }
    let first = scanner.next_command().expect("valid").expect("whole");
    assert_eq!(words(&first), [b"DEL".as_slice(), b"ab"]);
    let second = scanner.next_command().expect("valid").expect("whole");
    assert_eq!(words(&second), [b"PING".as_slice()]);
    assert!(scanner.next_command().expect("valid").is_none());
    assert_eq!(scanner.buffered(), 0);
}

#[test]
fn looks_at_each_argument_a_bounded_number_of_times() {
    const ARGS: usize = 100_000;
    let mut stream = BytesMut::new();
    write_command(&mut stream, std::iter::repeat_n(b"member", ARGS));
    let stream = stream.freeze();
    let mut scanner = StreamScanner::default();
    let mut found = None;
    let mut chunks = 0;
    for start in (0..stream.len()).step_by(100) {
        scanner.feed(stream.slice(start..stream.len().min(start + 100)));
        chunks += 1;
        found = scanner.next_command().expect("valid");
    }
    assert_eq!(found.expect("whole").len(), ARGS);
    assert!(scanner.scan.work <= 4 * ARGS + 2 * chunks, "{} steps", scanner.scan.work);
}

#[test]
fn reserves_the_room_of_a_large_argument_at_once() {
    let length = 8 << 20;
    let mut scanner = StreamScanner::default();
    scanner.feed(Bytes::from(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n")));
    let chunk = Bytes::from(vec![b'x'; 64 << 10]);
    let mut places = Vec::new();
    for _ in 0..length / chunk.len() {
        scanner.feed(chunk.clone());
        assert!(scanner.next_command().expect("valid").is_none());
        places.push(scanner.partial.as_ptr());
    }
    places.dedup();
    assert_eq!(places.len(), 1, "the argument was moved while it arrived");
    scanner.feed(Bytes::from_static(b"\r\n"));
    let command = scanner.next_command().expect("valid").expect("whole");
    assert_eq!(command.get(2).map(<[u8]>::len), Some(length));
}

#[test]
fn refuses_what_is_no_command_and_says_where() {
    let cases: [(&[u8], u64, &str); 8] = [
        (b"*1\r\n+OK\r\n", 4, "expected a bulk string, found byte 0x2b"),
        (b"*1\r\n$2\r\nabc\r\n", 8, "expected the end of an argument, found byte 0x63"),
        (b"*x\r\n", 0, "a length that is not a number"),
        (b"*\r\n", 0, "a length that is not a number"),
        (b"*1\rx", 0, "a length that is not a number"),
        (b"*1\r\n$-1\r\n", 4, "a length that is not a number"),
        (b"*1\r\n$99999999999999999999\r\n", 4, "a length that is not a number"),
        (b"*1\r\n$9999999999999\r\n", 4, "an argument of 9999999999999 bytes"),
    ];
    for (bytes, at, text) in cases {
        let stream = [b"*1\r\n$4\r\nPING\r\n", bytes].concat();
        let error = scan(&[&stream]).expect_err("refused");
        assert_eq!(error.at, 14 + at, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn stays_failed() {
    let mut scanner = StreamScanner::default();
    scanner.feed(Bytes::from_static(b"*1\r\n+"));
    let error = scanner.next_command().expect_err("refused");
    scanner.feed(Bytes::from_static(b"*1\r\n$4\r\nPING\r\n"));
    assert_eq!(scanner.next_command().expect_err("still refused"), error);
}

#[test]
fn holds_its_limits() {
    let limits = ScanLimits { max_args: 2, max_bulk_bytes: 10, max_frame_bytes: 30 };
    let refused = |bytes: &'static [u8]| {
        let mut scanner = StreamScanner::new(limits);
        scanner.feed(Bytes::from_static(bytes));
        scanner.next_command().map(|command| command.is_some()).map_err(|error| error.kind)
    };
    assert_eq!(refused(b"*2\r\n$1\r\na\r\n$10\r\n0123456789\r\n"), Ok(true));
    assert_eq!(refused(b"*3\r\n"), Err(ScanErrorKind::TooManyArguments { found: 3, limit: 2 }));
    assert_eq!(refused(b"*1\r\n$11\r\n"), Err(ScanErrorKind::BulkTooLong { found: 11, limit: 10 }));
    assert_eq!(
        refused(b"*2\r\n$10\r\n0123456789\r\n$10\r\n"),
        Err(ScanErrorKind::FrameTooLong { limit: 30 })
    );
}

#[test]
fn refuses_an_inline_command_without_an_end() {
    let line = vec![b'a'; 70 << 10];
    let error = scan(&[&line]).expect_err("refused");
    assert_eq!(error.kind, ScanErrorKind::InlineTooLong { limit: 64 << 10 });
}
