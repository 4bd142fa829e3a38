//! Checks of the house that no lint makes.

#[test]
fn starts() { assert!(std::path::Path::new("Cargo.toml").exists()); }
