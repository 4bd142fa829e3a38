//! Modules: every file is one of some crate's, and its name says what it holds.

use std::collections::BTreeSet;

use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta};
use toml::{Table, Value};

use crate::tree::{File, Tree};

/// Names that say nothing; what is in such a module belongs to where it is used.
const MEANINGLESS: [&str; 8] =
    ["util", "utils", "helper", "helpers", "common", "types", "misc", "shared"];

/// Source files to which no `mod` leads: nobody compiles them.
pub(crate) fn unreachable(tree: &Tree) -> Vec<String> {
    let mut reached = BTreeSet::new();
    for manifest in tree.manifests() {
        let dir = manifest.path.strip_suffix("Cargo.toml").unwrap_or_default();
        for root in roots(tree, dir, &manifest.text) {
            follow(tree, root, true, &mut reached);
        }
    }
    let dead = tree.rust().filter(|file| !reached.contains(file.path.as_str()));
    dead.map(|file| file.path.clone()).collect()
}

pub(crate) fn meaningless(tree: &Tree) -> Vec<String> {
    let named = tree.rust().filter(|file| {
        let path = file.path.strip_suffix(".rs").unwrap_or_default();
        path.split('/').any(|part| MEANINGLESS.contains(&part))
    });
    named.map(|file| file.path.clone()).collect()
}

/// Where the crates of a package begin: as its manifest says, and where cargo looks by itself.
fn roots<'a>(tree: &'a Tree, dir: &str, manifest: &str) -> Vec<&'a File> {
    let manifest: Table = manifest.parse().expect("a manifest in TOML");
    let targets = ["lib", "bin", "test", "bench", "example"].into_iter();
    let named: BTreeSet<String> = targets
        .filter_map(|kind| manifest.get(kind))
        .flat_map(|target| match target {
            Value::Array(many) => many.iter().collect(),
            one => vec![one],
        })
        .filter_map(|target| Some(format!("{dir}{}", target.get("path")?.as_str()?)))
        .collect();
    let is_root = |path: &str| {
        let Some(inside) = path.strip_prefix(dir) else { return false };
        let parts: Vec<&str> = inside.split('/').collect();
        match parts.as_slice() {
            ["build.rs"] | ["src", "lib.rs" | "main.rs"] => true,
            // The project's own tests/ is a package that names its targets.
            ["src", "bin", _] | ["tests" | "benches" | "examples", _] => !dir.is_empty(),
            _ => named.contains(path),
        }
    };
    tree.rust().filter(|file| is_root(&file.path)).collect()
}

fn follow<'a>(tree: &'a Tree, file: &'a File, is_root: bool, reached: &mut BTreeSet<&'a str>) {
    if !reached.insert(&file.path) {
        return;
    }
    let (dir, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let own = if is_root || stem == "mod" { dir.to_owned() } else { format!("{dir}/{stem}") };
    follow_items(tree, &file.syntax().items, (dir, &own), reached);
}

/// Follows the modules among `items`; `#[path]` starts at the first directory, names at the second.
fn follow_items<'a>(
    tree: &'a Tree,
    items: &[Item],
    (beside, inside): (&str, &str),
    reached: &mut BTreeSet<&'a str>,
) {
    let modules = items.iter().filter_map(|item| match item {
        Item::Mod(module) => Some(module),
        _ => None,
    });
    for module in modules {
        let name = module.ident.to_string();
        if let Some((_, items)) = &module.content {
            let dir = format!("{inside}/{name}");
            follow_items(tree, items, (&dir, &dir), reached);
            continue;
        }
        let paths = match named_path(module) {
            Some(path) => vec![format!("{beside}/{path}")],
            None => vec![format!("{inside}/{name}.rs"), format!("{inside}/{name}/mod.rs")],
        };
        for file in paths.iter().filter_map(|path| tree.get(&plain(path))) {
            follow(tree, file, false, reached);
        }
    }
}

/// The path of `#[path = "…"]`.
fn named_path(module: &ItemMod) -> Option<String> {
    module.attrs.iter().find_map(|attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

/// A path without `..`.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_to_which_no_module_leads_is_found() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", "[package]\nname = 'a'"),
            ("crates/a/src/lib.rs", "mod b;\nmod c { mod d; }\n#[path = \"odd.rs\"] mod e;"),
            ("crates/a/src/b.rs", "#[cfg(test)] mod tests;"),
            ("crates/a/src/b/tests.rs", ""),
            ("crates/a/src/b/dead.rs", ""),
            ("crates/a/src/c/d.rs", ""),
            ("crates/a/src/odd.rs", ""),
            ("crates/a/src/old.rs", ""),
            ("crates/a/tests/whole.rs", "mod part;"),
            ("crates/a/tests/part.rs", ""),
            ("tests/Cargo.toml", "[[test]]\nname = 't'\npath = 't/main.rs'"),
            ("tests/t/main.rs", "mod u;"),
            ("tests/t/u.rs", ""),
            ("tests/v.rs", ""),
        ]);
        let dead = ["crates/a/src/b/dead.rs", "crates/a/src/old.rs", "tests/v.rs"];
        assert_eq!(unreachable(&tree), dead);
    }

    #[test]
    fn a_module_called_utils_is_found() {
        let paths = ["a/src/utils.rs", "a/src/common/b.rs", "a/src/typesetting.rs"];
        let files = paths.map(|path| (path, ""));
        assert_eq!(meaningless(&Tree::of(&files)), paths[..2]);
    }
}
