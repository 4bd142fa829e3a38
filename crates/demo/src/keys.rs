//! The names of the demo's keys, and the database where each family lives.
//!
//! A family has one type and one database, so that no command meets a value of another type.

/// Cities, countries and time zones.
pub(crate) const PLACES: u32 = 0;
/// Words, notes and the counters of letters.
pub(crate) const WORDS: u32 = 1;
/// Names of people.
pub(crate) const NAMES: u32 = 2;
/// Characters of Unicode.
pub(crate) const CHARACTERS: u32 = 3;
/// The edit history.
pub(crate) const HISTORY: u32 = 4;
/// Languages.
pub(crate) const LANGUAGES: u32 = 5;
/// What was moved or copied out of other databases.
pub(crate) const ARCHIVE: u32 = 6;
/// Two databases that are swapped and flushed.
pub(crate) const BOARDS: [u32; 2] = [7, 8];
/// Keys that live for seconds.
pub(crate) const FLEETING: u32 = 9;

/// Written again and again with the time in milliseconds: how far behind the destination is.
pub(crate) const PULSE: &str = "demo:pulse";
/// The groups that every stream of files and the stream of commits has.
pub(crate) const GROUPS: [&str; 2] = ["reviewers", "indexers"];
/// All commits, as a stream.
pub(crate) const COMMITS: &str = "commits";
/// The function library.
pub(crate) const LIBRARY: &str = "demo";

macro_rules! families {
    ($($(#[$doc:meta])+ $name:ident($prefix:literal);)+) => { $(
        $(#[$doc])+
        pub(crate) fn $name(of: impl std::fmt::Display) -> String {
            format!(concat!($prefix, ":{}"), of)
        }
    )+ };
}

families! {
    /// Hash: a city by its number.
    city("city");
    /// GEO set: the cities of a country.
    geo("geo");
    /// Sorted set: the cities of a country by population.
    population("population");
    /// Set: the cities of a time zone.
    timezone("timezone");
    /// String, JSON: a country.
    country("country");
    /// String, JSON: a part of a country.
    subdivision("subdivision");
    /// String, JSON: a word.
    word("word");
    /// Set: the words that some letters can be put together to.
    anagrams("anagrams");
    /// List: the words that begin with two letters.
    prefix("prefix");
    /// Bitmap: which words hold a letter.
    letter("letter");
    /// HyperLogLog: how many words begin with a letter.
    initial("initial");
    /// String, a number: how frequent a surname is.
    surname("surname");
    /// Sorted set: the surnames of an initial by frequency.
    surnames("surnames");
    /// Sorted set: first names by frequency.
    first_names("first-names");
    /// Hash: a character by its code point.
    character("character");
    /// Set: the code points of a general category.
    category("category");
    /// List: the code points of a block.
    block("block");
    /// Stream: the edits of a file.
    edits("edits");
    /// Hash: counters of an author.
    author("author");
    /// String, JSON: a language.
    language("language");
    /// Of many types: something that lives for seconds.
    seen("seen");
    /// String: text that grows while the demo writes.
    note("note");
    /// String, an integer: visits of a country.
    visits("visits");
    /// List: the latest visits of a country.
    recent("recent");
    /// Set, sorted set or list: the result of a command that stores.
    stored("stored");
    /// String: on a board.
    board("board");
}
