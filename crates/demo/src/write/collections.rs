//! Lists, sets and hashes.

use super::Act;
use super::dice::Dice;
use crate::keys::{self, CHARACTERS, HISTORY, PLACES, WORDS};
use crate::words::words;

/// How many of the latest visits of a country are kept.
const RECENT_VISITS: u32 = 50;

pub(super) fn lists(dice: &mut Dice) -> Act {
    match dice.case(3) {
        0 => visits(dice),
        1 => blocks(dice),
        _ => prefixes(dice),
    }
}

fn visits(dice: &mut Dice) -> Act {
    let city = dice.city();
    let recent = keys::recent(&city.country);
    let commands = vec![
        words!["LPUSH", recent, city.id, dice.first_name()],
        words!["LTRIM", recent, 0_u32, RECENT_VISITS],
    ];
    Act { db: PLACES, commands }
}

fn blocks(dice: &mut Dice) -> Act {
    let (block, other) = (keys::block(dice.block()), keys::block(dice.block()));
    let code = dice.number(..0x3000);
    let command = match dice.case(6) {
        0 => words!["LPUSH", block, code],
        1 => words!["RPUSHX", block, code],
        2 => words!["LMOVE", block, other, "LEFT", "RIGHT"],
        3 => words!["RPOPLPUSH", block, other],
        4 => words!["LREM", block, 1_u32, code],
        _ if dice.abilities.seven => {
            words!["LMPOP", 2_u32, block, other, "RIGHT", "COUNT", 2_u32]
        }
        _ => words!["RPOP", block],
    };
    Act::one(CHARACTERS, command)
}

fn prefixes(dice: &mut Dice) -> Act {
    let word = dice.word();
    let prefix = keys::prefix(word.get(..2).unwrap_or(&word));
    let command = match dice.case(6) {
        0 => words!["LPOP", prefix],
        1 => words!["RPOP", prefix, 2_u32],
        2 => words!["LINSERT", prefix, "BEFORE", word, dice.first_name()],
        3 => words!["LSET", prefix, dice.number(..20), dice.surname()],
        4 => words!["LPUSHX", prefix, dice.surname()],
        _ => words!["RPUSH", prefix, word],
    };
    Act::one(WORDS, command)
}

pub(super) fn sets(dice: &mut Dice) -> Act {
    if dice.case(3) == 0 {
        return operations(dice);
    }
    let (city, other) = (dice.city(), dice.city());
    let (zone, to) = (keys::timezone(&city.timezone), keys::timezone(&other.timezone));
    let command = match dice.case(6) {
        0 => words!["SREM", zone, city.id],
        1 => words!["SMOVE", zone, to, city.id],
        2 => words!["SPOP", zone],
        3 => words!["SPOP", zone, 2_u32],
        _ => words!["SADD", zone, city.id, other.id, dice.surname()],
    };
    Act::one(PLACES, command)
}

/// What is stored of several sets; of small ones, which is as true and takes less time.
fn operations(dice: &mut Dice) -> Act {
    let (a, b) = (keys::anagrams(dice.anagrams()), keys::anagrams(dice.anagrams()));
    let stored = keys::stored(format!("set:{}", dice.case(200)));
    let command = match dice.case(4) {
        0 => words!["SUNIONSTORE", stored, a, b],
        1 => words!["SINTERSTORE", stored, a, stored],
        2 => words!["SDIFFSTORE", stored, stored, b],
        _ => words!["SADD", a, dice.surname()],
    };
    Act::one(WORDS, command)
}

pub(super) fn hashes(dice: &mut Dice) -> Act {
    if dice.abilities.field_expiry && dice.case(4) == 0 {
        return fields_that_expire(dice);
    }
    let city = dice.city();
    let key = keys::city(city.id);
    let author = keys::author(dice.author());
    match dice.case(7) {
        0 => Act::one(PLACES, words!["HINCRBY", key, "population", dice.signed(-50..100)]),
        1 => Act::one(PLACES, words!["HINCRBYFLOAT", key, "latitude", "0.0001"]),
        2 => Act::one(PLACES, words!["HDEL", key, "visitor"]),
        3 => Act::one(PLACES, words!["HSETNX", key, "visitor", dice.first_name()]),
        4 => Act::one(HISTORY, words!["HINCRBY", author, "commits", 1_u32]),
        _ => {
            let (visitor, phrase) = (dice.first_name(), dice.phrase());
            Act::one(PLACES, words!["HSET", key, "visitor", visitor, "remark", phrase])
        }
    }
}

fn fields_that_expire(dice: &mut Dice) -> Act {
    let key = keys::city(dice.city().id);
    let (at_ms, seconds) = (dice.deadline_ms(), dice.life_seconds());
    let command = match dice.case(4) {
        0 => words!["HPERSIST", key, "FIELDS", 1_u32, "remark"],
        1 => words!["HEXPIRE", key, seconds, "FIELDS", 1_u32, "visitor"],
        _ => words!["HPEXPIREAT", key, at_ms, "FIELDS", 2_u32, "remark", "name"],
    };
    Act::one(PLACES, command)
}
