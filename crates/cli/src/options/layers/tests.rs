//! The layers lie over one another, and say what is wrong with each.

use super::*;

fn option(path: &str) -> &'static OptionSpec {
    OPTIONS.iter().find(|option| option.path == path).unwrap()
}

#[test]
fn later_layers_win() {
    let mut values = Values::defaults();
    let mut problems = Vec::new();
    let file = "data_dir = \"/from/file\"\n[stream]\nname = \"file\"\npartitions = 3\n";
    values.add_file(Path::new("keyferry.toml"), file, &mut problems);
    let variables = [("KEYFERRY_STREAM_NAME".to_owned(), "variable".to_owned())];
    values.add_environment(variables, &mut problems);
    values.add_flag(option("data_dir"), "/from/flag", &mut problems);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(values.get("data_dir"), Some("/from/flag"));
    assert_eq!(values.get("stream.name"), Some("variable"));
    assert_eq!(values.get("stream.partitions"), Some("3"));
    assert_eq!(values.get("journal.compression"), Some("lz4"));
}

#[test]
fn names_what_it_does_not_know() {
    let mut values = Values::defaults();
    let mut problems = Vec::new();
    values.add_file(Path::new("f.toml"), "[stream]\nnam = \"x\"\n", &mut problems);
    values.add_environment([("KEYFERRY_NONSENSE".to_owned(), String::new())], &mut problems);
    assert_eq!(
        problems,
        [
            "f.toml: there is no option stream.nam",
            "environment: KEYFERRY_NONSENSE is not the name of an option"
        ]
    );
}

#[test]
fn refuses_passwords_in_arguments() {
    let mut values = Values::defaults();
    let mut problems = Vec::new();
    values.add_flag(option("source.uri"), "redis://user:hidden@host:1/", &mut problems);
    values.add_flag(option("destination.password"), "hidden", &mut problems);
    assert_eq!(problems.len(), 2);
    assert!(problems.iter().all(|problem| !problem.contains("hidden")), "{problems:?}");
    assert_eq!(values.get("source.uri"), None);
}

#[test]
fn never_shows_a_secret() {
    let mut values = Values::defaults();
    let mut problems = Vec::new();
    let variables = [
        ("KEYFERRY_SOURCE_URI".to_owned(), "redis://user:hidden@host:1/".to_owned()),
        ("KEYFERRY_DESTINATION_PASSWORD".to_owned(), "hidden".to_owned()),
    ];
    values.add_environment(variables, &mut problems);
    let shown = values.to_toml();
    assert!(!shown.contains("hidden"), "{shown}");
    assert!(shown.contains("redis://user:***@host:1/"), "{shown}");
}

#[test]
fn what_is_shown_is_a_file_again() {
    let mut problems = Vec::new();
    let mut values = Values::defaults();
    values.add_flag(option("filter.include_keys"), "a*, b?c", &mut problems);
    let mut again = Values::defaults();
    again.add_file(Path::new("shown.toml"), &values.to_toml(), &mut problems);
    assert_eq!(problems, Vec::<String>::new());
    for option in OPTIONS {
        assert_eq!(values.get(option.path), again.get(option.path), "{}", option.path);
    }
}
