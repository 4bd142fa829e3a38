//! The direction between crates, drawn once here, and the lints that each of them takes on.
//!
//! An edge that is not in the table does not exist; so capture and apply cannot come to know one
//! another by accident.

use toml::{Table, Value};

use crate::tree::Tree;

/// Who may use whom.
const MAY_USE: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("runtime", &[]),
    ("event", &["wire"]),
    ("journal", &["runtime"]),
    ("redis-io", &["wire", "runtime"]),
    ("admin", &["runtime"]),
    ("capture", &["wire", "event", "runtime", "redis-io", "journal"]),
    ("apply", &["wire", "event", "runtime", "redis-io", "journal"]),
    ("check", &["wire", "event", "runtime", "redis-io", "journal"]),
    (
        "cli",
        &["wire", "event", "runtime", "redis-io", "journal", "capture", "apply", "check", "admin"],
    ),
    ("testkit", &["wire", "event", "runtime", "redis-io", "journal"]),
    // Shows keyferry from outside: it starts servers and the binary, and links neither.
    ("demo", &["testkit"]),
];

/// Who may use whom in tests, besides.
const MAY_TEST_WITH: &[(&str, &[&str])] = &[
    ("capture", &["testkit"]),
    ("apply", &["testkit"]),
    ("check", &["testkit"]),
    ("cli", &["testkit"]),
];

/// Packages that hold only tests and benchmarks: they may use everything.
const OTHERS: [&str; 2] = ["tests/Cargo.toml", "benches/Cargo.toml"];

pub(crate) fn forbidden(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for manifest in tree.manifests() {
        let Some(name) = crate_of(&manifest.path) else { continue };
        let Some((_, may_use)) = MAY_USE.iter().find(|(known, _)| *known == name) else {
            found.push(format!("{name}: not in the table of crates"));
            continue;
        };
        let in_tests = MAY_TEST_WITH.iter().find(|(known, _)| *known == name);
        let in_tests = in_tests.map_or(&[][..], |(_, others)| others);
        for (kind, used) in uses(&manifest.text.parse().expect("a manifest in TOML")) {
            let allowed = may_use.contains(&used.as_str())
                || (kind == "dev-dependencies" && in_tests.contains(&used.as_str()));
            if !allowed {
                found.push(format!("{name} → {used} ({kind})"));
            }
        }
    }
    found
}

pub(crate) fn without_lints(tree: &Tree) -> Vec<String> {
    let members = tree
        .manifests()
        .filter(|file| crate_of(&file.path).is_some() || OTHERS.contains(&file.path.as_str()));
    let bare = members.filter(|file| {
        let manifest: Table = file.text.parse().expect("a manifest in TOML");
        let inherited = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        inherited != Some(&Value::Boolean(true))
    });
    bare.map(|file| file.path.clone()).collect()
}

/// The folder of a crate under `crates/`.
fn crate_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
    (!name.contains('/')).then_some(name)
}

/// Crates of ours that a manifest uses, with the table that says so.
fn uses(manifest: &Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let platforms = manifest.get("target").and_then(Value::as_table);
    let platforms =
        platforms.into_iter().flat_map(|table| table.values()).filter_map(Value::as_table);
    for table in std::iter::once(manifest).chain(platforms) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let named = table.get(kind).and_then(Value::as_table);
            for (key, value) in named.into_iter().flatten() {
                // A crate may be renamed where it is used; its package name tells.
                let package = value.get("package").and_then(Value::as_str).unwrap_or(key);
                let package = package.strip_prefix("keyferry-").unwrap_or(package);
                if MAY_USE.iter().any(|(known, _)| *known == package) {
                    found.push((kind.to_owned(), package.to_owned()));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, manifest: &str) -> Vec<String> {
        forbidden(&Tree::of(&[(&format!("crates/{name}/Cargo.toml"), manifest)]))
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_found() {
        let edge = |table: &str, used: &str| format!("[{table}]\n{used} = {{ workspace = true }}");
        assert_eq!(
            of("capture", &edge("dependencies", "apply")),
            ["capture → apply (dependencies)"]
        );
        assert_eq!(of("capture", &edge("dependencies", "testkit")).len(), 1);
        assert_eq!(of("wire", &edge("dev-dependencies", "event")).len(), 1);
        assert_eq!(of("journal", &edge("build-dependencies", "wire")).len(), 1);
        assert_eq!(of("admin", &edge("target.'cfg(unix)'.dependencies", "redis-io")).len(), 1);
        let renamed = "[dependencies]\nother = { package = 'keyferry-apply', path = '../apply' }";
        assert_eq!(of("check", renamed), ["check → apply (dependencies)"]);
        assert_eq!(of("stranger", ""), ["stranger: not in the table of crates"]);
    }

    #[test]
    fn edges_of_the_table_are_let_be() {
        let manifest = "[dependencies]\nwire = { workspace = true }\nbytes = '1'\n\
            [dev-dependencies]\ntestkit = { workspace = true }";
        assert_eq!(of("capture", manifest), Vec::<String>::new());
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", "[lints]\nworkspace = true"),
            ("crates/b/Cargo.toml", "[lints.clippy]\nall = 'warn'"),
            ("tests/Cargo.toml", ""),
        ]);
        assert_eq!(without_lints(&tree), ["crates/b/Cargo.toml", "tests/Cargo.toml"]);
    }
}
