//! Writes a stream as a capture would: epochs, snapshots, commands, in a journal of one order.

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use event::control::{
    Barrier, Control, EpochBegin, EpochCause, Heartbeat, SnapshotBegin, SnapshotEnd,
};
use event::fragment;
use event::image::{Flavour, Image, ImageHead, ImagePart, ImageValue};
use event::{
    Body, Change, Command, Effect, Event, Group, GroupedChange, KeyArgs, Position, Shard, Stamp,
};
use journal::{Append, Appender, Journal, MemoryJournal, Partition};
use wire::command::keys::{Access, keys};
use wire::command::{self, Replaces, lookup};
use wire::slot::{Slot, partition_of};

/// A source of events.
pub(crate) struct Feed {
    journal: MemoryJournal,
    appender: Box<dyn Appender>,
    partitions: u16,
    pub(crate) incarnation: u64,
    epoch: u64,
    offset: u64,
    /// Next index inside the snapshot under way.
    index: u64,
    keys: u64,
    pub(crate) db: u32,
    /// How long ago what is written was written at the source.
    pub(crate) lag_ms: i64,
}

// === impl Feed ===

impl Feed {
    /// A new stream of four partitions.
    pub(crate) async fn new(stream: &str) -> Result<Self> {
        Self::of(MemoryJournal::new(stream, 4)).await
    }

    /// Goes on writing to a journal, from a new epoch on.
    pub(crate) async fn of(journal: MemoryJournal) -> Result<Self> {
        let described = journal.describe().await?;
        let partitions = u16::try_from(described.partitions.len())?;
        let appender = journal.appender().await?;
        Ok(Self {
            journal,
            appender,
            partitions,
            incarnation: described.incarnation,
            epoch: 0,
            offset: 0,
            index: 0,
            keys: 0,
            db: 0,
            lag_ms: 0,
        })
    }

    pub(crate) fn journal(&self) -> MemoryJournal {
        self.journal.clone()
    }

    /// Begins an epoch with a full resync, and its snapshot.
    pub(crate) async fn snapshot(&mut self) -> Result<()> {
        self.begin_epoch(EpochCause::FullResync, 0).await?;
        let begin = SnapshotBegin {
            snapshot_id: 0,
            keys_expected: 0,
            bytes_expected: 0,
            rdb_version: 10,
            flavour: Flavour::Redis,
            slots: None,
        };
        let position = self.next_in_snapshot();
        self.everywhere(position, Control::SnapshotBegin(begin)).await
    }

    /// Ends the snapshot.
    pub(crate) async fn end_snapshot(&mut self) -> Result<()> {
        let end = SnapshotEnd { snapshot_id: 0, keys: self.keys, keys_total: self.keys };
        let position = self.next_in_snapshot();
        self.everywhere(position, Control::SnapshotEnd(end)).await
    }

    /// A snapshot of nothing: the stream can begin.
    pub(crate) async fn empty_snapshot(&mut self) -> Result<()> {
        self.snapshot().await?;
        self.end_snapshot().await
    }

    pub(crate) async fn begin_epoch(
        &mut self,
        cause: EpochCause,
        branch_offset: u64,
    ) -> Result<()> {
        self.epoch += 1;
        self.index = 0;
        self.keys = 0;
        let begin = EpochBegin {
            cause,
            shard_name: "main".into(),
            replication_id: format!("{:040}", self.epoch),
            branch_offset,
            server: "redis 7.0.15".into(),
            slots: None,
        };
        let position = self.next_in_snapshot();
        self.everywhere(position, Control::EpochBegin(begin)).await
    }

    /// A string in the snapshot.
    pub(crate) async fn text(&mut self, key: &str, value: &str) -> Result<()> {
        let value = ImageValue::Text(Bytes::copy_from_slice(value.as_bytes()));
        self.image(key.as_bytes(), Image { head: head(0), value }).await
    }

    /// Any value in the snapshot.
    pub(crate) async fn image(&mut self, key: &[u8], image: Image) -> Result<()> {
        self.keys += 1;
        let position = self.next_in_snapshot();
        self.keyed(position, key, Body::Image(image)).await
    }

    /// Begins a snapshot made on demand, which shows the place where the stream is now.
    pub(crate) async fn begin_on_demand(&mut self, snapshot_id: u64) -> Result<Position> {
        let begin = SnapshotBegin {
            snapshot_id,
            keys_expected: 0,
            bytes_expected: 0,
            rdb_version: 10,
            flavour: Flavour::Redis,
            slots: None,
        };
        let position = self.position();
        let beside = position.at_index(Position::LAST_INDEX);
        self.everywhere(beside, Control::SnapshotBegin(begin)).await?;
        Ok(position)
    }

    /// The value of a key in such a snapshot, as DUMP gave it there.
    pub(crate) async fn dumped(
        &mut self,
        (snapshot_id, at): (u64, Position),
        key: &[u8],
        dump: &Bytes,
    ) -> Result<()> {
        let payload = wire::rdb::dump::parse(dump)?;
        let head = ImageHead { snapshot_id, ..head(dump[0]) };
        self.keyed(at, key, Body::Image(Image { head, value: ImageValue::Rdb(payload.raw) })).await
    }

