//! Puts keys, values and numbers into the blanks of a template.
//!
//! A blank is a word such as `$list`; `%list` is the key that the last `$list` became. Everything
//! comes from the random source, so the same source gives the same words.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::words::unescape;

/// Keys per type and database: few enough to be written again and again.
const KEYS: u8 = 12;
/// Slots that a cluster load touches.
const SLOTS: u8 = 40;
/// Members, fields and elements that repeat.
const MEMBERS: u8 = 25;
/// 2100-01-01: deadlines from here on never pass in a test.
const FAR_FUTURE_MS: u64 = 4_102_444_800_000;

/// The types of which keys are made, each with its own names.
const KEY_TYPES: [&str; 11] =
    ["str", "num", "bits", "list", "set", "hash", "zset", "geo", "stream", "auto", "hll"];

/// What a blank is filled from.
#[derive(Debug, Clone)]
pub(super) struct Fill {
    /// The hash tag of this unit's keys, in a cluster.
    tag: Option<u8>,
    last: BTreeMap<&'static str, Vec<u8>>,
    /// Ids of stream entries grow in every stream because they grow in all together.
    entry: u64,
}

// === impl Fill ===

impl Fill {
    pub(super) fn new(cluster: bool) -> Self {
        Self { tag: cluster.then_some(0), last: BTreeMap::new(), entry: 1 }
    }

    /// In a cluster: chooses the slot for the keys that follow.
    pub(super) fn change_slot(&mut self, rng: &mut Rng) {
        if let Some(tag) = &mut self.tag {
            *tag = rng.u8(0..SLOTS);
        }
    }

    /// The bytes for a word of a template.
    pub(super) fn word(&mut self, word: &str, rng: &mut Rng) -> Vec<u8> {
        if let Some(same) = word.strip_prefix('%') {
            return self.last.get(same).cloned().expect("a key of this type earlier in the line");
        }
        let Some(blank) = word.strip_prefix('$') else { return unescape(word) };
        if let Some(key_type) = KEY_TYPES.into_iter().find(|name| *name == blank) {
            return self.key(key_type, rng);
        }
        match blank {
            // Any type: most commands on it succeed, some meet the wrong type.
            "any" => {
                let key_type = rng.choice(KEY_TYPES).expect("there are types");
                let key = self.key(key_type, rng);
                self.last.insert("any", key.clone());
                key
            }
            "value" => value(rng),
            "entry" => {
                self.entry += u64::from(rng.u8(1..4));
                format!("{}-{}", self.entry / 8, self.entry % 8).into_bytes()
            }
            // Lately written, so often still there and sometimes pending.
            "old" => {
                let entry = self.entry.saturating_sub(rng.u64(0..60)).max(1);
                format!("{}-{}", entry / 8, entry % 8).into_bytes()
            }
            other => text(other, rng).into_bytes(),
        }
    }

    fn key(&mut self, key_type: &'static str, rng: &mut Rng) -> Vec<u8> {
        let number = rng.u8(0..KEYS);
        let name = match (self.tag, number) {
            (Some(tag), _) => format!("{{t{tag}}}{key_type}:{number}").into_bytes(),
            // Keys are bytes.
            (None, 0) => [key_type.as_bytes(), b"\x00\xff\r\n{"].concat(),
            (None, _) => format!("{key_type}:{number}").into_bytes(),
        };
        self.last.insert(key_type, name.clone());
        name
    }
}

/// Blanks that are numbers or names.
fn text(blank: &str, rng: &mut Rng) -> String {
    match blank {
        "member" => format!("m{}", rng.u8(0..MEMBERS)),
        "db" => rng.u8(0..super::DBS).to_string(),
        "int" => rng.i32(-1000..1000).to_string(),
        "index" => rng.i8(-6..6).to_string(),
        "count" => rng.u8(1..5).to_string(),
        "bit" => rng.u16(0..2000).to_string(),
        "float" => f64::to_string(&(f64::from(rng.i32(-100_000..100_000)) / 64.0)),
        "score" => match rng.u8(0..20) {
            0 => "-inf".to_owned(),
            1 => "+inf".to_owned(),
            2 => "1e300".to_owned(),
            _ => (f64::from(rng.i32(-1000..1000)) / 8.0).to_string(),
        },
        "longitude" => (f64::from(rng.i32(-1_790_000..1_790_000)) / 10_000.0).to_string(),
        "latitude" => (f64::from(rng.i32(-850_000..850_000)) / 10_000.0).to_string(),
        "sec" => rng.u32(1000..100_000).to_string(),
        "ms" => rng.u32(1_000_000..100_000_000).to_string(),
        "soon" => rng.u16(1..200).to_string(),
        "future" => (FAR_FUTURE_MS + rng.u64(0..1_000_000_000)).to_string(),
        "future_sec" => (FAR_FUTURE_MS / 1000 + rng.u64(0..1_000_000)).to_string(),
        "group" => format!("g{}", rng.u8(0..2)),
        "consumer" => format!("c{}", rng.u8(0..3)),
        other => unreachable!("no blank is called {other}"),
    }
}

/// Short and long, text and bytes, numbers, nothing.
fn value(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(0..20) {
        0 => Vec::new(),
        1..4 => rng.i64(..).to_string().into_bytes(),
        4..8 => (0..rng.usize(0..80)).map(|_| rng.u8(..)).collect(),
        8 => vec![rng.u8(..); rng.usize(100..20_000)],
        9 => (0..rng.usize(1000..6000)).map(|_| rng.u8(..)).collect(),
        _ => format!("value {}", rng.u16(..)).into_bytes(),
    }
}
