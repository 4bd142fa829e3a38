//! Functions: a library that is loaded, called, and now and then replaced.

use testkit::Command;

use super::Act;
use super::dice::Dice;
use crate::keys::{self, PLACES};
use crate::words::words;

/// What `FUNCTION LOAD` is given; another edition is another code, and does the same.
pub(crate) fn library(edition: u64) -> Command {
    let name = keys::LIBRARY;
    let code = format!(
        "#!lua name={name}
-- edition {edition}
redis.register_function('demo_visit', function(keys, args)
  redis.call('HSET', keys[1], 'visitor', args[1])
  redis.call('LPUSH', keys[2], args[1])
  redis.call('LTRIM', keys[2], 0, 50)
  return redis.call('INCR', keys[3])
end)
"
    );
    words!["FUNCTION", "LOAD", "REPLACE", code]
}

pub(super) fn functions(dice: &mut Dice) -> Act {
    let city = dice.city();
    let (key, visits) = (keys::city(city.id), keys::visits(&city.country));
    if !dice.abilities.functions {
        return Act::one(PLACES, words!["INCR", visits]);
    }
    if dice.case(200) == 0 {
        return Act::one(PLACES, library(dice.serial()));
    }
    let (recent, visitor) = (keys::recent(&city.country), dice.first_name());
    let call = words!["FCALL", "demo_visit", 3_u32, key, recent, visits, visitor];
    Act::one(PLACES, call)
}
