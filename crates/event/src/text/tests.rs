//! Lines and JSON of events of every kind.

use bytes::Bytes;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use wire::rdb::Flavour;
use wire::slot::Slot;

use super::{json, line};
use crate::control::{Control, EpochBegin, EpochCause, Heartbeat};
use crate::fragment::Fragment;
use crate::image::{Elements, Field, Image, ImageHead, ImagePart, ImageValue};
use crate::{
    Body, Change, Command, Effect, Event, Group, GroupedChange, KeyArgs, Position, Seen, Shard,
    Stamp, testing,
};

fn event(body: Body) -> Event {
    Event {
        position: Position { shard: Shard(1), epoch: 2, offset: 300, index: 4 },
        stamp: Stamp { time_ms: 1_760_000_000_123, counter: 5, site: String::new() },
        db: 6,
        slot: Slot::new(7).unwrap(),
        key: Bytes::from_static(b"the key"),
        body,
        seen: vec![],
    }
}

fn set() -> Command {
    let args = [&b"SET"[..], b"the key", b"\x00v\xff"].map(Bytes::from_static);
    Command { args: args.to_vec(), effect: Effect::Overwrite, keys: KeyArgs::First }
}

fn head(type_byte: u8) -> ImageHead {
    ImageHead {
        type_byte,
        flavour: Flavour::Redis,
        rdb_version: 11,
        expire_at_ms: Some(1_760_000_000_000),
        idle_s: None,
        freq: Some(3),
        snapshot_id: 0,
    }
}

fn field(expire_at_ms: Option<i64>) -> Field {
    Field { field: Bytes::from_static(b"f"), value: Bytes::from_static(b"v w"), expire_at_ms }
}

