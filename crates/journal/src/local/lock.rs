//! The `lock` file: one process writes a journal.
//!
//! Guarantees: the lock is the kernel's, so a process that dies leaves none; the text in the file
//! is only for the one who is refused. A second handle in the same process is refused as well.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::OpenError;

/// Its name in the directory.
const FILE_NAME: &str = "lock";

/// A text longer than this was not written here.
const TEXT_LIMIT_BYTES: u64 = 200;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Held as long as the journal is open for writing.
#[derive(Debug)]
pub(super) struct Lock {
    /// Closing it releases the lock.
    _file: File,
}

// === impl Lock ===

impl Lock {
    /// Takes the lock of a directory, or tells who has it.
    pub(super) fn take(dir: &Path, now_ms: i64) -> Result<Self, OpenError> {
        let path = dir.join(FILE_NAME);
        let failed = |what| {
            let path = path.clone();
            move |source| OpenError::Io { what, path, source }
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed("open the lock file"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let place = dir.display().to_string();
                return Err(OpenError::Locked { place, holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let text = format!("pid {} since {}", std::process::id(), utc(now_ms));
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(failed("write the lock file"))?;
        Ok(Self { _file: file })
    }
}

/// What the holder wrote, as the error shows it. It may be writing at this moment.
fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.take(TEXT_LIMIT_BYTES).read_to_string(&mut text).ok()?;
    text.starts_with("pid ").then(|| format!(" ({text})"))
}

/// Civil date and time of day in UTC.
fn utc(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS) / 1000);
    // Years are counted from March, so that the leap day is the last of its year; an era is the
    // 400 years after which the calendar repeats.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path(), 1_764_000_000_000).unwrap();
        let Err(OpenError::Locked { holder: Some(holder), .. }) = Lock::take(dir.path(), 0) else {
            panic!("the lock was taken twice, or its holder is not known");
        };
        assert_eq!(holder, format!(" (pid {} since 2025-11-24 16:00:00 UTC)", std::process::id()));
        drop(held);
        Lock::take(dir.path(), 0).unwrap();
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399_999), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01 00:00:00 UTC");
        assert_eq!(utc(-1), "1969-12-31 23:59:59 UTC");
    }
}
