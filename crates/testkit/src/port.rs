//! Ports that nobody uses.
//!
//! They lie below the range from which kernels give ports to outgoing connections, so that a server
//! finds its port again after a restart; the one 10,000 above is free as well, for the cluster bus. None is given twice
//! in one process: who asks at the port of a server that a test has killed finds no other test's.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Result, bail};
use parking_lot::Mutex;

/// Linux hands out 32768 and above.
const PORTS: Range<u16> = 10_000..22_000;
/// The distance of a server's cluster bus from its port.
pub(crate) const BUS_DISTANCE: u16 = 10_000;
/// Free ports are the rule, so this many taken ones in a row mean that something is wrong.
const TRIES: u32 = 200;

/// Those that were given, or were taken when they were tried.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that is free at this moment, and that nobody else in this process gets; the caller must expect that another
/// process is quicker.
///
/// # Errors
/// If none is found.
pub fn free() -> Result<u16> {
    for _ in 0..TRIES {
        let port = fastrand::u16(PORTS);
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        // Noted first: where the server of one that was given starts again, nobody may be trying its port.
        if GIVEN.lock().insert(port) && bind(port).is_ok() && bind(port + BUS_DISTANCE).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port among {TRIES} tried between {} and {}", PORTS.start, PORTS.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_given_twice() {
        let ports: BTreeSet<u16> = (0..1_000).map(|_| free().expect("there are more")).collect();
        assert_eq!(ports.len(), 1_000);
    }
}
