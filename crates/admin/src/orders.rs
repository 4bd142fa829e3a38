//! Orders: what a request asks to be paused, resumed or limited, understood as a whole or not at all.

use std::fmt;

use runtime::throttle::SOURCE_READ_BYTES_MIN;
use runtime::{ByteSize, Limits};
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::control::Control;

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Pause,
    Resume,
    Throttle,
}

/// Which part is meant; none: the first.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    side: Option<String>,
}

/// What is to be changed of the limits; what is not named stays.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Changes {
    side: Option<String>,
    full_rows: Option<u64>,
    full_bytes: Option<Amount>,
    source_read_bytes: Option<Amount>,
    incremental_rows: Option<u64>,
    incremental_bytes: Option<Amount>,
}

/// A number of bytes, or a text as `64MB`.
#[derive(Clone, Copy, Debug)]
struct Amount(u64);

/// Every part.
const ALL: &str = "all";

/// Does what is ordered.
///
/// # Errors
/// What is not understood; nothing has been done then.
pub(crate) fn obey(order: Order, body: &[u8], controls: &[Control]) -> Result<(), String> {
    if order == Order::Throttle {
        return read::<Changes>(body)?.make(controls);
    }
    let Which { side } = read(body)?;
    for control in meant(side.as_deref(), controls)? {
        match order {
            Order::Resume => control.throttle.resume(),
            _ => control.throttle.pause(),
        };
        tracing::info!(side = control.name, ?order, "ordered by HTTP");
    }
    Ok(())
}

/// The body as JSON; nothing is an empty object.
fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, String> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    // A list would be taken for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("the body has to be a JSON object".to_owned());
    }
    serde_json::from_slice(body)
        .map_err(|error| format!("the body is not what is expected: {error}"))
}

fn meant<'a>(side: Option<&str>, controls: &'a [Control]) -> Result<Vec<&'a Control>, String> {
    let found: Vec<&Control> = match side {
        None => controls.iter().take(1).collect(),
        Some(ALL) => controls.iter().collect(),
        Some(name) => controls.iter().filter(|control| control.name == name).collect(),
    };
    if found.is_empty() {
        let names: Vec<_> = controls.iter().map(|control| control.name).chain([ALL]).collect();
        return Err(format!("there is no such side here: it is one of {}", names.join(", ")));
    }
    Ok(found)
}

// === impl Changes ===

impl Changes {
    fn make(&self, controls: &[Control]) -> Result<(), String> {
        let mut changed = Vec::new();
        let reading = self.source_read_bytes.map(|amount| amount.0);
        if reading.is_some_and(|bytes| bytes > 0 && bytes < SOURCE_READ_BYTES_MIN) {
            return Err(format!(
                "source_read_bytes has to be 0 or at least {SOURCE_READ_BYTES_MIN}: a source gives up whoever reads slower"
            ));
        }
        if self.has_rates() || reading.is_none() {
            for control in meant(self.side.as_deref(), controls)? {
                changed.push((control, self.rates(control.throttle.limits())));
            }
        }
        if let Some(bytes) = reading {
            let side = self.side.as_deref().unwrap_or(ALL);
            let readers: Vec<_> =
                meant(Some(side), controls)?.into_iter().filter(|one| one.reads_source).collect();
            if readers.is_empty() {
                return Err("source_read_bytes: this side does not read from the source".to_owned());
            }
            for control in readers {
                let known = changed.iter_mut().find(|(other, _)| other.name == control.name);
                match known {
                    Some((_, limits)) => limits.source_read_bytes = bytes,
                    None => {
                        let limits = control.throttle.limits();
                        changed.push((control, Limits { source_read_bytes: bytes, ..limits }));
                    }
                }
            }
        }
        for (control, limits) in changed {
            control.throttle.set_limits(limits);
            tracing::info!(side = control.name, ?limits, "limits set by HTTP");
        }
        Ok(())
    }

