//! Every cap of the event format, in one place, with the relations between them.

/// The largest encoded event that goes into a journal, bytes. Kafka's default for a whole batch is
/// 1,048,588 after compression and librdkafka's for one message 1,000,000 before it; this leaves
/// room for key and headers.
pub const MAX_EVENT_BYTES: usize = 900_000;

/// Payload of one fragment: what is left of [`MAX_EVENT_BYTES`] for position, stamp and a key's
/// worth of header.
pub const FRAGMENT_BYTES: usize = 800_000;

/// Aimed-at size of a part of a large value. Small enough that apply's batches stay small, large
/// enough that the cost of an event does not show.
pub const PART_BYTES: usize = 256 * 1024;

/// Values up to this size travel as one image.
pub const IMAGE_BYTES: usize = 256 * 1024;

/// A key longer than this is not used as the record key of a journal: a hash of it is. It travels
/// in the event.
pub const RECORD_KEY_BYTES: usize = 64 * 1024;

/// Pieces that one event may be cut into: 512 MiB arguments, a few of them, and no more.
pub const MAX_FRAGMENTS: u32 = 8_192;

/// The largest encoding that fragments can carry, bytes.
pub const MAX_ENCODED_BYTES: usize = FRAGMENT_BYTES * MAX_FRAGMENTS as usize;

/// The longest name of a site, bytes: it stands in every event of a two-way set.
pub const SITE_BYTES: usize = 255;

const _: () = assert!(FRAGMENT_BYTES + 64 * 1024 < MAX_EVENT_BYTES);
const _: () = assert!(PART_BYTES < FRAGMENT_BYTES && IMAGE_BYTES < FRAGMENT_BYTES);
