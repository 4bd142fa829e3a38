//! What somebody probably meant who wrote something that there is not.

/// One slip is forgiven for so many letters; shorter words are too much like one another.
const LETTERS_PER_SLIP: usize = 4;

/// The candidate that is hardly different from the word, if there is one.
pub(crate) fn nearest<S: AsRef<str>>(
    word: &str,
    candidates: impl IntoIterator<Item = S>,
) -> Option<S> {
    let slips =
        |candidate: &S| strsim::damerau_levenshtein(&plain(word), &plain(candidate.as_ref()));
    let counted = candidates.into_iter().map(|candidate| (slips(&candidate), candidate));
    let (slips, best) = counted.min_by_key(|(slips, _)| *slips)?;
    (slips <= word.chars().count() / LETTERS_PER_SLIP).then_some(best)
}

/// `: did you mean …?`, or nothing.
pub(crate) fn hint<S: AsRef<str>>(word: &str, candidates: impl IntoIterator<Item = S>) -> String {
    nearest(word, candidates)
        .map(|candidate| format!(": did you mean {}?", candidate.as_ref()))
        .unwrap_or_default()
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["stream.name", "stream.partitions", "journal.sync_interval"];
        assert_eq!(nearest("stream.nmae", known), Some("stream.name"));
        assert_eq!(nearest("journal.sync-intervall", known), Some("journal.sync_interval"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(hint("STREAM.NAME", known), ": did you mean stream.name?");
        assert_eq!(hint("1.4", ["1.2", "1.3"]), "");
    }
}
