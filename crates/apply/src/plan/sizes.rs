//! How much a destination takes at once, and what becomes of a change that is more. Pure.
//!
//! A server closes the connection of a client that sends it more, without a word about which command it was. So nothing
//! of that size is sent: the change is set aside, and its key named.

use redis_io::facts::SizeFacts;

use super::Planner;
use super::lower::Unfit;
use crate::batch::Batch;
use crate::config::BatchLimits;
use crate::limits;
use crate::target::{self, Target};

/// How much a destination takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Bytes of one argument.
    pub(crate) argument: usize,
    /// Bytes of all arguments of one change.
    pub(crate) change: usize,
    /// How much one atomic step may hold before it is ended.
    pub(crate) batch: BatchLimits,
    /// A transaction of more encoded bytes is applied in pieces.
    pub(crate) group: usize,
    /// Which setting of the destination bounds an argument, and to what.
    bound: (&'static str, u64),
    /// What it allows for all commands that wait together.
    buffer: u64,
}

const MAX_BULK: &str = "proto-max-bulk-len";
const QUERY_BUFFER: &str = "client-query-buffer-limit";

// === impl Sizes ===

impl Sizes {
    /// What a destination allows, in as large steps as are asked for.
    pub(crate) fn of(
        facts: SizeFacts,
        target: Target,
        (batch, group): (BatchLimits, usize),
    ) -> Self {
        let bulk = facts.max_bulk_bytes.unwrap_or(limits::MAX_BULK_BYTES);
        let buffer = facts.query_buffer_bytes.unwrap_or(limits::QUERY_BUFFER_BYTES);
        // Of a large argument nothing else is in the buffer but its frame.
        let buffered = buffer.saturating_sub(limits::FRAME_BYTES);
        let bound = if bulk <= buffered { (MAX_BULK, bulk) } else { (QUERY_BUFFER, buffer) };
        let usize_of = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut sizes = Self {
            argument: usize_of(bulk.min(buffered)),
            change: usize::MAX,
            batch,
            group,
            bound,
            buffer,
        };
        if target.can(target::COUNTS_WAITING) {
            // What waits in a MULTI counts: the batch so far, the change, what is beside it of ours.
            let part = usize_of(buffer / 4);
            sizes.batch.bytes = batch.bytes.min(part);
            sizes.group = group.min(part);
            let own = limits::OWN_BYTES.min(part / 2);
            let others = sizes.batch.bytes.saturating_add(sizes.group).saturating_add(own);
            sizes.change = usize_of(buffer).saturating_sub(others);
        }
        sizes
    }

    /// Why so much cannot be sent.
    fn refusal(&self, argument: usize, change: usize) -> Option<Unfit> {
        let why = if argument > self.argument {
            let (setting, bytes) = self.bound;
            format!(
                "one argument has {argument} bytes, and its {setting} is {bytes}: {RAISE}{setting} {ADVICE}"
            )
        } else if change > self.change {
            let buffer = self.buffer;
            format!(
                "the change has {change} bytes, and its {QUERY_BUFFER} is {buffer}: {RAISE}{QUERY_BUFFER} {ADVICE}"
            )
        } else {
            return None;
        };
        Some(Unfit::TooLarge(why))
    }
}

/// How to let a destination take more.
const RAISE: &str = "raise it there (CONFIG SET ";
/// What to do then.
const ADVICE: &str = "…), then keyferry quarantine retry";

// === impl Planner ===

impl Planner {
    /// What has been written since the batch was marked, unless it does not fit: then it is taken out of the batch.
    pub(super) fn fitting(
        &self,
        batch: &mut Batch,
        written: Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        let refused = match written {
            Err(unfit) => Some(unfit),
            Ok(()) => self.rules.sizes.refusal(batch.largest_argument(), batch.bytes_since_mark()),
        };
        refused.map_or(Ok(()), |unfit| {
            batch.back_to_mark();
            Err(unfit)
        })
    }
}

#[cfg(test)]
mod tests {
    use redis_io::ServerFacts;
    use redis_io::facts::{Flavour, Version};

    use super::*;

    const MIB: usize = 1 << 20;

    fn sizes(bulk: Option<u64>, buffer: Option<u64>, major: u32) -> Sizes {
        let facts = ServerFacts {
            flavour: Some(Flavour::Redis),
            version: Some(Version::new(major, 0, 0)),
            ..ServerFacts::default()
        };
        let sizes = SizeFacts { max_bulk_bytes: bulk, query_buffer_bytes: buffer };
        let asked = BatchLimits { commands: 1_000, bytes: MIB };
        Sizes::of(sizes, Target::of(&facts), (asked, 64 * MIB))
    }

    #[test]
    fn what_is_not_told_is_taken_for_the_default() {
        let found = sizes(None, None, 8);
        assert_eq!((found.argument, found.batch.bytes, found.group), (512 * MIB, MIB, 64 * MIB));
        assert!(found.change > 950 * MIB && found.change < 960 * MIB, "{}", found.change);
        assert_eq!(sizes(None, None, 7).change, usize::MAX);
    }

    #[test]
    fn all_that_waits_together_stays_below_the_buffer() {
        for buffer in [1, 2, 5, 63, 64, 65, 300, 4_096] {
            let found = sizes(Some(8 << 30), Some(buffer << 20), 8);
            let whole = found.batch.bytes + found.group + found.change;
            let bound = usize::try_from(buffer << 20).unwrap();
            assert!(whole < bound && found.change > 0 && found.argument < bound, "{found:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_setting_and_both_sizes() {
        let why = |sizes: Sizes, argument, change| {
            sizes.refusal(argument, change).map(|unfit| unfit.lacks().into_owned())
        };
        let found = sizes(Some(1 << 20), None, 8);
        assert_eq!(why(found, MIB, MIB), None);
        let said = why(found, MIB + 1, MIB + 9).unwrap();
        assert!(said.contains("1048577 bytes, and its proto-max-bulk-len is 1048576"), "{said}");
        let found = sizes(None, Some(2 << 20), 8);
        let said = why(found, 3 * MIB, 3 * MIB).unwrap();
        assert!(said.contains("client-query-buffer-limit is 2097152"), "{said}");
        let said = why(found, 9, 3 * MIB).unwrap();
        assert!(said.contains("the change has 3145728 bytes"), "{said}");
    }
}
