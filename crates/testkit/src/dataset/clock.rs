//! Questions about time to a server that answers only in times from now on, or until now.

use anyhow::{Context, Result, bail};

use crate::client::{Client, Command, command};
use crate::value::Value;

/// How exactly the answers can be told: how much of the server's clock may pass while it answers, and one for rounding.
pub(super) const SLACK_MS: u64 = SPENT_MS + 1;
/// What one round of answers may take; an idle server needs less than one.
const SPENT_MS: u64 = 10;
/// How often the questions are asked until the answers are quick enough.
const ROUNDS: u32 = 100;

/// Asks a server, and tells what its clock said meanwhile, to [`SLACK_MS`].
pub(super) fn ask(client: &mut Client, questions: &[Command]) -> Result<(u64, Vec<Value>)> {
    let mut asked = vec![command(&["MULTI"]), command(&["TIME"])];
    asked.extend_from_slice(questions);
    asked.extend([command(&["TIME"]), command(&["EXEC"])]);
    for _ in 0..ROUNDS {
        let outcome = client.all(&asked)?.pop().context("EXEC was not answered")?;
        let mut replies = outcome.array()?;
        let after = replies.pop().context("TIME was not answered")?;
        if replies.is_empty() {
            bail!("fewer replies than questions");
        }
        let before = server_ms(&replies.remove(0))?;
        let after = server_ms(&after)?;
        if (before..=before + SPENT_MS).contains(&after) {
            return Ok((before, replies));
        }
    }
    bail!("the server was never quick enough to be asked for times")
}

/// TIME's answer in milliseconds since the epoch.
pub(super) fn server_ms(time: &Value) -> Result<u64> {
    match time.clone().array()?.as_slice() {
        [seconds, micros] => Ok(u64::try_from(seconds.int()? * 1000 + micros.int()? / 1000)?),
        _ => bail!("TIME answered {time}"),
    }
}
