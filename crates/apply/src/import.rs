//! Import mode of the destination (Valkey 8.1 and later): it removes nothing that has expired, and evicts nothing, while we
//! feed it; our connections see keys past their deadline, which others do not.
//!
//! Guarantees: it is begun for every connection anew, since a server that was started again has forgotten it, and ended
//! when the service stops in good order. Where it cannot be had, expiry is held back as elsewhere, with a warning.

use redis_io::{Connection, Connector, ServerFacts};
use wire::resp::reply::Reply;

use crate::config::Config;
use crate::error::Error;
use crate::target::{self, Target};

/// The name of the setting.
const SETTING: &str = "import-mode";

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

/// Ends it for the server, where that knows it: what has expired goes from now on.
///
/// # Errors
/// When the destination refuses, or does not answer.
pub(crate) async fn end(connector: &Connector) -> Result<(), Error> {
    let mut connection = connector.connect().await?;
    if is_on(&mut connection).await? {
        connection.call(["CONFIG", "SET", SETTING, "no"]).await?;
    }
    Ok(())
}

/// Whether the server is in import mode, as far as it tells.
async fn is_on(connection: &mut Connection) -> Result<bool, Error> {
    let reply = connection.ask(["CONFIG", "GET", SETTING]).await?;
    let value = reply.as_array().and_then(|pair| pair.get(1)?.as_str());
    Ok(value == Some("yes"))
}
