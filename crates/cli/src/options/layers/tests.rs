//! The layers lie over one another, and say what is wrong with each.

use super::*;

fn flag() -> Origin {
    Origin::Flag("--flag".to_owned())
}

fn option(path: &str) -> &'static OptionSpec {
    OPTIONS.iter().find(|option| option.path == path).unwrap()
}

#[test]
fn later_layers_win() {
    let mut values = Values::defaults();
    let file = "data_dir = \"/from/file\"\n[stream]\nname = \"file\"\npartitions = 3\n";
    values.add_file(Path::new("keyferry.toml"), file);
    let variables = [("KEYFERRY_STREAM_NAME".to_owned(), "variable".to_owned())];
    values.add_environment(variables);
    values.add_argument(option("data_dir"), "/from/flag", flag());
    assert_eq!(values.problems(), Vec::<String>::new());
    assert_eq!(values.get("data_dir"), Some("/from/flag"));
    assert_eq!(values.get("stream.name"), Some("variable"));
    assert_eq!(values.get("stream.partitions"), Some("3"));
    assert_eq!(values.get("journal.compression"), Some("lz4"));
}

#[test]
fn names_what_it_does_not_know_by_line_and_says_what_may_be_meant() {
    let mut values = Values::defaults();
    let file =
        "data-dir = \"x\"\nexisting = \"sweep\"\n\n[stream]\nnam = \"x\"\n[colour]\nred = 1\n";
    values.add_file(Path::new("f.toml"), file);
    let variables = ["KEYFERRY_NONSENSE", "KEYFERRY_STREM_NAME", "KEYFERRY_BIN"];
    values.add_environment(variables.map(|name| (name.to_owned(), String::new())));
    let expected = [
        "f.toml:1: there is no option data-dir: did you mean data_dir?",
        "f.toml:2: there is no option existing: did you mean destination.existing?",
        "f.toml:5: there is no option stream.nam: did you mean stream.name?",
        "f.toml:7: there is no option colour.red",
        "environment: KEYFERRY_NONSENSE is not the name of an option",
        "environment: KEYFERRY_STREM_NAME is not the name of an option: did you mean KEYFERRY_STREAM_NAME?",
    ];
    assert_eq!(values.problems(), expected);
}

#[test]
fn what_is_not_toml_does_not_hide_the_rest() {
    let mut values = Values::defaults();
    let file =
        "data_dir = \n[stream]\nnam = 1\npartitions = [1, 2]\n[filter]\ninclude_keys = \"a,b\"\n";
    values.add_file(Path::new("f.toml"), file);
    let problems = values.problems();
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems[0].starts_with("f.toml:1: "), "{problems:?}");
    assert!(problems[2].starts_with("f.toml:4: stream.partitions is one value"), "{problems:?}");
    assert!(problems[3].starts_with("f.toml:6: filter.include_keys is a list"), "{problems:?}");
}

#[test]
fn says_where_a_value_comes_from() {
    let mut values = Values::defaults();
    values.add_file(Path::new("f.toml"), "[log]\n\njson = \"maybe\"\n");
    assert_eq!(values.origin("log.json"), "log.json (f.toml:3)");
    values.add_argument(option("log.json"), "perhaps", flag());
    assert_eq!(values.origin("log.json"), "log.json (--flag)");
    assert!(values.is_given("log.json") && !values.is_given("log.level"));
}

#[test]
fn refuses_passwords_in_arguments() {
    let mut values = Values::defaults();
    values.add_argument(option("source.uri"), "redis://user:hidden@host:1/", flag());
    values.add_argument(option("destination.password"), "hidden", flag());
    let problems = values.problems();
    assert_eq!(problems.len(), 2);
    assert!(problems.iter().all(|problem| !problem.contains("hidden")), "{problems:?}");
    assert_eq!(values.get("source.uri"), None);
}

#[test]
fn never_shows_a_secret() {
    let mut values = Values::defaults();
    let variables = [
        ("KEYFERRY_SOURCE_URI".to_owned(), "redis://user:hidden@host:1/".to_owned()),
        ("KEYFERRY_DESTINATION_PASSWORD".to_owned(), "hidden".to_owned()),
    ];
    values.add_environment(variables);
    let shown = values.to_toml();
    assert!(!shown.contains("hidden"), "{shown}");
    assert!(shown.contains("redis://user:***@host:1/"), "{shown}");
}

#[test]
fn what_is_shown_is_a_file_again() {
    let mut values = Values::defaults();
    values.add_argument(option("filter.include_keys"), "a*, b?c", flag());
    let mut again = Values::defaults();
    again.add_file(Path::new("shown.toml"), &values.to_toml());
    assert_eq!(values.problems(), Vec::<String>::new());
    for option in OPTIONS {
        assert_eq!(values.get(option.path), again.get(option.path), "{}", option.path);
    }
}

#[test]
fn a_secret_for_kafka_is_no_argument_and_is_not_shown() {
    let mut values = Values::defaults();
    for property in
        ["ssl.key.password=x", "a=b,sasl.password=hidden", "sasl.oauthbearer.client.secret=x"]
    {
        values.add_argument(option("kafka.properties"), property, flag());
    }
    values.add_argument(option("journal.uri"), "kafka://me:hidden@h:1", flag());
    assert_eq!(values.problems().len(), 4, "{:?}", values.problems());
    for problem in values.problems() {
        assert!(problem.contains("--kafka-properties-file"), "{problem}");
        assert!(!problem.contains("hidden"), "{problem}");
    }
    let variable = ("KEYFERRY_KAFKA_PROPERTIES".to_owned(), "a=b,sasl.password=hidden".to_owned());
    values.add_environment([variable]);
    let shown = values.to_toml();
    assert!(shown.contains("sasl.password=") && shown.contains("a=b"), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}
