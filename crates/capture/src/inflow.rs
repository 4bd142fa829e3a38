//! What goes on from the spool: as much as the limits allow, and nothing in a pause.
//!
//! Guarantees: pieces go on in their order, without a gap; where a limit holds, they are cut so small that little goes
//! on at once. The socket is drained all the same. A stop ends limits and pauses: what has come is recorded then, so
//! that the source need not remember it.

use std::sync::Arc;

use runtime::throttle::HoldSign;
use runtime::{Clock, Flow, Gate, Hold, Rate, Throttle};
use tokio_util::sync::CancellationToken;

use crate::piece::Piece;
use crate::progress::Progress;
use crate::spool::{Asides, SpoolError, SpoolReader};

/// The spool's end that the limits guard.
#[derive(Debug)]
pub(crate) struct Inflow {
    spool: SpoolReader,
    gate: Gate,
    clock: Arc<dyn Clock>,
    /// What has come out of the spool and has not gone on.
    rest: Option<Piece>,
    sign: HoldSign,
    progress: Arc<Progress>,
}

/// What goes on at once under a limit lasts this part of a second, about.
const PARTS_OF_A_SECOND: u64 = 100;

/// A row in a source's bytes, about: a small one, so that not many more go on at once.
const ROW_BYTES: u64 = 64;

/// Less is not worth the work.
const LEAST_BYTES: u64 = 512;

// === impl Inflow ===

impl Inflow {
    pub(crate) fn new(
        spool: SpoolReader,
        throttle: &Throttle,
        clock: Arc<dyn Clock>,
        progress: Arc<Progress>,
    ) -> Self {
        let gate = throttle.gate(Arc::clone(&clock));
        Self { spool, gate, clock, rest: None, sign: HoldSign::default(), progress }
    }

    /// What goes on next; none when the link has ended and everything has gone on. Cancel-safe.
    ///
    /// # Errors
    /// When a file of the spool cannot be read.
    pub(crate) async fn next(
        &mut self,
        stop: &CancellationToken,
    ) -> Result<Option<Piece>, SpoolError> {
        loop {
            let flow = self.rest.as_ref().map_or(Flow::Incremental, flow_of);
            let has_limits = !stop.is_cancelled();
            if has_limits && self.rest.is_some() {
                self.show(self.gate.hold(flow));
                tokio::select! {
                    biased;
                    () = stop.cancelled() => continue,
                    () = self.gate.opened(flow) => {}
                }
            }
            if let Some(piece) = self.rest.take() {
                let most = if has_limits { self.most_bytes(flow) } else { usize::MAX };
                let (piece, rest) = cut(piece, most);
                self.rest = rest;
                return Ok(Some(piece));
            }
            // No await once something was taken.
            self.rest = self.spool.pop().await?;
            if self.rest.is_none() {
                return Ok(None);
            }
        }
    }

    /// Where files are made for what cannot be held in memory.
    pub(crate) fn asides(&self) -> Asides {
        self.spool.asides()
    }

    /// Says what has become of a piece.
    pub(crate) fn count(&self, flow: Flow, recorded: Rate) {
        self.gate.took(flow, recorded);
    }

    /// Whether a pause holds everything, before `stop`. Shows what holds it at the moment.
    pub(crate) fn is_paused(&mut self, stop: &CancellationToken) -> bool {
        let flow = self.rest.as_ref().map(flow_of);
        let hold = match stop.is_cancelled() {
            true => None,
            false if self.gate.is_paused() => Some(Hold::Pause),
            false => flow.and_then(|flow| self.gate.hold(flow)),
        };
        self.show(hold);
        hold == Some(Hold::Pause)
    }

    fn show(&mut self, hold: Option<Hold>) {
        if let Some(shown) = self.sign.note(hold, self.clock.monotonic()) {
            self.progress.held_by(shown);
        }
    }

    fn most_bytes(&self, flow: Flow) -> usize {
        let rate = self.gate.rate(flow);
        let share = |rate: u64, bytes: u64| match rate {
            0 => u64::MAX,
            rate => (rate / PARTS_OF_A_SECOND).saturating_mul(bytes).max(LEAST_BYTES),
        };
        let most = share(rate.bytes, 1).min(share(rate.rows, ROW_BYTES));
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

/// What a piece is of, for the limits.
pub(crate) fn flow_of(piece: &Piece) -> Flow {
    match piece {
        Piece::FullResync(_) | Piece::Snapshot(_) | Piece::SnapshotEnd => Flow::Full,
        Piece::Stream { .. } | Piece::Continued { .. } => Flow::Incremental,
    }
}

/// The first bytes of a piece, and what is left of it.
fn cut(piece: Piece, most: usize) -> (Piece, Option<Piece>) {
    match piece {
        Piece::Snapshot(mut bytes) if bytes.len() > most => {
            let first = bytes.split_to(most);
            (Piece::Snapshot(first), Some(Piece::Snapshot(bytes)))
        }
        Piece::Stream { mut bytes, arrived_ms } if bytes.len() > most => {
            let first = bytes.split_to(most);
            let rest = Piece::Stream { bytes, arrived_ms };
            (Piece::Stream { bytes: first, arrived_ms }, Some(rest))
        }
        whole => (whole, None),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_piece_is_cut_without_a_gap() {
        let bytes = Bytes::from_static(b"0123456789");
        let whole = Piece::Stream { bytes: bytes.clone(), arrived_ms: 5 };
        for most in 1..12 {
            let (mut joined, mut rest) = (Vec::new(), Some(whole.clone()));
            while let Some(piece) = rest.take() {
                let (first, more) = cut(piece, most);
                let Piece::Stream { bytes, arrived_ms: 5 } = first else { panic!("{first:?}") };
                assert!(!bytes.is_empty() && bytes.len() <= most);
                joined.extend_from_slice(&bytes);
                rest = more;
            }
            assert_eq!(joined, bytes);
        }
        assert_eq!(cut(Piece::SnapshotEnd, 1), (Piece::SnapshotEnd, None));
    }
}
