//! An apply that was away: what has gathered meanwhile is of partitions that wait for one another, and more than memory
//! is to hold.

use anyhow::{Result, ensure};
use testkit::{Kind, command};

use crate::apart::{Stage, stop};

/// Transactions over several partitions.
const TRANSACTIONS: usize = 3_000;
/// Every so many of them a large string is written to one partition.
const BETWEEN: usize = 30;
const LARGE_BYTES: usize = 1_500_000;
const COUNTERS: usize = 20;

#[test]
fn a_backlog_of_transactions_and_large_values_is_read_once() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    let (mut capture, mut apply) = (stage.capture("capture")?, stage.apply()?);
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    stop(&mut apply)?;
    for number in 0..TRANSACTIONS {
        if number % BETWEEN == 0 {
            let key = format!("large:{}", number % 7);
            client.cmd(&["SET", &key, &"v".repeat(LARGE_BYTES)])?;
        }
        let counter = |which: usize| format!("counter:{}", (number * 7 + which) % COUNTERS);
        let mut commands = vec![command(&["MULTI"])];
        commands.extend((0..4).map(|which| command(&["INCR", &counter(which)])));
        commands.push(command(&["EXEC"]));
        client.all(&commands)?;
    }
    let mut apply =
        stage.process(&["apply", &stage.destination.uri()], "apply", &["--log-level", "debug"])?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    stage.assert_same()?;
    let said = apply.stderr();
    let again = said.matches("reads again what was forgotten").count();
    ensure!(again == 0, "what had been read was forgotten {again} times");
    stop(&mut apply)?;
    stop(&mut capture)
}
