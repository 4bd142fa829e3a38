//! One atomic step towards the destination: what is written, and what is expected in answer. Pure data.
//!
//! ```text
//! MULTI  [SELECT n] command…   SELECT c  our own keys…  SET <checkpoint>  EXEC
//! └──────── body ──────────┘   └───────────────── tail ──────────────────────┘
//! ```
//! The body may be sent before the batch ahead of it has been judged, the tail only after. For every command between
//! MULTI and EXEC there is one [`Sent`], in the same order as the replies; for one that sets several keys there is one
//! for each of them.

mod run;
mod sent;

use bytes::{Bytes, BytesMut};
use event::codec::{SHARED_BYTES, lent};
use wire::resp::encode::{
    Decimal, write_argument, write_argument_head, write_command, write_count,
};

use self::run::{Part, Run};
pub(crate) use self::sent::{Judge, Sent};
use crate::config::BatchLimits;
use crate::deadlines::Before;
use crate::limits::LARGE_COMMAND_BYTES;
use crate::progress::Progress;
use crate::quarantine::set::{Change, Spot};
use crate::scope::Line;

/// A batch that is being put together, or is under way.
#[derive(Debug)]
pub(crate) struct Batch {
    /// What goes before `out`: large arguments are those of the records.
    segments: Vec<Bytes>,
    out: BytesMut,
    /// What the arguments at hand may be parts of.
    lender: Bytes,
    /// Bytes of the body in all, also after they were sent.
    bytes: usize,
    /// The longest argument of a large command since the last mark.
    largest: usize,
    /// What is selected after the commands so far.
    db: u32,
    checkpoint_db: u32,
    sent: Vec<Sent>,
    /// How many of them have their reply in common with the next.
    joined: usize,
    /// The last ones as one command, as long as it may grow.
    run: Run,
    mark: Mark,
    records: Vec<Bytes>,
    /// Where the lane stands once it is executed.
    pub(crate) after: Progress,
    /// Lines of which changes were still in doubt when it was planned.
    pub(crate) in_doubt: Vec<Line>,
    /// How many checkpoints it ends with.
    checkpoints: usize,
    /// What it does to the set of quarantined keys.
    pub(crate) changes: Vec<Change>,
    /// What is set aside in it: to be durable before it is executed.
    pub(crate) letters: Vec<crate::quarantine::Draft>,
    /// Why changes are left out in it that the destination cannot hold, once for each.
    pub(crate) left_out: Vec<String>,
    /// Keys that turned out to be suspect when it was planned.
    pub(crate) suspects: Vec<Spot>,
    /// Events that it carries, those without a command included.
    pub(crate) events: u64,
    /// Whether the checkpoint has to be written even without commands.
    pub(crate) urgent: bool,
    /// Whether it removes our own keys, which have to be written again.
    pub(crate) loses_own: bool,
    /// How deadlines that were put off stood before each change of them in it.
    pub(crate) deadlines: Vec<Before>,
    /// Deadlines that it settles.
    pub(crate) settled: u64,
    /// What its replies say about deadlines.
    pub(crate) questions: Vec<Question>,
    /// Pairs of databases that it exchanges, in order.
    pub(crate) exchanged: Vec<(u32, u32)>,
}

/// Which fields of a hash have got a deadline, as the reply to a command says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Which of the commands.
    pub(crate) sent: usize,
    /// The hash.
    pub(crate) spot: Spot,
    /// The fields, in the order of the reply.
    pub(crate) fields: Vec<Bytes>,
    /// Its number.
    pub(crate) number: u64,
}

/// Where a batch stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    segments: usize,
    out: usize,
    sent: usize,
    bytes: usize,
    db: u32,
    /// How much of the command that is still open.
    run: Part,
}

/// First size of the buffer of a batch.
const CAPACITY_BYTES: usize = 64 << 10;
/// A buffer that one huge command made larger than this is given back.
const KEPT_BYTES: usize = 4 * crate::limits::BATCH_BYTES;
/// Likewise the list of commands of one huge transaction.
const KEPT_COMMANDS: usize = 16 * crate::limits::BATCH_COMMANDS;

