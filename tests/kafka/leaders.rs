//! The broker that leads a partition dies, and another one leads: nothing is lost or doubled on the way through both
//! processes, and the source is kept free of what waits.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::kafka::Cluster;
use testkit::{Kind, eventually};

use crate::apart::{PATIENCE, Stage};
use crate::load::{Load, waiting_bytes};
use crate::outages::{LESS, WAITING_BYTES, assert_whole, start, write};

/// How often the one that leads is killed.
const KILLS: usize = 2;
/// What is written while nobody leads: more than the client of Kafka is told to hold.
const MEANWHILE_BYTES: usize = 16 << 20;
/// How long one broker may take to tell who leads.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Waits until a running broker leads a partition, any but the one `except`; its number in the cluster.
pub(crate) fn leader(
    brokers: &str,
    topic: &str,
    partition: i32,
    except: Option<usize>,
) -> Result<usize> {
    let asker: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    eventually(PATIENCE, format!("somebody leads partition {partition} of {topic}"), || {
        // Brokers may be away, or just electing.
        let Ok(told) = asker.fetch_metadata(Some(topic), ANSWER_LIMIT) else { return Ok(None) };
        let partitions = told.topics().first().context("the topic")?.partitions();
        let found = partitions.iter().find(|found| found.id() == partition);
        // Kafka counts brokers from 1; one of none is -1.
        let number = found.and_then(|found| usize::try_from(found.leader() - 1).ok());
        Ok(number.filter(|number| Some(*number) != except))
    })
}

#[test]
fn a_stream_goes_on_under_new_leaders_and_the_source_is_kept_free() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let mut stage = Stage::on(Kind::Redis7_0, cluster.bootstrap())?;
    let topic = format!("keyferry.{}", stage.stream);
    let replicated = ["--kafka-replication-factor", "3", "--kafka-min-insync-replicas", "2"];
    let (mut capture, mut apply) = start(&mut stage, LESS, &replicated)?;
    let mut client = stage.source_client()?;
    let load = Load::start(&stage.source)?;
    for _ in 0..KILLS {
        load.goes_on(50)?;
        let leading = leader(&stage.brokers, &topic, 0, None)?;
        cluster.kill(leading)?;
        write(&stage, MEANWHILE_BYTES)?;
        eventually(PATIENCE, "the source has got rid of it", || {
            Ok((waiting_bytes(&mut client)? <= WAITING_BYTES).then_some(()))
        })?;
        leader(&stage.brokers, &topic, 0, Some(leading))?;
        load.goes_on(50)?;
        // The other two carry on by themselves.
        stage.caught_up(&mut [&mut capture, &mut apply])?;
        cluster.restart(leading)?;
    }
    assert_whole(&mut stage, load, (&mut capture, &mut apply))
}
