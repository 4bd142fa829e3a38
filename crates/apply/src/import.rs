//! Import mode of the destination (Valkey 8.1 and later): it removes nothing that has expired, and evicts nothing, while we
//! feed it; our connections see keys past their deadline, which others do not.
//!
//! Guarantees: it is begun for every connection anew, since a server that was started again has forgotten it, and ended
//! when the last service that feeds the server stops in good order. Where it cannot be had, it is not begun, and expiry is
//! held back as elsewhere, with a warning.
//!
//! The mode is the server's, and services come and go: each has a connection of its own for as long as it runs, also
//! while it has no partitions, whose name tells the others that it is there. A service that comes first shows itself and
//! then looks for those that are about to end the mode, and one that ends says so and then looks for others: of two that do
//! it at once, one sees the other.
//!
//! Whether the mode is on shows when a connection says that it feeds the server, which is refused otherwise: the right to
//! read settings is not needed.

use std::sync::Arc;
use std::time::Duration;

use redis_io::{Connection, Connector, ServerFacts};
use runtime::{Class, Clock, chain};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::Error;
use crate::target::{self, Target};

/// Begins the mode for the server.
const BEGIN: [&str; 4] = ["CONFIG", "SET", "import-mode", "yes"];

/// Ends it.
const END: [&str; 4] = ["CONFIG", "SET", "import-mode", "no"];

/// Says that the connection feeds the server: refused while the mode is not on.
const FEED: [&str; 3] = ["CLIENT", "IMPORT-SOURCE", "ON"];

/// Takes that back, and changes nothing else: shows whether there is a mode, and whether the account may use it.
const FEED_NO_MORE: [&str; 3] = ["CLIENT", "IMPORT-SOURCE", "OFF"];

/// How the names of connections begin that tell of a service.
const PRESENT: &str = "keyferry-imports:";

/// How they begin where a service is about to end the mode.
const ENDING: &str = "keyferry-imports-end:";

/// How often a service looks whether the mode is still on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a service that comes looks whether others have ended the mode that were about to.
const ENDING_LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long it waits for them, who have three questions to ask: one that takes longer hangs.
const ENDING_TAKES: Duration = Duration::from_secs(5);

/// A service that may feed a destination in import mode.
#[derive(Debug)]
pub(crate) struct Presence {
    connector: Connector,
    clock: Arc<dyn Clock>,
    /// The number in the names of its connection, and of no other.
    number: u64,
    state: Mutex<State>,
}

/// What a service knows of the mode.
#[derive(Debug, Default)]
struct State {
    /// Shows that the service is there.
    connection: Option<Connection>,
    /// Whether it was refused to have the mode on: that is not asked again, unless over another connection.
    refused: bool,
    /// Whether the mode may be on because of this service.
    begun: bool,
}

/// What the server does not do for us.
struct Refused {
    command: String,
    said: String,
}

