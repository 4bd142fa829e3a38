//! Two servers, and the signs by which one knows that everything is at the other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Client, Command, Kind, Server, Value, command, eventually};

use crate::carrier::Bridge;
use crate::load::Pen;

/// The servers that are measured on.
pub(crate) const KIND: Kind = Kind::Redis7_0;
/// How long anything may take to arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(300);
/// How long a server may take to notice that its fork has ended.
const REAP_LIMIT: Duration = Duration::from_secs(10);
/// Keys that are written last: so many that some are in every part into which slots may be divided,
/// for who applies the parts side by side.
pub(crate) const LAST_KEYS: u64 = 256;

/// A source and a destination.
pub(crate) struct Stage {
    pub(crate) source: Server,
    pub(crate) destination: Server,
    /// How often the last keys have been written.
    rounds: u64,
}

/// Starts a server that keeps nothing on disk; all else is its default.
///
/// # Errors
/// If it does not start.
pub(crate) fn server() -> Result<Server> {
    Server::start(KIND, &[])
}

// === impl Stage ===

impl Stage {
    /// Two empty servers.
    ///
    /// # Errors
    /// If one does not start.
    pub(crate) fn empty() -> Result<Self> {
        Ok(Self { source: server()?, destination: server()?, rounds: 0 })
    }

    /// Puts another, empty server in the destination's place.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn new_destination(&mut self) -> Result<()> {
        self.destination = server()?;
        Ok(())
    }

    /// Writes the last keys behind what was written by `pen`, and waits until the source has them.
    ///
    /// # Errors
    /// If the connection breaks, or the source has refused anything at all.
    pub(crate) fn finish(&mut self, mut pen: Pen) -> Result<()> {
        self.rounds += 1;
        for [set, key, value] in self.last_keys() {
            pen.put(&[&set, &key, &value])?;
        }
        pen.finish()?;
        let refused = self.source.client()?.info_field("stats", "total_error_replies")?;
        ensure!(refused.as_deref() == Some("0"), "the source refused commands: {refused:?}");
        Ok(())
    }

    /// Waits until the destination has the last keys as they were written last.
    ///
    /// # Errors
    /// If the bridge ends, or it takes too long.
    pub(crate) fn until_arrived(&self, bridge: &mut Bridge) -> Result<()> {
        let mut client = self.destination.client()?;
        let mut get = command(&["MGET"]);
        get.extend(self.last_keys().map(|[_, key, _]| key));
        let probe: Command = get.iter().take(2).cloned().collect();
        let wanted = Value::Bulk(self.rounds.to_string().into_bytes());
        eventually(ARRIVAL_LIMIT, "the last keys are at the destination", || {
            bridge.check()?;
            // One key tells when it is worth asking for all. A replica that loads refuses.
            let all = |value: Value| matches!(value, Value::Array(found) if found.iter().all(|one| *one == wanted));
            Ok((all(client.ask(&probe)?) && all(client.ask(&get)?)).then_some(()))
        })
    }

    /// Writes the last keys by themselves.
    ///
    /// # Errors
    /// As [`Stage::finish`].
    pub(crate) fn write_last_keys(&mut self) -> Result<()> {
        let pen = Pen::to(&self.source)?;
        self.finish(pen)
    }

    /// Writes last keys and waits for them: then the bridge is in step.
    ///
    /// # Errors
    /// As [`Stage::finish`] and [`Stage::until_arrived`].
    pub(crate) fn in_step(&mut self, bridge: &mut Bridge) -> Result<()> {
        self.write_last_keys()?;
        self.until_arrived(bridge)
    }

    /// Waits until the destination has as many keys; a bridge's own count, which are few.
    ///
    /// # Errors
    /// If the bridge ends, or it takes too long.
    pub(crate) fn until_keys(&self, bridge: &mut Bridge, wanted: u64) -> Result<()> {
        let mut client = self.destination.client()?;
        eventually(ARRIVAL_LIMIT, "the keys are at the destination", || {
            bridge.check()?;
            // A replica that loads refuses.
            let found = client.ask(&["DBSIZE"])?.int().ok();
            let found = found.and_then(|found| u64::try_from(found).ok());
            Ok((found >= Some(wanted)).then_some(()))
        })
    }

    /// Waits until the source's full syncs are more than `before`.
    ///
    /// # Errors
    /// If the bridge ends, or it takes too long.
    pub(crate) fn until_synced(&self, bridge: &mut Bridge, before: u64) -> Result<()> {
        let mut client = self.source.client()?;
        eventually(ARRIVAL_LIMIT, "the source begins a full sync", || {
            bridge.check()?;
            Ok((full_syncs(&mut client)? > before).then_some(()))
        })
    }

    /// Waits until the source's fork has ended and is counted with it.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) fn until_reaped(&self) -> Result<()> {
        let mut client = self.source.client()?;
        eventually(REAP_LIMIT, "the source's fork has ended", || {
            let runs = client.info_field("persistence", "rdb_bgsave_in_progress")?;
            Ok((runs.as_deref() == Some("0")).then_some(()))
        })
    }

    /// How often the source has sent everything.
    ///
    /// # Errors
    /// If the source does not tell.
    pub(crate) fn full_syncs(&self) -> Result<u64> {
        full_syncs(&mut self.source.client()?)
    }

    fn last_keys(&self) -> impl Iterator<Item = [Vec<u8>; 3]> + use<> {
        let round = self.rounds;
        let texts = move |n| ["SET".to_owned(), format!("last:{n}"), round.to_string()];
        (0..LAST_KEYS).map(move |n| texts(n).map(String::into_bytes))
    }
}

fn full_syncs(client: &mut Client) -> Result<u64> {
    let found = client.info_field("stats", "sync_full")?.context("no sync_full in INFO")?;
    found.parse().with_context(|| format!("not a number: {found}"))
}