    fn has_rates(&self) -> bool {
        let rows = self.full_rows.or(self.incremental_rows);
        rows.is_some() || self.full_bytes.or(self.incremental_bytes).is_some()
    }

    /// The limits with the rates that are named.
    fn rates(&self, mut limits: Limits) -> Limits {
        let bytes = |amount: Option<Amount>| amount.map(|amount| amount.0);
        for (limit, wanted) in [
            (&mut limits.full.rows, self.full_rows),
            (&mut limits.full.bytes, bytes(self.full_bytes)),
            (&mut limits.incremental.rows, self.incremental_rows),
            (&mut limits.incremental.bytes, bytes(self.incremental_bytes)),
        ] {
            *limit = wanted.unwrap_or(*limit);
        }
        limits
    }
}

// === impl Amount ===

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a text such as \"64MB\"")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
                text.parse::<ByteSize>().map(|size| Amount(size.bytes())).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use runtime::Throttle;

    use super::*;

    fn controls() -> [Control; 2] {
        let control =
            |name, reads_source| Control { name, reads_source, throttle: Throttle::default() };
        [control("apply", false), control("capture", true)]
    }

    #[test]
    fn the_first_side_is_meant_unless_another_is_named() {
        let controls = controls();
        let paused = || controls.each_ref().map(|control| control.throttle.is_paused());
        obey(Order::Pause, b"", &controls).unwrap();
        assert_eq!(paused(), [true, false]);
        obey(Order::Pause, br#"{"side": "capture"}"#, &controls).unwrap();
        obey(Order::Resume, b"{}", &controls).unwrap();
        assert_eq!(paused(), [false, true]);
        obey(Order::Pause, br#"{"side": "all"}"#, &controls).unwrap();
        assert_eq!(paused(), [true, true]);
        let refused = obey(Order::Resume, br#"{"side": "aply"}"#, &controls).unwrap_err();
        assert!(refused.contains("apply, capture, all"), "{refused}");
        assert_eq!(paused(), [true, true]);
    }

    #[test]
    fn what_is_not_named_stays() {
        let controls = controls();
        let limits = || controls.each_ref().map(|control| control.throttle.limits());
        obey(Order::Throttle, br#"{"full_rows": 5, "full_bytes": "1MB"}"#, &controls).unwrap();
        let body = br#"{"incremental_bytes": 7, "full_rows": 0, "source_read_bytes": "1MiB"}"#;
        obey(Order::Throttle, body, &controls).unwrap();
        let [apply, capture] = limits();
        assert_eq!((apply.full.rows, apply.full.bytes, apply.incremental.bytes), (0, 1_000_000, 7));
        assert_eq!(apply.source_read_bytes, 0);
        assert_eq!(capture, Limits { source_read_bytes: 1 << 20, ..Limits::default() });
        obey(Order::Throttle, br#"{"side": "capture", "full_rows": 9}"#, &controls).unwrap();
        assert_eq!((limits()[0].full.rows, limits()[1].full.rows), (0, 9));
        assert_eq!(limits()[1].source_read_bytes, 1 << 20);
    }

    #[test]
    fn what_is_not_understood_changes_nothing() {
        let controls = controls();
        for body in [
            "nonsense",
            "[]",
            r#"{"full_row": 1}"#,
            r#"{"full_rows": -1}"#,
            r#"{"full_rows": "1"}"#,
            r#"{"full_rows": 1, "full_bytes": "much"}"#,
            r#"{"full_rows": 1, "side": "nobody"}"#,
            r#"{"full_rows": 1, "source_read_bytes": 1}"#,
            r#"{"side": "apply", "full_rows": 1, "source_read_bytes": "1MB"}"#,
        ] {
            assert!(obey(Order::Throttle, body.as_bytes(), &controls).is_err(), "{body}");
            assert_eq!(controls[0].throttle.limits(), Limits::default(), "{body}");
            assert_eq!(controls[1].throttle.limits(), Limits::default(), "{body}");
        }
    }
}