    /// The end of such a snapshot.
    pub(crate) async fn end_on_demand(&mut self, (snapshot_id, at): (u64, Position)) -> Result<()> {
        let end = SnapshotEnd { snapshot_id, keys: 0, keys_total: 0 };
        self.everywhere(at, Control::SnapshotEnd(end)).await
    }

    /// A part of a large value.
    pub(crate) async fn part(&mut self, key: &[u8], part: ImagePart) -> Result<()> {
        let position = self.next_in_snapshot();
        self.keyed(position, key, Body::ImagePart(part)).await
    }

    /// A command in the stream, words separated by blanks.
    pub(crate) async fn command(&mut self, words: &str) -> Result<()> {
        self.args(&words.split(' ').map(str::as_bytes).collect::<Vec<_>>()).await
    }

    /// A command in the stream.
    pub(crate) async fn args(&mut self, words: &[&[u8]]) -> Result<()> {
        let command = command_of(words, self.db);
        let key = home(&command, self.db);
        let position = self.step();
        self.keyed(position, &key, Body::Command(command)).await
    }

    /// Many commands at once.
    pub(crate) async fn commands<S: AsRef<str>>(&mut self, commands: &[S]) -> Result<()> {
        for words in commands {
            self.command(words.as_ref()).await?;
        }
        Ok(())
    }

    /// A transaction; each command with its database.
    pub(crate) async fn group(&mut self, commands: &[(u32, &str)]) -> Result<()> {
        let (position, partitions) = self.home_of_group(commands).await?;
        for other in partitions.iter().skip(1) {
            let partitions = partitions.clone();
            let barrier =
                Barrier { home_partition: *partitions.first().unwrap_or(other), partitions };
            let event = self.event(position, b"", Body::Control(Control::Barrier(barrier)));
            self.push_to(Partition(*other), &event).await?;
        }
        Ok(())
    }

    /// As much of a transaction as a capture leaves that dies before the other partitions have theirs. Gives which they all
    /// are.
    pub(crate) async fn home_of_group(
        &mut self,
        commands: &[(u32, &str)],
    ) -> Result<(Position, Vec<u16>)> {
        let changes: Vec<GroupedChange> = commands
            .iter()
            .map(|(db, words)| match *words {
                "FLUSHALL" => keyless(*db, Change::Flush { all: true }),
                "FLUSHDB" => keyless(*db, Change::Flush { all: false }),
                words => {
                    let words: Vec<_> = words.split(' ').map(str::as_bytes).collect();
                    let command = command_of(&words, *db);
                    let key = home(&command, *db);
                    let slot = Slot::of_key(&key);
                    GroupedChange { db: *db, slot, key, change: Change::Command(command) }
                }
            })
            .collect();
        let key = changes.iter().map(|change| change.key.clone()).find(|key| !key.is_empty());
        let key = key.unwrap_or_default();
        let partitions = self.partitions_of(&key, &changes);
        let group = Group {
            changes,
            partitions: partitions.clone(),
            number: 0,
            last: true,
            transaction: true,
        };
        let position = self.step();
        let event = self.event(position, &key, Body::Group(group));
        let head = event::codec::Head {
            position,
            stamp: &event.stamp,
            db: event.db,
            slot: event.slot,
            key: &event.key,
            seen: &[],
        };
        let Body::Group(group) = event.body.clone() else { anyhow::bail!("it is a group") };
        for record in event::group::cut(&head, group) {
            self.push(&record).await?;
        }
        Ok((position, partitions))
    }

    /// The partitions that meet at a transaction, the home first; none if there is just that one.
    fn partitions_of(&self, home: &Bytes, changes: &[GroupedChange]) -> Vec<u16> {
        let of = |slot| u16::try_from(partition_of(slot, u32::from(self.partitions))).expect("few");
        let all = changes.iter().any(|change| !matches!(change.change, Change::Command(_)));
        let touched = changes.iter().map(|change| of(change.slot));
        let mut partitions = vec![of(Slot::of_key(home))];
        for partition in touched.chain((0..self.partitions).filter(|_| all)) {
            if !partitions.contains(&partition) {
                partitions.push(partition);
            }
        }
        if partitions.len() > 1 { partitions } else { Vec::new() }
    }

    /// Something that stands in every partition of the stream.
    pub(crate) async fn control(&mut self, control: Control) -> Result<()> {
        let position = self.step();
        self.everywhere(position, control).await
    }

    pub(crate) async fn heartbeat(&mut self) -> Result<()> {
        let beat = Heartbeat {
            replication_id: format!("{:040}", self.epoch),
            selected_db: self.db,
            source_time_ms: testkit::now_ms().try_into()?,
            capture_time_ms: testkit::now_ms().try_into()?,
            shard_name: String::new(),
            slots: None,
        };
        let position = Position::new(Shard(0), self.epoch, self.offset);
        self.everywhere(position.at_index(Position::LAST_INDEX), Control::Heartbeat(beat)).await
    }

