//! The public data of the demo, as `scripts/demo-data` lays it out in a directory.
//!
//! Every record that is here is in its package; nothing is made up. What a package holds and the
//! demo does not use is left out while reading.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

mod characters;
mod edits;
mod names;
mod places;

pub(crate) use characters::{Block, Character};
pub(crate) use edits::Edit;
pub(crate) use names::Name;
pub(crate) use places::{City, Country, Language, Subdivision};

/// Everything, in the order of the files.
pub(crate) struct Data {
    /// Towns of a thousand people and more, by their number at GeoNames.
    pub(crate) cities: Vec<City>,
    /// Countries of ISO 3166-1.
    pub(crate) countries: Vec<Country>,
    /// Their parts, of ISO 3166-2.
    pub(crate) subdivisions: Vec<Subdivision>,
    /// Languages of ISO 639-3.
    pub(crate) languages: Vec<Language>,
    /// English words of the letters a to z.
    pub(crate) words: Vec<String>,
    /// Words of the same letters: the letters in order, and the words, at least two.
    pub(crate) anagrams: Vec<(String, Vec<String>)>,
    /// Surnames, the most frequent first.
    pub(crate) surnames: Vec<Name>,
    /// Female first names, the most frequent first.
    pub(crate) female: Vec<Name>,
    /// Male first names, the most frequent first.
    pub(crate) male: Vec<Name>,
    /// Characters of Unicode.
    pub(crate) characters: Vec<Character>,
    /// Blocks of Unicode, in order.
    pub(crate) blocks: Vec<Block>,
    /// Commits of a project, oldest first.
    pub(crate) edits: Vec<Edit>,
    /// Files that were edited, each once, in the order of their first edit.
    pub(crate) files: Vec<String>,
    /// Package and version of each source.
    pub(crate) versions: Vec<(String, String)>,
}

// === impl Data ===

impl Data {
    /// Reads a directory of `scripts/demo-data`.
    ///
    /// # Errors
    /// If a file is missing or is not what its package is known to hold.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let text = |name: &str| {
            let path = dir.join(name);
            // Old commit messages hold a few bytes of other encodings.
            let missing = || format!("read {} (scripts/demo-data fetches it)", path.display());
            let bytes = fs::read(&path).with_context(missing)?;
            Ok::<_, anyhow::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let edits = edits::parse(&text("edits")?);
        let files = edits::files(&edits);
        let words = words(&text("words")?);
        Ok(Self {
            cities: places::cities(&text("cities.json")?)?,
            countries: places::table(&text("countries.json")?, "3166-1")?,
            subdivisions: places::table(&text("subdivisions.json")?, "3166-2")?,
            languages: places::table(&text("languages.json")?, "639-3")?,
            anagrams: anagrams(&words),
            words,
            surnames: names::parse(&text("surnames")?)?,
            female: names::parse(&text("female-names")?)?,
            male: names::parse(&text("male-names")?)?,
            characters: characters::parse(&text("characters")?)?,
            blocks: characters::blocks(&text("blocks")?)?,
            edits,
            files,
            versions: versions(&text("versions")?),
        })
    }

    /// The version of a package, for the reader of the demo's output.
    pub(crate) fn version(&self, package: &str) -> &str {
        let found = self.versions.iter().find(|(name, _)| name == package);
        found.map_or("?", |(_, version)| version)
    }
}

/// Words without capitals, apostrophes and accents: the others are names and inflections of them.
fn words(text: &str) -> Vec<String> {
    let plain = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    text.lines().filter(plain).map(str::to_owned).collect()
}

/// The letters of a word in alphabetical order.
pub(crate) fn sorted_letters(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters.into_iter().collect()
}

fn anagrams(words: &[String]) -> Vec<(String, Vec<String>)> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for word in words {
        all.entry(sorted_letters(word)).or_default().push(word.clone());
    }
    all.into_iter().filter(|(_, words)| words.len() > 1).collect()
}

fn versions(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}