#[test]
fn shows_each_kind_in_a_line() {
    let bytes = Bytes::from_static;
    let change =
        |change| GroupedChange { db: 0, slot: Slot::new(0).unwrap(), key: bytes(b""), change };
    let group = Group {
        changes: vec![change(Change::Command(set())), change(Change::Flush { all: false })],
        partitions: vec![3, 1],
        number: 0,
        last: false,
        transaction: true,
    };
    let begin = EpochBegin {
        cause: EpochCause::Continued,
        shard_name: "a b".to_owned(),
        replication_id: "c0ffee".to_owned(),
        branch_offset: 9,
        server: "valkey 9.1.2".to_owned(),
        slots: None,
    };
    let part = |elements| ImagePart { head: head(4), number: 2, last: true, elements };
    let fragment = Fragment {
        number: 1,
        count: 3,
        total_bytes: 99,
        crc32c: 0,
        data: bytes(b"12345"),
        snapshot_id: 0,
    };
    let of_snapshot = Fragment { snapshot_id: 7, ..fragment.clone() };
    let cases = [
        (Body::Command(set()), r#"command SET "the key" "\x00v\xff""#),
        (
            Body::Image(Image { head: head(0), value: ImageValue::Text(bytes(b"text")) }),
            r#"image "the key" string expires=2025-10-09T08:53:20.000Z text"#,
        ),
        (
            Body::Image(Image { head: head(16), value: ImageValue::Rdb(bytes(b"1234")) }),
            r#"image "the key" hash expires=2025-10-09T08:53:20.000Z (4 bytes)"#,
        ),
        (
            Body::ImagePart(part(Elements::Fields(vec![field(None), field(Some(1))]))),
            r#"image-part "the key" hash expires=2025-10-09T08:53:20.000Z part=2 last f="v w" f="v w"@1970-01-01T00:00:00.001Z"#,
        ),
        (
            Body::Group(group),
            r#"group record=0 partitions=3,1 : SET "the key" "\x00v\xff" ; FLUSHDB"#,
        ),
        (Body::Fragment(fragment), "fragment 2 of 3 (5 of 99 bytes)"),
        (Body::Fragment(of_snapshot), "fragment 2 of 3 (5 of 99 bytes) snapshot=7"),
        (
            Body::Control(Control::EpochBegin(begin)),
            r#"epoch-begin continued shard="a b" replid=c0ffee branch-offset=9 server="valkey 9.1.2""#,
        ),
        (Body::Control(Control::SwapDb { first: 1, second: 2 }), "swapdb SWAPDB 1 2"),
    ];
    for (body, expected) in cases {
        let line = line(&event(body), 1000);
        assert_eq!(line, format!("1:2:300:4 2025-10-09T08:53:20.123Z db6 {expected}"));
    }
}

#[test]
fn abridges_to_the_width() {
    let event = event(Body::Command(set()));
    let whole = line(&event, 1000);
    assert_eq!(line(&event, whole.len()), whole);
    let cut = line(&event, whole.len() - 1);
    assert_eq!(cut, format!("{}…", &whole[..whole.len() - 2]));
    assert_eq!(line(&event, 1), "…");
    assert_eq!(line(&event, 0), "");
}

#[test]
fn json_says_all_of_a_command() {
    let mut event = event(Body::Command(set()));
    event.position.index = Position::LAST_INDEX;
    event.seen.push(Seen { site: "b".to_owned(), position: Position::default() });
    let expected = concat!(
        r#"{"kind":"command","#,
        r#""position":{"shard":1,"epoch":2,"offset":300,"index":18446744073709551615},"#,
        r#""time_ms":1760000000123,"counter":5,"site":"","db":6,"slot":7,"key":"the key","#,
        r#""body":{"args":["SET","the key",{"base64":"AHb/"}],"effect":"overwrite","#,
        r#""written":[1],"read":[]},"#,
        r#""seen":[{"site":"b","position":{"shard":0,"epoch":0,"offset":0,"index":0}}]}"#
    );
    assert_eq!(json(&event), expected);
}

#[test]
fn json_has_scores_that_are_no_numbers_as_text() {
    let scores = [1.5, f64::INFINITY, f64::NEG_INFINITY];
    let scores = scores.map(|score| (Bytes::from_static(b"m"), score)).to_vec();
    let elements = Elements::Scores(scores);
    let part = ImagePart { head: head(5), number: 0, last: false, elements };
    let json: serde_json::Value =
        serde_json::from_str(&json(&event(Body::ImagePart(part)))).unwrap();
    let scores = &json["body"]["scores"];
    assert_eq!(scores[0]["score"], 1.5);
    assert_eq!((&scores[1]["score"], &scores[2]["score"]), (&"inf".into(), &"-inf".into()));
    assert_eq!(json["body"]["head"]["type"], "zset");
    assert_eq!(json["body"]["head"]["expire_at_ms"], 1_760_000_000_000_i64);
    assert!(json["body"]["head"]["idle_s"].is_null());
}

#[test]
fn shows_a_heartbeat_whose_time_is_not_known() {
    let heartbeat = Heartbeat {
        replication_id: "c0ffee".to_owned(),
        selected_db: 3,
        source_time_ms: 0,
        capture_time_ms: 1_760_000_000_000,
        shard_name: String::new(),
        slots: None,
    };
    let mut event = event(Body::Control(Control::Heartbeat(heartbeat)));
    event.position.index = Position::LAST_INDEX;
    let expected = "1:2:300:+ 2025-10-09T08:53:20.123Z db6 heartbeat \
                    replid=c0ffee db=3 source=- capture=2025-10-09T08:53:20.000Z";
    assert_eq!(line(&event, 1000), expected);
}

proptest! {
    #[test]
    fn any_event_is_a_line_that_is_safe_to_show(event in testing::event(), width in 0..300usize) {
        let whole = line(&event, usize::MAX);
        prop_assert!(whole.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{whole}");
        let cut = line(&event, width);
        prop_assert!(cut.chars().count() <= width);
        let shown = cut.strip_suffix('…').unwrap_or(&cut);
        prop_assert!(whole.starts_with(shown));
    }

    #[test]
    fn any_event_is_one_line_of_json(event in testing::event()) {
        let json = json(&event);
        prop_assert!(!json.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&value["kind"], event.kind());
        prop_assert!(Event::KINDS.contains(&event.kind()));
        prop_assert_eq!(&value["position"]["offset"], event.position.offset);
    }
}
