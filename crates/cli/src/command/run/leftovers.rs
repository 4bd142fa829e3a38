//! What a process that was killed has left in the data directory.
//!
//! Guarantees: nothing is removed that another process of the stream may be using; there may be one, such as a replay
//! beside an apply.

use std::fs::{self, TryLockError};
use std::io;
use std::path::Path;

use super::opening::{Lock, open};
use crate::exit::{Exit, Failure};
use crate::options::typed::DataDir;

/// Removes what earlier processes have left of their marks, which go with the process that makes them. Whoever keeps what
/// this gives has its own there.
pub(super) async fn clear_marks(dir: &DataDir, stream: &str) -> Result<Lock, Failure> {
    let (marks, lock) = (dir.marks(stream), dir.lock_of_marks(stream));
    let what = format!("lock {}", lock.display());
    let taken = tokio::task::spawn_blocking(move || take_over(&marks, &lock)).await;
    taken.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| Failure {
        exit: Exit::Journal,
        what: format!("{what}: {error}"),
        advice: "let this account write to the data directory".to_owned(),
    })
}

fn take_over(marks: &Path, lock: &Path) -> io::Result<Lock> {
    let file = open(lock)?;
    match file.try_lock() {
        Ok(()) => {
            match fs::remove_dir_all(marks) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!(
                    dir = %marks.display(), %error,
                    "what an earlier process left here cannot be removed; it only takes room"
                ),
                _ => {}
            }
            file.unlock()?;
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Waits at most for somebody else's look at what was left.
    file.lock_shared()?;
    Ok(Lock(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_a_killed_process_left_are_gone_unless_another_may_be_using_them() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir(dir.path().to_owned());
        let begin = |stream| take_over(&data.marks(stream), &data.lock_of_marks(stream)).unwrap();
        let leave = || {
            let left = data.marks("main").join(".tmpLeft");
            fs::create_dir_all(&left).unwrap();
            fs::write(left.join("marks-000"), "x").unwrap();
            left
        };
        drop(begin("main"));
        let left = leave();
        drop(begin("other"));
        assert!(left.exists());
        let first = begin("main");
        assert!(!left.exists());
        let used = leave();
        let second = begin("main");
        drop(first);
        let third = begin("main");
        assert!(used.exists(), "one of them may have written it");
        drop((second, third));
        drop(begin("main"));
        assert!(!used.exists());
    }
}
