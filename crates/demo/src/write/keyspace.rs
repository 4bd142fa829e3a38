//! What is done to keys and databases, whatever the type.

use super::Act;
use super::dice::Dice;
use crate::keys::{self, ARCHIVE, BOARDS, FLEETING, HISTORY, NAMES, PLACES, WORDS};
use crate::words::words;

/// How long the keys live that nobody touches again.
const FLEETING_MS: std::ops::Range<u64> = 500..4000;

pub(super) fn keys(dice: &mut Dice) -> Act {
    match dice.case(10) {
        0 => rename(dice),
        1 => copy(dice),
        2 => Act::one(NAMES, words!["MOVE", keys::surname(dice.surname()), ARCHIVE]),
        3 => Act::one(WORDS, words!["UNLINK", keys::word(dice.word()), dice.note()]),
        4 => Act::one(PLACES, words!["DEL", keys::city(dice.city().id)]),
        5 => sort(dice),
        6 => fleeting(dice),
        _ => deadline(dice),
    }
}

fn rename(dice: &mut Dice) -> Act {
    let (from, to) = (dice.note(), dice.note());
    let command = match dice.case(3) {
        0 => words!["RENAMENX", from, to],
        1 => words!["RENAME", keys::word(dice.word()), to],
        _ => words!["RENAME", from, to],
    };
    Act::one(WORDS, command)
}

fn copy(dice: &mut Dice) -> Act {
    match dice.case(3) {
        0 => {
            let city = keys::city(dice.city().id);
            Act::one(PLACES, words!["COPY", city, city, "DB", ARCHIVE, "REPLACE"])
        }
        1 => {
            let stream = dice.stream();
            Act::one(HISTORY, words!["COPY", stream, stream, "DB", ARCHIVE, "REPLACE"])
        }
        _ => Act::one(WORDS, words!["COPY", dice.note(), dice.note()]),
    }
}

fn sort(dice: &mut Dice) -> Act {
    let from = keys::anagrams(dice.anagrams());
    let stored = keys::stored(format!("sorted:{}", dice.case(200)));
    let command = words!["SORT", from, "ALPHA", "LIMIT", 0_u32, 20_u32, "STORE", stored];
    Act::one(WORDS, command)
}

/// A key of its own that nobody touches again.
fn fleeting(dice: &mut Dice) -> Act {
    let key = keys::seen(dice.serial());
    let at_ms = testkit::now_ms() + dice.number(FLEETING_MS);
    let commands = match dice.case(3) {
        0 => {
            vec![words!["RPUSH", key, dice.surname()], words!["PEXPIREAT", key, at_ms]]
        }
        1 => {
            vec![words!["HSET", key, "name", dice.surname()], words!["PEXPIREAT", key, at_ms]]
        }
        _ => vec![words!["SET", key, dice.surname(), "PXAT", at_ms]],
    };
    Act { db: FLEETING, commands }
}

/// A new deadline, or none, for something that lives for long.
fn deadline(dice: &mut Dice) -> Act {
    let (db, key) = match dice.case(4) {
        0 => (PLACES, keys::city(dice.city().id)),
        1 => (NAMES, keys::surname(dice.surname())),
        2 => (HISTORY, dice.stream()),
        _ => (WORDS, dice.note()),
    };
    let (seconds, at_ms) = (dice.life_seconds(), dice.deadline_ms());
    let command = match dice.case(if dice.abilities.seven { 6 } else { 3 }) {
        0 => words!["PERSIST", key],
        1 => words!["EXPIREAT", key, at_ms / 1000],
        2 => words!["PEXPIREAT", key, at_ms],
        3 => words!["EXPIRE", key, seconds],
        4 => words!["EXPIRE", key, seconds, "GT"],
        _ => words!["PEXPIRE", key, seconds * 1000 + 3, "NX"],
    };
    Act::one(db, command)
}

/// Two boards that are written on and, every few seconds, swapped or wiped.
pub(super) fn databases(dice: &mut Dice) -> Act {
    let [here, there] = BOARDS;
    match dice.case(400) {
        0 => Act::one(here, words!["FLUSHDB"]),
        1 | 2 => Act::one(here, words!["SWAPDB", here, there]),
        n => {
            let key = keys::board(dice.case(500));
            let phrase = dice.phrase();
            Act::one(if n % 2 == 0 { here } else { there }, words!["SET", key, phrase])
        }
    }
}
