//! Sorted sets, and those that hold places.

use super::Act;
use super::dice::Dice;
use crate::keys::{self, NAMES, PLACES};
use crate::words::words;

pub(super) fn sorted_sets(dice: &mut Dice) -> Act {
    if dice.case(4) == 0 {
        return names(dice);
    }
    let city = dice.city();
    let people = keys::population(&city.country);
    let (one, other) = (dice.any_country(), dice.any_country());
    let (one, other) = (keys::population(one), keys::population(other));
    let stored = keys::stored(format!("top:{}", dice.case(200)));
    let command = match dice.case(9) {
        0 => words!["ZREM", people, city.id],
        1 => words!["ZPOPMIN", people],
        2 => words!["ZPOPMAX", people, 2_u32],
        3 => words!["ZADD", people, "GT", "CH", dice.number(..5_000_000), city.id],
        4 => words!["ZRANGESTORE", stored, one, 0_u32, 9_u32, "REV"],
        5 => words!["ZUNIONSTORE", stored, 2_u32, one, other, "WEIGHTS", 1_u32, "0.5"],
        6 => words!["ZINTERSTORE", stored, 2_u32, one, stored, "AGGREGATE", "MAX"],
        7 if dice.abilities.seven => words!["ZMPOP", 2_u32, people, other, "MIN"],
        7 => words!["ZREMRANGEBYRANK", people, 0_u32, 1_u32],
        _ => words!["ZADD", people, city.population, city.id, dice.number(..900), dice.serial()],
    };
    Act::one(PLACES, command)
}

fn names(dice: &mut Dice) -> Act {
    let surname = dice.surname();
    let surnames = keys::surnames(surname.get(..1).unwrap_or_default());
    let command = match dice.case(3) {
        0 => words!["ZREMRANGEBYSCORE", surnames, "0.00001", "0.0005"],
        1 => words!["ZADD", surnames, "INCR", "0.1", surname],
        _ => words!["ZINCRBY", surnames, "0.003", surname],
    };
    Act::one(NAMES, command)
}

pub(super) fn places(dice: &mut Dice) -> Act {
    let city = dice.city();
    let geo = keys::geo(&city.country);
    let near = keys::stored(format!("near:{}", dice.case(200)));
    let command = match dice.case(4) {
        0 => words![
            "GEOSEARCHSTORE",
            near,
            geo,
            "FROMLONLAT",
            city.longitude,
            city.latitude,
            "BYRADIUS",
            50_u32,
            "km",
            "COUNT",
            20_u32,
            "ASC",
            "STOREDIST"
        ],
        1 => words!["ZREM", geo, city.id],
        _ => words!["GEOADD", geo, city.longitude, city.latitude, city.id],
    };
    Act::one(PLACES, command)
}
