//! What stands at a destination before anything is written there.

use std::sync::Arc;

use event::Position;
use journal::Journal;
use runtime::Clock;

use crate::apply::connector;
use crate::checkpoint;
use crate::config::{Config, Existing};
use crate::error::Error;
use crate::lane::Link;
use crate::names::Names;
use crate::scope::Scope;

/// What stands at a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Up to where the stream has been applied there: a place for each of its partitions that have a checkpoint; of a
    /// journal with one order, one for all.
    pub applied: Vec<Position>,
    /// Whether there is a checkpoint of the stream.
    pub has_checkpoint: bool,
    /// Its databases that hold something, and how many keys; none: the account may not ask.
    pub keys: Option<Vec<(u32, u64)>>,
}

/// Looks at a destination; changes nothing there.
///
/// # Errors
/// Why it cannot be used.
pub async fn look(
    config: &Config,
    journal: &dyn Journal,
    clock: Arc<dyn Clock>,
) -> Result<Standing, Error> {
    // A checkpoint of another history is not in the way of who only looks.
    let config = Config { existing: Existing::Overwrite, ..config.clone() };
    let connector = connector(&config, clock)?;
    let scope = Scope::all(&journal.describe().await?);
    let names = Names::new(&scope);
    let mut link = Link::open(&connector, &config).await?;
    let known = checkpoint::read(&mut link.connection, &scope, &names, &config).await?;
    let positions = |(_, known): (usize, &event::checkpoint::Checkpoint)| {
        known.applied.iter().map(|applied| applied.position).collect::<Vec<_>>()
    };
    let keys = link.facts.refusal_of("INFO").is_none().then(|| {
        let keys = link.facts.keyspace.iter().map(|(db, facts)| (*db, facts.keys));
        keys.filter(|(_, keys)| *keys > 0).collect()
    });
    Ok(Standing {
        applied: known.iter().flat_map(positions).collect(),
        has_checkpoint: known.iter().next().is_some(),
        keys,
    })
}
