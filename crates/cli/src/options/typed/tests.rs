//! Everything that is wrong is told at once, with where it comes from and what is allowed.

use std::os::unix::fs::PermissionsExt;

use super::super::layers::Origin;
use super::*;

/// Values of flags.
fn values(given: &[(&str, &str)]) -> Values {
    let mut values = Values::defaults();
    for (path, value) in given {
        let option = OPTIONS.iter().find(|option| option.path == *path).unwrap();
        values.add_argument(option, value, Origin::Flag(format!("--{}", option.flag())));
    }
    values
}

/// What is said of these values, problem by problem.
fn problems(given: &[(&str, &str)]) -> Vec<String> {
    match check(&values(given)) {
        Ok(_) => Vec::new(),
        Err(failure) => failure.what.lines().map(|line| line.trim().to_owned()).collect(),
    }
}

/// The one thing that is said of this value.
#[track_caller]
fn problem(path: &str, value: &str) -> String {
    let found = problems(&[(path, value)]);
    assert_eq!(found.len(), 1, "{path} = {value:?}: {found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn the_defaults_are_fine() {
    assert_eq!(check(&Values::defaults()).unwrap(), Vec::<String>::new());
}

#[test]
fn every_kind_of_value_is_checked_and_says_what_is_allowed() {
    let cases = [
        ("log.json", "maybe", "log.json (--json) is \"maybe\", it has to be true or false"),
        ("stream.partitions", "many", "whole number"),
        ("stream.partitions", "0", "1 to 16384"),
        ("stream.partitions", "16385", "1 to 16384"),
        ("stream.partitions", "70000", "whole number in range"),
        ("spool.memory_bytes", "5q", "a size such as"),
        ("journal.segment_bytes", "1", "segment_bytes is 1, it has to be"),
        ("journal.sync_interval", "10", "a duration such as"),
        ("source.heartbeat_interval", "soon", "a duration such as"),
        ("source.tls_min_version", "1.4", "one of 1.2, 1.3"),
        ("destination.existing", "swep", "one of fail, overwrite, sweep: did you mean sweep?"),
        ("destination.inexact", "no", "one of refuse, skip"),
        ("log.level", "infoo", "did you mean info?"),
        ("log.level", "capture=loud", "log.level (--log-level)"),
        ("stream.name", "a/b", "must be letters"),
        ("source.uri", "redis://h:1/3", "names a database"),
        ("source.uri", "http://h", "cannot be used"),
        ("throttle.full_rows", "10MB", "whole number"),
        ("throttle.incremental_bytes", "fast", "a size such as"),
        ("throttle.source_read_bytes", "1kB", "0 or at least 64KiB"),
        ("admin.listen", "9377", "host:port"),
        ("journal.uri", "kafka", "local or kafka://host:port,host:port"),
        ("journal.uri", "kafka://broker", "local or kafka://host:port,host:port"),
        ("journal.uri", "kafka://a:1,b:70000", "local or kafka://host:port,host:port"),
        ("kafka.replication_factor", "three", "whole number"),
        ("admin.listen", "localhost:http", "host:port"),
    ];
    for (path, value, words) in cases {
        let said = problem(path, value);
        assert!(said.contains(words), "{path} = {value:?}: {said}");
    }
}

#[test]
fn filters_that_can_do_nothing_are_problems() {
    let cases = [
        ("filter.include_keys", "user:[ab", "[ without its ]"),
        ("filter.exclude_keys", "[]x", "nothing fits"),
        ("filter.include_keys", "end\\", "protects nothing"),
        ("filter.include_types", "strng", "did you mean string?"),
        ("filter.exclude_dbs", "5-3", "0 to 255"),
        ("filter.exclude_dbs", "256", "0 to 255"),
        ("filter.exclude_commands", "SETT", "did you mean SET?"),
        ("filter.exclude_commands", "get", "not the name of a command that writes"),
        ("filter.exclude_commands", "expire", "travels as PEXPIREAT"),
        ("filter.include_commands", "BLPOP", "its effects do"),
        ("filter.exclude_commands", "FLUSHALL", "destination.inexact"),
    ];
    for (path, value, words) in cases {
        let said = problem(path, value);
        assert!(said.contains(words), "{path} = {value:?}: {said}");
    }
    let fine = [
        ("filter.include_keys", "user:[a-c]*,\\[x,[^a]?"),
        ("filter.exclude_commands", "set,XGROUP,JSON.SET,zadd,pexpireat"),
        ("filter.include_types", "ZSET,hash"),
        ("filter.include_dbs", "0,3-5"),
    ];
    assert_eq!(problems(&fine), Vec::<String>::new());
}

#[test]
fn a_mapping_that_contradicts_itself_is_a_problem() {
    let cases = [
        ("0:1,0:2", "sends database 0 to 1 and to 2"),
        ("all:0,1:1", "stands alone"),
        ("0:256", "0 to 255"),
        ("300:0", "0 to 255"),
        ("0", "of the form 0:5"),
        ("x:1", "of the form 0:5"),
    ];
    for (value, words) in cases {
        let said = problem("map.dbs", value);
        assert!(said.contains(words), "{value:?}: {said}");
    }
}

#[test]
fn a_mapping_that_mixes_databases_is_allowed_and_doubted() {
    for mixing in ["0:5,1:5", "1:0", "all:0"] {
        let warnings = check(&values(&[("map.dbs", mixing)])).unwrap();
        assert!(warnings.iter().any(|text| text.contains("last write wins")), "{mixing}");
    }
    assert_eq!(check(&values(&[("map.dbs", "0:1,1:0")])).unwrap(), Vec::<String>::new());
}

#[test]
fn problems_of_all_layers_come_together() {
    let mut values = values(&[("log.json", "maybe"), ("map.dbs", "0:1,0:2")]);
    values.add_file(Path::new("f.toml"), "[stream]\nnam = 1\npartitions = \"many\"\n");
    let said = check(&values).unwrap_err().what;
    for words in ["4 problems", "f.toml:2: there is no option", "(f.toml:3)", "--json", "map.dbs"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn password_files_are_read_with_care() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let path = file.display().to_string();
    let given = [("source.uri", "redis://h:1"), ("source.password_file", path.as_str())];
    assert!(problems(&given)[0].contains("cannot be read"));
    std::fs::write(&file, "\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(problems(&given)[0].contains("which is empty"));
    std::fs::write(&file, "secret\n").unwrap();
    assert_eq!(check(&values(&given)).unwrap(), Vec::<String>::new());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = check(&values(&given)).unwrap();
    assert!(warnings[0].contains("everybody can read") && !warnings[0].contains("secret"));
    let mut both = values(&given);
    both.add_environment([("KEYFERRY_SOURCE_PASSWORD".to_owned(), "other".to_owned())]);
    assert!(check(&both).unwrap_err().what.contains("are both set"));
}

#[test]
fn a_token_is_a_secret_that_cannot_be_guessed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let path = file.display().to_string();
    let given = [("admin.token_file", path.as_str())];
    std::fs::write(&file, "short\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let said = problems(&given).concat();
    assert!(said.contains("less than 16 characters") && !said.contains("short"), "{said}");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    assert_eq!(problems(&given), Vec::<String>::new());
    let values = values(&given);
    let mut reader = Reader::new(&values);
    let token = reader.admin().token.unwrap();
    assert_eq!((token.expose(), token.to_string().as_str()), ("0123456789abcdef", "***"));
}

#[test]
fn limits_are_read_with_their_units() {
    let given = [
        ("throttle.full_rows", "5"),
        ("throttle.incremental_bytes", "2MB"),
        ("throttle.source_read_bytes", "1MiB"),
    ];
    let values = values(&given);
    let mut reader = Reader::new(&values);
    let limits = reader.limits();
    assert_eq!((limits.full.rows, limits.full.bytes, limits.incremental.rows), (5, 0, 0));
    assert_eq!((limits.incremental.bytes, limits.source_read_bytes), (2_000_000, 1 << 20));
    assert!(reader.finish().is_ok());
}

#[test]
fn a_capture_by_itself_has_the_limits_that_apply_has_beside_it() {
    let given = [
        ("source.uri", "redis://h:1"),
        ("throttle.incremental_rows", "7"),
        ("throttle.source_read_bytes", "1MiB"),
    ];
    let values = values(&given);
    let limits = |role| {
        let mut reader = Reader::new(&values);
        let config = reader.source("shop", &DataDir("/nowhere".into()), role).unwrap();
        let limits = config.throttle.limits();
        (limits.incremental.rows, limits.source_read_bytes)
    };
    assert_eq!(limits(Role::Both), (0, 1 << 20));
    assert_eq!(limits(Role::Capture), (7, 1 << 20));
}

#[test]
fn a_stream_is_found_without_its_name_where_there_is_one_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir(dir.path().to_owned());
    let found = |given: &[(&str, &str)]| {
        let values = values(given);
        let mut reader = Reader::new(&values);
        let name = reader.known_stream(&data);
        reader.finish().map(|_| name).map_err(|failure| failure.what)
    };
    assert!(found(&[]).unwrap_err().contains("no stream has been carried"));
    std::fs::create_dir_all(data.journal("shop")).unwrap();
    assert_eq!(found(&[]).unwrap(), "shop");
    assert!(found(&[("stream.name", "shoop")]).unwrap_err().contains("there is shop"));
    std::fs::create_dir_all(data.journal("till")).unwrap();
    assert!(found(&[]).unwrap_err().contains("shop, till"));
    assert_eq!(found(&[("stream.name", "till")]).unwrap(), "till");
}

#[test]
fn what_of_the_destination_is_a_name_says_so() {
    let given = [("destination.uri", "redis://h:1"), ("destination.name", "the shop")];
    let found = problems(&given);
    assert!(found.len() == 1 && found[0].contains("letters, digits"), "{found:?}");
}

#[cfg(feature = "kafka")]
mod kafka {
    use ::journal::kafka::{Compression, HeldTo, KafkaConfig};

    use super::*;

    const BROKERS: (&str, &str) = ("journal.uri", "kafka://a:1,b:2");

    fn settings(given: &[(&str, &str)]) -> KafkaConfig {
        let values = values(given);
        let mut reader = Reader::new(&values);
        let dir = reader.data_dir();
        let JournalSettings::Kafka(config) = reader.journal("shop", &dir) else {
            panic!("not on Kafka")
        };
        assert_eq!(reader.finish().unwrap(), Vec::<String>::new());
        *config
    }

    #[test]
    fn each_option_arrives() {
        let config = settings(&[BROKERS, ("stream.partitions", "4")]);
        assert_eq!((config.brokers.as_str(), config.topic.as_str()), ("a:1,b:2", "keyferry.shop"));
        assert_eq!((config.partitions, config.linger_ms, config.create), (4, 5, true));
        assert_eq!((config.replication_factor, config.min_insync_replicas), (None, None));
        let week_ms = 7 * 86_400_000;
        assert_eq!((config.retention_ms, config.retention_bytes), (Some(week_ms), Some(-1)));
        assert!(!config.any_partitions && settings(&[BROKERS]).any_partitions);
        assert_eq!(config.holds_to, []);
        let config = settings(&[
            BROKERS,
            ("stream.partitions", "4"),
            ("kafka.topic_prefix", "eu"),
            ("kafka.replication_factor", "3"),
            ("kafka.min_insync_replicas", "2"),
            ("kafka.linger", "20ms"),
            ("kafka.compression", "zstd"),
            ("kafka.create", "false"),
            ("kafka.client_id", "me"),
            ("kafka.properties", "security.protocol=SSL, debug = broker"),
            ("journal.retention_age", "0s"),
            ("journal.retention_bytes", "4MiB"),
        ]);
        assert_eq!((config.topic.as_str(), config.client_id.as_str()), ("eu.shop", "me"));
        assert_eq!((config.replication_factor, config.min_insync_replicas), (Some(3), Some(2)));
        assert_eq!((config.linger_ms, config.create), (20, false));
        assert_eq!((config.retention_ms, config.retention_bytes), (Some(-1), Some(1 << 20)));
        assert_eq!(config.compression, Compression::Zstd);
        let held = [HeldTo::ReplicationFactor, HeldTo::MinInsyncReplicas];
        assert_eq!(config.holds_to, [held, [HeldTo::RetentionMs, HeldTo::RetentionBytes]].concat());
        let properties = [("security.protocol", "SSL"), ("debug", "broker")];
        assert_eq!(config.properties, properties.map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn what_contradicts_itself_is_a_problem() {
        let cases = [
            ("kafka.min_insync_replicas", "4", "more than kafka.replication_factor, 3"),
            ("kafka.properties", "acks=0", "keyferry's own"),
            ("kafka.properties", "acks", "name=value"),
            ("kafka.topic_prefix", "a b", "characters"),
        ];
        for (path, value, words) in cases {
            let found = problems(&[BROKERS, ("kafka.replication_factor", "3"), (path, value)]);
            assert!(found.len() == 1 && found[0].contains(words), "{path} = {value:?}: {found:?}");
        }
    }

    #[test]
    fn properties_come_from_a_file_of_lines_and_nothing_of_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kafka.properties");
        std::fs::write(&file, "# of the shop\n\nsasl.password = a=b, c\n  sasl.username=me\n")
            .unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let path = file.to_str().unwrap();
        let config = settings(&[BROKERS, ("kafka.properties_file", path)]);
        let expected = [("sasl.password", "a=b, c"), ("sasl.username", "me")];
        assert_eq!(config.properties, expected.map(|(name, value)| (name.into(), value.into())));
        std::fs::write(&file, "a=b\nhidden\n").unwrap();
        let found = problems(&[BROKERS, ("kafka.properties_file", path)]);
        assert!(found.len() == 1 && found[0].contains("in line 2"), "{found:?}");
        assert!(!found[0].contains("hidden"), "{found:?}");
    }
}

#[cfg(not(feature = "kafka"))]
#[test]
fn a_build_without_kafka_says_so() {
    let said = problem("journal.uri", "kafka://a:1");
    assert!(said.contains("build it with the feature kafka"), "{said}");
}
