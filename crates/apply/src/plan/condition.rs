//! Deadlines of fields that the source set under a condition (NX, XX, GT, LT). Pure.
//!
//! A source sends such a command when the condition held for at least one of the fields: Redis for those alone, Valkey
//! with all that were named. Here it would be asked about deadlines that may have been put off; so where the true ones
//! are known, or follow, the condition is decided before.

use bytes::Bytes;
use wire::args::integer;
use wire::resp::encode::Decimal;

use super::lower::{self, Unfit, find};
use super::{Place, Planner};
use crate::batch::{Batch, Question};
use crate::quarantine::set::Spot;
use crate::target;

/// A command under a condition, taken apart.
#[derive(Clone, Copy, Debug)]
struct Conditional<'a> {
    key: &'a Bytes,
    deadline: &'a Bytes,
    ms: i64,
    condition: &'a Bytes,
    fields: &'a [Bytes],
}

/// Where the word FIELDS stands behind a condition.
const FIELDS_AT: usize = 4;

// === impl Planner ===

impl Planner {
    /// Writes a command of one key, and follows what it does to deadlines.
    pub(super) fn write_followed(
        &mut self,
        place: &Place<'_>,
        db: u32,
        args: &[Bytes],
        batch: &mut Batch,
    ) -> Result<(), Unfit> {
        let conditional =
            Conditional::of(args).filter(|_| self.rules.target.can(target::FIELD_EXPIRY));
        batch.mark();
        let Some(conditional) = conditional else {
            let written = lower::write(&self.rules, batch, db, Self::sent(place), args);
            self.fitting(batch, written)?;
            self.follow_command(db, place.key, args);
            return Ok(());
        };
        let (met, unknown) = self.decide(db, &conditional);
        let mut decided = conditional.words(&met, false);
        let mut asked = None;
        if met.is_empty() {
            // The source had one for which it held.
            decided = conditional.words(&unknown, unknown.len() > 1);
        } else if !unknown.is_empty() {
            // Of these the source may have had none.
            let mut words = conditional.words(&unknown, true);
            let ms = Decimal::from(self.rules.expiry(conditional.ms)).to_bytes();
            words.splice(2..3, [ms]);
            batch.command(db, Self::sent(place), words);
            asked = batch.sent().len().checked_sub(1);
        }
        let written = lower::write(&self.rules, batch, db, Self::sent(place), &decided);
        self.fitting(batch, written)?;
        self.follow_command(db, place.key, &decided);
        if met.is_empty() && unknown.len() > 1 {
            asked = batch.sent().len().checked_sub(1);
        }
        if let Some(sent) = asked {
            self.ask(sent, (db, &unknown), &conditional, batch);
        }
        Ok(())
    }

    /// What a command under a condition has done, its reply says. A later deadline in place of one that is not known may
    /// have been later than what was to be written: that stays open.
    fn ask(
        &mut self,
        sent: usize,
        (db, fields): (u32, &[&Bytes]),
        of: &Conditional<'_>,
        batch: &mut Batch,
    ) {
        if let Some(ms) = self.rules.put_off(of.ms).filter(|_| !of.is(b"GT")) {
            let number = self.deadlines.ask(db, of.key, fields, ms);
            let fields = fields.iter().copied().cloned().collect();
            let spot = Spot { db, key: of.key.clone() };
            batch.questions.push(Question { sent, spot, fields, number });
        }
    }

    /// The fields for which the condition held, as far as their true deadlines are known, and the others of which that
    /// is not known.
    fn decide<'a>(&self, db: u32, of: &Conditional<'a>) -> (Vec<&'a Bytes>, Vec<&'a Bytes>) {
        let put_off = self.deadlines.get(db, of.key);
        let own_ms = self.rules.extended(of.ms);
        let (mut met, mut unknown) = (Vec::new(), Vec::new());
        for field in of.fields {
            match put_off.and_then(|put_off| put_off.fields.get(field)) {
                Some(true_ms) if of.holds(own_ms, true_ms) => met.push(field),
                Some(_) => {}
                None => unknown.push(field),
            }
        }
        (met, unknown)
    }
}

// === impl Conditional ===

impl<'a> Conditional<'a> {
    /// `HPEXPIREAT key ms condition FIELDS n field…`.
    fn of(args: &'a [Bytes]) -> Option<Self> {
        let [name, key, deadline, condition, _, _, fields @ ..] = args else { return None };
        let is_one = name.eq_ignore_ascii_case(b"HPEXPIREAT")
            && find(args, 3, "FIELDS") == Some(FIELDS_AT)
            && ["NX", "XX", "GT", "LT"]
                .iter()
                .any(|word| condition.eq_ignore_ascii_case(word.as_bytes()));
        let ms = integer(deadline).filter(|_| is_one)?;
        Some(Self { key, deadline, ms, condition, fields })
    }

    fn is(&self, condition: &[u8]) -> bool {
        self.condition.eq_ignore_ascii_case(condition)
    }

    /// Whether the condition holds for a field with that deadline.
    fn holds(&self, ms: i64, before_ms: i64) -> bool {
        self.is(b"XX") || (self.is(b"GT") && ms > before_ms) || (self.is(b"LT") && ms < before_ms)
    }

    /// The command for some of its fields, under its condition or not.
    fn words(&self, fields: &[&Bytes], is_conditional: bool) -> Vec<Bytes> {
        let name = Bytes::from_static(b"HPEXPIREAT");
        let mut words = vec![name, self.key.clone(), self.deadline.clone()];
        words.extend(is_conditional.then(|| self.condition.clone()));
        words.push(Bytes::from_static(b"FIELDS"));
        words.push(Decimal::from(fields.len() as u64).to_bytes());
        words.extend(fields.iter().copied().cloned());
        words
    }
}
