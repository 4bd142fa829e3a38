//! Streams: entries come and go, groups read, acknowledge, claim and are moved.

use testkit::Command;

use super::Act;
use super::dice::Dice;
use crate::keys::{self, HISTORY};
use crate::words::{Word, words};

/// Who reads while the demo writes.
const CONSUMERS: [&str; 3] = ["ada", "grace", "edsger"];

pub(super) fn streams(dice: &mut Dice) -> Act {
    match dice.case(10) {
        0..4 => add(dice),
        4..6 => read(dice),
        6 => trim(dice),
        7 => groups(dice),
        _ => settle(dice),
    }
}

fn add(dice: &mut Dice) -> Act {
    let (stream, author) = (dice.stream(), dice.author());
    let (lines, subject) = (dice.number(1..400), dice.phrase());
    let command = match dice.case(4) {
        0 => words!["XADD", stream, "MAXLEN", "~", 500_u32, "*", "author", author, "lines", lines],
        1 => words!["XADD", stream, "NOMKSTREAM", "*", "author", author, "subject", subject],
        _ => words!["XADD", stream, "*", "author", author, "subject", subject, "lines", lines],
    };
    Act::one(HISTORY, command)
}

/// Reads for a group that may be made first.
fn read(dice: &mut Dice) -> Act {
    let (stream, group) = (dice.stream(), group(dice));
    let consumer = consumer(dice);
    let make = words!["XGROUP", "CREATE", stream, group, "0", "MKSTREAM"];
    let join = join(&stream, group, consumer);
    let count = dice.number(1..6);
    let read = words!["XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS"];
    let read = [read, words![stream, ">"]].concat();
    let commands = if dice.case(3) == 0 { vec![make, join, read] } else { vec![join, read] };
    Act { db: HISTORY, commands }
}

fn trim(dice: &mut Dice) -> Act {
    let stream = dice.stream();
    let command = match dice.case(3) {
        0 => words!["XTRIM", stream, "MAXLEN", "~", 300_u32],
        1 => words!["XTRIM", stream, "MAXLEN", 200_u32],
        // The first of January 2008.
        _ => words!["XTRIM", stream, "MINID", "1199145600000"],
    };
    Act::one(HISTORY, command)
}

fn groups(dice: &mut Dice) -> Act {
    let (stream, group) = (dice.stream(), group(dice));
    let command = match dice.case(5) {
        0 => words!["XGROUP", "DESTROY", stream, group],
        1 => words!["XGROUP", "CREATECONSUMER", stream, group, consumer(dice)],
        2 => words!["XGROUP", "DELCONSUMER", stream, group, consumer(dice)],
        3 => words!["XGROUP", "SETID", stream, group, "$"],
        _ => words!["XGROUP", "CREATE", stream, group, "$", "MKSTREAM"],
    };
    Act::one(HISTORY, command)
}

/// Deals with an entry that was delivered.
fn settle(dice: &mut Dice) -> Act {
    let Some((stream, id)) = dice.undone() else { return add(dice) };
    let (group, consumer) = (group(dice), consumer(dice));
    let commands = match dice.case(if dice.abilities.claims { 6 } else { 4 }) {
        0 => vec![words!["XDEL", stream, id]],
        4 => vec![
            join(&stream, group, consumer),
            words!["XCLAIM", stream, group, consumer, 0_u32, id],
        ],
        5 => vec![
            join(&stream, group, consumer),
            words!["XAUTOCLAIM", stream, group, consumer, 0_u32, id, "COUNT", 3_u32],
        ],
        _ => vec![words!["XACK", stream, group, id]],
    };
    Act { db: HISTORY, commands }
}

/// Makes a consumer before it reads or claims: one that does so and is given nothing does not get
/// into the replication stream of newer servers, and so to no copy.
fn join(stream: impl Word, group: &str, consumer: &str) -> Command {
    words!["XGROUP", "CREATECONSUMER", stream, group, consumer]
}

fn group(dice: &mut Dice) -> &'static str {
    if dice.case(4) == 0 { keys::GROUPS[1] } else { keys::GROUPS[0] }
}

fn consumer(dice: &mut Dice) -> &'static str {
    match dice.case(3) {
        0 => CONSUMERS[0],
        1 => CONSUMERS[1],
        _ => CONSUMERS[2],
    }
}
