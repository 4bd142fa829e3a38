//! The project's files: every text file, without what is built, cached or ignored.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold nothing of ours, wherever they are.
const SKIPPED: [&str; 6] =
    ["target", "artifacts", "node_modules", "__pycache__", "keyferry-data", "venv"];
/// Directories with a leading dot that are ours; the others are caches and tools.
const DOTTED: [&str; 3] = [".cargo", ".ci", ".config"];

/// Files by their path from the root, sorted.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

/// A text file.
#[derive(Debug)]
pub(crate) struct File {
    /// From the project's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

// === impl Tree ===

impl Tree {
    /// Everything in this checkout.
    pub(crate) fn of_the_project() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut tree = Self::default();
        let mut left = vec![PathBuf::new()];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(root.join(&dir)).expect("a directory of the checkout") {
                let entry = entry.expect("an entry of a directory");
                let name = entry.file_name().into_string().expect("a name in UTF-8");
                let kind = entry.file_type().expect("a type of file");
                let path = dir.join(&name);
                let hidden = name.starts_with('.') && !DOTTED.contains(&name.as_str());
                if kind.is_dir() && !hidden && !SKIPPED.contains(&name.as_str()) {
                    left.push(path);
                } else if kind.is_file()
                    && let Ok(text) = fs::read_to_string(root.join(&path))
                {
                    let path = path.to_str().expect("a path in UTF-8").replace('\\', "/");
                    tree.files.push(File { path, text });
                }
            }
        }
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(tree.files.len() > 30, "a project of {} files is none", tree.files.len());
        tree
    }

    /// A tree of its own, to show that a rule can fail.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| File { path: path.into(), text: text.into() };
        Self { files: files.iter().map(file).collect() }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    pub(crate) fn manifests(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.split('/').next_back() == Some("Cargo.toml"))
    }

    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

// === impl File ===

impl File {
    /// The file's syntax tree; a file that does not parse fails every rule.
    #[expect(clippy::panic, reason = "rules run in tests only")]
    pub(crate) fn syntax(&self) -> syn::File {
        match syn::parse_file(&self.text) {
            Ok(syntax) => syntax,
            Err(error) => panic!("{} does not parse: {error}", self.path),
        }
    }

    /// Whether nothing but tests is in it.
    pub(crate) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| part == "tests" || part == "tests.rs")
    }

    pub(crate) fn is_generated(&self) -> bool {
        self.text.lines().take(3).any(|line| line.contains("@generated"))
    }
}
