//! Words as JSON strings, sets, lists, bitmaps and HyperLogLogs; characters as hashes, sets, lists.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

use super::{Loader, add_all};
use crate::data::{Data, sorted_letters};
use crate::keys;
use crate::words::{Word, words as command};

/// Longer words are in the collections only.
const WORD_BYTES_MAX: usize = 8;
/// Every fourth word has a deadline.
const WORD_DEADLINE_ONE_IN: u32 = 4;
/// Every fifth character has one.
const CHARACTER_DEADLINE_ONE_IN: u32 = 5;

pub(super) fn words(loader: &mut Loader, data: &Data) -> Result<()> {
    let mut prefixes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for word in &data.words {
        if word.len() <= WORD_BYTES_MAX {
            let letters = sorted_letters(word);
            let key = keys::word(word);
            let json = json!({ "word": word, "letters": letters, "length": word.len() });
            loader.put(command!["SET", key, json.to_string()])?;
            loader.expire_some(&key, WORD_DEADLINE_ONE_IN)?;
        }
        prefixes.entry(word.get(..2).unwrap_or(word)).or_default().push(word);
    }
    for (letters, words) in &data.anagrams {
        add_all(loader, "SADD", &keys::anagrams(letters), &members(words))?;
    }
    for (prefix, words) in &prefixes {
        add_all(loader, "RPUSH", &keys::prefix(prefix), &members(words))?;
        let initial = keys::initial(prefix.get(..1).unwrap_or_default());
        add_all(loader, "PFADD", &initial, &members(words))?;
    }
    letters(loader, data)
}

/// A bitmap for each letter: bit n stands for the nth word.
fn letters(loader: &mut Loader, data: &Data) -> Result<()> {
    for letter in b'a'..=b'z' {
        let mut bitmap = vec![0_u8; data.words.len().div_ceil(8)];
        for (byte, words) in bitmap.iter_mut().zip(data.words.chunks(8)) {
            for (bit, word) in words.iter().enumerate() {
                *byte |= u8::from(word.as_bytes().contains(&letter)) << (7 - bit);
            }
        }
        loader.put(command!["SET", keys::letter(char::from(letter)), bitmap])?;
    }
    Ok(())
}

pub(super) fn characters(loader: &mut Loader, data: &Data) -> Result<()> {
    let mut categories: BTreeMap<&str, Vec<Vec<Vec<u8>>>> = BTreeMap::new();
    let mut blocks: BTreeMap<&str, Vec<Vec<Vec<u8>>>> = BTreeMap::new();
    for character in &data.characters {
        let key = keys::character(format!("{:04X}", character.code));
        loader.put(command![
            "HSET",
            key,
            "name",
            character.name,
            "category",
            character.category,
            "direction",
            character.direction
        ])?;
        loader.expire_some(&key, CHARACTER_DEADLINE_ONE_IN)?;
        let member = vec![character.code.word()];
        categories.entry(&character.category).or_default().push(member.clone());
        let block = data.blocks.partition_point(|block| block.last < character.code);
        if let Some(block) = data.blocks.get(block).filter(|b| b.first <= character.code) {
            blocks.entry(&block.name).or_default().push(member);
        }
    }
    for (category, members) in &categories {
        add_all(loader, "SADD", &keys::category(category), members)?;
    }
    for (block, members) in &blocks {
        add_all(loader, "RPUSH", &keys::block(block), members)?;
    }
    Ok(())
}

fn members<W: Word>(words: &[W]) -> Vec<Vec<Vec<u8>>> {
    words.iter().map(|word| vec![word.word()]).collect()
}
