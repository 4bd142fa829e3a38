//! How long an error is waited for: the one place that decides on trying again.

use std::time::Duration;

use journal::ReadError;
use redis_io::Code;
use runtime::backoff::Settings;
use runtime::{Backoff, Class, Classified, Random};

use crate::config::Windows;
use crate::error::Error;

/// The waits between attempts of one lane.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(Settings::default()).expect("the default settings are valid")
}

/// Whether an error may pass: by itself or, where the lane was let in before (`begun`), by people who change a
/// password or a right while everything runs. A wrong password at the start is a mistake in the settings.
pub(crate) fn may_pass(error: &Error, begun: bool) -> bool {
    error.class() == Class::Retry || (begun && error.is_denied())
}

/// How long to wait before the next attempt; none when it is time to give up.
pub(crate) fn wait(
    (error, begun): (&Error, bool),
    windows: &Windows,
    backoff: &mut Backoff,
    random: &mut Random,
) -> Option<Duration> {
    if !may_pass(error, begun) {
        return None;
    }
    match window(error, windows) {
        Some(window) if backoff.spent() >= window => return None,
        Some(_) => {}
        // However long it was, what comes next has its own window.
        None => backoff.forgive(),
    }
    backoff.next(random)
}

/// The error as it ends a lane: one that was waited for says so.
pub(crate) fn given_up((error, begun): (Error, bool), backoff: &Backoff) -> Error {
    match may_pass(&error, begun) {
        true => Error::GaveUp { after: backoff.spent(), last: Box::new(error) },
        false => error,
    }
}

/// For how long an error is waited for; none: for ever.
fn window(error: &Error, windows: &Windows) -> Option<Duration> {
    if error.is_denied() {
        return Some(windows.refused);
    }
    // Brokers come back, and whoever reads a journal has nothing else to do; what does not pass by itself is of
    // another kind. Captures are started one by one.
    let is_waited_for = matches!(
        error,
        Error::AwaitsSnapshot { .. }
            | Error::AwaitsShards { .. }
            | Error::Journal(ReadError::Failed(_))
    );
    if is_waited_for {
        return None;
    }
    let code = match error {
        Error::Refused { refusal, .. }
        | Error::Connection(redis_io::Error::Server { refusal, .. }) => Some(refusal.code),
        _ => None,
    };
    match code {
        // Room is made by people, and nothing is lost by waiting for them.
        Some(Code::OutOfMemory) => None,
        Some(Code::Loading | Code::MasterDown | Code::NoMasterLink | Code::Busy) => {
            Some(windows.connection)
        }
        Some(_) => Some(windows.refused),
        None => Some(windows.connection),
    }
}

#[cfg(test)]
mod tests {
    use redis_io::Refusal;

    use super::*;

    fn refused(text: &str) -> Error {
        Error::Refused { endpoint: "e".into(), refusal: Refusal::read(text.as_bytes()) }
    }

    #[test]
    fn each_error_has_its_window() {
        let windows = Windows::default();
        assert_eq!(window(&refused("OOM x"), &windows), None);
        assert_eq!(window(&refused("READONLY x"), &windows), Some(windows.refused));
        assert_eq!(window(&refused("NOPERM x"), &windows), Some(windows.refused));
        assert_eq!(window(&refused("LOADING x"), &windows), Some(windows.connection));
        let gone = Error::Connection(redis_io::Error::Closed {
            endpoint: "e".into(),
            doing: "x",
            source: None,
        });
        assert_eq!(window(&gone, &windows), Some(windows.connection));
        let away = Error::Journal(ReadError::Failed("no answer".into()));
        assert_eq!(window(&away, &windows), None);
    }

    #[test]
    fn a_journal_is_waited_for_at_nobodys_expense() {
        let (mut backoff, mut random) = (backoff(), Random::from_seed(1));
        let windows = Windows { connection: Duration::from_secs(20), ..Windows::default() };
        let away = Error::Journal(ReadError::Failed("no answer".into()));
        backoff.charge(Duration::from_secs(100_000));
        assert!(wait((&away, true), &windows, &mut backoff, &mut random).is_some());
        // What comes after it has all of its window.
        let loading = || refused("LOADING x");
        assert!(wait((&loading(), true), &windows, &mut backoff, &mut random).is_some());
        backoff.charge(Duration::from_secs(20));
        assert_eq!(wait((&loading(), true), &windows, &mut backoff, &mut random), None);
        for operator in [
            ReadError::NoRight { right: "Read on topic t".into(), place: "here".into() },
            ReadError::Settings { what: "x".into() },
            ReadError::Corrupt { place: "here".into(), what: "x".into() },
        ] {
            let error = Error::Journal(operator);
            assert_eq!(wait((&error, true), &windows, &mut backoff, &mut random), None, "{error}");
        }
    }

    #[test]
    fn what_will_not_pass_is_not_waited_for() {
        let (mut backoff, mut random) = (backoff(), Random::from_seed(1));
        let fenced = Error::Fenced { endpoint: "e".into(), stream: "s".into() };
        let windows = Windows::default();
        assert_eq!(wait((&fenced, true), &windows, &mut backoff, &mut random), None);
        assert!(matches!(given_up((fenced, true), &backoff), Error::Fenced { .. }));
    }

    #[test]
    fn a_password_is_waited_for_once_it_was_right() {
        let (mut backoff, mut random) = (backoff(), Random::from_seed(1));
        let windows = Windows { refused: Duration::from_secs(20), ..Windows::default() };
        let wrong = || {
            Error::Connection(redis_io::Error::Auth {
                endpoint: "e".into(),
                kind: redis_io::error::AuthKind::WrongPassword,
                said: Refusal::read(b"WRONGPASS x"),
            })
        };
        assert_eq!(wait((&wrong(), false), &windows, &mut backoff, &mut random), None);
        assert!(matches!(given_up((wrong(), false), &backoff), Error::Connection(_)));
        assert!(wait((&wrong(), true), &windows, &mut backoff, &mut random).is_some());
        backoff.charge(Duration::from_secs(20));
        assert_eq!(wait((&wrong(), true), &windows, &mut backoff, &mut random), None);
        let given_up = given_up((wrong(), true), &backoff);
        assert!(given_up.is_denied() && matches!(given_up, Error::GaveUp { .. }));
    }

    #[test]
    fn gives_up_when_the_window_is_spent() {
        let (mut backoff, mut random) = (backoff(), Random::from_seed(1));
        let windows = Windows { refused: Duration::from_secs(20), ..Windows::default() };
        let error = || refused("READONLY x");
        assert!(wait((&error(), true), &windows, &mut backoff, &mut random).is_some());
        backoff.charge(Duration::from_secs(20));
        assert_eq!(wait((&error(), true), &windows, &mut backoff, &mut random), None);
        assert!(matches!(given_up((error(), true), &backoff), Error::GaveUp { .. }));
        assert!(wait((&refused("OOM x"), true), &windows, &mut backoff, &mut random).is_some());
    }
}
