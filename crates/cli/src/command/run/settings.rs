//! Everything that a process needs to know before it begins, read and checked.

use std::time::Duration;

use journal::local::LocalConfig;

use super::replay::Wanted;
use crate::exit::Failure;
use crate::options::layers::Values;
use crate::options::typed::{AdminSettings, DataDir, JournalSettings, Reader};
use crate::role::Role;

/// Everything, for the sides that the process has.
pub(super) struct Settings {
    pub(super) role: Role,
    pub(super) dir: DataDir,
    pub(super) stream: String,
    pub(super) source: Option<capture::Config>,
    pub(super) destination: Option<apply::Config>,
    pub(super) journal: JournalSettings,
    pub(super) letters: LocalConfig,
    /// Whether capture is asked for a snapshot, where one is needed.
    pub(super) asks: bool,
    /// What is to be applied anew.
    pub(super) replay: Option<Wanted>,
    pub(super) admin: AdminSettings,
    pub(super) level: String,
    pub(super) json: bool,
    pub(super) log_interval: Duration,
    pub(super) warnings: Vec<String>,
}

/// Letters of the quarantine are few; one partition keeps them in order.
const LETTER_PARTITIONS: u16 = 1;

// === impl Settings ===

impl Settings {
    pub(super) fn read(values: &Values, role: Role) -> Result<Self, Failure> {
        let mut reader = Reader::new(values);
        let dir = reader.data_dir();
        // What is embedded has to be there already where it is only read.
        let stream = match role == Role::Replay && reader.is_local() {
            true => reader.known_stream(&dir),
            false => reader.stream(),
        };
        reader.check_all();
        reader.refuse_to_share(role);
        let source = role.captures().then(|| reader.source(&stream, &dir, role)).flatten();
        let destination = role.applies().then(|| reader.destination(&stream, &dir)).flatten();
        let when = reader.word("destination.resnapshot");
        let asks = role == Role::Apply && when != Some("never");
        let heal = role != Role::Apply || when == Some("heal");
        let destination = destination.map(|config| apply::Config { awaits: asks, heal, ..config });
        let journal = reader.journal(&stream, &dir);
        let letters = LocalConfig::new(dir.quarantine(&stream), &stream, LETTER_PARTITIONS);
        let (json, level) = (reader.flag("log.json"), reader.log_level());
        let log_interval = reader.duration("log.progress_interval");
        let admin = reader.admin();
        let warnings = reader.finish()?;
        Ok(Self {
            role,
            dir,
            stream,
            source,
            destination,
            journal,
            letters,
            asks,
            replay: None,
            admin,
            level,
            json,
            log_interval,
            warnings,
        })
    }

    /// What can be ordered while it runs. To pause a bridge means to write nothing more to the destination: the source
    /// is read on, and the journal has room.
    pub(super) fn controls(&self) -> Vec<admin::Control> {
        let apply = self.destination.as_ref().map(|config| admin::Control {
            name: "apply",
            reads_source: false,
            throttle: config.throttle.clone(),
        });
        let capture = self.source.as_ref().map(|config| admin::Control {
            name: "capture",
            reads_source: true,
            throttle: config.throttle.clone(),
        });
        apply.into_iter().chain(capture).collect()
    }
}