// === impl Batch ===

impl Batch {
    /// An empty batch for a connection on which `checkpoint_db` is selected.
    pub(crate) fn new(checkpoint_db: u32) -> Self {
        let mut batch = Self {
            segments: Vec::new(),
            out: BytesMut::with_capacity(CAPACITY_BYTES),
            lender: Bytes::new(),
            bytes: 0,
            largest: 0,
            db: checkpoint_db,
            checkpoint_db,
            sent: Vec::new(),
            joined: 0,
            run: Run::default(),
            mark: Mark::default(),
            records: Vec::new(),
            after: Progress::default(),
            in_doubt: Vec::new(),
            checkpoints: 0,
            changes: Vec::new(),
            letters: Vec::new(),
            left_out: Vec::new(),
            suspects: Vec::new(),
            events: 0,
            urgent: false,
            loses_own: false,
            deadlines: Vec::new(),
            settled: 0,
            questions: Vec::new(),
            exchanged: Vec::new(),
        };
        batch.reset();
        batch
    }

    /// Makes it as new, keeping its memory.
    pub(crate) fn reset(&mut self) {
        if self.out.capacity() > KEPT_BYTES {
            self.out = BytesMut::with_capacity(CAPACITY_BYTES);
        }
        self.run.shrink_to(KEPT_BYTES);
        self.mark_sent();
        self.sent.clear();
        self.sent.shrink_to(KEPT_COMMANDS);
        (self.joined, self.checkpoints) = (0, 0);
        self.run.back_to(Part::default());
        self.mark = Mark::default();
        self.records.clear();
        self.records.shrink_to(KEPT_COMMANDS);
        self.changes.clear();
        self.letters.clear();
        self.left_out.clear();
        self.deadlines.clear();
        self.settled = 0;
        self.questions.clear();
        self.exchanged.clear();
        self.suspects.clear();
        self.db = self.checkpoint_db;
        self.events = 0;
        self.urgent = false;
        self.loses_own = false;
        write_command(&mut self.out, ["MULTI"]);
        self.bytes = self.out.len();
    }

    /// The commands that follow belong to this record. Gives its index.
    pub(crate) fn begin(&mut self, record: &Bytes) -> u32 {
        let index = self.next_record();
        self.lend(record);
        self.records.push(record.clone());
        index
    }

    /// The index of the record that is kept next.
    pub(crate) fn next_record(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    /// Keeps a record: the commands since the last one belong to it.
    pub(crate) fn keep(&mut self, record: Bytes) {
        self.lender = Bytes::new();
        self.records.push(record);
        self.mark();
    }

    /// The arguments that follow may be parts of this record: large ones are not copied.
    pub(crate) fn lend(&mut self, record: &Bytes) {
        self.lender = if record.len() < SHARED_BYTES { Bytes::new() } else { record.clone() };
    }

    /// Adds a command for a database.
    pub(crate) fn command<I>(&mut self, db: u32, sent: Sent, args: I)
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        self.close_run();
        self.select(db);
        let (args, before) = (args.into_iter(), self.bytes);
        if self.lender.is_empty() {
            let before = self.out.len();
            write_command(&mut self.out, args.clone());
            self.bytes += self.out.len() - before;
        } else {
            self.write_shared(args.clone());
        }
        if self.bytes - before > LARGE_COMMAND_BYTES {
            let largest = args.map(|argument| argument.as_ref().len()).max();
            self.largest = self.largest.max(largest.unwrap_or_default());
        }
        self.sent.push(sent);
    }

    /// Sets a key to a value without a deadline, by the same command as the key before where that is of its kind.
    pub(crate) fn set(&mut self, db: u32, sent: Sent, (key, value): (&[u8], &[u8])) {
        if !self.lender.is_empty() || sent.judge != Judge::Data {
            return self.command(db, sent, [b"SET".as_slice(), key, value]);
        }
        if !self.run.is_empty() && self.db == db {
            if let Some(last) = self.sent.last_mut() {
                last.joined = true;
                self.joined += 1;
            }
        } else {
            self.close_run();
            self.select(db);
        }
        self.bytes += self.run.push((key, value));
        self.sent.push(sent);
    }

