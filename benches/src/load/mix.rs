//! The mix: what an application might write, nearly every command with an effect, some of them in
//! transactions.
//!
//! Of 100 commands 30 are SET, 15 INCR, 15 HSET, 5 LPUSH each with an LTRIM to 50 elements, 10 SADD,
//! 10 ZADD, 5 EXPIRE (an hour, of the key set last) and 5 DEL (of the key set before that). One of ten
//! commands is in a transaction of five. MULTI and EXEC are not counted.

use anyhow::Result;

use super::Pen;
use super::strings::{VALUE_BYTES, Values, key, named};

/// Strings: most SETs meet a key that exists.
const STRINGS: u64 = 100_000;
/// Counters, hashes, sets, sorted sets: of each as many.
const NAMES: u64 = 10_000;
/// Few, so that they are full soon and trimming has something to do.
const LISTS: u64 = 100;
/// Fields of a hash.
const FIELDS: u64 = 30;
/// Bytes of a member or an element.
const MEMBER_BYTES: usize = 12;
/// Commands of a transaction.
const TOGETHER: u64 = 5;
/// One transaction in so many commands.
const APART: u64 = 50;

/// What is written, again and again.
const COURSE: [Act; 20] = [
    Act::Set,
    Act::Incr,
    Act::Set,
    Act::Hash,
    Act::Member,
    Act::Push,
    Act::Trim,
    Act::Set,
    Act::Expire,
    Act::Score,
    Act::Incr,
    Act::Hash,
    Act::Set,
    Act::Member,
    Act::Set,
    Act::Delete,
    Act::Incr,
    Act::Score,
    Act::Set,
    Act::Hash,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Set,
    Incr,
    Hash,
    Push,
    Trim,
    Member,
    Score,
    Expire,
    Delete,
}

/// The writer and what it remembers.
struct Cook<'a> {
    pen: &'a mut Pen,
    values: Values,
    /// The string set last, and the one before.
    set: [u64; 2],
    /// The list pushed to last.
    list: u64,
}

/// Writes so many commands, MULTI and EXEC not counted.
///
/// # Errors
/// If the connection breaks.
pub(crate) fn write(pen: &mut Pen, count: u64) -> Result<()> {
    let mut cook = Cook { pen, values: Values::new(3), set: [0, 0], list: 0 };
    // A transaction at the very end would be cut.
    let transactions = count - count % APART;
    for (n, act) in (0..count).zip(COURSE.into_iter().cycle()) {
        if n < transactions && n % APART == 0 {
            cook.pen.put(&[b"MULTI"])?;
        }
        cook.act(act)?;
        if n < transactions && n % APART == TOGETHER - 1 {
            cook.pen.put(&[b"EXEC"])?;
        }
    }
    Ok(())
}

// === impl Cook ===

impl Cook<'_> {
    fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Set => {
                let next = self.values.below(STRINGS);
                let [last, _] = self.set;
                self.set = [next, last];
                self.pen.put(&[b"SET", &key(next), self.values.next(VALUE_BYTES)])
            }
            Act::Incr => {
                let name = self.name(*b"ctr:", NAMES);
                self.pen.put(&[b"INCR", &name])
            }
            Act::Hash => {
                let name = self.name(*b"hsh:", NAMES);
                let field = named(*b"fld:", self.values.below(FIELDS));
                self.pen.put(&[b"HSET", &name, &field, self.values.next(VALUE_BYTES)])
            }
            Act::Push => {
                self.list = self.values.below(LISTS);
                let name = named(*b"lst:", self.list);
                self.pen.put(&[b"LPUSH", &name, self.values.next(MEMBER_BYTES)])
            }
            Act::Trim => self.pen.put(&[b"LTRIM", &named(*b"lst:", self.list), b"0", b"49"]),
            Act::Member => {
                let name = self.name(*b"set:", NAMES);
                self.pen.put(&[b"SADD", &name, self.values.next(MEMBER_BYTES)])
            }
            Act::Score => {
                let name = self.name(*b"zst:", NAMES);
                let score = self.values.below(1_000_000).to_string();
                self.pen.put(&[b"ZADD", &name, score.as_bytes(), self.values.next(MEMBER_BYTES)])
            }
            Act::Expire => {
                let [last, _] = self.set;
                self.pen.put(&[b"EXPIRE", &key(last), b"3600"])
            }
            Act::Delete => {
                let [_, before] = self.set;
                self.pen.put(&[b"DEL", &key(before)])
            }
        }
    }

    fn name(&mut self, what: [u8; 4], names: u64) -> [u8; 16] {
        named(what, self.values.below(names))
    }
}

#[cfg(test)]
mod tests {
    use testkit::{Kind, Server};

    use super::*;

    #[test]
    fn the_mix_is_as_described_and_takes_effect() {
        let server = Server::start(Kind::Redis7_0, &[]).unwrap();
        let mut pen = Pen::to(&server).unwrap();
        write(&mut pen, 10_000).unwrap();
        pen.finish().unwrap();
        let stats = server.client().unwrap().info("commandstats").unwrap();
        let calls = |name: &str| -> u64 {
            let line = format!("cmdstat_{name}:calls=");
            let found = stats.lines().find_map(|text| text.strip_prefix(&line));
            found.and_then(|text| text.split(',').next()?.parse().ok()).unwrap_or(0)
        };
        let wanted = [
            ("set", 3000),
            ("incr", 1500),
            ("hset", 1500),
            ("lpush", 500),
            ("ltrim", 500),
            ("sadd", 1000),
            ("zadd", 1000),
            ("expire", 500),
            ("del", 500),
            ("multi", 200),
            ("exec", 200),
        ];
        for (name, count) in wanted {
            assert_eq!(calls(name), count, "{name}");
        }
        let expiring = server.client().unwrap().info_field("keyspace", "db0").unwrap().unwrap();
        assert!(!expiring.contains("expires=0"), "{expiring}");
        assert!(!stats.contains("failed_calls=1"), "{stats}");
    }
}
