//! Asks the source about commands that the table does not know.

use redis_io::{Connection, Connector};
use wire::command::CommandSpec;
use wire::command::info::from_command_info;

use crate::translate::TranslateError;

/// Asks over a connection of its own, made when first needed.
#[derive(Debug)]
pub(crate) struct CommandDescriber {
    connector: Connector,
    connection: Option<Connection>,
}

// === impl CommandDescriber ===

impl CommandDescriber {
    /// Asks the server that this connector leads to.
    #[must_use]
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector, connection: None }
    }

    /// What the server says of the command.
    ///
    /// # Errors
    /// When it cannot be asked, does not know the command, or does not tell its keys.
    pub(crate) async fn describe(&mut self, command: &str) -> Result<CommandSpec, TranslateError> {
        let undescribed =
            |why: String| TranslateError::Undescribed { command: command.to_owned(), why };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.connector.connect().await.map_err(|error| undescribed(error.to_string()))?
            }
        };
        let name = command.as_bytes();
        let reply = connection.ask([&b"COMMAND"[..], b"INFO", name]).await;
        let reply = reply.map_err(|error| undescribed(error.to_string()))?;
        self.connection = Some(connection);
        from_command_info(&reply).map_err(|error| undescribed(error.to_string()))
    }
}