    /// Goes on at a place that another feed had reached.
    pub(crate) fn go_on_at(&mut self, position: Position) {
        (self.epoch, self.offset) = (position.epoch, position.offset);
    }

    /// Where the stream stands.
    pub(crate) fn position(&self) -> Position {
        Position::new(Shard(0), self.epoch, self.offset)
    }

    fn step(&mut self) -> Position {
        self.offset += 10;
        self.position()
    }

    fn next_in_snapshot(&mut self) -> Position {
        let position = self.position().at_index(self.index);
        self.index += 1;
        position
    }

    fn event(&self, position: Position, key: &[u8], body: Body) -> Event {
        let now_ms = i64::try_from(testkit::now_ms()).expect("a time of our days");
        let time_ms = now_ms - self.lag_ms;
        Event {
            position,
            stamp: Stamp { time_ms, ..Stamp::default() },
            db: self.db,
            slot: Slot::of_key(key),
            key: Bytes::copy_from_slice(key),
            body,
            seen: Vec::new(),
        }
    }

    async fn keyed(&mut self, position: Position, key: &[u8], body: Body) -> Result<()> {
        let event = self.event(position, key, body);
        self.push(&event).await
    }

    async fn everywhere(&mut self, position: Position, control: Control) -> Result<()> {
        let event = self.event(position, b"", Body::Control(control));
        for partition in 0..self.partitions {
            self.push_to(Partition(partition), &event).await?;
        }
        Ok(())
    }

    async fn push(&mut self, event: &Event) -> Result<()> {
        let partition = partition_of(event.slot, u32::from(self.partitions));
        self.push_to(Partition(u16::try_from(partition)?), event).await
    }

    async fn push_to(&mut self, partition: Partition, event: &Event) -> Result<()> {
        let mut encoded = BytesMut::new();
        event::codec::encode(event, &mut encoded)?;
        let encoded = encoded.freeze();
        if !fragment::is_needed(encoded.len()) {
            return self.append(partition, event, encoded).await;
        }
        let head = event::codec::Head {
            position: event.position,
            stamp: &event.stamp,
            db: event.db,
            slot: event.slot,
            key: &event.key,
            seen: &[],
        };
        let pieces: Vec<_> = fragment::split(encoded, &head).collect();
        for piece in pieces {
            let mut encoded = BytesMut::new();
            event::codec::encode(&piece, &mut encoded)?;
            self.append(partition, event, encoded.freeze()).await?;
        }
        Ok(())
    }

    async fn append(&mut self, partition: Partition, event: &Event, payload: Bytes) -> Result<()> {
        let record = Append {
            partition,
            key: event.key.clone(),
            timestamp_ms: event.stamp.time_ms,
            kind: event.kind(),
            db: event.db,
            payload,
        };
        self.appender.append(&mut vec![record]).await?;
        Ok(())
    }
}

/// The head of an image of that type byte.
pub(crate) fn head(type_byte: u8) -> ImageHead {
    ImageHead {
        type_byte,
        flavour: Flavour::Redis,
        rdb_version: 10,
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        snapshot_id: 0,
    }
}

fn keyless(db: u32, change: Change) -> GroupedChange {
    GroupedChange { db, slot: Slot::of_key(b""), key: Bytes::new(), change }
}

/// The command as a capture would describe it.
fn command_of(words: &[&[u8]], _db: u32) -> Command {
    let args: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
    let Some(spec) = lookup(&args) else {
        return Command { args, effect: Effect::Merge, keys: KeyArgs::First };
    };
    let found = keys(spec, &args).expect("the keys of a command of the test");
    let index = |index: usize| u32::try_from(index).expect("few arguments");
    let keys = match found.single() {
        Some(1) => KeyArgs::First,
        _ => KeyArgs::Listed {
            written: found.written().map(index).collect(),
            read: found
                .iter()
                .filter(|key| !key.access.writes())
                .map(|key| index(key.index))
                .collect(),
        },
    };
    let effect = match (spec.effect, spec.replaces) {
        (command::Effect::Delete, _) => Effect::Delete,
        (command::Effect::Expire, _) => Effect::Expire,
        (command::Effect::Overwrite, Replaces::Full)
            if command::is_whole_state(spec, &args) || spec.reads_other_keys =>
        {
            Effect::Overwrite
        }
        _ => Effect::Merge,
    };
    Command { args, effect, keys }
}

fn home(command: &Command, _db: u32) -> Bytes {
    let Some(spec) = lookup(&command.args) else { return command.args[1].clone() };
    let found = keys(spec, &command.args).expect("the keys of a command of the test");
    let written = found.iter().find(|key| key.access == Access::Write);
    let at = written.or_else(|| found.iter().find(|key| key.access.writes()));
    command.args[at.map_or(1, |at| at.index)].clone()
}
