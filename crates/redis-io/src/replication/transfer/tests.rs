//! Framing, on hand-written input and on every way to cut it.

use runtime::Random;

use super::*;

const MARK: &str = "0123456789abcdef0123456789abcdef01234567";

/// Feeds the chunks, joins neighbouring bytes, stops at an error.
fn run<'a>(
    mut transfer: Transfer,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event>, Option<TransferError>) {
    let mut events: Vec<Event> = Vec::new();
    for chunk in chunks {
        transfer.feed(Bytes::copy_from_slice(chunk));
        loop {
            match transfer.next_event() {
                Ok(Some(event)) => push_joined(&mut events, event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

fn push_joined(events: &mut Vec<Event>, event: Event) {
    let joined = match (events.last_mut(), &event) {
        (Some(Event::SnapshotBytes(bytes)), Event::SnapshotBytes(more))
        | (Some(Event::StreamBytes(bytes)), Event::StreamBytes(more)) => {
            *bytes = [bytes.as_ref(), more].concat().into();
            true
        }
        _ => false,
    };
    if !joined {
        events.push(event);
    }
}

fn run_whole(input: &[u8]) -> (Vec<Event>, Option<TransferError>) {
    run(Transfer::full(), [input])
}

fn snapshot(text: &'static str) -> Event {
    Event::SnapshotBytes(Bytes::from_static(text.as_bytes()))
}

fn stream(text: &'static str) -> Event {
    Event::StreamBytes(Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_snapshot_by_length_ends_after_exactly_that_many_bytes() {
    let (events, error) = run_whole(b"\n\n$9\r\nREDIS0011*1\r\n$4\r\nPING\r\n");
    let expected = [
        Event::Keepalive,
        Event::Keepalive,
        Event::SnapshotStart(SnapshotSize::Length(9)),
        snapshot("REDIS0011"),
        Event::SnapshotEnd,
        stream("*1\r\n$4\r\nPING\r\n"),
    ];
    assert_eq!((events.as_slice(), error), (expected.as_slice(), None));
}

#[test]
fn a_snapshot_by_mark_ends_at_the_mark() {
    let input = format!("$EOF:{MARK}\r\nREDIS0011 0123 data{MARK}\n*1");
    let (events, error) = run_whole(input.as_bytes());
    let expected = [
        Event::SnapshotStart(SnapshotSize::UntilMark),
        snapshot("REDIS0011 0123 data"),
        Event::SnapshotEnd,
        stream("\n*1"),
    ];
    assert_eq!((events.as_slice(), error), (expected.as_slice(), None));
}

#[test]
fn the_end_is_told_before_any_stream_byte_has_come() {
    let (events, _) = run_whole(format!("$EOF:{MARK}\r\nx{MARK}").as_bytes());
    assert_eq!(events.last(), Some(&Event::SnapshotEnd));
    let (events, _) = run_whole(b"$1\r\nx");
    assert_eq!(events.last(), Some(&Event::SnapshotEnd));
    let (events, _) = run_whole(b"$0\r\n");
    assert_eq!(events.last(), Some(&Event::SnapshotEnd));
}

#[test]
fn beginnings_of_the_mark_inside_the_snapshot_are_data() {
    // Beginnings that overlap one another and the mark itself: the hard case for a held prefix.
    let mark = "ababababababababababababababababababab#!";
    for lead in ["", "a", "ab", "aba", "abababab", &mark[..39], &mark[..38]] {
        let input = format!("$EOF:{mark}\r\n{lead}{mark}S");
        for cut in 0..input.len() {
            let (one, two) = input.as_bytes().split_at(cut);
            let (events, error) = run(Transfer::full(), [one, two]);
            let mut expected = vec![Event::SnapshotStart(SnapshotSize::UntilMark)];
            if !lead.is_empty() {
                expected.push(Event::SnapshotBytes(Bytes::copy_from_slice(lead.as_bytes())));
            }
            expected.extend([Event::SnapshotEnd, stream("S")]);
            assert_eq!((events, error), (expected, None), "{lead} cut at {cut}");
        }
    }
}

#[test]
fn an_error_in_place_of_the_snapshot_is_told_again_and_again() {
    let mut transfer = Transfer::full();
    transfer.feed(Bytes::from_static(b"\n-ERR BGSAVE failed, replication can't continue\r\n$1"));
    assert_eq!(transfer.next_event(), Ok(Some(Event::Keepalive)));
    let error = transfer.next_event().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server failed to make a snapshot: ERR BGSAVE failed, replication can't continue"
    );
    assert_eq!(error.class(), Class::Retry);
    assert_eq!(transfer.next_event(), Err(error));
}

#[test]
fn refuses_headers_of_another_kind() {
    let long = "x".repeat(5_000);
    let headers = [
        "+OK\r\n",
        "$\r\n",
        "$-1\r\n",
        "$+5\r\n",
        "$99999999999999999999\r\n",
        "$EOF:short\r\n",
        "$ENDOFF:0 0 0 0\r\n",
        "\r\n",
        &long,
    ];
    for header in headers {
        let (events, error) = run_whole(header.as_bytes());
        assert!(matches!(error, Some(TransferError::BadHeader(_))), "{header} {events:?}");
    }
}

#[test]
fn a_resumed_link_is_all_stream_also_its_newlines() {
    let (events, _) = run(Transfer::resumed(), [b"\n$5\r\n".as_slice(), b"*1\r\n"]);
    assert_eq!(events, [stream("\n$5\r\n*1\r\n")]);
}

/// A transfer made of pieces that are likely to trip the search.
fn any_input(random: &mut Random) -> Vec<u8> {
    let marks = [
        MARK,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
        "abcabcabdabcabcabcabdabcabcabcabdabcab!!",
    ];
    let mark = marks[usize::try_from(random.below(3)).unwrap()].as_bytes();
    let mut body = Vec::new();
    for _ in 0..random.below(12) {
        let length = usize::try_from(random.below(40)).unwrap();
        match random.below(3) {
            0 => body.extend_from_slice(&mark[..length]),
            1 => body.extend_from_slice(&mark[40 - length..]),
            _ => body.extend((0..length).map(|_| random.next_u64().to_le_bytes()[0])),
        }
    }
    let keepalives = usize::try_from(random.below(3)).unwrap();
    let mut input = vec![b'\n'; keepalives];
    if random.chance(0.5) {
        input.extend_from_slice(format!("${}\r\n", body.len()).as_bytes());
        input.extend_from_slice(&body);
    } else {
        input.extend_from_slice(b"$EOF:");
        input.extend_from_slice(mark);
        input.extend_from_slice(b"\r\n");
        input.extend_from_slice(&body);
        input.extend_from_slice(mark);
    }
    input.extend_from_slice(b"\n*1\r\n$4\r\nPING\r\n");
    input
}

#[test]
fn any_chunking_gives_the_same_events() {
    for seed in 0..2_000 {
        let mut random = Random::from_seed(seed);
        let input = any_input(&mut random);
        let whole = run_whole(&input);
        assert!(whole.1.is_none() && whole.0.contains(&Event::SnapshotEnd), "seed {seed}");
        let most = 1 + random.below(60);
        let mut rest = input.as_slice();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let length = 1 + usize::try_from(random.below(most)).unwrap();
            let (chunk, after) = rest.split_at(length.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        assert_eq!(run(Transfer::full(), chunks), whole, "seed {seed}");
    }
}
