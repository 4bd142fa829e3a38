//! A configuration file with every option, its default and what it means, made from the table.
//!
//! Guarantees: the file is valid as it is and changes nothing; with a line's `#` taken away, that line is valid too.

use toml::Value;

use super::{Kind, OPTIONS, OptionSpec};

/// Width of a line of comment, its `# ` included.
const WIDTH: usize = 100;

/// The text of the file.
pub(crate) fn toml() -> String {
    let mut text = String::from(INTRODUCTION);
    let mut section_now = None;
    for option in OPTIONS {
        let (section, name) = option.section();
        if section != section_now {
            section_now = section;
            text.push_str(&format!("\n[{}]\n", section.unwrap_or_default()));
        }
        text.push('\n');
        wrap(&mut text, option.help);
        if let Kind::Word(words) = option.kind {
            wrap(&mut text, &format!("One of: {}.", words.join(", ")));
        }
        text.push_str(&format!("#{name} = {}\n", value(option)));
    }
    text
}

const INTRODUCTION: &str = "\
# Configuration of keyferry: every option with its default. Made by `keyferry config --sample`.
#
# Use it with --config FILE or KEYFERRY_CONFIG. Take the # away from what is to be different. Flags and
# environment variables override the file; `keyferry config --config FILE` shows what is in force.
";

/// The default, or what stands for nothing.
fn value(option: &OptionSpec) -> String {
    match (option.kind, option.default) {
        (Kind::List, _) => "[]".to_owned(),
        (Kind::Number | Kind::Flag, Some(default)) => default.to_owned(),
        (_, default) => Value::String(default.unwrap_or_default().to_owned()).to_string(),
    }
}

/// Appends the text as comments.
fn wrap(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::options::layers::Values;

    #[test]
    fn the_file_in_deploy_is_what_the_table_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/run.toml");
        assert!(
            std::fs::read_to_string(&path).unwrap() == toml(),
            "write it anew: `keyferry config --sample > deploy/config/run.toml`"
        );
    }

    #[test]
    fn without_its_comments_it_says_the_defaults() {
        let active: String = toml()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let mut values = Values::default();
        values.add_file(Path::new("run.toml"), &active);
        assert_eq!(values.problems(), Vec::<String>::new());
        for option in OPTIONS {
            assert_eq!(values.get(option.path), option.default, "{}", option.path);
            assert!(values.origin(option.path).contains("run.toml"), "{}", option.path);
        }
    }
}
