//! Files: not too long, and each begins with what it guarantees.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, Item, Meta};

use crate::tree::{File, Tree};

/// Lines of a file, inline tests left out.
const MAX_LINES: usize = 500;

pub(crate) fn too_long(tree: &Tree) -> Vec<String> {
    let long = tree.rust().filter(|file| !file.is_generated()).filter_map(|file| {
        let lines = net_lines(file);
        (lines > MAX_LINES).then(|| format!("{}: {lines} lines, {MAX_LINES} allowed", file.path))
    });
    long.collect()
}

pub(crate) fn without_doc(tree: &Tree) -> Vec<String> {
    let bare = tree.rust().filter(|file| !file.is_generated()).filter(|file| {
        // As it stands in the file: a doc after code would not be seen by a reader.
        let first = file.text.lines().find(|line| !line.trim().is_empty());
        !first.is_some_and(|line| line.starts_with("//!"))
    });
    bare.map(|file| file.path.clone()).collect()
}

fn net_lines(file: &File) -> usize {
    let tests: usize =
        file.syntax().items.iter().filter(|item| is_inline_tests(item)).map(lines).sum();
    file.text.lines().count() - tests
}

fn is_inline_tests(item: &Item) -> bool {
    matches!(item, Item::Mod(module) if module.content.is_some() && is_for_tests(&module.attrs))
}

/// Whether `#[cfg(test)]` is among the attributes.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => {
            list.path.is_ident("cfg")
                && list.tokens.to_string().split(' ').any(|word| word == "test")
        }
        _ => false,
    })
}

fn lines(item: &Item) -> usize {
    let span: Span = item.span();
    span.end().line - span.start().line + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let doc = "//! Doc.\n";
        let code = "fn f() {}\n".repeat(500);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn t() {}\n".repeat(500));
        let long = format!("{doc}{code}");
        let short = format!("{doc}{}{tests}", "fn f() {}\n".repeat(499));
        let tree = Tree::of(&[("long.rs", &long), ("short.rs", &short)]);
        assert_eq!(too_long(&tree), ["long.rs: 501 lines, 500 allowed"]);
    }

    #[test]
    fn a_file_without_a_doc_is_found() {
        let tree = Tree::of(&[
            ("bare.rs", "use a;\n//! too late"),
            ("item.rs", "/// An item's.\nfn f() {}"),
            ("good.rs", "//! Doc."),
            ("empty.rs", ""),
        ]);
        assert_eq!(without_doc(&tree), ["bare.rs", "item.rs", "empty.rs"]);
    }
}
