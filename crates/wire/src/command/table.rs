//! The table as it is in memory, and the look-up by name.
//!
//! A look-up allocates nothing and ignores case: names come as the issuer typed them.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::keys::KeyFinder;
use super::normalise::Rewrite;
use super::{CommandSpec, Effect, Overlap, Replaces, Split};
use crate::args::Args;

const SOURCE: &str = include_str!("commands.tsv");
/// Places of the hash index: five times the names, so that most are found where they are looked
/// for.
const INDEX_SIZE: usize = 1024;
/// No name is longer.
const MAX_NAME_BYTES: usize = 32;

/// The spec of a command by its arguments, of which the first one or two are the name.
#[must_use]
pub fn lookup<A: Args + ?Sized>(args: &A) -> Option<&'static CommandSpec> {
    let table = table();
    let first = args.get(0)?;
    match table.find(first)? {
        Target::Spec(index) => table.specs.get(index),
        Target::Container => {
            let second = args.get(1)?;
            let mut name = [b' '; MAX_NAME_BYTES];
            let end = first.len() + 1 + second.len();
            name.get_mut(..first.len())?.copy_from_slice(first);
            name.get_mut(first.len() + 1..end)?.copy_from_slice(second);
            table.spec(name.get(..end)?)
        }
    }
}

/// The spec of a command by its name: one word, or container and subcommand with a space between.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static CommandSpec> {
    table().spec(name.as_bytes())
}

/// Every spec, in the order of the names.
#[must_use]
pub fn all() -> &'static [CommandSpec] {
    &table().specs
}

/// The specs and an open-addressed hash index over their names and the names of containers.
struct Table {
    specs: Vec<CommandSpec>,
    index: Vec<Option<(&'static str, Target)>>,
}

#[derive(Clone, Copy)]
enum Target {
    Spec(usize),
    Container,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::parse(SOURCE).expect("the embedded table is well formed"))
}

// === impl Table ===

impl Table {
    /// `None` if a line cannot be understood.
    fn parse(source: &'static str) -> Option<Self> {
        let mut table = Self { specs: Vec::new(), index: vec![None; INDEX_SIZE] };
        for line in source.lines().skip(1) {
            let (name, spec) = parse_line(line)?;
            let target = Target::Spec(table.specs.len());
            table.specs.push(spec);
            table.insert(name, target);
            if let Some((container, _)) = name.split_once(' ')
                && table.find(container.as_bytes()).is_none()
            {
                table.insert(container, Target::Container);
            }
        }
        Some(table)
    }

    fn insert(&mut self, name: &'static str, target: Target) {
        let mut places = probe(name.as_bytes());
        if let Some(place) = places.find(|place| matches!(self.index.get(*place), Some(None)))
            && let Some(entry) = self.index.get_mut(place)
        {
            *entry = Some((name, target));
        }
    }

    fn find(&self, name: &[u8]) -> Option<Target> {
        if name.len() > MAX_NAME_BYTES {
            return None;
        }
        for place in probe(name) {
            let (found, target) = (*self.index.get(place)?)?;
            if found.as_bytes().eq_ignore_ascii_case(name) {
                return Some(target);
            }
        }
        None
    }

    fn spec(&self, name: &[u8]) -> Option<&CommandSpec> {
        match self.find(name)? {
            Target::Spec(index) => self.specs.get(index),
            Target::Container => None,
        }
    }
}

/// The places of a name in the index, in the order in which they are tried (FNV-1a over lower
/// case).
fn probe(name: &[u8]) -> impl Iterator<Item = usize> {
    let hash = name.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    });
    let mixed = (hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca6b);
    let first = (mixed ^ (mixed >> 13)) as usize;
    (0..INDEX_SIZE).map(move |step| first.wrapping_add(step) % INDEX_SIZE)
}

fn parse_line(line: &'static str) -> Option<(&'static str, CommandSpec)> {
    let mut columns = line.split('\t');
    let name = columns.next()?;
    let keys = KeyFinder::parse(columns.next()?)?;
    let spec = CommandSpec {
        name: Cow::Borrowed(name),
        reads_other_keys: keys.reads(),
        keys,
        effect: parse_effect(columns.next()?)?,
        replaces: parse_replaces(columns.next()?)?,
        overlap: parse_overlap(columns.next()?)?,
        split: parse_split(columns.next()?)?,
        whole_state: match columns.next()? {
            "yes" => true,
            "no" => false,
            _ => return None,
        },
        rewrite: Rewrite::parse(columns.next()?)?,
    };
    columns.next().is_none().then_some((name, spec))
}

