//! Words that do not belong in the project's text: work left undone, and the machine it was done on.
//!
//! They are put together here from halves, so that this file does not find itself.

use crate::tree::Tree;

/// Work that somebody meant to do. It is done, or an issue, or nothing.
const MARKERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Places and services of a workplace, which nobody else has.
const MACHINES: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("artif", "actory")];

pub(crate) fn markers(tree: &Tree) -> Vec<String> {
    lines(tree, |line| {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| MARKERS.contains(&word))
    })
}

pub(crate) fn machines(tree: &Tree) -> Vec<String> {
    lines(tree, |line| {
        let line = line.to_lowercase();
        MACHINES.iter().any(|word| line.contains(word))
    })
}

fn lines(tree: &Tree, found: impl Fn(&str) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    for file in &tree.files {
        let lines = file.text.lines().enumerate().filter(|(_, line)| found(line));
        all.extend(lines.map(|(n, line)| format!("{}:{}: {}", file.path, n + 1, line.trim())));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_left_undone_is_found() {
        for marker in MARKERS {
            let text = format!("fine\n// {marker}: later");
            assert_eq!(markers(&Tree::of(&[("a.md", &text)])).len(), 1, "{marker}");
            let part = format!("a{marker}b and {}", marker.to_lowercase());
            assert_eq!(markers(&Tree::of(&[("a.md", &part)])), Vec::<String>::new());
        }
    }

    #[test]
    fn a_machine_is_found() {
        for word in MACHINES {
            let text = format!("see {}x", word.to_uppercase());
            assert_eq!(machines(&Tree::of(&[("a.sh", &text)])).len(), 1, "{word}");
        }
    }
}
