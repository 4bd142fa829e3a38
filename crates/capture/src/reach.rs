//! The first words with the source: who is there, and whether it can be read.
//!
//! Guarantee: a source that has never answered is not waited for, since a mistake in the settings looks
//! just so; one that has answered is, like later, when the connection breaks.

use redis_io::Connector;
use runtime::{Backoff, Class, Classified, Random, backoff, chain};

use crate::config::Config;
use crate::error::BuildError;
use crate::service::Parts;
use crate::source::Source;

/// Connects and asks, again and again once it has answered.
pub(crate) async fn reach(
    connector: &Connector,
    config: &Config,
    parts: &Parts,
) -> Result<Source, BuildError> {
    let window = Some(config.reconnect_window);
    let backoff = Backoff::new(backoff::Settings { window, ..backoff::Settings::default() });
    let mut backoff = backoff.expect("the defaults are valid");
    let mut random = Random::from_entropy();
    loop {
        let begun = parts.clock.monotonic();
        let error = match ask(connector, config.shard.is_some()).await {
            Ok(source) => {
                parts.status.unset("trouble");
                return Ok(source);
            }
            Err(error) => error,
        };
        backoff.charge(parts.clock.monotonic().saturating_sub(begun));
        let may_pass = error.class() == Class::Retry;
        if !may_pass || !(parts.answered || connector.has_answered()) {
            return Err(error);
        }
        let Some(wait) = backoff.next(&mut random) else {
            return Err(BuildError::GaveUp { after: backoff.spent(), last: Box::new(error) });
        };
        tracing::warn!(error = %chain(&error), ?wait, "the source has answered and does not any more");
        parts.status.set("trouble", chain(&error));
        parts.clock.sleep(wait).await;
    }
}

async fn ask(connector: &Connector, is_shard: bool) -> Result<Source, BuildError> {
    let mut connection = connector.connect().await?;
    let source = Source::ask(&mut connection, is_shard).await;
    source.map_err(|error| BuildError::of_source(error, &connector.endpoint().to_string()))
}
