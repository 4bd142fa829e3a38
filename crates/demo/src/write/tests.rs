//! What the writer promises: a seed decides, and deadlines are left alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use testkit::{Command, now_ms};

use super::dice::Dice;
use super::{Abilities, Act, FAMILIES};
use crate::data::{Block, City, Country, Data, Edit, Name};

const ABILITIES: Abilities =
    Abilities { seven: true, claims: true, functions: true, field_expiry: true };
/// Every case of every family comes up in so many.
const ACTS: usize = 30_000;
const QUARTER_OF_AN_HOUR_MS: u64 = 900_000;

fn data() -> Data {
    let names = |names: [&str; 3]| {
        names.map(|name| Name { name: name.to_owned(), percent: "0.1".to_owned() }).to_vec()
    };
    let city = |id| City {
        id,
        name: format!("City {id}"),
        latitude: 1.5,
        longitude: 2.5,
        country: "AA".to_owned(),
        population: 1000,
        timezone: "Here/There".to_owned(),
    };
    let words = ["stone", "notes", "onset"].map(str::to_owned).to_vec();
    Data {
        cities: (0..50).map(city).collect(),
        countries: vec![Country { code: "AA".into(), name: "Land".into(), flag: String::new() }],
        subdivisions: Vec::new(),
        languages: Vec::new(),
        anagrams: vec![("enost".to_owned(), words.clone())],
        words,
        surnames: names(["SMITH", "JONES", "DOE"]),
        female: names(["ADA", "GRACE", "JOAN"]),
        male: names(["EDSGER", "ALAN", "KEN"]),
        characters: Vec::new(),
        blocks: vec![Block { first: 0, last: 127, name: "Basic Latin".to_owned() }],
        edits: vec![Edit { author: "A".to_owned(), at_ms: 1, ..Edit::default() }],
        files: vec!["a.c".to_owned()],
        versions: Vec::new(),
    }
}

fn acts(seed: u64) -> Vec<Act> {
    let mut dice = Dice::new(Arc::new(data()), ABILITIES, seed);
    let mut draw = |_| {
        let family = dice.family();
        dice.delivered(b"edits:a.c", vec![b"1-1".to_vec()]);
        (FAMILIES[family].act)(&mut dice)
    };
    (0..ACTS).map(&mut draw).collect()
}

/// The name and key of each command: what is left without numbers that depend on the time.
fn outline(acts: &[Act]) -> Vec<(u32, Command)> {
    let commands = acts.iter().flat_map(|act| act.commands.iter().map(|words| (act.db, words)));
    commands.map(|(db, words)| (db, words.iter().take(2).cloned().collect())).collect()
}

/// How long a command lets its key live, in milliseconds, if it says that.
fn life_ms(words: &Command) -> Option<u64> {
    let word = |n: usize| words.get(n).map(|word| String::from_utf8_lossy(word).into_owned());
    let number = |n: usize| word(n)?.parse::<u64>().ok();
    let after = |option: &str| {
        let at = words.iter().position(|word| word == option.as_bytes())?;
        number(at + 1)
    };
    let ahead = |at_ms: u64| at_ms.saturating_sub(now_ms());
    match word(0)?.as_str() {
        "SETEX" | "EXPIRE" | "HEXPIRE" => Some(number(2)? * 1000),
        "PSETEX" | "PEXPIRE" => number(2),
        "EXPIREAT" => Some(ahead(number(2)? * 1000)),
        "PEXPIREAT" | "HPEXPIREAT" => Some(ahead(number(2)?)),
        "SET" | "GETEX" => after("PXAT")
            .map(ahead)
            .or_else(|| after("EXAT").map(|at| ahead(at * 1000)))
            .or_else(|| after("EX").map(|seconds| seconds * 1000)),
        _ => None,
    }
}

#[test]
fn a_seed_decides_what_is_written() {
    let (one, same, other) = (acts(1), acts(1), acts(2));
    assert_eq!(outline(&one), outline(&same));
    assert_ne!(outline(&one), outline(&other));
}

#[test]
fn only_keys_that_nobody_touches_again_live_for_less_than_a_quarter_of_an_hour() {
    let mut deadlines = 0;
    for act in acts(3) {
        for words in &act.commands {
            let Some(life) = life_ms(words) else { continue };
            deadlines += 1;
            let fleeting = words[1].starts_with(b"seen:");
            // A second is for EXPIREAT, which cuts its fraction off, and for the test itself.
            let lasting = life + 5_000 >= QUARTER_OF_AN_HOUR_MS;
            assert_ne!(fleeting, lasting, "{}", String::from_utf8_lossy(&words.join(&b' ')));
        }
    }
    assert!(deadlines > 1000, "only {deadlines} deadlines were drawn");
}

#[test]
fn a_key_that_lives_for_seconds_belongs_to_one_act() {
    let mut seen = BTreeSet::new();
    for act in acts(4) {
        let keys: BTreeSet<_> = act.commands.iter().filter_map(|words| words.get(1)).collect();
        for key in keys.into_iter().filter(|key| key.starts_with(b"seen:")) {
            assert!(seen.insert(key.clone()), "{} came twice", String::from_utf8_lossy(key));
        }
    }
    assert!(seen.len() > 100);
}
