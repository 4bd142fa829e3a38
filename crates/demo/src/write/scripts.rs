//! Several changes at once: transactions and Lua scripts.

use super::Act;
use super::dice::Dice;
use crate::keys::{self, NAMES, PLACES};
use crate::words::words;

/// People move between two cities; the sum stays.
const MOVE_PEOPLE: &str = "\
local n = math.min(tonumber(redis.call('HGET', KEYS[1], 'population') or '0'), tonumber(ARGV[1]))
if n > 0 then
  redis.call('HINCRBY', KEYS[1], 'population', -n)
  redis.call('HINCRBY', KEYS[2], 'population', n)
  redis.call('RPUSH', KEYS[3], n)
  redis.call('LTRIM', KEYS[3], -20, -1)
end
return n";

/// A value that no two servers would make by themselves.
const STAMP: &str = "\
local now = redis.call('TIME')
local drawn = redis.call('SRANDMEMBER', KEYS[1])
redis.call('SET', KEYS[2], now[1] .. '.' .. now[2] .. ' ' .. tostring(drawn))
return drawn";

pub(super) fn transactions(dice: &mut Dice) -> Act {
    let (from, to) = (dice.city(), dice.city());
    let people = dice.signed(1..20);
    let surname = keys::surname(dice.surname());
    let mut commands = vec![
        words!["MULTI"],
        words!["HINCRBY", keys::city(from.id), "population", -people],
        words!["HINCRBY", keys::city(to.id), "population", people],
        words!["LPUSH", keys::recent(&to.country), from.id],
        words!["INCRBY", keys::visits(&to.country), people],
    ];
    if dice.case(3) == 0 {
        commands.push(words!["SELECT", NAMES]);
        commands.push(words!["INCRBYFLOAT", surname, "0.01"]);
        commands.push(words!["SELECT", PLACES]);
    }
    commands.push(words!["EXEC"]);
    Act { db: PLACES, commands }
}

pub(super) fn scripts(dice: &mut Dice) -> Act {
    let (from, to) = (dice.city(), dice.city());
    let command = if dice.case(3) == 0 {
        let stamp = keys::stored(format!("stamp:{}", dice.case(200)));
        words!["EVAL", STAMP, 2_u32, keys::timezone(from.timezone), stamp]
    } else {
        words![
            "EVAL",
            MOVE_PEOPLE,
            3_u32,
            keys::city(from.id),
            keys::city(to.id),
            keys::stored(format!("moves:{}", dice.case(200))),
            dice.number(1..500)
        ]
    };
    Act::one(PLACES, command)
}
