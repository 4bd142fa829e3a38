//! What to make of a command that the table does not know: the answer of a server to `COMMAND INFO
//! <name>`.
//!
//! The spec that comes of it assumes the worst: relative, not to be repeated, all keys read and
//! written. What a server does not say clearly is refused, because a write to an unknown key cannot
//! be put in order.

use std::borrow::Cow;

use thiserror::Error;

use super::keys::{Access, KeyFinder};
use super::normalise::Rewrite;
use super::{CommandSpec, Effect, Overlap, Replaces, Split};
use crate::args::Args;
use crate::resp::reply::Reply;

/// Why no spec can be made of a server's answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InfoError {
    /// The answer has not the shape it has on every known server.
    #[error("unexpected answer to COMMAND INFO")]
    Malformed,
    /// The server does not know the command either.
    #[error("the server does not know the command")]
    Unknown,
    /// A command that does not write has no business in a replication stream.
    #[error("{command} does not write, says the server")]
    NotAWrite {
        /// Its name.
        command: String,
    },
    /// Its options decide where its keys are: [`from_keys`] tells those of one call.
    #[error("{command} has keys at places that only its options tell")]
    MovableKeys {
        /// Its name.
        command: String,
    },
    /// Other words stand between its keys, too often.
    #[error("{command} has keys in more places than can be followed")]
    Scattered {
        /// Its name.
        command: String,
    },
    /// It writes, but to no key.
    #[error("{command} writes, but has no key")]
    NoKeys {
        /// Its name.
        command: String,
    },
}

/// The spec of a command by the answer to `COMMAND INFO` with its one name.
///
/// # Errors
/// When the answer does not tell enough.
pub fn from_command_info(reply: &Reply) -> Result<CommandSpec, InfoError> {
    let [entry] = reply.as_array().ok_or(InfoError::Malformed)? else {
        return Err(InfoError::Malformed);
    };
    if *entry == Reply::Null {
        return Err(InfoError::Unknown);
    }
    let [name, _arity, flags, first, last, step, ..] =
        entry.as_array().ok_or(InfoError::Malformed)?
    else {
        return Err(InfoError::Malformed);
    };
    let name = name.as_str().ok_or(InfoError::Malformed)?.to_ascii_uppercase();
    let flags = flags.as_array().ok_or(InfoError::Malformed)?;
    let has = |flag| flags.iter().any(|item| item.as_str() == Some(flag));
    if !has("write") {
        return Err(InfoError::NotAWrite { command: name });
    }
    if has("movablekeys") {
        return Err(InfoError::MovableKeys { command: name });
    }
    let first = position(first)?;
    if first == 0 {
        return Err(InfoError::NoKeys { command: name });
    }
    let last = last.as_int().and_then(|last| isize::try_from(last).ok());
    let (last, step) = (last.ok_or(InfoError::Malformed)?, position(step)?);
    let single = usize::try_from(last) == Ok(first);
    let access = if single { Access::Write } else { Access::Take };
    Ok(cautious(name, single, KeyFinder::range(access, first, last, step)))
}

/// The spec of one call of a command by the answer to `COMMAND GETKEYS` with its words: of another call the keys may be
/// elsewhere.
///
/// # Errors
/// When the answer does not tell where they are.
pub fn from_keys<A: Args + ?Sized>(args: &A, reply: &Reply) -> Result<CommandSpec, InfoError> {
    let name = String::from_utf8_lossy(args.get(0).unwrap_or_default()).to_ascii_uppercase();
    // Keys side by side, as from one place to another.
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for key in reply.as_array().ok_or(InfoError::Malformed)? {
        let key = key.as_bytes().ok_or(InfoError::Malformed)?;
        let after = runs.last().map_or(1, |(_, last)| last + 1);
        // A word like the key before it stands for it as well as the key itself.
        let place = (after..args.len()).find(|at| args.get(*at) == Some(key));
        let place = place.ok_or(InfoError::Malformed)?;
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == place => *last = place,
            _ => runs.push((place, place)),
        }
    }
    let single = match runs.as_slice() {
        [] => return Err(InfoError::NoKeys { command: name }),
        [(first, last)] => first == last,
        _ => false,
    };
    let access = if single { Access::Write } else { Access::Take };
    match KeyFinder::runs(access, &runs) {
        Some(keys) => Ok(cautious(name, single, keys)),
        None => Err(InfoError::Scattered { command: name }),
    }
}

fn position(reply: &Reply) -> Result<usize, InfoError> {
    let number = reply.as_int().ok_or(InfoError::Malformed)?;
    usize::try_from(number).map_err(|_| InfoError::Malformed)
}

