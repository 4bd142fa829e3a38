//! Functions: not too long, and none throws a check away.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItemFn, ItemFn, ItemMod, Signature, StmtMacro, TraitItemFn};

use crate::files::is_for_tests;
use crate::tree::{File, Tree};

/// From the line of the signature to the closing brace. Tests are left to clippy.
const MAX_LINES: usize = 70;

pub(crate) fn too_long(tree: &Tree) -> Vec<String> {
    let files = tree.rust().filter(|file| !file.is_generated() && !file.is_test());
    files.flat_map(|file| Walk::over(file).long).collect()
}

/// `matches!(…);` as a statement checks nothing; it was meant to be asserted.
pub(crate) fn bare_matches(tree: &Tree) -> Vec<String> {
    tree.rust().flat_map(|file| Walk::over(file).bare).collect()
}

#[derive(Default)]
struct Walk {
    path: String,
    long: Vec<String>,
    bare: Vec<String>,
}

// === impl Walk ===

impl Walk {
    fn over(file: &File) -> Self {
        let mut walk = Self { path: file.path.clone(), ..Self::default() };
        walk.visit_file(&file.syntax());
        walk
    }

    fn measure(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        if attributes.iter().any(is_test) || is_for_tests(attributes) {
            return;
        }
        let first = signature.span().start().line;
        let lines = block.span().end().line - first + 1;
        if lines > MAX_LINES {
            let name = &signature.ident;
            self.long.push(format!("{}:{first}: `{name}` has {lines} lines", self.path));
        }
    }
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.measure(&item.attrs, &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.measure(&item.attrs, &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.measure(&item.attrs, &item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let long = self.long.len();
        visit::visit_item_mod(self, module);
        if is_for_tests(&module.attrs) {
            self.long.truncate(long);
        }
    }

    fn visit_stmt_macro(&mut self, statement: &'ast StmtMacro) {
        if statement.semi_token.is_some() && statement.mac.path.is_ident("matches") {
            let line = statement.span().start().line;
            self.bare.push(format!("{}:{line}", self.path));
        }
        visit::visit_stmt_macro(self, statement);
    }
}

/// `#[test]`, `#[tokio::test]` and the like.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(head: &str) -> String {
        format!("{head}fn f() {{\n{}}}\n", "    a();\n".repeat(69))
    }

    #[test]
    fn a_long_function_is_found_wherever_it_is() {
        let texts = [
            long(""),
            format!("impl A {{\n{}}}", long("")),
            format!("trait A {{\n{}}}", long("")),
            format!("mod a {{\n{}}}", long("pub(crate) async ")),
        ];
        for text in &texts {
            let found = too_long(&Tree::of(&[("a.rs", text)]));
            assert!(
                found.len() == 1 && found[0].ends_with("`f` has 71 lines"),
                "{found:?}\n{text}"
            );
        }
    }

    #[test]
    fn tests_and_short_functions_are_let_be() {
        let short = format!("fn f() {{\n{}}}\n", "    a();\n".repeat(68));
        let inside = format!("#[cfg(test)]\nmod tests {{\n{}}}", long(""));
        for text in [&short, &inside, &long("#[tokio::test]\nasync ")] {
            assert_eq!(too_long(&Tree::of(&[("a.rs", text)])), Vec::<String>::new());
        }
        assert!(too_long(&Tree::of(&[("crates/a/tests/b.rs", &long(""))])).is_empty());
    }

    #[test]
    fn a_match_that_nobody_looks_at_is_found() {
        let text =
            "fn f() {\n    matches!(a, B);\n    assert!(matches!(a, B));\n    matches!(a, B)\n}";
        assert_eq!(bare_matches(&Tree::of(&[("a.rs", text)])), ["a.rs:2"]);
    }
}
