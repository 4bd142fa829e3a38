//! Asks the source about commands that the table does not know.

use std::sync::Arc;
use std::time::Duration;

use redis_io::{Connection, Connector, Error};
use runtime::{Backoff, Class, Classified, Clock, Random, Trouble, chain};
use wire::command::CommandSpec;
use wire::command::info::from_command_info;
use wire::resp::reply::Reply;

use crate::limits::ASK_AGAIN_INTERVAL;
use crate::progress::Progress;
use crate::translate::TranslateError;

/// Asks over a connection of its own, made when first needed. A source that is away for a moment is
/// asked again, and one that does not let us ask, until it does.
#[derive(Debug)]
pub(crate) struct CommandDescriber {
    connector: Connector,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    /// For how long a right that is missing is waited for.
    refused_window: Duration,
    progress: Arc<Progress>,
    connection: Option<Connection>,
}

// === impl CommandDescriber ===

impl CommandDescriber {
    /// Asks the server that this connector leads to, for as long as `backoff` allows, and the window where the
    /// account may not ask.
    #[must_use]
    pub(crate) fn new(
        (connector, clock): (Connector, Arc<dyn Clock>),
        (backoff, refused_window): (Backoff, Duration),
        progress: Arc<Progress>,
    ) -> Self {
        Self { connector, clock, backoff, refused_window, progress, connection: None }
    }

    /// What the server says of the command.
    ///
    /// # Errors
    /// When it cannot be asked, does not know the command, or does not tell its keys.
    pub(crate) async fn describe(&mut self, command: &str) -> Result<CommandSpec, TranslateError> {
        let begun = self.clock.monotonic();
        let mut trouble = Trouble::default();
        self.backoff.reset();
        let mut random = Random::from_entropy();
        let described = loop {
            let error = match self.ask(command).await {
                Ok(reply) => break from_command_info(&reply).map_err(|error| chain(&error)),
                Err(error) => error,
            };
            self.connection = None;
            let waited = self.clock.monotonic().saturating_sub(begun);
            let wait = match error.is_denied() {
                true => Some(ASK_AGAIN_INTERVAL).filter(|_| waited < self.refused_window),
                false => self.backoff.next(&mut random).filter(|_| error.class() == Class::Retry),
            };
            let Some(wait) = wait else { break Err(chain(&error)) };
            if trouble.begin(self.clock.monotonic()) {
                let why = chain(&error);
                tracing::warn!(
                    command,
                    error = why,
                    advice = error.advice(),
                    "a command is not known, and the source does not tell what its keys are: nothing after it is \
                     recorded until it does; what the source sends waits in the spool"
                );
                self.progress
                    .set_trouble(&format!("cannot ask what the keys of {command} are: {why}"));
            }
            self.clock.sleep(wait).await;
        };
        if let Some(after) = trouble.end(self.clock.monotonic()) {
            self.progress.set_trouble("");
            if described.is_ok() {
                tracing::info!(
                    command,
                    after,
                    "the source has told what the keys of the command are"
                );
            }
        }
        described.map_err(|why| TranslateError::Undescribed { command: command.to_owned(), why })
    }

    async fn ask(&mut self, command: &str) -> Result<Reply, Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.connector.connect().await?),
        };
        connection.call([&b"COMMAND"[..], b"INFO", command.as_bytes()]).await
    }
}
