//! The page that documents the options, made from the table.

use super::{Kind, OPTIONS};

/// Markdown of every option, by section.
pub(crate) fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    let mut section_now = None;
    for option in OPTIONS {
        let (section, name) = option.section();
        if section != section_now || page.ends_with(INTRODUCTION) {
            section_now = section;
            let title =
                section.map_or_else(|| "Top of the file".to_owned(), |name| format!("`[{name}]`"));
            page.push_str(&format!("\n## {title}\n"));
        }
        let value = match option.kind {
            Kind::Word(words) => words.join(" | "),
            kind => kind.placeholder().to_owned(),
        };
        let default =
            option.default.map_or_else(|| "not set".to_owned(), |text| format!("`{text}`"));
        page.push_str(&format!(
            "\n### `{name}`\n\n{}\n\n`--{}` · `{}` · {value} · default: {default}\n",
            option.help,
            option.flag(),
            option.variable(),
        ));
    }
    page
}

const INTRODUCTION: &str = "# Configuration\n\n\
This page is made from the program's own table of options: `keyferry config --reference`.\n\n\
One TOML file (`--config FILE` or `KEYFERRY_CONFIG`), every value of which a flag or an environment variable\n\
overrides. The order is: default, file, environment, flag; the later wins. `keyferry config` prints what is in\n\
force and where each value comes from, with secrets masked. Lists are separated by commas in flags and variables.\n\
Passwords are not taken from arguments, where everyone on the machine can read them.\n";

#[cfg(test)]
mod tests {
    #[test]
    fn the_documentation_is_what_the_table_says() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let expected = super::markdown();
        assert!(
            written == expected,
            "docs/configuration.md is out of date: write it anew with `keyferry config --reference > docs/configuration.md`"
        );
    }
}
