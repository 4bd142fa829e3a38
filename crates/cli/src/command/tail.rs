//! `keyferry tail`: the events of a journal, read beside the process that writes it.

mod wanted;

use std::sync::Arc;

use clap::ArgMatches;
use journal::{Description, Journal, Offset, Partition, ReadLimit};
use runtime::{Clock, SystemClock};

use self::wanted::{Place, Wanted};
use crate::exit::{Exit, Failure};
use crate::options::layers::Values;
use crate::options::typed::Reader;
use crate::output;

/// Without --follow, how far the tail is away is known; one step reads this much of it.
const STEP: ReadLimit = ReadLimit { records: 1024, bytes: 4 << 20 };

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    let mut reader = Reader::new(values);
    let dir = reader.data_dir();
    let stream = reader.stream_to_read(&dir);
    let journal = reader.journal(&stream, &dir);
    let json = reader.flag("log.json");
    reader.finish()?;
    super::block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let wanted = Wanted::read(matches, json, clock.as_ref())?;
        let journal = super::reading::open(journal, clock).await?;
        show(&*journal, &wanted).await
    })
}

async fn show(journal: &dyn Journal, wanted: &Wanted) -> Result<(), Failure> {
    let failed = |error: journal::ReadError| Failure::of(Exit::Journal, &error);
    let description = journal.describe().await.map_err(failed)?;
    wanted.fits(&description)?;
    let mut from = starts(journal, wanted, &description).await?;
    let mut missing = from.iter().filter(|start| start.is_before_the_end()).count();
    if !wanted.follow {
        from.retain(Start::is_before_the_end);
    }
    if wanted.limit == 0 || from.is_empty() {
        return Ok(());
    }
    let places = from.iter().map(|start| (start.partition, start.at)).collect();
    let mut reader = journal.reader(places).await.map_err(failed)?;
    let (mut read, mut shown) = (0_u64, 0);
    while wanted.follow || missing > 0 {
        for entry in reader.next(STEP).await.map_err(failed)? {
            let range = description.partitions.get(usize::from(entry.partition.0));
            if range.is_some_and(|range| entry.offset.after(1) == range.end) {
                missing = missing.saturating_sub(1);
            }
            read += 1;
            match wanted.print(entry)? {
                output::Shown::Yes => shown += 1,
                output::Shown::No => {}
                output::Shown::NobodyReads => return Ok(()),
            }
            if shown >= wanted.limit {
                return Ok(());
            }
        }
    }
    if shown == 0 && wanted.chooses() {
        output::note(&format!("none of the {read} records read is of those asked for"));
    }
    Ok(())
}

/// Where the reading of a partition begins.
struct Start {
    partition: Partition,
    at: Offset,
    end: Offset,
}

// === impl Start ===

impl Start {
    fn is_before_the_end(&self) -> bool {
        self.at < self.end
    }
}

/// Where to begin in every partition that is wanted. That nothing is there yet is an error unless somebody waits.
async fn starts(
    journal: &dyn Journal,
    wanted: &Wanted,
    description: &Description,
) -> Result<Vec<Start>, Failure> {
    let mut from = Vec::new();
    for (number, range) in (0u16..).zip(&description.partitions) {
        if !wanted.partitions.is_empty() && !wanted.partitions.contains(&number) {
            continue;
        }
        let partition = Partition(number);
        let at = match wanted.from {
            Place::Beginning => range.start,
            Place::End => range.end,
            Place::Offset(offset) => Offset(offset).max(range.start),
            Place::Last(count) => Offset(range.end.0.saturating_sub(count)).max(range.start),
            Place::TimeMs(time_ms) => journal
                .offset_at_time(partition, time_ms)
                .await
                .map_err(|error| Failure::of(Exit::Journal, &error))?,
        };
        from.push(Start { partition, at, end: range.end });
    }
    let last = from.iter().map(|start| start.end.0).max().unwrap_or_default();
    if let Place::Offset(offset) = wanted.from
        && from.iter().all(|start| start.at > start.end)
    {
        let what = format!(
            "--from {offset} is beyond the end of every partition: the last ends at {last}"
        );
        match wanted.follow {
            true => output::note(&format!("{what}; waiting for it")),
            false => {
                return Err(Failure {
                    exit: Exit::Usage,
                    what,
                    advice: "name an earlier offset, or wait for it with --follow".to_owned(),
                });
            }
        }
    }
    Ok(from)
}
