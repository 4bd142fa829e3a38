//! The side that reads the source: it writes the journal, or stands by while another process does.
//!
//! Guarantees: whoever is refused because another leads, or is overtaken, tries to become the writer until stopped.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::iter::successors;
use std::time::Duration;

use capture::BuildError;
use journal::{AppendError, OpenError};
use runtime::policy::{Class, Classified};
use runtime::{StatusNode, chain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::origin::Origin;
use crate::exit::{self, Failure};

/// What this side shows itself as.
pub(super) const SIDE: &str = "capture";

/// How often one that stands by tries to become the writer.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// A capture, or the wish to be one.
pub(super) struct Capturing {
    config: capture::Config,
    parts: capture::Parts,
    /// Of the process.
    status: StatusNode,
    origin: Origin,
    /// None: another process leads.
    built: Option<capture::Capture>,
    /// What has been said of why it stands by.
    told: Option<String>,
}

// === impl Capturing ===

impl Capturing {
    /// Checks the source, and becomes the journal's writer unless another process is.
    pub(super) async fn begin(
        config: capture::Config,
        parts: capture::Parts,
        status: StatusNode,
        origin: Origin,
    ) -> Result<Self, Failure> {
        let mut capturing = Self { config, parts, status, origin, built: None, told: None };
        match capturing.build().await? {
            Ok(capture) => capturing.built = Some(capture),
            Err(BuildError::Appender(OpenError::Led { holder, .. })) => {
                capturing.stands_by(&holder);
            }
            Err(error) => {
                return Err(Failure::at_start(exit::of_capture_build(&error), &error));
            }
        }
        Ok(capturing)
    }

    /// Captures, and stands by while another does, until stopped: where the last capture stopped, if there was one.
    pub(super) async fn run(
        mut self,
        mut wanted: Option<watch::Receiver<u64>>,
        stop: CancellationToken,
    ) -> Result<Option<capture::Summary>, Failure> {
        loop {
            let capture = match self.built.take() {
                Some(capture) => capture,
                None => tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(None),
                    capture = self.turn() => capture?,
                },
            };
            let order = capture.transfer_order();
            let result = tokio::select! {
                biased;
                result = capture.run(stop.clone()) => result,
                never = hand_on(wanted.as_mut(), &order) => match never {},
            };
            match result {
                Ok(summary) => return Ok(Some(summary)),
                Err(error) if is_overtaken(&error) => {
                    tracing::warn!("another process has taken over the capture of this stream");
                    self.forget();
                }
                Err(error) => return Err(Failure::of(exit::of_capture(&error), &error)),
            }
        }
    }

    /// Waits for its turn.
    async fn turn(&mut self) -> Result<capture::Capture, Failure> {
        loop {
            match self.build().await? {
                Ok(capture) => {
                    tracing::info!("this process captures now");
                    return Ok(capture);
                }
                Err(BuildError::Appender(OpenError::Led { holder, .. })) => self.stands_by(&holder),
                // It could never go on with what the one before has recorded.
                Err(
                    error @ (BuildError::OtherSlots { .. }
                    | BuildError::SharedSlots { .. }
                    | BuildError::OtherCluster { .. }),
                ) => {
                    return Err(Failure::at_start(exit::of_capture_build(&error), &error));
                }
                Err(error) => {
                    let why = chain(&error);
                    if self.told.as_ref() != Some(&why) {
                        tracing::warn!(
                            error = why,
                            "standing by: nothing can be taken over at the moment"
                        );
                        self.told = Some(why);
                    }
                }
            }
            self.parts.clock.sleep(TRY_EVERY).await;
        }
    }

    /// Leaves nothing of the capture that has ended: what it showed of its spool holds that, too.
    fn forget(&mut self) {
        self.status.remove_child(SIDE);
        self.parts.status = self.status.child(SIDE);
    }

    fn stands_by(&mut self, holder: &str) {
        // What led to here has been answered by the source.
        self.parts.answered = true;
        self.parts.status.set("phase", "standby");
        self.parts.status.set("leader", holder);
        if self.told.as_deref() != Some(holder) {
            tracing::info!(
                leader = holder,
                "another process captures this stream: standing by to take over"
            );
            self.told = Some(holder.to_owned());
        }
    }

    /// Sets a capture up; says why not now, where that may pass.
    async fn build(&mut self) -> Result<Result<capture::Capture, BuildError>, Failure> {
        let config = capture::Config { recorded_from: self.origin.read()?, ..self.config.clone() };
        match capture::Capture::build(config, self.parts.clone()).await {
            Ok(capture) => {
                self.origin.write(&self.config.source.address().to_string())?;
                self.parts.status.unset("leader");
                self.told = None;
                Ok(Ok(capture))
            }
            Err(error) if may_pass(&error) => Ok(Err(error)),
            Err(error) => Err(Failure::at_start(exit::of_capture_build(&error), &error)),
        }
    }
}

/// Orders what apply wants.
async fn hand_on(
    wanted: Option<&mut watch::Receiver<u64>>,
    order: &capture::TransferOrder,
) -> Infallible {
    if let Some(wanted) = wanted {
        // Ends with the side that wants.
        while wanted.changed().await.is_ok() {
            order.give();
        }
    }
    pending().await
}

/// Whether one that stands by goes on doing so: another process writes the journal, or nobody answers for the moment.
fn may_pass(error: &BuildError) -> bool {
    let is_the_journals =
        matches!(error, BuildError::Appender(_) | BuildError::Journal(_) | BuildError::Resume(_));
    is_the_journals && error.class() == Class::Retry
}

/// Whether another writer of the journal has taken over.
fn is_overtaken(error: &capture::Error) -> bool {
    let error: &(dyn Error + 'static) = error;
    successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<AppendError>())
        .any(|error| matches!(error, AppendError::Fenced { .. }))
}

#[cfg(test)]
mod tests {
    use journal::ReadError;

    use super::*;

    #[test]
    fn one_that_stands_by_waits_for_brokers_that_go_away_while_it_takes_over() {
        let away = || ReadError::Failed("no answer".to_owned());
        let led = OpenError::Led { stream: "a".to_owned(), holder: "b".to_owned() };
        let waited_for = [
            BuildError::Journal(away()),
            BuildError::Resume(capture::ResumeError::Journal(away())),
            BuildError::Appender(led),
        ];
        assert!(waited_for.iter().all(may_pass));
        let right = ReadError::NoRight { right: "Read".to_owned(), place: "there".to_owned() };
        assert!(!may_pass(&BuildError::Journal(right)));
        assert!(!may_pass(&BuildError::Settings(vec![])));
    }

    #[test]
    fn a_writer_that_was_overtaken_is_told_from_one_that_failed() {
        let error = |error| {
            let outlet = capture::OutletError::Journal(error);
            capture::Error::Session(capture::SessionError::Outlet(outlet))
        };
        assert!(is_overtaken(&error(AppendError::Fenced { stream: "a".to_owned() })));
        assert!(!is_overtaken(&error(AppendError::Failed("a disk".to_owned()))));
    }
}
