//! What the table leaves to a command's options.
//!
//! Every answer is on the safe side: what is not known to converge does not, and what is not known
//! to be a whole state is none.

use super::{CommandSpec, Overlap};
use crate::args::{Args, is_word};

/// Whether applying a suffix of the stream again from this command on converges as far as it is
/// concerned.
///
/// The errors that such a repetition provokes (`BUSYGROUP`, an id that is too small, …) are for the
/// caller to tolerate.
#[must_use]
pub fn overlap_safe<A: Args + ?Sized>(spec: &CommandSpec, args: &A) -> bool {
    match spec.overlap {
        Overlap::Yes => true,
        Overlap::No => false,
        Overlap::Cond => conditions_hold(spec, args),
    }
}

/// Whether the command leaves every key it writes in a state that depends on nothing but its
/// arguments.
#[must_use]
pub fn is_whole_state<A: Args + ?Sized>(spec: &CommandSpec, args: &A) -> bool {
    let keeps_ttl = |options| contains(args, options, "KEEPTTL");
    spec.whole_state
        && match spec.name.as_ref() {
            "SET" => !keeps_ttl(3),
            "MSETEX" => !keeps_ttl(4),
            _ => true,
        }
}

fn conditions_hold<A: Args + ?Sized>(spec: &CommandSpec, args: &A) -> bool {
    match spec.name.as_ref() {
        // SET and GET are absolute, INCRBY is not.
        "BITFIELD" => !contains(args, 2, "INCRBY"),
        // A flag on several members may have held back some of them: which ones depends on the
        // state.
        "ZADD" => !["NX", "XX", "GT", "LT", "INCR"].iter().any(|flag| contains(args, 2, flag)),
        // Trimming to a length cuts a later, longer state too short; a smallest id cuts what is
        // gone anyway.
        "XADD" | "XTRIM" => !contains(args, 2, "MAXLEN"),
        // A new deadline may be past already, and deletes then; a condition depends on the state.
        "HSETEX" => !["EX", "PX", "EXAT", "PXAT", "FNX", "FXX"]
            .iter()
            .any(|option| contains(args, 2, option)),
        // The last id of the stream is another one by now.
        "XGROUP CREATE" => args.get(4).is_some_and(|id| id != b"$"),
        // What all groups acknowledged depends on the state.
        "XDELEX" | "XACKDEL" => !contains(args, 2, "ACKED"),
        "FUNCTION LOAD" => contains(args, 2, "REPLACE"),
        "FUNCTION RESTORE" => contains(args, 3, "REPLACE") || contains(args, 3, "FLUSH"),
        _ => false,
    }
}

/// Whether one of the arguments from `first` on is `word`. Data that happens to be the word counts
/// too: then the answer is only more careful, or the word is one that data cannot stand in for.
fn contains<A: Args + ?Sized>(args: &A, first: usize, word: &str) -> bool {
    (first..args.len()).any(|index| is_word(args, index, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    fn safe(line: &str) -> bool {
        let args = words(line);
        overlap_safe(lookup(args.as_slice()).expect("known"), args.as_slice())
    }

    fn whole(line: &str) -> bool {
        let args = words(line);
        is_whole_state(lookup(args.as_slice()).expect("known"), args.as_slice())
    }

    #[test]
    fn tells_what_may_be_applied_again() {
        for line in [
            "SET k v",
            "BITFIELD b SET u8 0 1",
            "zadd z 1 a 2 b",
            "XADD x 1-1 f v",
            "XTRIM x MINID = 5",
            "HSETEX h KEEPTTL FIELDS 1 f v",
            "XGROUP CREATE x g 0",
            "XDELEX x KEEPREF IDS 1 1-1",
            "FUNCTION LOAD REPLACE code",
            "FUNCTION RESTORE payload FLUSH",
        ] {
            assert!(safe(line), "{line}");
        }
    }

    #[test]
    fn tells_what_may_not_be_applied_again() {
        for line in [
            "INCR k",
            "RENAME a b",
            "BITFIELD b INCRBY u8 0 1",
            "ZADD z nx 1 a 2 b",
            "XADD x maxlen = 5 1-1 f v",
            "XTRIM x MAXLEN 5",
            "HSETEX h PXAT 5 FIELDS 1 f v",
            "XGROUP CREATE x g $",
            "XACKDEL x g ACKED IDS 1 1-1",
            "PEXPIREAT k 5",
            "FUNCTION LOAD code",
        ] {
            assert!(!safe(line), "{line}");
        }
    }

    #[test]
    fn tells_what_is_a_whole_state() {
        for line in ["SET k v PXAT 5", "DEL a b", "MSET a 1", "RESTORE k 0 payload", "MSETEX 1 a 1"]
        {
            assert!(whole(line), "{line}");
        }
        for line in
            ["SET k v keepttl", "MSETEX 1 a 1 KEEPTTL", "HSET h f v", "RENAME a b", "EXPIRE k 1"]
        {
            assert!(!whole(line), "{line}");
        }
    }
}
