//! The type of a value, told from a type byte of the RDB format or from a command that serves one type only.

/// Types of values, as `TYPE` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// Strings, numbers, bitmaps and HyperLogLogs.
    String,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets and geo indexes.
    SortedSet,
    /// Hashes.
    Hash,
    /// Streams.
    Stream,
    /// Values of modules.
    Module,
}

/// Commands that serve strings only.
const STRING_COMMANDS: [&str; 22] = [
    "APPEND",
    "BITFIELD",
    "BITOP",
    "DECR",
    "DECRBY",
    "GETEX",
    "GETSET",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "INCREX",
    "MSET",
    "MSETEX",
    "MSETNX",
    "PFADD",
    "PFMERGE",
    "PSETEX",
    "SET",
    "SETBIT",
    "SETEX",
    "SETNX",
    "SETRANGE",
];
/// Commands that serve lists only.
const LIST_COMMANDS: [&str; 13] = [
    "LINSERT",
    "LMOVE",
    "LPOP",
    "LPUSH",
    "LPUSHX",
    "LREM",
    "LSET",
    "LTRIM",
    "RPOP",
    "RPOPLPUSH",
    "RPUSH",
    "RPUSHX",
    "LMOVEM",
];
/// Commands that serve sets only.
const SET_COMMANDS: [&str; 7] =
    ["SADD", "SDIFFSTORE", "SINTERSTORE", "SMOVE", "SPOP", "SREM", "SUNIONSTORE"];

// === impl ValueKind ===

impl ValueKind {
    /// The type behind a type byte, of either family; none for bytes that no family writes for a whole value.
    #[must_use]
    pub fn of_type_byte(type_byte: u8) -> Option<Self> {
        Some(match type_byte {
            0 => Self::String,
            1 | 10 | 14 | 18 => Self::List,
            2 | 11 | 20 => Self::Set,
            3 | 5 | 12 | 17 => Self::SortedSet,
            4 | 9 | 13 | 16 | 22 | 24 | 25 => Self::Hash,
            15 | 19 | 21 | 26 => Self::Stream,
            6 | 7 => Self::Module,
            _ => return None,
        })
    }

    /// The type that a command serves; none for those that serve every type.
    #[must_use]
    pub fn of_command(name: &[u8]) -> Option<Self> {
        let one_of =
            |names: &[&str]| names.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(name));
        let begins = |prefix: &str| {
            name.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        if one_of(&STRING_COMMANDS) {
            Some(Self::String)
        } else if one_of(&LIST_COMMANDS) {
            Some(Self::List)
        } else if one_of(&SET_COMMANDS) {
            Some(Self::Set)
        } else if begins("EX") && !one_of(&["EXPIRE", "EXPIREAT"]) {
            Some(Self::Module)
        } else if begins("H") {
            Some(Self::Hash)
        } else if begins("Z") || begins("GEO") {
            Some(Self::SortedSet)
        } else if begins("X") {
            Some(Self::Stream)
        } else if one_of(&["VADD", "VREM", "VSETATTR"]) {
            Some(Self::Module)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_tell_their_type_or_none() {
        let cases = [
            ("set", Some(ValueKind::String)),
            ("RPUSH", Some(ValueKind::List)),
            ("SUNIONSTORE", Some(ValueKind::Set)),
            ("geosearchstore", Some(ValueKind::SortedSet)),
            ("HPEXPIREAT", Some(ValueKind::Hash)),
            ("XGROUP", Some(ValueKind::Stream)),
            ("EXHSET", Some(ValueKind::Module)),
            ("VADD", Some(ValueKind::Module)),
            ("EXPIRE", None),
            ("RENAME", None),
            ("SORT", None),
            ("RESTORE", None),
        ];
        for (name, kind) in cases {
            assert_eq!(ValueKind::of_command(name.as_bytes()), kind, "{name}");
        }
    }
}