    /// Ends a command that sets keys: what follows is another one.
    pub(crate) fn close_run(&mut self) {
        if self.run.is_empty() {
            return;
        }
        let marked = std::mem::take(&mut self.mark.run);
        if marked.pairs > 0 {
            // What came before the mark stays before it.
            self.bytes += self.run.move_to(&mut self.out, marked);
            (self.mark.segments, self.mark.out) = (self.segments.len(), self.out.len());
            self.mark.bytes = self.bytes - self.run.whole().bytes();
            self.part_at(self.mark.sent);
        }
        if !self.run.is_empty() {
            self.bytes += self.run.move_to(&mut self.out, self.run.whole());
        }
    }

    /// What was sent before that one is not of the same command.
    fn part_at(&mut self, sent: usize) {
        if let Some(last) = sent.checked_sub(1).and_then(|last| self.sent.get_mut(last)) {
            self.joined -= usize::from(last.joined);
            last.joined = false;
        }
    }

    /// Writes a command whose large arguments may be lent.
    fn write_shared<I>(&mut self, args: I)
    where
        I: Iterator + Clone,
        I::Item: AsRef<[u8]>,
    {
        let before = self.unsent_bytes();
        write_count(&mut self.out, args.clone().count());
        for argument in args {
            let argument = argument.as_ref();
            let is_large = argument.len() >= SHARED_BYTES;
            let Some(lent) = is_large.then(|| lent(&self.lender, argument)).flatten() else {
                write_argument(&mut self.out, argument);
                continue;
            };
            write_argument_head(&mut self.out, argument.len());
            self.segments.push(self.out.split().freeze());
            self.segments.push(lent);
            self.out.extend_from_slice(b"\r\n");
        }
        self.bytes += self.unsent_bytes() - before;
    }

    /// Notes where it stands, before a change that may not fit.
    pub(crate) fn mark(&mut self) {
        self.largest = 0;
        self.mark = Mark {
            segments: self.segments.len(),
            out: self.out.len(),
            sent: self.sent.len(),
            bytes: self.bytes,
            db: self.db,
            run: self.run.whole(),
        };
    }

    /// The longest argument since the mark, if it is one of a large command.
    pub(crate) fn largest_argument(&self) -> usize {
        self.largest
    }

    /// Bytes of the commands since the mark.
    pub(crate) fn bytes_since_mark(&self) -> usize {
        self.bytes.saturating_sub(self.mark.bytes)
    }

    /// Takes out the commands since the mark. Nothing of it may have been sent meanwhile.
    pub(crate) fn back_to_mark(&mut self) {
        let mark = self.mark;
        if let Some(rest) = self.segments.get(mark.segments) {
            // What had been written went along with the first large argument.
            self.out = BytesMut::from(&rest[..]);
            self.segments.truncate(mark.segments);
        }
        self.out.truncate(mark.out);
        self.run.back_to(mark.run);
        let taken_out = self.sent.drain(mark.sent.min(self.sent.len())..);
        self.joined -= taken_out.filter(|sent| sent.joined).count();
        self.part_at(mark.sent);
        (self.bytes, self.db) = (mark.bytes, mark.db);
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent().map(<[u8]>::len).sum()
    }

