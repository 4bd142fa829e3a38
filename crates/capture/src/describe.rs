//! Asks the source about commands that the table does not know.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis_io::{Connection, Connector, Error};
use runtime::{Backoff, Class, Classified, Clock, Random, Trouble, chain};
use wire::args::Args;
use wire::command::CommandSpec;
use wire::command::info::{InfoError, from_command_info, from_keys};
use wire::resp::reply::Reply;
use wire::resp::scan::RawCommand;

use crate::limits::ASK_AGAIN_INTERVAL;
use crate::progress::{Obstacle, Progress};
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

/// What the source says of a command.
#[derive(Clone, Debug)]
pub(crate) enum Described {
    /// So it is in every call.
    Always(CommandSpec),
    /// So it is in this call: its words decide where its keys are.
    Once(CommandSpec),
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

    /// What the server says of the command, by one call of it.
    ///
    /// # Errors
    /// When it cannot be asked, does not know the command, or does not tell its keys.
    pub(crate) async fn describe(
        &mut self,
        command: &str,
        call: &RawCommand,
    ) -> Result<Described, TranslateError> {
        let undescribed = |error: InfoError| TranslateError::Undescribed {
            command: command.to_owned(),
            why: chain(&error),
        };
        let info = self.ask(command, words(&["COMMAND", "INFO", command])).await?;
        match from_command_info(&info) {
            Ok(spec) => Ok(Described::Always(spec)),
            Err(InfoError::MovableKeys { .. }) => {
                let mut question = words(&["COMMAND", "GETKEYS"]);
                question.extend((0..call.len()).filter_map(|index| call.bytes(index)));
                let keys = self.ask(command, question).await?;
                from_keys(call, &keys).map(Described::Once).map_err(undescribed)
            }
            Err(error) => Err(undescribed(error)),
        }
    }

    /// The answer to a question about a command.
    async fn ask(&mut self, command: &str, words: Vec<Bytes>) -> Result<Reply, TranslateError> {
        let begun = self.clock.monotonic();
        let mut trouble = Trouble::default();
        self.backoff.reset();
        let mut random = Random::from_entropy();
        let answered = loop {
            let error = match self.call(words.clone()).await {
                Ok(reply) => break Ok(reply),
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
                let trouble = format!("cannot ask what the keys of {command} are: {why}");
                self.progress.hindered(Obstacle::Question, &trouble);
                self.progress.set_asked_about(Some(command));
            }
            self.clock.sleep(wait).await;
        };
        if let Some(after) = trouble.end(self.clock.monotonic()) {
            self.progress.overcome(Obstacle::Question);
            self.progress.set_asked_about(None);
            if answered.is_ok() {
                tracing::info!(
                    command,
                    after,
                    "the source has told what the keys of the command are"
                );
            }
        }
        answered.map_err(|why| TranslateError::Undescribed { command: command.to_owned(), why })
    }

    async fn call(&mut self, words: Vec<Bytes>) -> Result<Reply, Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.connector.connect().await?),
        };
        connection.call(words).await
    }
}

fn words(words: &[&str]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}
