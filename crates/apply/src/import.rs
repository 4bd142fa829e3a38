//! Import mode of the destination (Valkey 8.1 and later): it removes nothing that has expired, and evicts nothing, while we
//! feed it; our connections see keys past their deadline, which others do not.
//!
//! Guarantees: it is begun for every connection anew, since a server that was started again has forgotten it, and ended
//! when the last service that feeds the server stops in good order. Where it cannot be had, expiry is held back as
//! elsewhere, with a warning.
//!
//! The mode is the server's, and services come and go: each has a connection of its own for as long as it runs, also
//! while it has no partitions, whose name tells the others that it is there.

use std::time::Duration;

use redis_io::{Connection, Connector, ServerFacts};
use runtime::{Clock, chain};
use tokio_util::sync::CancellationToken;
use wire::resp::reply::Reply;

use crate::config::Config;
use crate::error::Error;
use crate::target::{self, Target};

/// The name of the setting.
const SETTING: &str = "import-mode";

/// How the names of connections begin that tell of a service.
const PRESENT: &str = "keyferry-imports:";

/// How often a service looks whether the mode is still on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A service that feeds a destination in import mode.
#[derive(Debug)]
pub(crate) struct Presence<'a> {
    connector: &'a Connector,
    clock: &'a dyn Clock,
    /// What its connection is called, and no other.
    name: String,
    connection: Option<Connection>,
}

/// Begins it for this connection, where that is asked for and can be. Says whether it is on.
///
/// # Errors
/// When the destination does not answer.
pub(crate) async fn begin(
    connection: &mut Connection,
    config: &Config,
    facts: &ServerFacts,
) -> Result<bool, Error> {
    let knows_it = Target::of(facts).can(target::IMPORT_MODE);
    if !config.import_mode {
        if knows_it && is_on(connection).await? {
            tracing::warn!(
                "the destination is in import mode, where nothing expires and nothing is evicted: CONFIG SET \
                 import-mode no ends it, --import-mode uses it"
            );
        }
        return Ok(false);
    }
    if !knows_it {
        tracing::warn!(
            "destination.import_mode is set, and the destination has no import mode (Valkey 8.1 and later have): expiry \
             is held back instead"
        );
        return Ok(false);
    }
    for words in [["CONFIG", "SET", SETTING, "yes"].as_slice(), &["CLIENT", "IMPORT-SOURCE", "ON"]]
    {
        if let Reply::Error(text) = connection.ask(words).await? {
            tracing::warn!(
                refused = words.join(" "),
                said = %String::from_utf8_lossy(&text),
                "the destination does not enter import mode: expiry is held back instead"
            );
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the server is in import mode, as far as it tells.
async fn is_on(connection: &mut Connection) -> Result<bool, Error> {
    Ok(told(connection).await?.as_deref() == Some("yes"))
}

/// What the setting is; none: the server does not know it, or does not tell.
async fn told(connection: &mut Connection) -> Result<Option<String>, Error> {
    let reply = connection.ask(["CONFIG", "GET", SETTING]).await?;
    Ok(reply.as_array().and_then(|pair| Some(pair.get(1)?.as_str()?.to_owned())))
}

/// Begins it for the server. Says what that answered.
async fn begin_for_all(connection: &mut Connection) -> Result<Reply, Error> {
    Ok(connection.ask(["CONFIG", "SET", SETTING, "yes"]).await?)
}

// === impl Presence ===

impl<'a> Presence<'a> {
    /// A service that draws a number for its name.
    pub(crate) fn new(connector: &'a Connector, clock: &'a dyn Clock, number: u64) -> Self {
        Self { connector, clock, name: format!("{PRESENT}{number:016x}"), connection: None }
    }

    /// Shows that the service is there, and has the mode on, until it is `over`.
    pub(crate) async fn show(&mut self, over: &CancellationToken) {
        while !over.is_cancelled() {
            let mut connection = self.connection.take();
            let looked = tokio::select! {
                () = over.cancelled() => return,
                looked = self.look(&mut connection) => looked,
            };
            match looked {
                Ok(()) => self.connection = connection,
                // The lanes tell of a destination that is not there.
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "import mode is not looked at");
                }
            }
            tokio::select! {
                () = over.cancelled() => {}
                () = self.clock.sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Looks whether the mode is on, over a connection that is made where there is none.
    async fn look(&self, known: &mut Option<Connection>) -> Result<(), Error> {
        let is_new = known.is_none();
        let connection = match known {
            Some(connection) => connection,
            None => {
                let mut connection = self.connector.connect().await?;
                connection.call(["CLIENT", "SETNAME", &self.name]).await?;
                known.insert(connection)
            }
        };
        if told(connection).await?.is_some_and(|value| value != "yes") {
            if !is_new {
                tracing::warn!(
                    "somebody has ended the import mode of the destination: it is begun again"
                );
            }
            // A refusal is told by the lanes.
            begin_for_all(connection).await?;
        }
        Ok(())
    }

    /// Ends the mode for the server, where that knows it and nobody else feeds it: what has expired goes from now on.
    ///
    /// # Errors
    /// When the destination refuses, or does not answer.
    pub(crate) async fn end(mut self) -> Result<(), Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connector.connect().await?,
        };
        // Of two that end at once, the second to say so is alone.
        connection.call(["CLIENT", "SETNAME", ""]).await?;
        if !is_on(&mut connection).await? || self.is_fed_by_others(&mut connection).await? {
            return Ok(());
        }
        connection.call(["CONFIG", "SET", SETTING, "no"]).await?;
        // Who has come meanwhile may have begun it before that.
        if self.is_fed_by_others(&mut connection).await? {
            begin_for_all(&mut connection).await?;
        }
        Ok(())
    }

    async fn is_fed_by_others(&self, connection: &mut Connection) -> Result<bool, Error> {
        let list = connection.call(["CLIENT", "LIST"]).await?;
        let mut words = list.as_str().unwrap_or_default().split_ascii_whitespace();
        Ok(words.any(|word| {
            let name = word.strip_prefix("name=").filter(|name| name.starts_with(PRESENT));
            name.is_some_and(|name| name != self.name)
        }))
    }
}
