//! Replies of every shape, cut anywhere, and the limits.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn decode(chunks: &[&[u8]]) -> Result<Vec<Reply>, ReplyError> {
    decode_within(ReplyLimits::default(), chunks)
}

fn decode_within(limits: ReplyLimits, chunks: &[&[u8]]) -> Result<Vec<Reply>, ReplyError> {
    let mut decoder = ReplyDecoder::new(limits);
    let mut replies = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        while let Some(reply) = decoder.next_reply()? {
            replies.push(reply);
        }
    }
    Ok(replies)
}

fn encode(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Simple(text) => out.extend([b"+", text.as_ref(), b"\r\n"].concat()),
        Reply::Error(text) => out.extend([b"-", text.as_ref(), b"\r\n"].concat()),
        Reply::Integer(value) => out.extend(format!(":{value}\r\n").bytes()),
        Reply::Bulk(text) => {
            out.extend(format!("${}\r\n", text.len()).bytes());
            out.extend([text.as_ref(), b"\r\n"].concat());
        }
        Reply::Null => out.extend(b"$-1\r\n"),
        Reply::Array(items) => {
            out.extend(format!("*{}\r\n", items.len()).bytes());
            items.iter().for_each(|item| encode(item, out));
        }
    }
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let line = || "[ -~]{0,20}".prop_map(Bytes::from);
    let leaf = prop_oneof![
        Just(Reply::Simple("OK".into())),
        line().prop_map(Reply::Simple),
        line().prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Reply::Bulk(bytes.into())),
        Just(Reply::Null),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| vec(inner, 0..6).prop_map(Reply::Array))
}

proptest! {
    #[test]
    fn decodes_what_a_server_encodes_however_it_is_cut(
        replies in vec(any_reply(), 0..6),
        size in 1_usize..60,
    ) {
        let mut bytes = Vec::new();
        replies.iter().for_each(|reply| encode(reply, &mut bytes));
        let chunks: Vec<_> = bytes.chunks(size).collect();
        prop_assert_eq!(decode(&chunks), Ok(replies));
    }

    #[test]
    fn judges_any_bytes_alike_however_they_are_cut(
        bytes in vec(prop_oneof![
            6 => prop::sample::select(b"*$+-:\r\n0123".to_vec()),
            1 => any::<u8>(),
        ], 0..60),
        size in 1_usize..9,
    ) {
        let whole = decode(&[&bytes]);
        let pieces = decode(&bytes.chunks(size).collect::<Vec<_>>());
        prop_assert_eq!(whole.is_ok(), pieces.is_ok());
        if whole.is_ok() {
            prop_assert_eq!(whole, pieces);
        }
    }
}

#[test]
fn knows_a_null_array_and_an_empty_one() {
    let replies = decode(&[b"*-1\r\n*0\r\n$0\r\n\r\n"]).expect("valid");
    assert_eq!(replies, [Reply::Null, Reply::Array(vec![]), Reply::Bulk(Bytes::new())]);
}

#[test]
fn refuses_what_is_no_reply() {
    for bytes in [b"?\r\n".as_slice(), b"\r\n", b":abc\r\n", b"$x\r\n", b"*-2\r\n", b"+OK\n"] {
        let error = decode(&[bytes]).expect_err("refused");
        assert!(matches!(error, ReplyError::Malformed { .. }), "{error}");
    }
}

#[test]
fn refuses_deep_nesting_before_it_recurses() {
    let bytes = b"*1\r\n".repeat(100_000);
    assert_eq!(decode(&[&bytes]), Err(ReplyError::TooDeep { limit: 16 }));
    let nested = [b"*1\r\n".repeat(16), b":1\r\n".to_vec()].concat();
    assert_eq!(decode(&[&nested]).map(|replies| replies.len()), Ok(1));
}

#[test]
fn refuses_what_is_too_long_as_soon_as_it_is_announced() {
    let limits = ReplyLimits { max_bytes: 20, ..ReplyLimits::default() };
    let error = Err(ReplyError::TooLong { limit: 20 });
    assert_eq!(decode_within(limits, &[b"$100\r\n"]), error);
    assert_eq!(decode_within(limits, &[b"$9223372036854775807\r\n"]), error);
    assert_eq!(decode_within(limits, &[b"*9\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"]), error);
    assert_eq!(decode_within(limits, &[b"+a status line that has no end"]), error);
}

#[test]
fn stays_failed() {
    let mut decoder = ReplyDecoder::default();
    decoder.feed(b"?\r\n");
    let error = decoder.next_reply().expect_err("refused");
    decoder.feed(b"+OK\r\n");
    assert_eq!(decoder.next_reply(), Err(error));
}

#[test]
fn gives_back_what_follows_the_last_reply() {
    let mut decoder = ReplyDecoder::default();
    decoder.feed(b"+FULLRESYNC 0123 9\r\n$5\r\nREDIS");
    let reply = decoder.next_reply().expect("valid").expect("whole");
    assert_eq!(reply.as_str(), Some("FULLRESYNC 0123 9"));
    assert_eq!(decoder.into_rest(), b"$5\r\nREDIS".as_slice());
}

#[test]
fn helps_to_read_a_reply() {
    let moved = Reply::Error("MOVED 3999 10.0.0.1:6381".into());
    assert_eq!(moved.error_code(), Some("MOVED"));
    assert_eq!(moved.error().as_deref(), Some("MOVED 3999 10.0.0.1:6381"));
    assert!(Reply::Simple("OK".into()).is_ok() && !Reply::Bulk("OK".into()).is_ok());
    assert_eq!(Reply::Bulk("-7".into()).as_int(), Some(-7));
    assert_eq!(Reply::Integer(7).as_int(), Some(7));
    assert_eq!(Reply::Null.as_int(), None);
    assert_eq!(Reply::Array(vec![Reply::Null]).as_array(), Some([Reply::Null].as_slice()));
}
