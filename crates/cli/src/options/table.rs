//! The table of options.

mod destination;
mod kafka;
mod source;

use super::{Kind, OptionSpec};

/// Properties of the client library, which may be secrets.
pub(crate) const KAFKA_PROPERTIES: &str = "kafka.properties";

/// A line of the table.
const fn option(
    path: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { path, short_flag: None, kind, default, help }
}

/// A line of the table with a shorter flag.
const fn short(option: OptionSpec, flag: &'static str) -> OptionSpec {
    OptionSpec { short_flag: Some(flag), ..option }
}

const TLS_VERSIONS: Kind = Kind::Word(&["1.2", "1.3"]);

/// Every option, by section.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    short(
        option(
            "data_dir",
            Kind::Path,
            Some("./keyferry-data"),
            "Directory of everything that is kept: journal, quarantine, spool, status.",
        ),
        "data-dir",
    ),
    option(
        "source.uri",
        Kind::Uri,
        None,
        "The source: redis://host:port, rediss://host:port for TLS, unix:///path. The argument SOURCE says it, too.",
    ),
    option(
        "source.user",
        Kind::Text,
        None,
        "ACL user at the source, when the URI does not name one.",
    ),
    option(
        "source.password",
        Kind::Secret,
        None,
        "Password at the source. Not as an argument: by the environment or the file, or see source.password_file.",
    ),
    option("source.password_file", Kind::Path, None, "File with the password at the source."),
    option(
        "source.tls_ca_file",
        Kind::Path,
        None,
        "PEM file of the authorities to trust, besides the system's.",
    ),
    option(
        "source.tls_cert_file",
        Kind::Path,
        None,
        "PEM file of the client certificate to show to the source.",
    ),
    option(
        "source.tls_key_file",
        Kind::Path,
        None,
        "PEM file of the client certificate's private key.",
    ),
    option(
        "source.tls_server_name",
        Kind::Text,
        None,
        "Name that the source's certificate must be made out to, when it is not the host's.",
    ),
    option(
        "source.tls_min_version",
        TLS_VERSIONS,
        Some("1.2"),
        "The oldest version of TLS to accept from the source.",
    ),
    option(
        "source.tls_insecure",
        Kind::Flag,
        Some("false"),
        "Do not verify the source's certificate. Only for trying things out.",
    ),
    option(
        "source.heartbeat",
        Kind::Flag,
        Some("true"),
        "Write a small expiring key (keyferry:heartbeat:…) at the source, by which its clock is known. Without it times are those of arrival.",
    ),
    option(
        "source.heartbeat_interval",
        Kind::Duration,
        Some("1s"),
        "How often the heartbeat is written, and a place to resume at recorded.",
    ),
    option(
        "source.reconnect_window",
        Kind::Duration,
        Some("12h"),
        "How long to try to reach the source again before giving up.",
    ),
    option(
        "source.refused_window",
        Kind::Duration,
        Some("10m"),
        "How long to try again when the source does not let us in any more, as while a password is being changed.",
    ),
    source::ACCEPT_NEW,
    source::SHARD,
    option(
        "destination.uri",
        Kind::Uri,
        None,
        "The destination, as source.uri. The argument DESTINATION says it, too.",
    ),
    option(
        "destination.name",
        Kind::Text,
        None,
        "What the destination is called in the journal: letters, digits, '.', '_' and '-'. Not set: a name made of its address. Several apply processes of one destination have the same, two destinations have not.",
    ),
    option(
        "destination.user",
        Kind::Text,
        None,
        "ACL user at the destination, when the URI does not name one.",
    ),
    option(
        "destination.password",
        Kind::Secret,
        None,
        "Password at the destination. Not as an argument: by the environment or the file, or see destination.password_file.",
    ),
    option(
        "destination.password_file",
        Kind::Path,
        None,
        "File with the password at the destination.",
    ),
    option(
        "destination.tls_ca_file",
        Kind::Path,
        None,
        "PEM file of the authorities to trust, besides the system's.",
    ),
    option(
        "destination.tls_cert_file",
        Kind::Path,
        None,
        "PEM file of the client certificate to show to the destination.",
    ),
    option(
        "destination.tls_key_file",
        Kind::Path,
        None,
        "PEM file of the client certificate's private key.",
    ),
    option(
        "destination.tls_server_name",
        Kind::Text,
        None,
        "Name that the destination's certificate must be made out to, when it is not the host's.",
    ),
    option(
        "destination.tls_min_version",
        TLS_VERSIONS,
        Some("1.2"),
        "The oldest version of TLS to accept from the destination.",
    ),
    option(
        "destination.tls_insecure",
        Kind::Flag,
        Some("false"),
        "Do not verify the destination's certificate. Only for trying things out.",
    ),
    short(
        option(
            "destination.existing",
            Kind::Word(&["fail", "overwrite", "sweep"]),
            Some("fail"),
            "What to do about keys that the destination holds before its first sync: refuse to start, write over them, or write over them and remove at the end what the source does not have. The destination remembers overwrite.",
        ),
        "existing",
    ),
    option(
        "destination.checkpoint_db",
        Kind::Number,
        Some("0"),
        "Database of the destination that holds keyferry's own keys.",
    ),
    option(
        "destination.extend_expiry",
        Kind::Duration,
        Some("0s"),
        "Added to every expiry at the destination.",
    ),
    option(
        "destination.hold_expiry",
        Kind::Duration,
        Some("5s"),
        "How long whatever is written at the destination lives there, at the least, so that a change that renews it finds it; twice the lag is added while catching up, and taken back once that is done. What is nearer to its end is removed by the source's own delete. 0s: no such time.",
    ),
    short(
        option(
            "destination.import_mode",
            Kind::Flag,
            Some("false"),
            "Have a Valkey from 8.1 on in import mode while it is fed: it removes nothing that has expired, and evicts nothing, before the source's own delete comes, and deadlines are written as they are instead of being held back (hold_expiry). Ended when keyferry stops, unless another one feeds the server. The account needs config|set and client|import-source; without one of them the mode is not begun.",
        ),
        "import-mode",
    ),
    option(
        "destination.inexact",
        Kind::Word(&["refuse", "skip"]),
        Some("refuse"),
        "What to do about a flush, an exchange of databases, the removals after a full copy or a script (of a Redis up to 4.0) that filters, mappings or other people's keys make inexact: stop and say so, or leave it out with a warning; a script then goes to quarantine.",
    ),
    short(
        option(
            "destination.unsupported",
            Kind::Word(&["quarantine", "drop", "fail"]),
            Some("quarantine"),
            "What to do about what the destination cannot hold, such as hash fields that expire in an older one: set the key aside and go on with all others; the same, but keep nothing of it, only counts; or stop before it. What a snapshot holds and no command carries, such as data of a module that belongs to no key, is left out and reported by the first two.",
        ),
        "unsupported",
    ),
    destination::RESNAPSHOT,
    option(
        "destination.batch_commands",
        Kind::Number,
        Some("1024"),
        "Commands that one atomic step may hold.",
    ),
    option(
        "destination.batch_bytes",
        Kind::Bytes,
        Some("1MiB"),
        "Bytes that one atomic step may hold.",
    ),
    option(
        "destination.reconnect_window",
        Kind::Duration,
        Some("12h"),
        "How long to try to reach the destination again before giving up.",
    ),
    option(
        "destination.refused_window",
        Kind::Duration,
        Some("10m"),
        "How long to try again when the destination refuses commands, before giving up.",
    ),
    short(
        option(
            "stream.name",
            Kind::Text,
            Some("main"),
            "Name of the stream in the journal, and of keyferry's keys at source and destination.",
        ),
        "stream",
    ),
    short(
        option(
            "stream.partitions",
            Kind::Number,
            Some("16"),
            "Partitions of the stream; fixed when it is made.",
        ),
        "partitions",
    ),
    short(
        option(
            "journal.uri",
            Kind::Uri,
            Some("local"),
            "Where the journal is: local, the embedded one in the data directory, or kafka://host:port,host:port with some brokers of an Apache Kafka. capture and apply need the latter.",
        ),
        "journal",
    ),
    option(
        "journal.sync_interval",
        Kind::Duration,
        Some("10ms"),
        "How often what was written is made durable; 0s: after every batch. Of the local journal, as the other options of this section but for retention.",
    ),
    option(
        "journal.segment_bytes",
        Kind::Bytes,
        Some("64MiB"),
        "Size at which a new file of the journal is begun. Files are removed as a whole.",
    ),
    option(
        "journal.retention_bytes",
        Kind::Bytes,
        Some("0"),
        "Journal size beyond which the oldest files go, if the destination has had them; 0: no limit. On Kafka each partition has its share of it when the topics are made, and brokers do not wait for a destination.",
    ),
    option(
        "journal.retention_age",
        Kind::Duration,
        Some("7d"),
        "Age beyond which the oldest files of the journal go, if the destination has had them; 0s: no limit. On Kafka it is set when the topics are made, and brokers do not wait for a destination.",
    ),
    option(
        "journal.compression",
        Kind::Word(&["lz4", "none"]),
        Some("lz4"),
        "How the journal's files are compressed.",
    ),
    kafka::TOPIC_PREFIX,
    kafka::REPLICATION_FACTOR,
    kafka::MIN_INSYNC_REPLICAS,
    kafka::LINGER,
    kafka::COMPRESSION,
    kafka::CREATE,
    kafka::CLIENT_ID,
    kafka::PROPERTIES,
    kafka::PROPERTIES_FILE,
    option(
        "spool.memory_bytes",
        Kind::Bytes,
        Some("8MiB"),
        "What the source sends faster than it is recorded waits in memory up to this size.",
    ),
    option(
        "spool.disk_bytes",
        Kind::Bytes,
        Some("8GiB"),
        "And beyond that in files up to this size; then the capture stops with an error.",
    ),
    short(
        option(
            "filter.include_dbs",
            Kind::List,
            None,
            "Take only these databases of the source: numbers and ranges (0,3-5).",
        ),
        "include-dbs",
    ),
    short(
        option("filter.exclude_dbs", Kind::List, None, "Leave out these databases of the source."),
        "exclude-dbs",
    ),
    short(
        option(
            "filter.include_keys",
            Kind::List,
            None,
            "Take only keys that fit one of these patterns (user:*, a?c, [ab]*).",
        ),
        "include-keys",
    ),
    short(
        option(
            "filter.exclude_keys",
            Kind::List,
            None,
            "Leave out keys that fit one of these patterns.",
        ),
        "exclude-keys",
    ),
    short(
        option(
            "filter.include_prefixes",
            Kind::List,
            None,
            "Take only keys that begin with one of these texts.",
        ),
        "include-prefixes",
    ),
    short(
        option(
            "filter.exclude_prefixes",
            Kind::List,
            None,
            "Leave out keys that begin with one of these texts.",
        ),
        "exclude-prefixes",
    ),
    short(
        option(
            "filter.include_types",
            Kind::List,
            None,
            "Take only values of these types: string, list, set, zset, hash, stream, module.",
        ),
        "include-types",
    ),
    short(
        option("filter.exclude_types", Kind::List, None, "Leave out values of these types."),
        "exclude-types",
    ),
    short(
        option(
            "filter.include_commands",
            Kind::List,
            None,
            "Take only these commands of the stream. Snapshots are not commands.",
        ),
        "include-commands",
    ),
    short(
        option(
            "filter.exclude_commands",
            Kind::List,
            None,
            "Leave out these commands of the stream.",
        ),
        "exclude-commands",
    ),
    short(
        option(
            "map.dbs",
            Kind::List,
            None,
            "Where databases go: 0:5,1:6, or all:0 for every one to the same.",
        ),
        "map-dbs",
    ),
    option(
        "throttle.full_rows",
        Kind::Number,
        Some("0"),
        "Events of a snapshot that are applied in a second, at the most; 0: no limit. A capture by itself records no more. This and the other limits can be changed while it runs: see docs/operate.md.",
    ),
    option(
        "throttle.full_bytes",
        Kind::Bytes,
        Some("0"),
        "Bytes of a snapshot's events that are applied in a second, at the most; 0: no limit.",
    ),
    option(
        "throttle.source_read_bytes",
        Kind::Bytes,
        Some("0"),
        "Bytes of a snapshot that are read from the source in a second, at the most; 0: no limit. It costs the source memory for as long as it takes: see docs/operate.md.",
    ),
    option(
        "throttle.incremental_rows",
        Kind::Number,
        Some("0"),
        "Events of the stream that are applied in a second, at the most; 0: no limit.",
    ),
    option(
        "throttle.incremental_bytes",
        Kind::Bytes,
        Some("0"),
        "Bytes of the stream's events that are applied in a second, at the most; 0: no limit.",
    ),
    option(
        "admin.listen",
        Kind::Text,
        Some("127.0.0.1:9377"),
        "Where HTTP is answered: metrics, health, status, orders (docs/operate.md). host:port, port 0 for any that is free, or off. Without TLS.",
    ),
    option(
        "admin.token",
        Kind::Secret,
        None,
        "Whoever has it may pause, resume and limit by HTTP; without one nobody may. Not as an argument: by the environment or the file, or see admin.token_file.",
    ),
    option("admin.token_file", Kind::Path, None, "File with the token for orders by HTTP."),
    option(
        "log.level",
        Kind::Text,
        Some("info"),
        "What to log: error, warn, info, debug, trace, or a filter as capture=debug,info.",
    ),
    option(
        "log.progress_interval",
        Kind::Duration,
        Some("5s"),
        "How often run logs how it goes, where standard error is no terminal (a terminal has a live line); 0s: never.",
    ),
    short(
        option(
            "log.json",
            Kind::Flag,
            Some("false"),
            "Log lines and progress as JSON, one object a line.",
        ),
        "json",
    ),
];
