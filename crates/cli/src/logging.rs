//! Log lines on standard error: text for people, JSON for machines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::exit::Failure;

/// The Rust side of Kafka's client complains whenever a consumer that has been closed is dropped, as one should be.
const NOISE: &str = "rdkafka::consumer::base_consumer";

/// Starts logging through `writer`, as `log.level` and `log.json` say.
pub(crate) fn start<W>(level: &str, json: bool, writer: W) -> Result<(), Failure>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(level)
        .map_err(|error| Failure::usage(format!("log.level {level:?}: {error}")))?;
    let filter = match level.contains("rdkafka") {
        true => filter,
        false => filter.add_directive(format!("{NOISE}=off").parse().expect("a directive")),
    };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    let started = match json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.with_ansi(false).try_init(),
    };
    started.map_err(|error| Failure::usage(format!("start logging: {error}")))
}
