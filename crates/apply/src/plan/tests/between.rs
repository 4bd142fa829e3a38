//! What may come between the records of one event: nothing of its own order, anything of another.

use event::fragment::Fragment;

use super::*;
use crate::error::Error;

/// A SET of a key of partition 0, in two fragments.
fn halves(offset: u64) -> [Event; 2] {
    let whole = entry(&written(offset, "SET a value", Effect::Overwrite), 0, 0).payload;
    let (total_bytes, crc32c) = (whole.len() as u64, crc32c::crc32c(&whole));
    let middle = whole.len() / 2;
    let pieces = [(0, whole.slice(..middle)), (1, whole.slice(middle..))];
    pieces.map(|(number, data)| {
        let fragment = Fragment { number, count: 2, total_bytes, crc32c, data, snapshot_id: 0 };
        event(at(offset), b"a", Body::Fragment(fragment))
    })
}

fn begun_in_both(one_order: bool) -> Planner {
    let mut planner = planner_of(&config(), &facts(7, 2), one_order);
    for partition in [0, 1] {
        let begin = entry(&begin(1, EpochCause::FullResync), partition, 0);
        planner.plan(begin, &mut Batch::new(0)).unwrap();
    }
    planner
}

/// The first half in partition 0, what comes in partition 1, the other half.
fn with_between(planner: &mut Planner, between: &Event) -> Result<Vec<String>, Error> {
    let [first, second] = halves(10);
    let mut batch = Batch::new(0);
    for (event, partition, offset) in [(&first, 0, 1), (between, 1, 1), (&second, 0, 2)] {
        planner.plan(entry(event, partition, offset), &mut batch)?;
    }
    batch.close_run();
    Ok(commands(&batch))
}

#[test]
fn other_partitions_go_on_while_one_waits_for_the_rest_of_an_event() {
    let later = written(20, "SET b 1", Effect::Overwrite);
    let commands = with_between(&mut begun_in_both(false), &later).unwrap();
    assert_eq!(commands, ["SET b 1", "SET a value"]);
}

#[test]
fn an_epoch_that_begins_in_another_partition_drops_nothing() {
    let other = begin(2, EpochCause::Continued);
    let commands = with_between(&mut begun_in_both(false), &other).unwrap();
    assert_eq!(commands, ["SET a value"]);
}

#[test]
fn where_all_partitions_have_one_order_nothing_comes_between() {
    let later = written(20, "SET b 1", Effect::Overwrite);
    let refused = with_between(&mut begun_in_both(true), &later);
    assert!(matches!(refused, Err(Error::Contradiction { .. })), "{refused:?}");
}
