//! What an event says of itself outside of its encoding.

use bytes::Bytes;
use event::{Body, Event, codec};

/// Read once, before the event is encoded.
pub(super) struct Label<'a> {
    pub(super) head: codec::Head<'a>,
    pub(super) key: &'a Bytes,
    pub(super) kind: &'static str,
    /// Whether it is about a key.
    pub(super) is_change: bool,
    /// The snapshot made on demand that it belongs to; 0: none.
    pub(super) snapshot_id: u64,
}

// === impl Label ===

impl<'a> Label<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        let is_change = !matches!(event.body, Body::Control(_));
        let (head, snapshot_id) = (codec::Head::of(event), event.snapshot_id());
        Self { head, key: &event.key, kind: event.kind(), is_change, snapshot_id }
    }
}
