//! A server in memory that knows a few commands, and nothing of time: it keeps deadlines and never acts on them.

use std::collections::BTreeMap;

/// The keys of a server, by database and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    pub(super) keys: BTreeMap<(u32, String), Key>,
    db: u32,
}

/// A key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) deadline: Option<i64>,
    /// Elements of a list, or fields of a hash with their deadlines.
    pub(super) parts: BTreeMap<String, Option<i64>>,
    /// Whether something has happened to it since that may have removed it, so that its deadline is no longer followed.
    pub(super) lossy: bool,
}

impl Server {
    /// Executes a command. Says whether it did anything: only then would a source send it on.
    pub(super) fn run(&mut self, words: &str) -> bool {
        let words: Vec<&str> = words.split(' ').collect();
        let (name, key) = (words[0], words.get(1).copied().unwrap_or(""));
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        let spot = (self.db, key.to_owned());
        match name {
            "SELECT" => self.db = key.parse().unwrap(),
            "SET" => {
                let kept = self.keys.get(&spot).filter(|_| words.get(3) == Some(&"KEEPTTL"));
                let (before, lossy) = kept.map_or((None, false), |key| (key.deadline, key.lossy));
                let new = (words.get(3) == Some(&"PXAT")).then(|| number(4));
                let deadline = new.or(before);
                self.keys.insert(spot, Key { deadline, lossy, ..Key::default() });
            }
            "DEL" | "UNLINK" => return self.keys.remove(&spot).is_some(),
            "RENAME" => {
                let Some(key) = self.keys.remove(&spot) else { return false };
                self.keys.insert((self.db, words[2].to_owned()), key);
            }
            "COPY" => {
                let Some(key) = self.keys.get(&spot).cloned() else { return false };
                let db = if words[3] == "DB" { words[4].parse().unwrap() } else { self.db };
                self.keys.insert((db, words[2].to_owned()), key);
            }
            "MOVE" => {
                let to = (words[2].parse().unwrap(), key.to_owned());
                if to.0 == self.db || self.keys.contains_key(&to) {
                    return false;
                }
                let Some(key) = self.keys.remove(&spot) else { return false };
                self.keys.insert(to, key);
            }
            "STORE" | "SUNIONSTORE" => drop(self.keys.insert(spot, Key::default())),
            _ => return self.change(name, spot, &words),
        }
        true
    }

    /// Commands that need the key, or make it grow.
    fn change(&mut self, name: &str, spot: (u32, String), words: &[&str]) -> bool {
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        let grows = matches!(name, "RPUSH" | "HSET" | "HSETEX" | "HINCRBY" | "APPEND");
        if !grows && !self.keys.contains_key(&spot) {
            return false;
        }
        let key = self.keys.entry(spot.clone()).or_default();
        match name {
            "PEXPIREAT" => (key.deadline, key.lossy) = (Some(number(2)), false),
            "PERSIST" => {
                let had = key.deadline.is_some();
                (key.deadline, key.lossy) = (None, false);
                return had;
            }
            "APPEND" => {}
            "RPUSH" => drop(key.parts.insert(format!("element {}", key.parts.len()), None)),
            "LPOP" => {
                key.lossy = true;
                key.parts.pop_last();
                if key.parts.is_empty() {
                    self.keys.remove(&spot);
                }
            }
            "HSET" => drop(key.parts.insert(words[2].to_owned(), None)),
            "HINCRBY" => drop(key.parts.entry(words[2].to_owned()).or_default()),
            "HDEL" => {
                key.lossy = true;
                let had = key.parts.remove(words[2]).is_some();
                if key.parts.is_empty() {
                    self.keys.remove(&spot);
                }
                return had;
            }
            "HSETEX" => drop(key.parts.insert(words[6].to_owned(), Some(number(3)))),
            "HPEXPIREAT" => {
                for field in &words[5..] {
                    let Some(deadline) = key.parts.get_mut(*field) else { return false };
                    *deadline = Some(number(2));
                }
            }
            "HPERSIST" => {
                let Some(deadline) = key.parts.get_mut(words[4]) else { return false };
                return deadline.take().is_some();
            }
            name => panic!("{name}"),
        }
        true
    }
}
