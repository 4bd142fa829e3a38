//! What a key shows at the destination if none of the changes of it that are in doubt has failed. Pure.
//!
//! `EXEC` takes none of a batch or all of it, and the commands that are known here fail in it only for what their key
//! holds: a value of another type, no number, or nothing where they need something (and where the rights of the account
//! changed between queueing and `EXEC`, which no key shows). They leave a key that stands in their way as it is: where it
//! does not stand in their way afterwards, it did not before. What is not known, or may fail for the size of what it
//! would make (`APPEND`, `SETRANGE`, `SETBIT`), is not judged: such a key is a suspect.
//!
//! A change that needs its key (a deadline) shows itself in a key that is there, unless a later change has made it.

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
    /// Whether one of the changes needs a key that was there, and nobody knows whether it was.
    needs: bool,
    /// Whether the last of them leaves a key without a deadline that was one before.
    keeps: bool,
    /// Whether the key is there after them for sure, without a deadline.
    stays: bool,
}

/// What a change that cannot fail leaves of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// A value without a deadline.
    Value,
    /// A value that may expire, or has.
    Expiring,
    /// Nothing.
    Nothing,
}

/// What the commands that are known do with the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Makes it, if it is not there.
    Make,
    /// Needs it, and leaves it there.
    Need,
    /// Needs it, and may be what it goes by, now or later.
    End,
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
        let holds = |kind, does| Some(Holds::of(kind, does));
        let small =
            |at: usize| number(rest.get(at)).is_some_and(|step| step.unsigned_abs() < STEP_MAX);
        let finite = |at: usize| rest.get(at).is_some_and(|text| is_finite(text));
        let counter = Some(Holds { is_number: true, ..Holds::of(Some(Kind::String), Does::Make) });
        let holds = match (name.to_ascii_uppercase().as_slice(), rest.len()) {
            (b"INCR" | b"DECR", 0) => counter,
            (b"INCRBY" | b"DECRBY", 1) if small(0) => counter,
            (b"LPUSH" | b"RPUSH", 1..) => holds(Some(Kind::List), Does::Make),
            (b"LPUSHX" | b"RPUSHX", 1..) => holds(Some(Kind::List), Does::Need),
            (b"LPOP" | b"RPOP", 0..=1) | (b"LTRIM" | b"LREM", 2) => {
                holds(Some(Kind::List), Does::End)
            }
            (b"SADD", 1..) => holds(Some(Kind::Set), Does::Make),
            (b"SREM", 1..) => holds(Some(Kind::Set), Does::End),
            (b"HSET" | b"HMSET", pairs @ 2..) if pairs % 2 == 0 => {
                holds(Some(Kind::Hash), Does::Make)
            }
            (b"HDEL", 1..) => holds(Some(Kind::Hash), Does::End),
            (b"HINCRBY", 2) if small(1) => {
                let fields = rest.first().map(|field| Bytes::copy_from_slice(field));
                let fields = fields.into_iter().collect();
                Some(Holds { fields, ..Holds::of(Some(Kind::Hash), Does::Make) })
            }
            (b"ZADD", pairs @ 2..) if pairs % 2 == 0 && finite(0) => {
                holds(Some(Kind::SortedSet), Does::Make)
            }
            (b"ZINCRBY", 2) if finite(0) => holds(Some(Kind::SortedSet), Does::Make),
            (b"ZREM", 1..) => holds(Some(Kind::SortedSet), Does::End),
            (b"PEXPIREAT" | b"EXPIREAT", 1) => holds(None, Does::End),
            (b"PERSIST", 0) => holds(None, Does::Need),
            _ => None,
        };
        holds.map(Self::Holds)
    }

    /// What a key shows after one more change; none: nobody knows.
    pub(super) fn and(self, next: Self) -> Option<Self> {
        let (Self::Holds(before), Self::Holds(next)) = (self, next) else { return None };
        // A key that was gone when something was to be done to it may have been made since.
        if before.needs && !next.needs {
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
            needs: before.needs || (next.needs && !before.stays),
            keeps: next.keeps,
            stays: before.stays && next.keeps,
        }))
    }

    /// What a key shows after one change, of which this is the evidence, behind one that cannot fail.
    pub(super) fn behind(self, left: Left) -> Self {
        let Self::Holds(holds) = self else { return self };
        Self::Holds(match left {
            Left::Value => Holds { needs: false, stays: holds.keeps, ..holds },
            Left::Nothing => Holds { stays: holds.keeps && !holds.needs, ..holds },
            Left::Expiring => holds,
        })
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
        number(reply.as_bytes()).is_some_and(|number| number.unsigned_abs() < NUMBER_MAX)
    };
    match reply.as_array() {
        Some(items) => items.iter().all(is_number),
        None => is_number(reply),
    }
}

