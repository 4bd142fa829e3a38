//! Strings: text, numbers, bitmaps, HyperLogLogs.

use super::Act;
use super::dice::Dice;
use crate::keys::{self, NAMES, PLACES, WORDS};
use crate::words::words;

/// Where a note is written over: notes stay below this length.
const NOTE_BYTES: u64 = 400;

pub(super) fn strings(dice: &mut Dice) -> Act {
    match dice.case(5) {
        0 => numbers(dice),
        1 => expiring(dice),
        2 => several(dice),
        _ => text(dice),
    }
}

fn numbers(dice: &mut Dice) -> Act {
    let visits = keys::visits(dice.country());
    match dice.case(5) {
        0 => Act::one(PLACES, words!["INCRBY", visits, dice.number(1..50)]),
        1 => Act::one(PLACES, words!["DECRBY", visits, dice.number(1..5)]),
        2 => {
            let surname = keys::surname(dice.surname());
            Act::one(NAMES, words!["INCRBYFLOAT", surname, "0.001"])
        }
        _ => Act::one(PLACES, words!["INCR", visits]),
    }
}

fn text(dice: &mut Dice) -> Act {
    let (note, phrase) = (dice.note(), dice.phrase());
    Act::one(
        WORDS,
        match dice.case(6) {
            0 => words!["SET", note, phrase],
            1 => words!["SET", note, phrase, "KEEPTTL"],
            2 => words!["SETRANGE", note, dice.number(..NOTE_BYTES), phrase],
            3 => words!["GETSET", note, phrase],
            4 => words!["SETNX", note, phrase],
            _ => words!["APPEND", note, phrase],
        },
    )
}

fn expiring(dice: &mut Dice) -> Act {
    let (note, phrase) = (dice.note(), dice.phrase());
    let (seconds, at_ms) = (dice.life_seconds(), dice.deadline_ms());
    // Relative forms only where the source sends them on as absolute ones.
    let command = match dice.case(if dice.abilities.seven { 6 } else { 3 }) {
        0 => words!["SET", note, phrase, "PXAT", at_ms],
        1 => words!["SET", note, phrase, "EXAT", at_ms / 1000],
        2 => words!["GETEX", note, "PXAT", at_ms],
        3 => words!["SETEX", note, seconds, phrase],
        4 => words!["PSETEX", note, seconds * 1000 + 7, phrase],
        _ => words!["GETEX", note, "EX", seconds],
    };
    Act::one(WORDS, command)
}

fn several(dice: &mut Dice) -> Act {
    let (a, b, c) = (dice.note(), dice.note(), dice.note());
    let command = match dice.case(4) {
        0 => words!["MSETNX", a, dice.phrase(), b, dice.phrase()],
        1 => words!["GETDEL", a],
        2 => words!["DEL", a, b, c],
        _ => words!["MSET", a, dice.phrase(), b, dice.phrase(), c, dice.phrase()],
    };
    Act::one(WORDS, command)
}

pub(super) fn bitmaps(dice: &mut Dice) -> Act {
    let (letter, bit) = (keys::letter(dice.letter()), dice.number(..100_000));
    let command = match dice.case(4) {
        0 => {
            let to = keys::stored(format!("bits:{}", dice.letter()));
            let operation = if dice.case(2) == 0 { "AND" } else { "XOR" };
            words!["BITOP", operation, to, letter, keys::letter(dice.letter())]
        }
        1 => words!["BITFIELD", letter, "SET", "u4", bit, dice.number(..16)],
        2 => {
            let by = dice.signed(-9..10);
            words!["BITFIELD", letter, "OVERFLOW", "SAT", "INCRBY", "i8", bit, by]
        }
        _ => words!["SETBIT", letter, bit, dice.number(..2)],
    };
    Act::one(WORDS, command)
}

pub(super) fn hyperloglogs(dice: &mut Dice) -> Act {
    let (word, letter) = (dice.word(), dice.letter());
    let initial = keys::initial(letter);
    let command = match dice.case(5) {
        0 => {
            let to = keys::stored(format!("initials:{letter}"));
            words!["PFMERGE", to, initial, keys::initial(dice.letter())]
        }
        // A count may refresh what is cached in the value, which is a write too.
        1 => words!["PFCOUNT", initial],
        _ => words!["PFADD", initial, dice.surname(), word],
    };
    Act::one(WORDS, command)
}