fn cautious(name: String, single: bool, keys: KeyFinder) -> CommandSpec {
    CommandSpec {
        name: Cow::Owned(name),
        effect: Effect::Merge,
        replaces: Replaces::Relative,
        overlap: Overlap::No,
        split: if single { Split::Single } else { Split::Group },
        reads_other_keys: !single,
        whole_state: false,
        keys,
        rewrite: Rewrite::Verbatim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::keys::keys;
    use crate::resp::reply::ReplyDecoder;

    fn parse(reply: &str) -> Result<CommandSpec, InfoError> {
        let mut decoder = ReplyDecoder::default();
        decoder.feed(reply.as_bytes());
        from_command_info(&decoder.next_reply().expect("valid").expect("whole"))
    }

    fn entry(flags: &[&str], first: i64, last: i64, step: i64) -> String {
        let list: String = flags.iter().map(|flag| format!("+{flag}\r\n")).collect();
        let keys = format!(":{first}\r\n:{last}\r\n:{step}\r\n");
        format!("*1\r\n*6\r\n$7\r\nmod.add\r\n:-3\r\n*{}\r\n{list}{keys}", flags.len())
    }

    #[test]
    fn makes_a_cautious_spec_of_a_command_with_one_key() {
        let spec = parse(&entry(&["write", "denyoom"], 1, 1, 1)).expect("enough");
        assert_eq!(spec.name, "MOD.ADD");
        assert_eq!((spec.split, spec.overlap), (Split::Single, Overlap::No));
        assert!(!spec.reads_other_keys && !spec.whole_state);
        let args: [&[u8]; 3] = [b"mod.add", b"k", b"v"];
        assert_eq!(keys(&spec, args.as_slice()).expect("complete").single(), Some(1));
    }

    #[test]
    fn assumes_that_several_keys_depend_on_each_other() {
        let spec = parse(&entry(&["write"], 1, -1, 2)).expect("enough");
        assert_eq!((spec.split, spec.reads_other_keys), (Split::Group, true));
        let args: [&[u8]; 5] = [b"mod.add", b"a", b"1", b"b", b"2"];
        let keys = keys(&spec, args.as_slice()).expect("complete");
        assert_eq!(keys.written().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(keys.read().collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn takes_the_keys_of_one_call_as_the_server_names_them() {
        let keys_of = |words: &[&[u8]], named: &[&str]| {
            let list: String =
                named.iter().map(|key| format!("${}\r\n{key}\r\n", key.len())).collect();
            let mut decoder = ReplyDecoder::default();
            decoder.feed(format!("*{}\r\n{list}", named.len()).as_bytes());
            let spec = from_keys(words, &decoder.next_reply().expect("valid").expect("whole"))?;
            Ok((spec.split, keys(&spec, words).expect("complete").written().collect::<Vec<_>>()))
        };
        let call: [&[u8]; 6] = [b"mod.sum", b"2", b"a", b"x", b"b", b"y"];
        assert_eq!(keys_of(&call, &["a", "b"]), Ok((Split::Group, vec![2, 4])));
        assert_eq!(keys_of(&call, &["b"]), Ok((Split::Single, vec![4])));
        assert_eq!(keys_of(&call, &["c"]), Err(InfoError::Malformed));
        let none = InfoError::NoKeys { command: "MOD.SUM".to_owned() };
        assert_eq!(keys_of(&call, &[]), Err(none));
        let scattered = InfoError::Scattered { command: "MOD.SUM".to_owned() };
        assert_eq!(keys_of(&call, &["2", "a", "b", "y"]), Ok((Split::Group, vec![1, 2, 4, 5])));
        let far: [&[u8]; 8] = [b"mod.sum", b"a", b"", b"b", b"", b"c", b"", b"d"];
        assert_eq!(keys_of(&far, &["a", "b", "c", "d"]), Err(scattered));
    }

    #[test]
    fn refuses_what_a_server_does_not_say_clearly() {
        let refused = |reply: &str| parse(reply).expect_err("refused").to_string();
        assert_eq!(
            refused(&entry(&["write", "movablekeys"], 0, 0, 0)),
            "MOD.ADD has keys at places that only its options tell"
        );
        assert_eq!(
            refused(&entry(&["readonly"], 1, 1, 1)),
            "MOD.ADD does not write, says the server"
        );
        assert_eq!(refused(&entry(&["write"], 0, 0, 0)), "MOD.ADD writes, but has no key");
        assert_eq!(parse("*1\r\n*-1\r\n"), Err(InfoError::Unknown));
        assert_eq!(parse("*1\r\n$-1\r\n"), Err(InfoError::Unknown));
        for reply in ["+OK\r\n", "*0\r\n", "*1\r\n*1\r\n$1\r\na\r\n", &entry(&["write"], -1, 1, 1)]
        {
            assert_eq!(parse(reply), Err(InfoError::Malformed), "{reply}");
        }
    }
}
