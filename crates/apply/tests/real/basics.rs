//! The straight path: what is in the journal is at the destination, once.

use anyhow::Result;
use testkit::Kind;

use crate::harness::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_and_deleted_arrives() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET a 1", "SET b 2", "DEL a", "SET c 3"]).await?;
    let service = bench.start().await?;
    bench.caught_up().await?;
    assert_eq!(bench.get("a")?, None);
    assert_eq!(bench.get("b")?.as_deref(), Some("2"));
    bench.feed.commands(&["INCR n", "INCR n", "APPEND b x"]).await?;
    bench.caught_up().await?;
    assert_eq!(bench.get("n")?.as_deref(), Some("2"));
    assert_eq!(bench.get("b")?.as_deref(), Some("2x"));
    service.stop().await?;
    Ok(())
}
