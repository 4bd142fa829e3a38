//! What a running bridge answers by HTTP, as a scraper, a probe or a person asks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Process, eventually};

/// The address and the token of a bridge.
pub(crate) struct Http {
    address: String,
    token: String,
}

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Long enough for any test.
pub(crate) const TOKEN: (&str, &str) = ("KEYFERRY_ADMIN_TOKEN", "0123456789abcdef-e2e");

// === impl Http ===

impl Http {
    /// Of a bridge that says in its log where it listens.
    pub(crate) fn of(bridge: &mut Process) -> Result<Self> {
        let address = bridge.until(PATIENCE, "it says where it listens", |_, said| {
            let (_, behind) = said.split_once("http://")?;
            let end = behind.find(|c: char| !c.is_ascii_digit() && !".:".contains(c))?;
            Some(behind[..end].to_owned())
        })?;
        Ok(Self { address, token: TOKEN.1.to_owned() })
    }

    pub(crate) fn get(&self, path: &str) -> Result<(u16, String)> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: keyferry\r\n\r\n"))
    }

    /// The same with another token.
    pub(crate) fn with(&self, token: &str) -> Self {
        Self { address: self.address.clone(), token: token.to_owned() }
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Result<(u16, String)> {
        let (token, length) = (&self.token, body.len());
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: keyferry\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// Gives an order that has to be obeyed.
    pub(crate) fn order(&self, path: &str, body: &str) -> Result<()> {
        let (code, said) = self.post(path, body)?;
        ensure!(code == 200, "{path} {body}: {code} {said}");
        Ok(())
    }

    /// The status as it is now.
    pub(crate) fn status(&self) -> Result<Value> {
        let (code, said) = self.get("/status")?;
        ensure!(code == 200, "{code} {said}");
        Ok(serde_json::from_str(&said)?)
    }

    /// Waits until something is true of the status, and gives it.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(PATIENCE, what, || Ok(Some(self.status()?).filter(&holds)))
    }

    fn send(&self, request: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        let (head, body) = said.split_once("\r\n\r\n").context("no head")?;
        let code = head.split(' ').nth(1).context("no code")?.parse()?;
        Ok((code, body.to_owned()))
    }
}
