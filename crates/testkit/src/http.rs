//! What a running process answers by HTTP, as a scraper, a probe or a person asks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Process, eventually};

/// The address and the token of a process.
#[derive(Debug)]
pub struct Http {
    address: String,
    token: String,
}

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a process has to have in its environment to take orders, and with which value.
pub const TOKEN: (&str, &str) = ("KEYFERRY_ADMIN_TOKEN", "0123456789abcdef-e2e");

// === impl Http ===

impl Http {
    /// Of a process that says in its log where it listens.
    ///
    /// # Errors
    /// If it does not.
    pub fn of(process: &mut Process) -> Result<Self> {
        let address = process.until(PATIENCE, "it says where it listens", |_, said| {
            let (_, behind) = said.split_once("http://")?;
            let end = behind.find(|c: char| !c.is_ascii_digit() && !".:".contains(c))?;
            Some(behind[..end].to_owned())
        })?;
        Ok(Self { address, token: TOKEN.1.to_owned() })
    }

    /// The code and the body of the answer.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: keyferry\r\n\r\n"))
    }

    /// The same with another token.
    #[must_use]
    pub fn with(&self, token: &str) -> Self {
        Self { address: self.address.clone(), token: token.to_owned() }
    }

    /// The code and the body of the answer.
    ///
    /// # Errors
    /// If there is none.
    pub fn post(&self, path: &str, body: &str) -> Result<(u16, String)> {
        let (token, length) = (&self.token, body.len());
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: keyferry\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// Gives an order that has to be obeyed.
    ///
    /// # Errors
    /// If it is not.
    pub fn order(&self, path: &str, body: &str) -> Result<()> {
        let (code, said) = self.post(path, body)?;
        ensure!(code == 200, "{path} {body}: {code} {said}");
        Ok(())
    }

    /// The status as it is now.
    ///
    /// # Errors
    /// If it is not told.
    pub fn status(&self) -> Result<Value> {
        let (code, said) = self.get("/status")?;
        ensure!(code == 200, "{code} {said}");
        Ok(serde_json::from_str(&said)?)
    }

    /// Waits until something is true of the status, and gives it.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
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