fn parse_effect(text: &str) -> Option<Effect> {
    Some(match text {
        "overwrite" => Effect::Overwrite,
        "merge" => Effect::Merge,
        "move" => Effect::Move,
        "delete" => Effect::Delete,
        "expire" => Effect::Expire,
        "flush" => Effect::Flush,
        "flush-slots" => Effect::FlushSlots,
        "swapdb" => Effect::SwapDb,
        "function" => Effect::Function,
        "script" => Effect::Script,
        "publish" => Effect::Publish,
        "control" => Effect::Control,
        "none" => Effect::None,
        _ => return None,
    })
}

fn parse_replaces(text: &str) -> Option<Replaces> {
    Some(match text {
        "full" => Replaces::Full,
        "delete" => Replaces::Delete,
        "elem" => Replaces::Elem,
        "relative" => Replaces::Relative,
        "ttl" => Replaces::Ttl,
        "db" => Replaces::Db,
        "none" => Replaces::None,
        _ => return None,
    })
}

fn parse_overlap(text: &str) -> Option<Overlap> {
    Some(match text {
        "yes" => Overlap::Yes,
        "no" => Overlap::No,
        "cond" => Overlap::Cond,
        _ => return None,
    })
}

fn parse_split(text: &str) -> Option<Split> {
    Some(match text {
        "single" => Split::Single,
        "per-key" => Split::PerKey,
        "group" => Split::Group,
        "broadcast" => Split::Broadcast,
        "drop" => Split::Drop,
        "never" => Split::Never,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(line: &str) -> Option<&'static str> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        lookup(words.as_slice()).map(|spec| spec.name.as_ref())
    }

    #[test]
    fn finds_every_command_by_its_name_in_any_case() {
        assert_eq!(all().len(), SOURCE.lines().count() - 1);
        for spec in all() {
            assert_eq!(by_name(&spec.name), Some(spec));
            assert_eq!(by_name(&spec.name.to_lowercase()), Some(spec));
            assert_eq!(find(&format!("{} x y", spec.name)), Some(spec.name.as_ref()));
        }
    }

    #[test]
    fn names_are_sorted_and_fit() {
        assert!(all().windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(all().iter().all(|spec| spec.name.len() <= MAX_NAME_BYTES));
    }

    #[test]
    fn finds_subcommands_only_with_their_container() {
        assert_eq!(find("xgroup Create k g $"), Some("XGROUP CREATE"));
        assert_eq!(find("CREATE"), None);
        assert_eq!(find("XGROUP"), None);
        assert_eq!(find("XGROUP NOSUCH"), None);
        assert_eq!(find(&format!("XGROUP {}", "x".repeat(100))), None);
        assert_eq!(by_name("XGROUP"), None);
    }

    #[test]
    fn does_not_know_what_is_not_in_the_table() {
        for name in ["", "GET", "NOSUCH", "ARSET", "JSON.SET", &"x".repeat(1000)] {
            assert_eq!(find(name), None, "{name}");
        }
        assert_eq!(lookup::<[&[u8]]>(&[]), None);
    }

    #[test]
    fn finds_names_near_where_they_are_looked_for() {
        let steps = |name: &str| {
            probe(name.as_bytes())
                .position(|place| matches!(table().index[place], Some((found, _)) if found == name))
                .expect("in the table")
        };
        assert!(all().iter().all(|spec| steps(&spec.name) < 5));
    }

    #[test]
    fn refuses_a_line_it_does_not_understand() {
        assert!(parse_line("SET\tw1\toverwrite\tfull\tyes\tsingle\tyes\tset").is_some());
        for line in [
            "SET\tq1\toverwrite\tfull\tyes\tsingle\tyes\tset",
            "SET\tw1\tother\tfull\tyes\tsingle\tyes\tset",
            "SET\tw1\toverwrite\tfull\tyes\tsingle\tyes\tother",
            "SET\tw1\toverwrite\tfull\tyes\tsingle\tyes",
            "SET\tw1\toverwrite\tfull\tyes\tsingle\tyes\tset\tmore",
        ] {
            assert!(parse_line(line).is_none(), "{line}");
        }
    }
}