    /// Adds a command of ours in the database of the checkpoint.
    pub(crate) fn own<I>(&mut self, args: I)
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        self.command(self.checkpoint_db, Sent::OURS, args);
    }

    /// Adds a command that settles so many deadlines.
    pub(crate) fn settle<I>(&mut self, db: u32, deadlines: u64, args: I)
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        self.command(db, Sent { judge: Judge::Settles, ..Sent::OURS }, args);
        self.settled += deadlines;
    }

    /// Empties a database.
    pub(crate) fn flush(&mut self, db: u32, sent: Sent) {
        self.command(db, Sent { judge: Judge::Wholesale, ..sent }, ["FLUSHDB"]);
        self.loses_own |= db == self.checkpoint_db;
    }

    /// Exchanges two databases. Our own keys, of these names, do not go along.
    pub(crate) fn swap<'a>(
        &mut self,
        (first, second): (u32, u32),
        own: impl Iterator<Item = &'a [u8]> + Clone,
        sent: Sent,
    ) {
        let (one, other) = (Decimal::from(u64::from(first)), Decimal::from(u64::from(second)));
        self.command(
            self.checkpoint_db,
            Sent { judge: Judge::Wholesale, ..sent },
            [b"SWAPDB".as_slice(), one.as_ref(), other.as_ref()],
        );
        self.exchanged.push((first, second));
        let now_in = match self.checkpoint_db {
            db if db == first => second,
            db if db == second => first,
            _ => return,
        };
        self.command(now_in, Sent::OURS, std::iter::once(b"DEL".as_slice()).chain(own));
        self.loses_own = true;
    }

    /// Writes a checkpoint under `key`. After the last one comes [`Batch::finish`].
    ///
    /// Only a first checkpoint, or one after a flush of ours, is written where there is none: else somebody has
    /// removed data, and the reply tells.
    pub(crate) fn checkpoint(&mut self, key: &[u8], checkpoint: &[u8], first: bool) {
        let set = [b"SET".as_slice(), key, checkpoint, b"XX"];
        self.own(set.get(..3).filter(|_| first).unwrap_or(&set));
        self.checkpoints += 1;
    }

    /// How many checkpoints the last commands before EXEC are.
    pub(crate) fn checkpoints(&self) -> usize {
        self.checkpoints
    }

    /// Ends it: EXEC.
    pub(crate) fn finish(&mut self) {
        write_command(&mut self.out, ["EXEC"]);
    }

    /// What is to be sent now, in order; afterwards it counts as sent. Every command must have ended.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = &[u8]> {
        debug_assert!(self.run.is_empty(), "an open command");
        self.segments.iter().map(AsRef::as_ref).chain(std::iter::once(self.out.as_ref()))
    }

    /// Notes that everything written so far has been sent.
    pub(crate) fn mark_sent(&mut self) {
        self.segments = Vec::new();
        self.out.clear();
    }

    /// How many commands there are between MULTI and EXEC: each has a reply.
    pub(crate) fn commands(&self) -> usize {
        self.sent.len() - self.joined
    }

    /// The commands with their replies, as far as there are some.
    pub(crate) fn answered<'a, R>(
        &'a self,
        replies: &'a [R],
    ) -> impl Iterator<Item = (&'a R, &'a Sent)> {
        let mut replies = replies.iter().peekable();
        self.sent.iter().map_while(move |sent| {
            let reply = if sent.joined { replies.peek().copied() } else { replies.next() };
            Some((reply?, sent))
        })
    }

    /// The command at `cursor`, which moves on to the next one; of one that sets several keys one of them, marked as
    /// joined.
    pub(crate) fn next_command(&self, cursor: &mut usize) -> Option<Sent> {
        let rest = self.sent.get(*cursor..)?;
        let joined = rest.iter().take_while(|sent| sent.joined).count();
        let last = rest.get(joined)?;
        *cursor += joined + 1;
        Some(Sent { joined: joined > 0, ..*last })
    }

    /// The changes between MULTI and EXEC.
    pub(crate) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// The record with that index.
    pub(crate) fn record(&self, index: u32) -> Option<&Bytes> {
        self.records.get(usize::try_from(index).ok()?)
    }

    /// Whether it does something besides moving the checkpoint.
    pub(crate) fn has_work(&self) -> bool {
        !self.sent.is_empty() || !self.changes.is_empty() || !self.letters.is_empty()
    }

    /// Whether nothing more should be added.
    pub(crate) fn is_full(&self, limits: BatchLimits) -> bool {
        // A record without commands keeps its payload too, so records count as well.
        self.sent.len().max(self.records.len()) >= limits.commands || self.bytes >= limits.bytes
    }

    /// Bytes of its commands.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn select(&mut self, db: u32) {
        if self.db != db {
            let before = self.out.len();
            let number = Decimal::from(u64::from(db));
            write_command(&mut self.out, [b"SELECT".as_slice(), number.as_ref()]);
            self.bytes += self.out.len() - before;
            self.sent.push(Sent::OURS);
            self.db = db;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Sent = Sent::data(0, 0);

    fn text(batch: &Batch) -> String {
        let bytes = batch.unsent().collect::<Vec<_>>().concat();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split("\r\n")
            .filter(|line| !line.starts_with(['*', '$']))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn selects_only_where_the_database_changes() {
        let mut batch = Batch::new(0);
        assert!(!batch.has_work());
        batch.command(0, DATA, ["SET", "a", "1"]);
        batch.command(3, DATA, ["SET", "b", "1"]);
        batch.command(3, DATA, ["SET", "c", "1"]);
        batch.checkpoint(b"ck", b"v", true);
        batch.finish();
        assert_eq!(text(&batch), "MULTI SET a 1 SELECT 3 SET b 1 SET c 1 SELECT 0 SET ck v EXEC ");
        let judges: Vec<_> = batch.sent().iter().map(|sent| sent.judge).collect();
        let (data, ours) = (Judge::Data, Judge::Ours);
        assert_eq!(judges, [data, ours, data, data, ours, ours]);
    }

    #[test]
    fn keys_that_are_set_one_after_the_other_are_one_command() {
        let mut batch = Batch::new(0);
        batch.set(0, Sent::data(0, 0), (b"a", b"1"));
        batch.set(0, Sent::data(1, 0), (b"b", b"2"));
        batch.set(3, Sent::data(2, 0), (b"c", b"3"));
        batch.command(3, Sent::data(3, 0), ["INCR", "c"]);
        batch.set(3, Sent::data(4, 0), (b"a", b"4"));
        batch.set(3, Sent::data(5, 0), (b"a", b"5"));
        batch.set(3, Sent::data(6, 0), (b"d", b"6"));
        let bytes = batch.bytes();
        batch.close_run();
        assert!(bytes < batch.bytes() && batch.bytes() == batch.unsent_bytes());
        batch.checkpoint(b"ck", b"v", true);
        batch.finish();
        let all =
            "MULTI MSET a 1 b 2 SELECT 3 SET c 3 INCR c MSET a 4 a 5 d 6 SELECT 0 SET ck v EXEC ";
        assert_eq!(text(&batch), all);
        assert_eq!(batch.commands(), 7);

        let replies: Vec<usize> = (0..batch.commands()).collect();
        let answered: Vec<_> =
            batch.answered(&replies).map(|(n, sent)| (*n, sent.record)).collect();
        let ours = u32::MAX;
        let expected = [
            (0, 0),
            (0, 1),
            (1, ours),
            (2, 2),
            (3, 3),
            (4, 4),
            (4, 5),
            (4, 6),
            (5, ours),
            (6, ours),
        ];
        assert_eq!(answered, expected);
        let mut cursor = 0;
        let commands = std::iter::from_fn(|| batch.next_command(&mut cursor));
        let commands: Vec<_> = commands.map(|sent| (sent.record, sent.joined)).collect();
        let single = |record| (record, false);
        let rest = [single(ours), single(2), single(3), (6, true), single(ours), single(ours)];
        assert_eq!(commands, [&[(1, true)][..], &rest].concat());
        batch.reset();
        assert!(!batch.has_work() && batch.commands() == 0 && text(&batch) == "MULTI ");
    }

    #[test]
    fn the_tail_follows_a_body_that_was_sent_before() {
        let mut batch = Batch::new(2);
        batch.command(2, DATA, ["DEL", "a"]);
        batch.mark_sent();
        batch.checkpoint(b"ck", b"v", true);
        batch.finish();
        assert_eq!(text(&batch), "SET ck v EXEC ");
        batch.reset();
        assert!(!batch.has_work() && text(&batch) == "MULTI ");
    }

    #[test]
    fn large_arguments_are_sent_from_their_record() {
        let value = "x".repeat(SHARED_BYTES);
        let record = Bytes::from(format!("k{value}{value}"));
        let (key, values) = (record.slice(..1), record.slice(1..));
        let (one, other) = values.split_at(SHARED_BYTES);
        let args = [b"MSET", &*key, one, b"l", other, b"m", value.as_bytes()];
        let (mut copied, mut shared) = (Batch::new(0), Batch::new(0));
        copied.command(1, DATA, args);
        shared.begin(&record);
        shared.command(1, DATA, args);
        for batch in [&mut copied, &mut shared] {
            batch.checkpoint(b"ck", b"v", true);
            batch.finish();
        }
        assert!(text(&copied) == text(&shared) && copied.bytes() == shared.bytes());
        assert!(shared.unsent().any(|segment| segment.as_ptr() == one.as_ptr()));
        assert_eq!(shared.segments.len(), 4, "the one that is not of the record is copied");
        shared.mark_sent();
        assert!(text(&shared).is_empty());
    }

    #[test]
    fn a_change_that_does_not_fit_is_taken_out_again() {
        let value = "x".repeat(LARGE_COMMAND_BYTES);
        let record = Bytes::from(value.clone());
        for lends in [false, true] {
            let mut batch = Batch::new(0);
            batch.command(1, DATA, ["SET", "a", "1"]);
            let (before, bytes) = (text(&batch), batch.bytes());
            if lends {
                batch.lend(&record);
            }
            batch.mark();
            batch.command(2, DATA, [b"SET".as_slice(), b"b", &record]);
            batch.command(2, DATA, [b"MSET".as_slice(), b"c", &record, b"d", &record]);
            assert_eq!(batch.largest_argument(), LARGE_COMMAND_BYTES);
            assert_eq!(batch.bytes_since_mark(), batch.bytes() - bytes);
            batch.back_to_mark();
            assert!(text(&batch) == before && batch.bytes() == bytes);
            assert_eq!(batch.sent().len(), 2, "SELECT and SET");
            batch.mark();
            batch.command(1, DATA, ["SET", "e", "1"]);
            assert_eq!((batch.largest_argument(), batch.sent().len()), (0, 3));
        }
    }

    #[test]
    fn a_change_that_is_taken_out_leaves_the_keys_that_were_set_before_it() {
        type Change = fn(&mut Batch);
        let changes: [Change; 4] = [
            |batch| batch.set(0, DATA, (b"gone", b"3")),
            |batch| batch.command(0, DATA, ["INCR", "gone"]),
            |batch| batch.set(5, DATA, (b"gone", b"3")),
            |batch| {
                batch.set(0, DATA, (b"gone", b"3"));
                batch.command(0, DATA, ["PERSIST", "gone"]);
            },
        ];
        for (set, all) in [(0, "MULTI SET z 9 "), (1, "SET a 1"), (2, "MSET a 1 a 1")] {
            for change in changes {
                let mut batch = Batch::new(0);
                (0..set).for_each(|_| batch.set(0, DATA, (b"a", b"1")));
                let (sent, bytes) = (batch.sent().len(), batch.bytes());
                batch.mark();
                change(&mut batch);
                assert!(batch.bytes_since_mark() > 0);
                batch.back_to_mark();
                assert_eq!(batch.sent().len(), sent);
                assert!(batch.bytes() - bytes < 25, "at most the beginning of a command more");
                batch.set(0, DATA, (b"z", b"9"));
                batch.close_run();
                assert_eq!(batch.bytes(), batch.unsent_bytes());
                let replies = vec![(); batch.commands()];
                assert_eq!(batch.answered(&replies).count(), set + 1);
                batch.checkpoint(b"ck", b"v", true);
                batch.finish();
                let found = text(&batch);
                assert!(found.contains(all) && found.contains(" z 9 "), "{found}");
                assert!(!found.contains("gone"), "{found}");
            }
        }
    }

    #[test]
    fn is_full_by_commands_or_by_bytes() {
        let limits = BatchLimits { commands: 2, bytes: 1_000 };
        let mut batch = Batch::new(0);
        batch.command(0, DATA, ["SET", "a", "1"]);
        assert!(!batch.is_full(limits));
        batch.command(0, DATA, ["SET", "a", "1"]);
        assert!(batch.is_full(limits));
        let mut batch = Batch::new(0);
        batch.command(0, DATA, ["SET", "a", &"x".repeat(1_000)]);
        assert!(batch.is_full(limits));
    }
}
