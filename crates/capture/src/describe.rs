//! Asks the source about commands that the table does not know.

use std::sync::Arc;

use redis_io::{Connection, Connector, Error};
use runtime::{Backoff, Class, Classified, Clock, Random, chain};
use wire::command::CommandSpec;
use wire::command::info::from_command_info;
use wire::resp::reply::Reply;

use crate::translate::TranslateError;

/// Asks over a connection of its own, made when first needed. A source that is away for a moment is
/// asked again.
#[derive(Debug)]
pub(crate) struct CommandDescriber {
    connector: Connector,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    connection: Option<Connection>,
}

// === impl CommandDescriber ===

impl CommandDescriber {
    /// Asks the server that this connector leads to, for as long as `backoff` allows.
    #[must_use]
    pub(crate) fn new(connector: Connector, clock: Arc<dyn Clock>, backoff: Backoff) -> Self {
        Self { connector, clock, backoff, connection: None }
    }

    /// What the server says of the command.
    ///
    /// # Errors
    /// When it cannot be asked, does not know the command, or does not tell its keys.
    pub(crate) async fn describe(&mut self, command: &str) -> Result<CommandSpec, TranslateError> {
        let undescribed = |error: &dyn std::error::Error| TranslateError::Undescribed {
            command: command.to_owned(),
            why: chain(error),
        };
        self.backoff.reset();
        let mut random = Random::from_entropy();
        loop {
            let error = match self.ask(command).await {
                Ok(reply) => {
                    return from_command_info(&reply).map_err(|error| undescribed(&error));
                }
                Err(error) => error,
            };
            self.connection = None;
            let wait = self.backoff.next(&mut random).filter(|_| error.class() == Class::Retry);
            let Some(wait) = wait else { return Err(undescribed(&error)) };
            tracing::warn!(command, error = %chain(&error), ?wait, "cannot ask about a command");
            self.clock.sleep(wait).await;
        }
    }

    async fn ask(&mut self, command: &str) -> Result<Reply, Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.connector.connect().await?),
        };
        connection.call([&b"COMMAND"[..], b"INFO", command.as_bytes()]).await
    }
}
