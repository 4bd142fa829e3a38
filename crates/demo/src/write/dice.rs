//! The writer's chance: which act comes next, and what it is about.

use std::collections::VecDeque;
use std::ops::RangeBounds;
use std::sync::Arc;

use testkit::now_ms;

use super::{Abilities, FAMILIES};
use crate::data::{City, Data};
use crate::keys;

/// Deliveries that are remembered, to be acknowledged.
const DELIVERED_MAX: usize = 2000;
/// The shortest and the longest life that the writer gives: far longer than the demo runs.
const LIFE_SECONDS: std::ops::Range<u64> = 900..86_400;
/// Notes that are written on: few, so that each is changed often.
const NOTES: u32 = 5000;

/// Draws from a seed.
pub(super) struct Dice {
    chance: fastrand::Rng,
    /// What there is to write about.
    pub(super) data: Arc<Data>,
    /// What may be used.
    pub(super) abilities: Abilities,
    serial: u64,
    delivered: VecDeque<(Vec<u8>, Vec<u8>)>,
}

// === impl Dice ===

impl Dice {
    pub(super) fn new(data: Arc<Data>, abilities: Abilities, seed: u64) -> Self {
        let chance = fastrand::Rng::with_seed(seed);
        Self { chance, data, abilities, serial: 0, delivered: VecDeque::new() }
    }

    /// The place of the next act's family in [`FAMILIES`].
    pub(super) fn family(&mut self) -> usize {
        let all: u32 = FAMILIES.iter().map(|family| family.weight).sum();
        let mut left = self.chance.u32(..all);
        let chosen = FAMILIES.iter().position(|family| {
            let here = left < family.weight;
            left = left.saturating_sub(family.weight);
            here
        });
        chosen.expect("a number below the sum of the weights")
    }

    pub(super) fn number(&mut self, range: impl RangeBounds<u64>) -> u64 {
        self.chance.u64(range)
    }

    pub(super) fn signed(&mut self, range: impl RangeBounds<i64>) -> i64 {
        self.chance.i64(range)
    }

    /// One of `cases`, from 0.
    pub(super) fn case(&mut self, cases: u32) -> u32 {
        self.chance.u32(..cases)
    }

    /// A number that was not drawn before.
    pub(super) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Seconds to live.
    pub(super) fn life_seconds(&mut self) -> u64 {
        self.number(LIFE_SECONDS)
    }

    /// A deadline in milliseconds since the epoch.
    pub(super) fn deadline_ms(&mut self) -> u64 {
        now_ms() + self.life_seconds() * 1000 + self.number(..1000)
    }

    pub(super) fn city(&mut self) -> City {
        let Some(city) = self.chance.choice(&self.data.cities) else { unreachable_without_data() };
        city.clone()
    }

    /// The code of a country that has cities; one that has many comes more often.
    pub(super) fn country(&mut self) -> String {
        self.city().country
    }

    /// The code of a country, each as often as another.
    pub(super) fn any_country(&mut self) -> String {
        let Some(country) = self.chance.choice(&self.data.countries) else {
            unreachable_without_data()
        };
        country.code.clone()
    }

    /// The letters of several words.
    pub(super) fn anagrams(&mut self) -> String {
        let Some((letters, _)) = self.chance.choice(&self.data.anagrams) else {
            unreachable_without_data()
        };
        letters.clone()
    }

    pub(super) fn word(&mut self) -> String {
        let Some(word) = self.chance.choice(&self.data.words) else { unreachable_without_data() };
        word.clone()
    }

    /// A few words in a row.
    pub(super) fn phrase(&mut self) -> String {
        format!("{} {} ", self.word(), self.word())
    }

    pub(super) fn surname(&mut self) -> String {
        let Some(name) = self.chance.choice(&self.data.surnames) else {
            unreachable_without_data()
        };
        name.name.clone()
    }

    pub(super) fn first_name(&mut self) -> String {
        let names = if self.chance.bool() { &self.data.female } else { &self.data.male };
        let Some(name) = self.chance.choice(names) else { unreachable_without_data() };
        name.name.clone()
    }

    /// The name of a block of Unicode.
    pub(super) fn block(&mut self) -> String {
        let Some(block) = self.chance.choice(&self.data.blocks) else { unreachable_without_data() };
        block.name.clone()
    }

    pub(super) fn letter(&mut self) -> char {
        self.chance.lowercase()
    }

    /// The stream of a file, or of all commits.
    pub(super) fn stream(&mut self) -> String {
        if self.case(10) == 0 {
            return keys::COMMITS.to_owned();
        }
        let Some(file) = self.chance.choice(&self.data.files) else { unreachable_without_data() };
        keys::edits(file)
    }

    /// The author of an edit.
    pub(super) fn author(&mut self) -> String {
        let Some(edit) = self.chance.choice(&self.data.edits) else { unreachable_without_data() };
        edit.author.clone()
    }

    pub(super) fn note(&mut self) -> String {
        keys::note(self.chance.u32(..NOTES))
    }

    /// Remembers entries that a consumer was given.
    pub(super) fn delivered(&mut self, stream: &[u8], ids: Vec<Vec<u8>>) {
        self.delivered.extend(ids.into_iter().map(|id| (stream.to_vec(), id)));
        let surplus = self.delivered.len().saturating_sub(DELIVERED_MAX);
        self.delivered.drain(..surplus);
    }

    /// An entry that was delivered: its stream and id. Each is named once.
    pub(super) fn undone(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.delivered.pop_front()
    }
}

#[expect(clippy::panic, reason = "a demo without data has nothing to show")]
fn unreachable_without_data() -> ! {
    panic!("the demo's data is empty")
}
