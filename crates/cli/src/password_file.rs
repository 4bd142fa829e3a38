//! A password in a file, read again whenever a connection is made: a secret that is rotated is picked up.

use std::io;
use std::path::PathBuf;

use redis_io::PasswordSource;
use runtime::Secret;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PasswordFile(pub(crate) PathBuf);

// === impl PasswordFile ===

impl PasswordSource for PasswordFile {
    fn password(&self) -> io::Result<Secret> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.0.display()))
        };
        let bytes = std::fs::read(&self.0).map_err(named)?;
        let text = String::from_utf8_lossy(&bytes);
        match text.trim_end_matches(['\r', '\n']) {
            // Whoever writes it anew may have emptied it a moment ago.
            "" => Err(named(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"))),
            password => Ok(Secret::new(password)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file_again_each_time_and_says_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = PasswordFile(dir.path().join("secret"));
        assert!(file.password().unwrap_err().to_string().contains("secret: "));
        for password in ["first", "second"] {
            std::fs::write(&file.0, format!("{password}\r\n")).unwrap();
            assert_eq!(file.password().unwrap().expose(), password);
        }
        std::fs::write(&file.0, "\n").unwrap();
        assert!(file.password().unwrap_err().to_string().contains("empty"));
    }
}
