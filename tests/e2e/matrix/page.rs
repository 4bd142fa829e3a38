//! The table of pairs on the page of versions, made of what the tests of pairs expect.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use testkit::Kind;

use super::{DESTINATIONS, gaps};

const PAGE: &str = "docs/versions.md";
/// What the table stands between on the page.
const BEGIN: &str = "<!-- made by tests/e2e/matrix/page.rs: begin -->\n";
const END: &str = "<!-- end -->\n";
/// The variable that has the page written anew.
const WRITE: &str = "KEYFERRY_WRITE_DOCS";

/// A row for each source, a column for each destination, and what the letters stand for.
fn table() -> String {
    let mut text = String::from("| from ╲ to |");
    for destination in DESTINATIONS {
        text += &format!(" {} |", shown(destination));
    }
    text += "\n|---|";
    text += &"---|".repeat(DESTINATIONS.len());
    text += "\n";
    for source in Kind::EVERY {
        text += &format!("| {} |", shown(source));
        for destination in DESTINATIONS {
            text += &format!(" {} |", cell(source, destination));
        }
        text += "\n";
    }
    text += "\nEverything arrives, but for what a letter names; that is [set aside](quarantine.md):\n\n";
    for (letter, gap) in ('a'..).zip(gaps::GAPS) {
        text += &format!("- **{letter}**: {}\n", gap.what);
    }
    text
}

fn cell(source: Kind, destination: Kind) -> String {
    let letters: Vec<String> = ('a'..)
        .zip(gaps::GAPS)
        .filter(|(_, gap)| gap.is_between(source, destination))
        .map(|(letter, _)| letter.to_string())
        .collect();
    let missing = if letters.is_empty() { "all" } else { "all but " }.to_owned();
    let scripts = if source.replicates_scripts() { " ¹" } else { "" };
    missing + &letters.join(", ") + scripts
}

/// "Redis 5.0"
fn shown(kind: Kind) -> String {
    let (make, version) = kind.name().split_once('-').unwrap_or((kind.name(), ""));
    let make = if make == "valkey" { "Valkey" } else { "Redis" };
    format!("{make} {version}")
}

#[test]
fn the_page_of_versions_tells_what_the_pairs_are_tested_for() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let page = std::fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no beginning mark")?;
    let (_, after) = rest.split_once(END).context("the page has no end mark")?;
    let wanted = format!("{before}{BEGIN}\n{}\n{END}{after}", table());
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &wanted)?;
        return Ok(());
    }
    ensure!(page == wanted, "{PAGE} is out of date: run this test with {WRITE}=1");
    Ok(())
}
