//! An apply service at work on a real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use apply::quarantine::Reading;
use apply::{Apply, BuildError, Config, DeadLetters, Error, Parts, Summary};
use event::Position;
use event::checkpoint::Checkpoint;
use event::quarantine::Letter;
use futures::future::BoxFuture;
use journal::{
    AppendError, Appender, Assignment, Description, Journal, Mailbox, Membership, MemoryJournal,
    Offset, OpenError, Partition, ReadError, Reader,
};
use parking_lot::Mutex;
use redis_io::Endpoint;
use runtime::{Clock, OnFailure, Random, StatusNode, SystemClock, Tasks};
use testkit::{Client, Deadline, Kind, Server, eventually};
use tokio::sync::watch;

use crate::feed::Feed;
use crate::unordered::Unordered;

/// How long anything may take in these tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A server to write to, a stream to write, and the letters that come of it.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) feed: Feed,
    pub(crate) letters: MemoryJournal,
    /// How the service reads them.
    pub(crate) letters_read: Arc<Passage>,
    pub(crate) client: Client,
    /// Whether the journal is shown as one whose partitions have no common order.
    pub(crate) unordered: bool,
    /// Who has which partitions, where services share them.
    pub(crate) roster: Option<Arc<Roster>>,
    /// The time of services.
    pub(crate) clock: Arc<dyn Clock>,
    /// How many services were built: each is to draw other numbers.
    built: AtomicU64,
}

/// Gives partitions to members, as a test says.
#[derive(Default)]
pub(crate) struct Roster {
    members: Mutex<Vec<watch::Sender<Assignment>>>,
    /// How many questions about the stream will not be answered.
    silent_for: AtomicU64,
}

/// One of those on a roster.
struct Listed(watch::Receiver<Assignment>);

/// A journal that is shown as another.
struct Shown(MemoryJournal, Guise);

/// As what a journal is shown.
enum Guise {
    /// Without a common order of its partitions.
    Unordered(Option<Arc<Roster>>),
    /// Every reader comes through a passage.
    Behind(Arc<Passage>),
}

/// Counts the readers of a journal, and may let only so many through.
pub(crate) struct Passage {
    opened: AtomicU64,
    open_for: watch::Sender<u64>,
}

/// A running service.
pub(crate) struct Service {
    tasks: Tasks,
    result: Arc<Mutex<Option<Result<Summary, Error>>>>,
    pub(crate) status: StatusNode,
    letters: MemoryJournal,
}

// === impl Bench ===

impl Bench {
    /// Every letter so far.
    pub(crate) async fn all_letters(&self) -> Result<Vec<Letter>> {
        let mut reading = Reading::open(&self.letters).await?;
        let mut found = Vec::new();
        while let Some(letter) = reading.next().await? {
            found.push(letter);
        }
        Ok(found)
    }

    /// A server of that kind and an empty stream.
    pub(crate) async fn new(kind: Kind) -> Result<Self> {
        Self::with(kind, &[]).await
    }

    /// The same with lines of configuration.
    pub(crate) async fn with(kind: Kind, lines: &[&str]) -> Result<Self> {
        let server = Server::start(kind, lines)?;
        let client = server.client()?;
        let feed = Feed::new("shop").await?;
        Ok(Self {
            server,
            feed,
            letters: MemoryJournal::new("letters", 1),
            letters_read: Arc::new(Passage::new()),
            client,
            unordered: false,
            roster: None,
            clock: Arc::new(SystemClock::new()),
            built: AtomicU64::new(0),
        })
    }

    /// A server and a stream that begins with an empty snapshot.
    pub(crate) async fn streaming(kind: Kind) -> Result<Self> {
        let mut bench = Self::new(kind).await?;
        bench.feed.empty_snapshot().await?;
        Ok(bench)
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(Endpoint::parse(&self.server.uri()).expect("the address of a server"))
    }

    pub(crate) async fn build(&self, config: Config) -> Result<(Apply, StatusNode), BuildError> {
        let status = StatusNode::root();
        let journal: Arc<dyn Journal> = match self.unordered {
            true => {
                let guise = Guise::Unordered(self.roster.clone());
                Arc::new(Shown(self.feed.journal(), guise))
            }
            false => Arc::new(self.feed.journal()),
        };
        let parts = Parts {
            answered: false,
            journal,
            letters: DeadLetters {
                journal: Arc::new(Shown(
                    self.letters.clone(),
                    Guise::Behind(Arc::clone(&self.letters_read)),
                )),
                is_shared: false,
            },
            clock: Arc::clone(&self.clock),
            random: Random::from_seed(self.built.fetch_add(1, Ordering::Relaxed)),
            status: status.clone(),
        };
        Ok((Apply::build(config, parts).await?, status))
    }

    /// Starts a service with the default settings.
    pub(crate) async fn start(&self) -> Result<Service> {
        self.start_with(self.config()).await
    }

