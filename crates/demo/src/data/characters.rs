//! The Unicode character database: characters with their properties, and blocks.

use anyhow::{Context, Result};

/// A character.
#[derive(Debug, Clone)]
pub(crate) struct Character {
    /// Its code point.
    pub(crate) code: u32,
    pub(crate) name: String,
    /// General category, such as "Lu".
    pub(crate) category: String,
    /// Bidirectional class, such as "AL".
    pub(crate) direction: String,
}

/// A named range of code points, ends included.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) name: String,
}

/// Lines of fields parted by semicolons.
pub(super) fn parse(text: &str) -> Result<Vec<Character>> {
    let one = |line: &str| {
        let mut fields = line.split(';');
        let code = u32::from_str_radix(fields.next()?, 16).ok()?;
        let (name, category) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        let direction = fields.nth(1)?.to_owned();
        Some(Character { code, name, category, direction })
    };
    text.lines().map(|line| one(line).with_context(|| format!("not a character: {line}"))).collect()
}

/// Lines such as `0000..007F; Basic Latin`, and comments.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>> {
    let one = |line: &str| {
        let (range, name) = line.split_once("; ")?;
        let (first, last) = range.split_once("..")?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        Some(Block { first: number(first)?, last: number(last)?, name: name.to_owned() })
    };
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| one(line).with_context(|| format!("not a block: {line}"))).collect()
}
