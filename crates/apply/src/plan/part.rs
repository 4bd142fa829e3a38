//! Parts of large values: put together under a temporary key, renamed into place with the last one. Pure.
//!
//! The name of the temporary key follows from key and epoch, so nothing has to be remembered between parts. The first
//! part removes what an earlier attempt left. A value whose part was refused stays temporary and its key held.

use bytes::Bytes;
use event::image::{Elements, ImagePart};
use wire::resp::encode::Decimal;

use super::lower::Unfit;
use super::rebuild::{self, Dest};
use super::{Place, Planner};
use crate::batch::{Batch, Judge, Sent};
use crate::error::Error;
use crate::filter::ValueKind;

// === impl Planner ===

impl Planner {
    /// Plans a part of a large value.
    pub(super) fn part(
        &mut self,
        place: &Place<'_>,
        part: &ImagePart,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        if !self.takes_image(place, &part.head)? {
            return Ok(());
        }
        let db = self.rules.mapping.target(place.db);
        let stage = self.rules.names.stage(place.key, place.position.epoch, db);
        if let Some(why) = self.refusal(place, db) {
            return self.set_aside(place, (db, &[place.key, &stage]), why, batch);
        }
        if part.number == 0 {
            self.held.release(db, &stage);
        } else if self.held.contains(db, &stage) {
            let why = self.after_another([(db, &stage)]);
            return self.set_aside(place, (db, &[place.key, &stage]), why, batch);
        }
        let dest = Dest { db, sent: Self::sent(place), key: &stage };
        if part.number == 0 {
            batch.command(db, dest.sent, [b"DEL".as_slice(), &stage]);
            self.deadlines.forget(db, &stage);
        }
        batch.mark();
        let written = self.elements(part, dest, batch);
        if let Err(unfit) = self.fitting(batch, written) {
            let why = self.cannot_hold(place, unfit)?;
            return self.set_aside(place, (db, &[place.key, &stage]), why, batch);
        }
        if let Elements::Fields(fields) = &part.elements {
            let expiring = fields.iter().filter_map(|of| Some((&of.field, of.expire_at_ms?)));
            self.fields_expire(db, &stage, expiring);
        }
        if part.last {
            self.held.release(db, place.key);
            self.finish_value(place, part, dest, batch);
            self.put_in_place(db, (&stage, place.key), part.head.expire_at_ms);
        }
        Ok(())
    }

    /// The keys that a change leaves in an unknown state when a part of it is refused.
    pub(super) fn keys_of_part(&self, key: &Bytes, epoch: u64, db: u32) -> Vec<Bytes> {
        vec![key.clone(), self.rules.names.stage(key, epoch, db)]
    }

    fn elements(&self, part: &ImagePart, dest: Dest<'_>, batch: &mut Batch) -> Result<(), Unfit> {
        match &part.elements {
            Elements::Text(text) => rebuild::text(batch, dest, text),
            Elements::Items(items) => {
                let is_set = ValueKind::of_type_byte(part.head.type_byte) == Some(ValueKind::Set);
                rebuild::items(batch, dest, if is_set { "SADD" } else { "RPUSH" }, items);
            }
            Elements::Scores(scores) => rebuild::scores(batch, dest, scores),
            Elements::Fields(fields) => {
                let later = |ms: i64| self.rules.expiry(ms);
                let mut fields = fields.clone();
                for field in &mut fields {
                    field.expire_at_ms = field.expire_at_ms.map(later);
                }
                rebuild::fields(self.rules.target, batch, dest, &fields)?;
            }
            Elements::Stream(stream) => {
                rebuild::stream_part(self.rules.target, batch, dest, stream);
            }
            Elements::Opaque(_) => return Err(Unfit::new("a value of a module in loose parts")),
        }
        Ok(())
    }

    fn finish_value(&self, place: &Place<'_>, part: &ImagePart, dest: Dest<'_>, batch: &mut Batch) {
        let sent = Sent { judge: Judge::Takes, ..dest.sent };
        batch.command(dest.db, sent, [b"RENAME".as_slice(), dest.key, place.key]);
        if let Some(ms) = part.head.expire_at_ms {
            let ms = Decimal::from(self.rules.expiry(ms));
            let args: [&[u8]; 3] = [b"PEXPIREAT", place.key, ms.as_ref()];
            batch.command(dest.db, dest.sent, args);
        }
    }
}