/// A whole number as a server writes it, which is the only form that it counts with: no plus, no zero ahead.
fn number(text: Option<impl AsRef<[u8]>>) -> Option<i64> {
    let text = text?;
    let text = std::str::from_utf8(text.as_ref()).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

fn is_finite(text: &[u8]) -> bool {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    number.is_some_and(f64::is_finite)
}

// === impl Holds ===

impl Holds {
    /// What one change shows of a key of this type.
    fn of(kind: Option<Kind>, does: Does) -> Self {
        let (needs, keeps) = (does != Does::Make, does != Does::End);
        Self { kind, needs, keeps, ..Self::default() }
    }
}

// === impl Left ===

impl Left {
    /// What a command with these arguments leaves, of which it is the only key; none: it may fail, or is not known.
    pub(super) fn of(args: &[Bytes]) -> Option<Self> {
        let (name, rest) = args.split_first()?;
        match (name.to_ascii_uppercase().as_slice(), rest) {
            (b"SET", [_, _]) => Some(Self::Value),
            (b"SET", [_, _, keep]) if keep.eq_ignore_ascii_case(b"KEEPTTL") => Some(Self::Expiring),
            (b"SET", [_, _, word, _]) if is_deadline(word) => Some(Self::Expiring),
            (b"DEL" | b"UNLINK", [_]) => Some(Self::Nothing),
            _ => None,
        }
    }
}

/// Whether an option of `SET` is followed by a deadline.
fn is_deadline(word: &[u8]) -> bool {
    let words: [&[u8]; 4] = [b"EX", b"PX", b"EXAT", b"PXAT"];
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
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

    /// The same after a change that cannot fail.
    fn behind(left: Left, commands: &[&str]) -> Option<Evidence> {
        let mut commands = commands.iter().map(|words| {
            let args: Vec<_> =
                words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            Evidence::of(&args)
        });
        let first = commands.next()?.map(|first| first.behind(left));
        commands.fold(first, |before, next| before?.and(next?))
    }

    #[test]
    fn a_change_that_needs_a_key_shows_itself_only_where_nothing_may_have_made_it_since() {
        let renewed = &["PEXPIREAT k 9", "INCR k"][..];
        assert!(behind(Left::Value, &["PERSIST k", "INCR k"]).is_some());
        assert!(behind(Left::Value, renewed).is_some());
        assert_eq!(behind(Left::Expiring, renewed), None);
        assert_eq!(behind(Left::Nothing, renewed), None);
        // From a deadline on it may be gone at any time.
        let twice = &["PEXPIREAT k 9", "PEXPIREAT k 10", "INCR k"][..];
        for left in [Left::Value, Left::Expiring, Left::Nothing] {
            assert_eq!(behind(left, twice), None, "{left:?}");
        }
        assert!(behind(Left::Nothing, &["RPUSH k a", "PEXPIREAT k 9", "RPUSH k b"]).is_some());
        assert_eq!(behind(Left::Expiring, &["RPUSH k a", "PEXPIREAT k 9", "RPUSH k b"]), None);
        // The last element may have gone.
        assert_eq!(behind(Left::Nothing, &["RPUSH k a", "LPOP k", "PERSIST k", "LPUSH k b"]), None);
        assert!(behind(Left::Expiring, &["PEXPIREAT k 9", "PEXPIREAT k 10"]).is_some());
    }

    #[test]
    fn only_what_cannot_fail_leaves_something_for_sure() {
        let left = |words: &str| {
            let args: Vec<_> =
                words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            Left::of(&args)
        };
        assert_eq!(left("SET k v"), Some(Left::Value));
        assert_eq!(left("set k v PXAT 9"), Some(Left::Expiring));
        assert_eq!(left("SET k v KEEPTTL"), Some(Left::Expiring));
        assert_eq!(left("DEL k"), Some(Left::Nothing));
        assert_eq!(left("UNLINK k"), Some(Left::Nothing));
        for words in ["SET k v GET", "SET k v NX", "SET k v PXAT 9 XX", "GETDEL k", "RESTORE k 0 x"]
        {
            assert_eq!(left(words), None, "{words}");
        }
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
        for no_number in ["+5", "007", "-0", "-07", "", "-", " 5", "5 "] {
            assert!(!shows(&["INCR k"], &["string", no_number]), "{no_number:?}");
        }
        for number in ["0", "-5", "70", "4611686018427387903"] {
            assert!(shows(&["INCR k"], &["string", number]), "{number:?}");
        }
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
            &["APPEND k -"],
            &["SETRANGE k 5 x"],
            &["SETBIT k 7 1"],
            &["INCR k", "PEXPIREAT k 9", "INCR k"],
            &["INCR k", "PEXPIREAT k 9", "PERSIST k", "INCR k"],
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
