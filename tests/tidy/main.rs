//! Rules of the house that no lint knows, checked on every file of the project.
//!
//! Each rule is a function from files to findings, and has a test that it can fail.

mod edges;
mod files;
mod functions;
mod modules;
mod tree;
mod words;

use tree::Tree;

/// Fails with every finding, one a line.
#[track_caller]
fn assert_clean(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    assert_clean("split these", &files::too_long(&Tree::of_the_project()));
}

#[test]
fn every_file_says_what_it_guarantees() {
    assert_clean("begin these with //!", &files::without_doc(&Tree::of_the_project()));
}

#[test]
fn no_function_is_too_long() {
    assert_clean("split these", &functions::too_long(&Tree::of_the_project()));
}

#[test]
fn no_check_is_thrown_away() {
    assert_clean("assert these", &functions::bare_matches(&Tree::of_the_project()));
}

#[test]
fn every_file_belongs_to_a_module() {
    assert_clean("no `mod` leads to these", &modules::unreachable(&Tree::of_the_project()));
}

#[test]
fn every_module_is_named_for_what_it_holds() {
    assert_clean("rename these", &modules::meaningless(&Tree::of_the_project()));
}

#[test]
fn crates_use_only_the_crates_they_may() {
    assert_clean("cut these edges", &edges::forbidden(&Tree::of_the_project()));
}

#[test]
fn every_crate_has_the_lints() {
    assert_clean("add `[lints] workspace = true`", &edges::without_lints(&Tree::of_the_project()));
}

#[test]
fn nothing_is_left_to_do_in_comments() {
    assert_clean("do these, or drop them", &words::markers(&Tree::of_the_project()));
}

#[test]
fn nothing_names_a_machine() {
    assert_clean("say it without the machine", &words::machines(&Tree::of_the_project()));
}
