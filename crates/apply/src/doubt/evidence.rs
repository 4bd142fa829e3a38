//! What a key shows at the destination if none of the changes of it that are in doubt has failed. Pure.
//!
//! `EXEC` takes none of a batch or all of it, and a command in it fails only for what its key holds: a value of another
//! type, no number, or nothing where it needs something. The commands that are known here leave a key that stands in
//! their way as it is: where it does not stand in their way afterwards, it did not before. What is not known is not
//! judged: such a key is a suspect.

use bytes::{Bytes, BytesMut};
use wire::resp::encode::{Decimal, write_command};
use wire::resp::reply::Reply;

/// What a key has to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// This text.
    Text(Bytes),
    /// A value of a kind.
    Holds(Holds),
}

/// What a key has to show of its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// Of which type it is; none: of any.
    kind: Option<Kind>,
    /// Whether it is a whole number.
    is_number: bool,
    /// Fields of a hash that are whole numbers.
    fields: Vec<Bytes>,
    /// Whether the first of the changes makes a key that is not there.
    made: bool,
}

/// A type, as `TYPE` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    String,
    List,
    Set,
    Hash,
    SortedSet,
}

/// So many fields of one hash are looked at.
const FIELDS: usize = 64;

/// A longer text is not asked for.
const TEXT_BYTES: usize = 64 << 10;

/// No number of changes by numbers below this leads from within [`NUMBER_MAX`] to where a number does not fit.
const STEP_MAX: u64 = 1 << 32;
const NUMBER_MAX: u64 = 1 << 62;

/// The longest whole number has so many characters.
const NUMBER_BYTES: usize = 20;

// === impl Evidence ===

impl Evidence {
    /// What a key shows that was set to a text; none: it is too long to ask for.
    pub(super) fn of_text(text: &Bytes) -> Option<Self> {
        (text.len() <= TEXT_BYTES).then(|| Self::Text(Bytes::copy_from_slice(text)))
    }

    /// What a key shows after a command with these arguments, of which it is the only key; none: nobody knows.
    pub(super) fn of(args: &[Bytes]) -> Option<Self> {
        let (name, rest) = args.split_first()?;
        let rest = rest.get(1..)?;
        let holds = |kind, made| Some(Holds { kind, made, ..Holds::default() });
        let number = |at: usize| std::str::from_utf8(rest.get(at)?).ok()?.parse::<i64>().ok();
        let small = |at: usize| number(at).is_some_and(|step| step.unsigned_abs() < STEP_MAX);
        let finite = |at: usize| rest.get(at).is_some_and(|text| is_finite(text));
        let counter = Some(Holds { is_number: true, ..holds(Some(Kind::String), true)? });
        let holds = match (name.to_ascii_uppercase().as_slice(), rest.len()) {
            (b"APPEND", 1) | (b"SETRANGE" | b"SETBIT", 2) => holds(Some(Kind::String), true),
            (b"INCR" | b"DECR", 0) => counter,
            (b"INCRBY" | b"DECRBY", 1) if small(0) => counter,
            (b"LPUSH" | b"RPUSH", 1..) => holds(Some(Kind::List), true),
            (b"LPUSHX" | b"RPUSHX", 1..) | (b"LPOP" | b"RPOP", 0..=1) | (b"LTRIM" | b"LREM", 2) => {
                holds(Some(Kind::List), false)
            }
            (b"SADD", 1..) => holds(Some(Kind::Set), true),
            (b"SREM", 1..) => holds(Some(Kind::Set), false),
            (b"HSET" | b"HMSET", pairs @ 2..) if pairs % 2 == 0 => holds(Some(Kind::Hash), true),
            (b"HDEL", 1..) => holds(Some(Kind::Hash), false),
            (b"HINCRBY", 2) if small(1) => {
                let fields = rest.first().map(|field| Bytes::copy_from_slice(field));
                let fields = fields.into_iter().collect();
                Some(Holds { fields, ..holds(Some(Kind::Hash), true)? })
            }
            (b"ZADD", pairs @ 2..) if pairs % 2 == 0 && finite(0) => {
                holds(Some(Kind::SortedSet), true)
            }
            (b"ZINCRBY", 2) if finite(0) => holds(Some(Kind::SortedSet), true),
            (b"ZREM", 1..) => holds(Some(Kind::SortedSet), false),
            (b"PEXPIREAT" | b"EXPIREAT", 1) | (b"PERSIST", 0) => holds(None, false),
            _ => None,
        };
        holds.map(Self::Holds)
    }