/// Begins it for this connection, where that is asked for and can be. Says whether it is on.
///
/// # Errors
/// When the destination does not answer, or not now.
pub(crate) async fn begin(
    connection: &mut Connection,
    (config, facts): (&Config, &ServerFacts),
    presence: &Presence,
) -> Result<bool, Error> {
    let knows_it = Target::of(facts).can(target::IMPORT_MODE);
    if !config.import_mode {
        // What was refused once for the connection is not asked again.
        let tells = facts.refusal_of("CONFIG GET").is_none();
        if knows_it && tells && is_on(connection).await? {
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
    let Some(Refused { command, said }) = presence.lead_in(connection).await? else {
        return Ok(true);
    };
    tracing::warn!(
        refused = command,
        said,
        "the destination does not enter import mode: expiry is held back instead"
    );
    Ok(false)
}

/// Whether the server is in import mode, as far as it tells.
async fn is_on(connection: &mut Connection) -> Result<bool, Error> {
    let reply = connection.ask(["CONFIG", "GET", "import-mode"]).await?;
    Ok(reply.as_array().and_then(|pair| pair.get(1)?.as_str()) == Some("yes"))
}

/// Has the server do something. Says what it does not do; what it does not do now is an error.
async fn ask(connection: &mut Connection, words: &[&str]) -> Result<Option<Refused>, Error> {
    match connection.call(words).await {
        Ok(_) => Ok(None),
        Err(redis_io::Error::Server { refusal, .. }) if refusal.class() != Class::Retry => {
            Ok(Some(Refused { command: words.join(" "), said: refusal.text }))
        }
        Err(error) => Err(error.into()),
    }
}

/// What the connections of the server are called.
async fn names(connection: &mut Connection) -> Result<Vec<String>, Error> {
    let list = connection.call(["CLIENT", "LIST"]).await?;
    let words = list.as_str().unwrap_or_default().split_ascii_whitespace();
    Ok(words.filter_map(|word| word.strip_prefix("name=").map(str::to_owned)).collect())
}

// === impl Presence ===

impl Presence {
    /// A service that draws a number for its name.
    pub(crate) fn new(connector: Connector, clock: Arc<dyn Clock>, number: u64) -> Self {
        Self { connector, clock, number, state: Mutex::default() }
    }

    /// Shows that the service is there, and has the mode on, until it is `over`.
    pub(crate) async fn show(&self, over: &CancellationToken) {
        while !over.is_cancelled() {
            let looked = async { self.look(&mut *self.state.lock().await).await };
            let looked = tokio::select! {
                () = over.cancelled() => return,
                looked = looked => looked,
            };
            if let Err(error) = looked {
                // The lanes tell of a destination that is not there.
                tracing::debug!(error = %chain(&error), "import mode is not looked at");
            }
            tokio::select! {
                () = over.cancelled() => {}
                () = self.clock.sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Has the mode on for another connection of the service, which shows itself anew first: at the server that has this
    /// address now, where who ends the mode sees it from then on. Says what is refused.
    async fn lead_in(&self, connection: &mut Connection) -> Result<Option<Refused>, Error> {
        let mut state = self.state.lock().await;
        let before = state.connection.take();
        self.look(&mut state).await?;
        drop(before);
        let refused = state.enter(connection).await?;
        // Rights may have been given meanwhile.
        state.refused = refused.is_some();
        Ok(refused)
    }

    /// Shows that the service is there and looks whether the mode is on, over a connection that is made where there is
    /// none.
    async fn look(&self, state: &mut State) -> Result<(), Error> {
        let known = state.connection.take();
        let is_new = known.is_none();
        let mut connection = match known {
            Some(mut connection) => {
                self.be_called(PRESENT, &mut connection).await?;
                connection
            }
            None => {
                state.refused = false;
                self.come().await?
            }
        };
        if !state.refused && (is_new || ask(&mut connection, &FEED).await?.is_some()) {
            let refused = state.enter(&mut connection).await?;
            state.refused = refused.is_some();
            match refused {
                None if is_new => {}
                None => tracing::warn!(
                    "somebody has ended the import mode of the destination: it is begun again"
                ),
                Some(Refused { command, said }) if state.begun => tracing::warn!(
                    refused = command,
                    said,
                    "the import mode of the destination cannot be kept on any more: keys may expire whose life the source \
                     prolongs. Start keyferry again once the account has the right"
                ),
                // The lanes tell of what they cannot have.
                Some(_) => {}
            }
        }
        state.connection = Some(connection);
        Ok(())
    }

    /// A connection that shows the service, made when nobody is left that is about to end the mode and has not seen it.
    async fn come(&self) -> Result<Connection, Error> {
        let mut connection = self.connector.connect().await?;
        self.be_called(PRESENT, &mut connection).await?;
        let come = self.clock.monotonic();
        while names(&mut connection).await?.iter().any(|name| name.starts_with(ENDING)) {
            if self.clock.monotonic().saturating_sub(come) >= ENDING_TAKES {
                tracing::warn!("another process does not come to the end of import mode");
                break;
            }
            self.clock.sleep(ENDING_LOOK_EVERY).await;
        }
        Ok(connection)
    }

    /// Ends the mode for the server, where this service has had it on and nobody else feeds the server: what has expired
    /// goes from now on.
    ///
    /// # Errors
    /// When the destination refuses, or does not answer.
    pub(crate) async fn end(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let known = state.connection.take();
        if !state.begun {
            return Ok(());
        }
        // One that was lost just now says nothing of the server.
        if let Some(mut connection) = known
            && self.end_over(&mut connection).await.is_ok()
        {
            return Ok(());
        }
        self.end_over(&mut self.connector.connect().await?).await
    }

    async fn end_over(&self, connection: &mut Connection) -> Result<(), Error> {
        // Of two that end at once, neither is there for the other.
        self.be_called(ENDING, connection).await?;
        let own = self.name(PRESENT);
        let others = names(connection).await?;
        if !others.iter().any(|name| name.starts_with(PRESENT) && *name != own) {
            connection.call(END).await?;
        }
        Ok(())
    }

    async fn be_called(&self, what: &str, connection: &mut Connection) -> Result<(), Error> {
        connection.call(["CLIENT", "SETNAME", &self.name(what)]).await?;
        Ok(())
    }

    fn name(&self, what: &str) -> String {
        format!("{what}{:016x}", self.number)
    }
}

// === impl State ===

impl State {
    /// Has the mode on for the server and for this connection. Says what is refused.
    async fn enter(&mut self, connection: &mut Connection) -> Result<Option<Refused>, Error> {
        // Nothing is begun that cannot be used.
        if let Some(refused) = ask(connection, &FEED_NO_MORE).await? {
            return Ok(Some(refused));
        }
        // Also where the reply is lost.
        let before = std::mem::replace(&mut self.begun, true);
        if let Some(refused) = ask(connection, &BEGIN).await? {
            self.begun = before;
            return Ok(Some(refused));
        }
        ask(connection, &FEED).await
    }
}
