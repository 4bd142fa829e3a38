//! `keyferry resnapshot`: asks whoever captures a stream for a snapshot beside it, and waits until the journal has it.
//!
//! It speaks to nobody but the journal: a request is posted there, and what becomes of it is read there. It repeats the
//! request for as long as it waits: a capture that is just taking over has not heard it before.

mod shards;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use event::request::{Ask, Request};
use journal::{Entry, Journal, ReadLimit, Reader as JournalReader};
use runtime::{Clock, Random, SystemClock, units};
use serde_json::json;

use self::shards::Shards;
use self::watch::News;
use crate::exit::{Exit, Failure};
use crate::options::layers::Values;
use crate::options::typed::Reader;
use crate::output;

/// What is asked for, and of whom.
struct Wish {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    stream: String,
    request: Request,
    /// For how long nothing may come of it.
    patience: Duration,
    json: bool,
}

/// Where a wait stands.
struct Wait {
    watch: Shards,
    /// When something came last that shows that somebody captures: before a snapshot has begun, nothing does.
    heard: Duration,
    told: Duration,
}

/// How often a request is repeated.
const REPEAT_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether waiting still makes sense.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What is read at once.
const STEP: ReadLimit = ReadLimit { records: 1_024, bytes: 4 << 20 };

/// An idle stream shows every ten seconds that it lives: less patience than that would be none.
const SILENCE_LEAST: Duration = Duration::from_secs(30);

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    let text = matches.get_one::<String>("answer-within").map_or("", String::as_str);
    let patience = units::duration::parse(text)
        .map_err(|error| Failure::usage(format!("--answer-within: {error}")))?;
    let mut reader = Reader::new(values);
    let dir = reader.data_dir();
    let is_local = reader.is_local();
    let stream = if is_local { reader.known_stream(&dir) } else { reader.stream() };
    let settings = reader.journal(&stream, &dir);
    let json = reader.flag("log.json");
    output::warn(&reader.finish()?);
    super::block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        // A stream that is not there has nobody who captures it.
        let journal = super::reading::open(settings, Arc::clone(&clock)).await?;
        let request = Request {
            id: format!("{:016x}", Random::from_entropy().next_u64()),
            ask: Ask::Snapshot,
            from: format!("keyferry resnapshot, pid {}", std::process::id()),
            at_ms: clock.now_ms(),
        };
        let wish = Wish { journal, clock, stream, request, patience, json };
        match matches.get_flag("no-wait") {
            true => wish.post_alone().await,
            false => wish.come_true().await,
        }
    })
}

// === impl Wish ===

impl Wish {
    async fn post(&self) -> Result<(), Failure> {
        let posted = self.journal.mailbox().post(self.request.encode()).await;
        posted.map_err(|error| Failure::of(Exit::Journal, &error))
    }

    async fn post_alone(&self) -> Result<(), Failure> {
        self.post().await?;
        let (id, stream) = (&self.request.id, &self.stream);
        output::print(&match self.json {
            true => json!({ "request": id, "stream": stream }).to_string(),
            false => format!("asked for a snapshot of stream {stream}: request {id}"),
        })
    }

    async fn come_true(&self) -> Result<(), Failure> {
        // Before the request: what begins after it is seen.
        let (mut reader, partitions) = self.reader().await?;
        let now = self.clock.monotonic();
        let mut wait = Wait { watch: Shards::new(partitions), heard: now, told: now };
        let (mut tick, mut repeat) =
            (self.clock.sleep(LOOK_EVERY), self.clock.sleep(Duration::ZERO));
        loop {
            tokio::select! {
                biased;
                () = &mut repeat => {
                    self.post().await?;
                    repeat = self.clock.sleep(REPEAT_EVERY);
                }
                () = &mut tick => {
                    self.check(&wait)?;
                    tick = self.clock.sleep(LOOK_EVERY);
                }
                entries = reader.next(STEP) => {
                    let entries = entries.map_err(|error| Failure::of(Exit::Journal, &error))?;
                    if self.take(entries, &mut wait)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn reader(&self) -> Result<(Box<dyn JournalReader>, usize), Failure> {
        let failed = |error: journal::ReadError| Failure::of(Exit::Journal, &error);
        let description = self.journal.describe().await.map_err(failed)?;
        let ends = (0..).zip(&description.partitions);
        let ends = ends.map(|(number, range)| (journal::Partition(number), range.end)).collect();
        let reader = self.journal.reader(ends).await.map_err(failed)?;
        Ok((reader, description.partitions.len()))
    }

    /// Takes what has come. Says whether it is what was waited for.
    fn take(&self, entries: Vec<Entry>, wait: &mut Wait) -> Result<bool, Failure> {
        let now = self.clock.monotonic();
        for entry in entries {
            let place = (entry.partition.0, entry.offset.0);
            let event = event::codec::decode(entry.payload).map_err(|error| Failure {
                exit: Exit::Journal,
                what: format!("the record at offset {} of partition {}: {error}", place.1, place.0),
                advice: "use the version of keyferry that wrote this journal".to_owned(),
            })?;
            let news = wait.watch.take(place.0, &event);
            if self.tell(news)? {
                return Ok(true);
            }
        }
        if wait.watch.is_under_way() {
            wait.heard = now;
            if now.saturating_sub(wait.told) >= TELL_EVERY {
                wait.told = now;
                self.tell_progress(wait.watch.keys());
            }
        }
        Ok(false)
    }

    /// Tells what has become of it. Says whether that is the end.
    fn tell(&self, news: News) -> Result<bool, Failure> {
        match news {
            News::None => {}
            News::Begun { id, keys_expected } => self.note_begun(id, keys_expected),
            News::GivenUp { id, next, keys_expected } => {
                output::note(&format!("snapshot {id} is given up: see the log of who captures"));
                self.note_begun(next, keys_expected);
            }
            News::Complete { id, keys } => {
                let stream = &self.stream;
                output::print(&match self.json {
                    true => {
                        json!({ "snapshot_id": id, "stream": stream, "keys": keys }).to_string()
                    }
                    false if id == 0 => {
                        format!("stream {stream} has begun anew with a snapshot of {keys} keys")
                    }
                    false => format!("snapshot {id} of stream {stream} is complete: {keys} keys"),
                })?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn note_begun(&self, id: u64, keys_expected: u64) {
        if !self.json {
            output::note(&format!("snapshot {id} begins: about {keys_expected} keys"));
        }
    }

    fn tell_progress(&self, (keys, expected): (u64, u64)) {
        if !self.json {
            output::note(&match expected {
                0 => format!("{keys} keys so far"),
                expected => format!("{keys} of about {expected} keys so far"),
            });
        }
    }

    /// Whether there is any sense in waiting.
    fn check(&self, wait: &Wait) -> Result<(), Failure> {
        let silence = self.clock.monotonic().saturating_sub(wait.heard);
        let under_way = wait.watch.is_under_way();
        let patience = if under_way { self.patience.max(SILENCE_LEAST) } else { self.patience };
        if silence < patience {
            return Ok(());
        }
        let (stream, seconds) = (&self.stream, silence.as_secs());
        let what = match under_way {
            true => format!("nothing has come into the journal of stream {stream} for {seconds} s"),
            false => format!("nobody has begun a snapshot of stream {stream} within {seconds} s"),
        };
        let advice = "see that `keyferry run` or `keyferry capture` runs for this stream and this journal (`keyferry \
                      status`), and what its log says of the source, of its link, and of requests; or wait longer \
                      with --answer-within";
        Err(Failure { exit: Exit::GaveUp, what, advice: advice.to_owned() })
    }
}
