//! Clients that wait for replies: `redis-benchmark`, of the same version as the servers.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use testkit::Server;

use super::strings::VALUE_BYTES;

/// Connections, as many as it has by itself.
const CLIENTS: usize = 50;
/// Commands that each has under way.
const PIPELINED: usize = 16;

/// Has it `SET` so many times as many keys of 16 bytes by chance.
///
/// # Errors
/// If it is not beside the server, or fails.
pub(crate) fn write(server: &Server, count: u64) -> Result<()> {
    let program = server.kind().tool("redis-benchmark")?;
    let output = Command::new(&program)
        .args(["-s", &server.socket().display().to_string(), "-q", "-t", "set"])
        .args(["-n", &count.to_string(), "-r", &count.to_string(), "-d", &VALUE_BYTES.to_string()])
        .args(["-c", &CLIENTS.to_string(), "-P", &PIPELINED.to_string()])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    ensure!(output.status.success(), "{}: {}", program.display(), output.status);
    Ok(())
}