    /// What a key shows after one more change; none: nobody knows.
    pub(super) fn and(self, next: Self) -> Option<Self> {
        let (Self::Holds(before), Self::Holds(next)) = (self, next) else { return None };
        // A key that was gone when something was to be done to it may have been made since.
        if next.made && !before.made {
            return None;
        }
        if let (Some(one), Some(other)) = (before.kind, next.kind)
            && (one != other || before.is_number != next.is_number)
        {
            return None;
        }
        let mut fields = before.fields;
        for field in next.fields {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        (fields.len() <= FIELDS).then_some(Self::Holds(Holds {
            kind: before.kind.or(next.kind),
            is_number: before.is_number || next.is_number,
            fields,
            made: before.made,
        }))
    }

    /// The same after a change that cannot fail and leaves a value.
    pub(super) fn after_a_value(self) -> Self {
        match self {
            Self::Holds(holds) => Self::Holds(Holds { made: true, ..holds }),
            text @ Self::Text(_) => text,
        }
    }

    /// Asks the destination for it. Gives how many commands that takes.
    pub(crate) fn ask(&self, key: &[u8], out: &mut BytesMut) -> usize {
        match self {
            // One byte more, to tell a longer one.
            Self::Text(text) => ask_text(key, text.len(), out),
            Self::Holds(holds) => {
                write_command(out, [b"TYPE", key]);
                let mut commands = 1;
                if holds.is_number {
                    commands += ask_text(key, NUMBER_BYTES, out);
                }
                if !holds.fields.is_empty() {
                    let head = [b"HMGET".as_slice(), key];
                    write_command(
                        out,
                        head.into_iter().chain(holds.fields.iter().map(|it| &it[..])),
                    );
                    commands += 1;
                }
                commands
            }
        }
    }

    /// Whether the destination's answers show it.
    pub(crate) fn is_in(&self, answers: &[Reply]) -> bool {
        match (self, answers) {
            (Self::Text(text), [found]) => found.as_bytes() == Some(text),
            (Self::Holds(holds), [kind, more @ ..]) => {
                let is_kind = match (holds.kind, kind.as_str()) {
                    (_, None | Some("none")) => false,
                    (None, Some(_)) => true,
                    (Some(expected), Some(found)) => expected.name() == found,
                };
                is_kind && more.iter().all(are_numbers)
            }
            _ => false,
        }
    }
}

/// Asks for the beginning of a text, and one byte more, to tell a longer one.
fn ask_text(key: &[u8], bytes: usize, out: &mut BytesMut) -> usize {
    let last = Decimal::from(bytes as u64);
    write_command(out, [b"GETRANGE", key, b"0", last.as_ref()]);
    1
}

fn are_numbers(reply: &Reply) -> bool {
    let is_number = |reply: &Reply| {
        let number = reply.as_str().and_then(|text| text.parse::<i64>().ok());
        number.is_some_and(|number| number.unsigned_abs() < NUMBER_MAX)
    };
    match reply.as_array() {
        Some(items) => items.iter().all(is_number),
        None => is_number(reply),
    }
}

fn is_finite(text: &[u8]) -> bool {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    number.is_some_and(f64::is_finite)
}

// === impl Kind ===

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::SortedSet => "zset",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known after commands, one after the other.
    fn after(commands: &[&str]) -> Option<Evidence> {
        let mut known: Option<Option<Evidence>> = None;
        for words in commands {
            let args: Vec<_> =
                words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            let next = Evidence::of(&args);
            known = Some(match known {
                None => next,
                Some(before) => before.zip(next).and_then(|(before, next)| before.and(next)),
            });
        }
        known.flatten()
    }

    fn shows(commands: &[&str], answers: &[&'static str]) -> bool {
        let answer = |text: &&'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
        let answers: Vec<_> = answers.iter().map(answer).collect();
        after(commands).is_some_and(|evidence| evidence.is_in(&answers))
    }

    #[test]
    fn a_key_of_the_right_type_was_not_in_the_way() {
        assert!(shows(&["RPUSH k a", "LPUSH k b", "LPOP k"], &["list"]));
        assert!(!shows(&["RPUSH k a"], &["string"]) && !shows(&["RPUSH k a"], &["none"]));
        assert!(shows(&["ZADD k 1 a", "ZINCRBY k -2.5 a", "ZREM k b"], &["zset"]));
        assert!(shows(&["SADD k a", "PEXPIREAT k 9"], &["set"]));
        assert!(shows(&["PEXPIREAT k 9"], &["hash"]) && !shows(&["PERSIST k"], &["none"]));
    }

    #[test]
    fn a_counter_is_a_number() {
        assert!(shows(&["INCR k", "DECRBY k 7"], &["string", "41"]));
        assert!(!shows(&["INCR k"], &["string", "text"]));
        assert!(!shows(&["INCR k"], &["string", "9223372036854775807"]));
        let evidence = after(&["HSET k f 1", "HINCRBY k f 1", "HINCRBY k g 1", "HINCRBY k f 1"]);
        let found = |texts: [&'static str; 2]| {
            let items = texts.map(|text| Reply::Bulk(Bytes::from_static(text.as_bytes())));
            [Reply::Simple("hash".into()), Reply::Array(items.to_vec())]
        };
        let evidence = evidence.unwrap();
        assert!(evidence.is_in(&found(["1", "-2"])) && !evidence.is_in(&found(["1", "x"])));
        let mut asked = BytesMut::new();
        assert_eq!(evidence.ask(b"k", &mut asked), 2);
    }

    #[test]
    fn what_may_hide_a_failure_is_not_judged() {
        for commands in [
            &["LPOP k", "RPUSH k a"][..],
            &["PEXPIREAT k 9", "INCR k"],
            &["RPUSH k a", "SADD k a"],
            &["APPEND k -", "INCR k"],
            &["INCRBY k 9223372036854775807"],
            &["ZADD k inf a"],
            &["ZADD k NX 1 a"],
            &["XADD k 1-1 f v"],
            &["INCR k", "MYMOD.SHIFT k"],
            &["MYMOD.SHIFT k", "INCR k"],
        ] {
            assert_eq!(after(commands), None, "{commands:?}");
        }
    }
}
