//! The contract, on the settings that lead through different code.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::parts;
use super::sim_disk::SimDisk;
use crate::Journal;
use crate::conformance::Backend;
use crate::local::{Compression, LocalConfig, LocalJournal, SyncPolicy};

/// Streams in a directory that goes with the backend, or on a disk in memory.
struct Local {
    dir: TempDir,
    sim: Option<SimDisk>,
    shape: LocalConfig,
    streams: Mutex<HashMap<String, LocalConfig>>,
}

impl Local {
    fn on_real_disk(shape: impl FnOnce(LocalConfig) -> LocalConfig) -> Self {
        let plain = LocalConfig {
            segment_bytes: 64 * 1024,
            max_record_bytes: 300_000,
            ..LocalConfig::new(PathBuf::new(), "", 1)
        };
        let (dir, streams) = (tempfile::tempdir().unwrap(), Mutex::default());
        Self { dir, sim: None, shape: shape(plain), streams }
    }

    fn in_memory(shape: impl FnOnce(LocalConfig) -> LocalConfig) -> Self {
        Self { sim: Some(SimDisk::new()), ..Self::on_real_disk(shape) }
    }

    async fn open(&self, config: LocalConfig) -> Arc<dyn Journal> {
        Arc::new(match &self.sim {
            Some(disk) => {
                LocalJournal::open_on(Arc::new(disk.clone()), &config, &parts(), None).unwrap()
            }
            None => LocalJournal::open(config, parts()).await.unwrap(),
        })
    }
}

impl Backend for Local {
    fn create(&self, partitions: u16) -> BoxFuture<'_, Arc<dyn Journal>> {
        let mut streams = self.streams.lock();
        let stream = format!("stream-{}", streams.len());
        let dir = self.dir.path().join(&stream);
        let config = LocalConfig { dir, stream: stream.clone(), partitions, ..self.shape.clone() };
        streams.insert(stream, config.clone());
        Box::pin(self.open(config))
    }

    fn reopen(&self, journal: Arc<dyn Journal>) -> BoxFuture<'_, Arc<dyn Journal>> {
        Box::pin(async move {
            let stream = journal.describe().await.unwrap().stream;
            let config = self.streams.lock().get(&stream).cloned().unwrap();
            drop(journal);
            self.open(config).await
        })
    }
}

mod defaults_but_small_segments {
    use super::*;
    crate::conformance_tests!(Local::on_real_disk(|config| config));
}

mod synced_each_batch_without_cache {
    use super::*;
    crate::conformance_tests!(Local::in_memory(|config| LocalConfig {
        sync: SyncPolicy::EachBatch,
        tail_cache_bytes: 0,
        ..config
    }));
}

mod tiny_segments_and_queue_uncompressed {
    use super::*;
    crate::conformance_tests!(Local::in_memory(|config| LocalConfig {
        sync: SyncPolicy::Os,
        segment_bytes: 4096,
        queue_bytes: 1000,
        tail_cache_bytes: 20_000,
        compression: Compression::None,
        ..config
    }));
}

mod rarely_synced {
    use super::*;
    crate::conformance_tests!(Local::in_memory(|config| LocalConfig {
        sync: SyncPolicy::Interval(Duration::from_millis(200)),
        ..config
    }));
}