    pub(crate) async fn start_with(&self, config: Config) -> Result<Service> {
        let (apply, status) = self.build(config).await?;
        let tasks = Tasks::new(Arc::new(SystemClock::new()));
        let result = Arc::new(Mutex::new(None));
        let (stop, sink) = (tasks.stop_token(), Arc::clone(&result));
        tasks.spawn("apply", OnFailure::StopAll, async move {
            let ended = apply.run(stop).await;
            *sink.lock() = Some(ended);
            Ok(())
        });
        Ok(Service { tasks, result, status, letters: self.letters.clone() })
    }

    /// Waits until the destination's checkpoint has reached the end of the stream.
    pub(crate) fn caught_up(&mut self) -> Result<()> {
        let end = self.feed.position();
        self.reached(end)
    }

    /// Waits until the destination's checkpoint has reached a position.
    pub(crate) fn reached(&mut self, wanted: Position) -> Result<()> {
        let (client, incarnation) = (&mut self.client, self.feed.incarnation);
        eventually(LIMIT, format!("the checkpoint reaches {wanted}"), || {
            let found = checkpoint(client)?.filter(|found| found.incarnation == incarnation);
            let applied = found.and_then(|found| Some(found.applied.first()?.position));
            Ok(applied.filter(|applied| !wanted.is_after(applied)))
        })?;
        Ok(())
    }

    /// Makes the checkpoint what it is when a process has died after everything since `before` was executed in one step,
    /// and before it read the replies.
    pub(crate) fn lose_replies_since(&mut self, before: &Checkpoint) -> Result<()> {
        let mut found = checkpoint(&mut self.client)?.context("a checkpoint")?;
        for (applied, before) in found.applied.iter_mut().zip(&before.applied) {
            applied.judged = before.position;
        }
        found.read_from.clone_from(&before.read_from);
        let mut bytes = bytes::BytesMut::new();
        event::codec::checkpoint::encode(&found, &mut bytes)?;
        let name = event::names::checkpoint(wire::slot::Slot::new(0).expect("a slot"), "shop");
        self.client.cmd(&[b"SET".as_slice(), name.as_bytes(), &bytes])?;
        Ok(())
    }

    /// Compares what the destination holds, without our own keys, with another server.
    pub(crate) fn assert_holds(&mut self, expected: &mut Client) -> Result<()> {
        let kind = self.server.kind();
        let tolerance = testkit::Tolerance::native(kind, kind);
        let (expected, found) =
            (testkit::Dataset::read(expected)?, testkit::Dataset::read(&mut self.client)?);
        testkit::assert_same(&expected, &found, &tolerance);
        Ok(())
    }

    /// What a key holds, as text.
    pub(crate) fn get(&mut self, key: &str) -> Result<Option<String>> {
        match self.client.cmd(&["GET", key])? {
            testkit::Value::Nil => Ok(None),
            value => Ok(Some(value.text()?)),
        }
    }
}

/// The checkpoint at a destination, in the selected database.
pub(crate) fn checkpoint(client: &mut Client) -> Result<Option<Checkpoint>> {
    let key = event::names::checkpoint(wire::slot::Slot::new(0).expect("a slot"), "shop");
    match client.ask(&["GET", &key])? {
        testkit::Value::Bulk(bytes) => Ok(Some(event::codec::checkpoint::decode(&bytes)?)),
        _ => Ok(None),
    }
}

// === impl Service ===

impl Service {
    /// Asks it to stop and waits for it.
    pub(crate) async fn stop(self) -> Result<Summary> {
        self.tasks.stop_token().cancel();
        self.ended_well().await
    }

    /// Asks it to stop.
    pub(crate) fn ask_to_stop(&self) {
        self.tasks.stop_token().cancel();
    }

