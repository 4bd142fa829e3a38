//! Ports that nobody uses.
//!
//! They lie below the range from which kernels give ports to outgoing connections, so that a server
//! finds its port again after a restart; the one 10,000 above is free as well, for the cluster bus.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Result, bail};

/// Linux hands out 32768 and above.
const PORTS: Range<u16> = 10_000..22_000;
/// The distance of a server's cluster bus from its port.
pub(crate) const BUS_DISTANCE: u16 = 10_000;
/// Free ports are the rule, so this many taken ones in a row mean that something is wrong.
const TRIES: u32 = 200;

/// A port that is free at this moment; the caller must expect that another process is quicker.
///
/// # Errors
/// If none is found.
pub fn free() -> Result<u16> {
    for _ in 0..TRIES {
        let port = fastrand::u16(PORTS);
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        if bind(port).is_ok() && bind(port + BUS_DISTANCE).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port among {TRIES} tried between {} and {}", PORTS.start, PORTS.end)
}
