//! The contract of journals, each case on topics of its own.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use journal::Journal;
use journal::conformance::Backend;
use journal::kafka::KafkaConfig;
use parking_lot::Mutex;

use crate::stage;

/// Streams by the incarnation of their journals.
#[derive(Default)]
struct Kafka {
    streams: Mutex<HashMap<String, KafkaConfig>>,
}

impl Backend for Kafka {
    fn create(&self, partitions: u16) -> BoxFuture<'_, Arc<dyn Journal>> {
        let config = stage::shared(partitions);
        self.streams.lock().insert(config.stream.clone(), config.clone());
        Box::pin(async move { Arc::new(stage::open(&config).await) as Arc<dyn Journal> })
    }

    fn reopen(&self, journal: Arc<dyn Journal>) -> BoxFuture<'_, Arc<dyn Journal>> {
        Box::pin(async move {
            let stream = journal.describe().await.expect("it describes").stream;
            assert_eq!(Arc::strong_count(&journal), 1, "somebody else has the stream open");
            drop(journal);
            let config = self.streams.lock().get(&stream).cloned().expect("it was made here");
            Arc::new(stage::open(&config).await) as Arc<dyn Journal>
        })
    }
}

journal::conformance_tests!(Kafka::default());
