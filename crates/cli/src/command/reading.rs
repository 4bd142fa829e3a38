//! A journal that is only read, beside whoever writes it.

use std::sync::Arc;
use std::time::Duration;

use journal::Journal;
use journal::local::{LocalJournal, LocalParts, ReadOnlyConfig};
use runtime::Clock;

use crate::exit::{Exit, Failure};
use crate::options::typed::JournalSettings;

/// How often a waiting reader of files looks for more.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Opens it as it is: nothing is made, and on Kafka it has as many partitions as it has.
pub(super) async fn open(
    settings: JournalSettings,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Journal>, Failure> {
    match settings {
        JournalSettings::Local(config) => {
            let config = ReadOnlyConfig { dir: config.dir, poll_every: POLL_EVERY };
            let opened = LocalJournal::open_read_only(config, LocalParts { clock }).await;
            let journal = opened.map_err(|error| Failure::of(Exit::Journal, &error))?;
            Ok(Arc::new(journal))
        }
        #[cfg(feature = "kafka")]
        JournalSettings::Kafka(config) => {
            let opened = journal::kafka::KafkaJournal::open_as_it_is(*config, clock).await;
            Ok(Arc::new(opened.map_err(|error| Failure::at_start(Exit::Journal, &error))?))
        }
    }
}
