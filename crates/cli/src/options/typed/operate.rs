//! Limits, and the HTTP side.

use runtime::throttle::SOURCE_READ_BYTES_MIN;
use runtime::{ByteSize, Limits, Rate, Secret};

use super::Reader;

/// Where HTTP is answered, and who may give orders.
#[derive(Clone, Debug)]
pub(crate) struct AdminSettings {
    /// `host:port`; none: nowhere.
    pub(crate) listen: Option<String>,
    /// Whether somebody has asked for just that.
    pub(crate) is_asked_for: bool,
    pub(crate) token: Option<Secret>,
}

/// Shorter ones can be guessed.
const TOKEN_CHARACTERS_MIN: usize = 16;

/// In place of an address: nothing is answered.
const OFF: &str = "off";

// === impl Reader ===

impl Reader<'_> {
    /// What may pass in a second.
    pub(crate) fn limits(&mut self) -> Limits {
        let reading = "throttle.source_read_bytes";
        let limits = Limits {
            full: self.rate("full"),
            incremental: self.rate("incremental"),
            source_read_bytes: self.bytes(reading),
        };
        if (1..SOURCE_READ_BYTES_MIN).contains(&limits.source_read_bytes) {
            let least = ByteSize(SOURCE_READ_BYTES_MIN);
            let what =
                format!("has to be 0 or at least {least}: a source gives up whoever reads slower");
            self.consequence(reading, &what);
        }
        limits
    }

    /// The HTTP side.
    pub(crate) fn admin(&mut self) -> AdminSettings {
        let path = "admin.listen";
        let listen = self.values.get(path).filter(|listen| *listen != OFF).map(str::to_owned);
        let port = listen.as_ref().map(|listen| listen.rsplit_once(':').map(|(_, port)| port));
        if port.is_some_and(|port| port.is_none_or(|port| port.parse::<u16>().is_err())) {
            let shown = listen.as_deref().unwrap_or_default();
            let what = format!("is {shown:?}, it has to be host:port, as 127.0.0.1:9377, or {OFF}");
            self.problem(path, &what);
        }
        let token = self.secret_text("admin.token", "admin.token_file");
        if token.as_ref().is_some_and(|token| token.chars().count() < TOKEN_CHARACTERS_MIN) {
            let set = if self.values.get("admin.token").is_some() { "token" } else { "token_file" };
            let what = format!(
                "has a token of less than {TOKEN_CHARACTERS_MIN} characters, which can be guessed: make one with `openssl rand -hex 24`"
            );
            self.problem(&format!("admin.{set}"), &what);
        }
        let is_asked_for = self.values.is_given(path);
        AdminSettings { listen, is_asked_for, token: token.map(Secret::new) }
    }

    fn rate(&mut self, of: &str) -> Rate {
        Rate {
            rows: self.number(&format!("throttle.{of}_rows")),
            bytes: self.bytes(&format!("throttle.{of}_bytes")),
        }
    }
}
