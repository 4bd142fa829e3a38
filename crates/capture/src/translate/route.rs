//! Where changes belong: their partitions, and the home of those that appear together.
//!
//! Guarantees: the route of a group depends on its changes and their order only, not on how many of
//! them are at hand at a time.

use std::collections::BTreeSet;

use bytes::Bytes;
use event::codec::SHARED_BYTES;
use event::{Change, Command, GroupedChange, KeyArgs};
use wire::slot::{Slot, partition_of};

use super::change;

/// The partitions of one journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partitions(pub(super) u16);

/// The key that a group stands at.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) db: u32,
    pub(super) slot: Slot,
    pub(super) key: Bytes,
}

/// The route of a group whose changes come one after the other.
#[derive(Debug, Default)]
pub(super) struct Route {
    home: Option<Home>,
    /// Whether its key is among the changes that were taken out.
    is_home_out: bool,
    touched: BTreeSet<u16>,
}

// === impl Partitions ===

impl Partitions {
    /// Whether all keys of a command are in one partition; of a script they cannot be told.
    pub(super) fn have_in_one(self, command: &Command) -> bool {
        if command.is_script() {
            return false;
        }
        if matches!(command.keys, KeyArgs::First) {
            return true;
        }
        let mut partitions = keys_of(command).map(|key| self.of(Slot::of_key(key)));
        let first = partitions.next();
        partitions.all(|other| Some(other) == first)
    }

    /// That of a slot.
    pub(super) fn of(self, slot: Slot) -> u16 {
        let number = partition_of(slot, u32::from(self.0));
        u16::try_from(number).expect("fewer partitions than slots")
    }
}

// === impl Route ===

impl Route {
    /// The next change of the group.
    pub(super) fn add(&mut self, change: &GroupedChange, partitions: Partitions) {
        let GroupedChange { db, slot, key, change } = change;
        match change {
            // Whatever keys it names, it may meet others.
            Change::Command(command) if command.is_script() => {
                self.touched.extend(0..partitions.0);
            }
            Change::Command(Command { keys: KeyArgs::First, .. }) => {
                self.touched.insert(partitions.of(*slot));
            }
            Change::Command(command) => {
                let keys = keys_of(command);
                self.touched.extend(keys.map(|key| partitions.of(Slot::of_key(key))));
            }
            Change::Flush { .. } | Change::SwapDb { .. } | Change::Function(_) => {
                self.touched.extend(0..partitions.0);
                return;
            }
        }
        self.home.get_or_insert_with(|| Home { db: *db, slot: *slot, key: key.clone() });
    }

    /// Lets go of the buffers that the changes came in, which are taken out, the `first` or more.
    /// A long key is found again among the first.
    pub(super) fn detach(&mut self, first: bool) {
        let Some(home) = &mut self.home else { return };
        if self.is_home_out {
            return;
        }
        self.is_home_out = first && home.key.len() >= SHARED_BYTES;
        let is_out = self.is_home_out;
        home.key = if is_out { Bytes::new() } else { Bytes::copy_from_slice(&home.key) };
    }

    /// Whether the key of the home is that of the first command among the changes that were taken
    /// out first.
    pub(super) fn is_home_out(&self) -> bool {
        self.is_home_out
    }

    /// The home, and all partitions with that of the home first; none if there is just that one.
    /// Where no change has a key, the home is the first slot, of `db`.
    pub(super) fn finish(self, db: u32, partitions: Partitions) -> (Home, Vec<u16>) {
        let nowhere = || Home { db, slot: change::first_slot(), key: Bytes::new() };
        let home = self.home.unwrap_or_else(nowhere);
        let first = partitions.of(home.slot);
        let others: Vec<u16> = self.touched.into_iter().filter(|other| *other != first).collect();
        let touched = match others.is_empty() {
            true => Vec::new(),
            false => std::iter::once(first).chain(others).collect(),
        };
        (home, touched)
    }
}

fn keys_of(command: &Command) -> impl Iterator<Item = &Bytes> {
    command.written_keys().chain(command.read_keys())
}
