//! Facts from the `INFO` of servers of both families.

use super::*;

fn facts(text: &str) -> ServerFacts {
    ServerFacts::from_info(&Info::parse(text))
}

#[test]
fn a_valkey_is_told_by_its_own_version() {
    let facts = facts("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n");
    assert_eq!(
        (facts.flavour, facts.version),
        (Some(Flavour::Valkey), Some(Version::new(9, 1, 2)))
    );
    let facts = self::facts("redis_version:7.0.15\r\n");
    assert_eq!(
        (facts.flavour, facts.version),
        (Some(Flavour::Redis), Some(Version::new(7, 0, 15)))
    );
    let facts = self::facts("redis_version:7.4.0\r\nserver_name:garnet\r\n");
    assert_eq!(facts.flavour, Some(Flavour::Other("garnet".to_owned())));
    assert_eq!(self::facts("").flavour, None);
}

#[test]
fn reads_a_replica() {
    let facts = facts(
        "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:down\r\n\
         master_sync_in_progress:1\r\nslave_read_only:1\r\n",
    );
    let expected = Role::Replica {
        primary_host: "10.0.0.1".to_owned(),
        primary_port: 6379,
        link_up: false,
        syncing: true,
    };
    assert_eq!(facts.role, Some(expected));
    assert_eq!(facts.replica_read_only, Some(true));
}

#[test]
fn reads_the_replication_state() {
    let text = "master_replid:aa\r\nmaster_replid2:0000\r\nmaster_repl_offset:70\r\n\
                second_repl_offset:-1\r\nrepl_backlog_active:0\r\nrepl_backlog_size:1048576\r\n\
                repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n";
    let expected = ReplicationFacts {
        replid: "aa".to_owned(),
        replid2: None,
        offset: 70,
        second_offset: None,
        backlog_bytes: Some(1_048_576),
        backlog_first_offset: None,
        backlog_used_bytes: Some(0),
    };
    assert_eq!(facts(text).replication, Some(expected));
    let active = "master_replid:aa\r\nmaster_replid2:bb\r\nmaster_repl_offset:70\r\n\
                  second_repl_offset:51\r\nrepl_backlog_active:1\r\n\
                  repl_backlog_first_byte_offset:1\r\n";
    let facts = facts(active).replication.unwrap();
    assert_eq!((facts.replid2.as_deref(), facts.second_offset), (Some("bb"), Some(51)));
    assert_eq!(facts.backlog_first_offset, Some(1));
}

#[test]
fn reads_databases_and_modules() {
    let facts = facts(
        "db0:keys=3,expires=1,avg_ttl=0\r\ndb7:keys=1,expires=0,avg_ttl=0,subexpiry=0\r\n\
         dbx:keys=1\r\nmodule:name=ReJSON,ver=20607,api=1\r\n",
    );
    assert_eq!(facts.keyspace.len(), 2);
    assert_eq!(facts.keyspace[&0], DbFacts { keys: 3, expires: 1 });
    assert_eq!(facts.modules, [Module { name: "ReJSON".to_owned(), version: 20_607 }]);
}

#[test]
fn versions_are_ordered_and_forgive_suffixes() {
    assert_eq!("8.0.0-rc1".parse(), Ok(Version::new(8, 0, 0)));
    assert!(Version::new(9, 1, 2) > Version::new(9, 1, 0));
    for bad in ["", "7", "7.0", "a.b.c", "7..1"] {
        assert!(bad.parse::<Version>().is_err(), "{bad}");
    }
}
