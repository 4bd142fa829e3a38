//! What the destination cannot hold: set aside, left out, or a reason to stop. Pure.
//!
//! A key of which a change was left out is held as one in quarantine is, so that its later changes do not make a part of
//! a value; but nothing is kept of them.

use std::borrow::Cow;

use bytes::Bytes;

use super::lower::Unfit;
use super::{Place, Planner};
use crate::config::Unsupported;
use crate::error::Error;
use crate::quarantine::LEFT_OUT;

/// Why a later change of a held key is a dead letter.
const AFTER_ANOTHER: &str =
    "an earlier change of the key, or of one that it needs, is in quarantine";

// === impl Planner ===

impl Planner {
    /// Why a change is set aside, or left out, that the destination cannot hold.
    ///
    /// # Errors
    /// Where it is neither, but a reason to stop.
    pub(super) fn cannot_hold(&self, place: &Place<'_>, unfit: Unfit) -> Result<String, Error> {
        match self.rules.unsupported {
            Unsupported::Quarantine => Ok(unfit.why()),
            Unsupported::Drop => Ok(match unfit {
                Unfit::Lacks(why) => [LEFT_OUT, why].concat(),
                Unfit::TooLarge(_) => unfit.why(),
            }),
            Unsupported::Fail => Err(Error::CannotHold {
                db: place.db,
                key: place.key.clone(),
                position: place.position,
                why: unfit.lacks(),
            }),
        }
    }

    /// Why a change is set aside, or left out, that follows others of these keys of the destination, or needs them.
    pub(super) fn after_another<'a>(
        &self,
        spots: impl IntoIterator<Item = (u32, &'a Bytes)>,
    ) -> Cow<'static, str> {
        let held = spots.into_iter().filter(|(db, key)| self.held.contains(*db, key));
        // Where letters are kept of one of them, this one belongs behind them.
        let why: Option<Vec<&str>> = held.map(|(db, key)| self.held.left_out(db, key)).collect();
        match why.as_deref() {
            Some([why, ..]) => [LEFT_OUT, why].concat().into(),
            _ => AFTER_ANOTHER.into(),
        }
    }
}
