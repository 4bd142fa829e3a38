//! What it means that the destination refused one command, or found nothing to take. Pure.

use bytes::Bytes;
use event::{Body, Change, Command, Event};

use super::keys::Roles;
use super::{Place, Planner};
use crate::batch::{Judge, Sent};
use crate::quarantine::Draft;
use crate::quarantine::set::Spot;

/// What is to be done about one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Its keys are set aside, in each database.
    SetAside(Vec<Draft>),
    /// The keys it should have written must not be there.
    Remove(Vec<Spot>),
}

/// Why the key that it writes is set aside when there was no element to take.
const NOTHING_TO_TAKE: &str = "the key that it takes an element from is not there: it may have expired early at the destination";

// === impl Planner ===

impl Planner {
    /// What is to be done about a command that failed (`said`), or found nothing to take (none).
    pub(crate) fn remedy(&self, record: &Bytes, sent: Sent, said: Option<&str>) -> Option<Remedy> {
        let event = event::codec::decode(record.clone()).ok()?;
        let (db, key, command) = self.change_of(&event, sent.change)?;
        let place = Place {
            position: event.position,
            change: sent.change,
            db,
            key,
            record,
            index: sent.record,
        };
        if let (Some(command), None, Judge::Takes) = (command, said, sent.judge) {
            let roles = Roles::of(command, db);
            let replaced = roles.keys.iter().filter(|role| roles.replaces(role));
            let spot =
                |db, key: &Bytes| Spot { db: self.rules.mapping.target(db), key: key.clone() };
            return Some(Remedy::Remove(replaced.map(|role| spot(role.db, role.key)).collect()));
        }
        let why = said.unwrap_or(NOTHING_TO_TAKE);
        Some(Remedy::SetAside(self.drafts(&place, &event, command, why)))
    }

    /// The place in the source's history and the number of a change, under which it is refused when it comes again.
    pub(crate) fn identity(record: &Bytes, sent: Sent) -> Option<(event::Position, u32)> {
        let event = event::codec::decode(record.clone()).ok()?;
        Some((event.position, sent.change))
    }

    fn change_of<'a>(
        &self,
        event: &'a Event,
        number: u32,
    ) -> Option<(u32, &'a Bytes, Option<&'a Command>)> {
        match &event.body {
            Body::Command(command) => Some((event.db, &event.key, Some(command))),
            Body::Group(group) => {
                let change = group.changes.get(usize::try_from(number).ok()?)?;
                let command = match &change.change {
                    Change::Command(command) => Some(command),
                    _ => None,
                };
                Some((change.db, &change.key, command))
            }
            _ => Some((event.db, &event.key, None)),
        }
    }

    fn drafts(
        &self,
        place: &Place<'_>,
        event: &Event,
        command: Option<&Command>,
        why: &str,
    ) -> Vec<Draft> {
        let draft = |db: u32, keys: Vec<Bytes>| Draft {
            position: place.position,
            record: place.record.clone(),
            change: place.change,
            db,
            keys,
            why: why.to_owned(),
        };
        let target = self.rules.mapping.target(place.db);
        let Some(command) = command else {
            let keys = match &event.body {
                Body::Image(_) => vec![place.key.clone()],
                Body::ImagePart(_) => self.keys_of_part(place.key, place.position.epoch, target),
                _ => Vec::new(),
            };
            return vec![draft(target, keys)];
        };
        let roles = Roles::of(command, place.db);
        let mut drafts: Vec<Draft> = Vec::new();
        for role in roles.written().filter(|role| self.rules.takes(role.db, role.key)) {
            let db = self.rules.mapping.target(role.db);
            match drafts.iter_mut().find(|draft| draft.db == db) {
                Some(draft) => draft.keys.push(role.key.clone()),
                None => drafts.push(draft(db, vec![role.key.clone()])),
            }
        }
        drafts
    }
}
