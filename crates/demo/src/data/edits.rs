//! The edit history of a project, from what `git log --stat` printed.

use std::collections::BTreeSet;

/// A commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edit {
    pub(crate) hash: String,
    pub(crate) author: String,
    /// When it was written, in milliseconds since the epoch.
    pub(crate) at_ms: u64,
    /// The first line of its message.
    pub(crate) subject: String,
    /// Files with the number of lines that changed ("Bin" for binary ones).
    pub(crate) files: Vec<(String, String)>,
}

/// All commits, oldest first. Files whose names git cut short, and renames, are left out.
pub(super) fn parse(text: &str) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for line in text.lines() {
        if let Some(hash) = line.strip_prefix("commit ") {
            edits.push(Edit { hash: hash.to_owned(), ..Edit::default() });
        } else if let Some(edit) = edits.last_mut() {
            edit.take(line);
        }
    }
    edits.retain(|edit| edit.at_ms > 0);
    edits.sort_by(|a, b| (a.at_ms, &a.hash).cmp(&(b.at_ms, &b.hash)));
    edits
}

/// Every edited file once.
pub(super) fn files(edits: &[Edit]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let all = edits.iter().flat_map(|edit| &edit.files);
    all.filter(|(name, _)| known.insert(name)).map(|(name, _)| name.clone()).collect()
}

// === impl Edit ===

impl Edit {
    fn take(&mut self, line: &str) {
        if let Some(author) = line.strip_prefix("Author: ") {
            // The address is nobody's business here.
            author.split(" <").next().unwrap_or(author).clone_into(&mut self.author);
        } else if let Some(date) = line.strip_prefix("Date:") {
            self.at_ms = epoch_ms(date.trim()).unwrap_or(0);
        } else if let Some(message) = line.strip_prefix("    ") {
            if self.subject.is_empty() {
                message.trim().clone_into(&mut self.subject);
            }
        } else if let Some((name, lines)) = line.strip_prefix(' ').and_then(|l| l.split_once(" | "))
        {
            let name = name.trim();
            let lines = lines.split_whitespace().next().unwrap_or("0");
            if !name.starts_with("...") && !name.contains("=>") {
                self.files.push((name.to_owned(), lines.to_owned()));
            }
        }
    }
}

/// A date as git writes it: "Fri Dec 16 23:14:57 2022 +0200".
fn epoch_ms(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = date.split_whitespace().skip(1);
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let day: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let year: i64 = words.next()?.parse().ok()?;
    let zone: i64 = words.next()?.parse().ok()?;
    let zone_seconds = (zone / 100 * 60 + zone % 100) * 60;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    u64::try_from((seconds - zone_seconds) * 1000).ok()
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin in March, so that
/// the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_their_zone() {
        assert_eq!(epoch_ms("Thu Jan 1 00:00:00 1970 +0000"), Some(0));
        assert_eq!(epoch_ms("Fri Dec 16 23:14:57 2022 +0200"), Some(1_671_225_297_000));
        assert_eq!(epoch_ms("Tue Feb 29 12:00:00 2000 -0530"), Some(951_845_400_000));
        assert_eq!(epoch_ms("yesterday"), None);
    }

    #[test]
    fn a_log_becomes_edits_oldest_first() {
        let log = "commit bb\nAuthor: B <b@x>\nDate:   Fri Dec 16 23:14:57 2022 +0200\n\n    \
                   second\n    more\n\n src/b.c    | 10 +++---\n .../cut.c | 2 +\n a => c | 1 +\n \
                   logo.png | Bin 0 -> 5 bytes\n 2 files changed, 3 insertions(+)\n\ncommit \
                   aa\nMerge: 1 2\nAuthor: A <a@x>\nDate:   Thu Jan 1 00:00:01 1970 +0000\n\n    \
                   first\n";
        let edits = parse(log);
        assert_eq!(edits.len(), 2);
        assert_eq!((edits[0].hash.as_str(), edits[0].subject.as_str()), ("aa", "first"));
        assert_eq!((edits[1].author.as_str(), edits[1].subject.as_str()), ("B", "second"));
        let files = [("src/b.c", "10"), ("logo.png", "Bin")];
        assert_eq!(edits[1].files, files.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