    /// Ends it in the middle of whatever it does, as a killed process would, and waits until nothing is left of it.
    pub(crate) async fn kill(self) -> Result<()> {
        let Self { tasks, letters, .. } = self;
        drop(tasks);
        let deadline = Deadline::after(LIMIT);
        while let Err(error) = letters.appender().await {
            ensure!(!deadline.has_passed(), "something of a killed service is left: {error}");
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Waits until it has ended by itself, in good order.
    pub(crate) async fn ended_well(self) -> Result<Summary> {
        match self.ended().await? {
            Ok(summary) => Ok(summary),
            Err(error) => bail!("it failed: {error}"),
        }
    }

    /// Waits until it has failed by itself.
    pub(crate) async fn failed(self) -> Result<Error> {
        match self.ended().await? {
            Ok(_) => bail!("it stopped in good order"),
            Err(error) => Ok(error),
        }
    }

    /// Waits until a value of its status is as it should be.
    pub(crate) fn shows(&self, name: &str, value: &str) -> Result<()> {
        eventually(LIMIT, format!("{name} is {value}"), || {
            Ok((self.lane(name) == value).then_some(()))
        })
        .with_context(|| format!("it is {}", self.lane(name)))
    }

    /// A value of its status, by a path below the lane.
    pub(crate) fn lane(&self, name: &str) -> String {
        let shown = self.status.snapshot();
        let lane = shown.as_object().and_then(|object| {
            object.iter().find(|(name, _)| name.starts_with("partition")).map(|(_, lane)| lane)
        });
        lane.and_then(|lane| lane.get(name)).map_or_else(String::new, |value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    async fn ended(self) -> Result<Result<Summary, Error>> {
        let ended = tokio::time::timeout(LIMIT, self.tasks.join(LIMIT)).await;
        let outcome = ended.with_context(|| format!("it goes on: {}", self.status.snapshot()))?;
        if !outcome.stuck.is_empty() {
            bail!("it did not stop");
        }
        match self.result.lock().take() {
            Some(result) => Ok(result),
            None => bail!("it panicked: {outcome:?}"),
        }
    }
}

// === impl Shown ===

impl Journal for Shown {
    fn describe(&self) -> BoxFuture<'_, Result<Description, ReadError>> {
        Box::pin(async {
            if let Guise::Unordered(Some(roster)) = &self.1 {
                roster.answer()?;
            }
            let described = self.0.describe().await?;
            Ok(match self.1 {
                Guise::Unordered(_) => Description { totally_ordered: false, ..described },
                Guise::Behind(_) => described,
            })
        })
    }

    fn appender(&self) -> BoxFuture<'_, Result<Box<dyn Appender>, OpenError>> {
        self.0.appender()
    }

    fn reader(
        &self,
        from: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        Box::pin(async {
            match &self.1 {
                Guise::Unordered(_) => return Unordered::open(&self.0, from).await,
                Guise::Behind(passage) => passage.pass().await,
            }
            self.0.reader(from).await
        })
    }

    fn offset_at_time(
        &self,
        partition: Partition,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<Offset, ReadError>> {
        self.0.offset_at_time(partition, timestamp_ms)
    }

    fn trim(&self, before: Vec<(Partition, Offset)>) -> BoxFuture<'_, Result<(), AppendError>> {
        self.0.trim(before)
    }

    fn release(
        &self,
        name: &str,
        before: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<(), AppendError>> {
        self.0.release(name, before)
    }

    fn mailbox(&self) -> Box<dyn Mailbox> {
        self.0.mailbox()
    }

    fn forget_reader(&self, name: &str) -> BoxFuture<'_, Result<(), AppendError>> {
        self.0.forget_reader(name)
    }

    fn join<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Box<dyn Membership>, ReadError>> {
        match &self.1 {
            Guise::Unordered(Some(roster)) => Box::pin(async { Ok(roster.enter()) }),
            Guise::Unordered(None) | Guise::Behind(_) => self.0.join(name),
        }
    }
}

// === impl Roster ===

impl Roster {
    /// The first has all partitions, others none until they are given some.
    fn enter(&self) -> Box<dyn Membership> {
        let mut members = self.members.lock();
        let partitions = if members.is_empty() { (0..4).map(Partition).collect() } else { vec![] };
        let member = watch::Sender::new(Assignment { generation: 1, partitions });
        let listed = Listed(member.subscribe());
        members.push(member);
        Box::new(listed)
    }

    /// How many have come so far.
    pub(crate) fn members(&self) -> usize {
        self.members.lock().len()
    }

    /// Leaves so many questions about the stream without an answer, as brokers do that are away.
    pub(crate) fn be_silent_for(&self, questions: u64) {
        self.silent_for.store(questions, Ordering::Relaxed);
    }

    /// Whether all those questions have been asked.
    pub(crate) fn was_asked(&self) -> bool {
        self.silent_for.load(Ordering::Relaxed) == 0
    }

    fn answer(&self) -> Result<(), ReadError> {
        let less = |left: u64| left.checked_sub(1);
        match self.silent_for.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Err(ReadError::Failed("the brokers are away".to_owned())),
            Err(_) => Ok(()),
        }
    }

    /// Gives a member these partitions.
    pub(crate) fn give(&self, member: usize, partitions: &[u16]) {
        let partitions = partitions.iter().copied().map(Partition).collect();
        self.members.lock()[member].send_modify(|assignment| {
            let generation = assignment.generation + 1;
            *assignment = Assignment { generation, partitions };
        });
    }
}

impl Membership for Listed {
    fn assigned(&self) -> watch::Receiver<Assignment> {
        self.0.clone()
    }

    fn settled(&self, _: u64) {}

    fn leave(self: Box<Self>) -> BoxFuture<'static, Result<(), ReadError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

// === impl Passage ===

impl Passage {
    fn new() -> Self {
        Self { opened: AtomicU64::new(0), open_for: watch::Sender::new(u64::MAX) }
    }

    /// How many readers there were.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Lets so many more through; the next one waits.
    pub(crate) fn close_after(&self, readers: u64) {
        self.open_for.send_replace(self.opened() + readers);
    }

    /// Lets all through.
    pub(crate) fn open(&self) {
        self.open_for.send_replace(u64::MAX);
    }

    async fn pass(&self) {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut open_for = self.open_for.subscribe();
        let passed = open_for.wait_for(|open_for| number < *open_for).await;
        passed.expect("the sender is our own");
    }
}
