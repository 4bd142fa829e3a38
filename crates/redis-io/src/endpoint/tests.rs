//! What a URI may look like, and what is said about one that may not.

use super::*;
use crate::tls::TlsVersion;

fn parse(uri: &str) -> Endpoint {
    Endpoint::parse(uri).unwrap_or_else(|error| panic!("{error}"))
}

fn tcp(host: &str, port: u16) -> Address {
    Address::Tcp { host: host.to_owned(), port }
}

fn login(endpoint: &Endpoint) -> (Option<&str>, Option<&str>) {
    let credentials = endpoint.credentials().expect("credentials");
    (credentials.user.as_deref(), credentials.password.as_ref().map(Secret::expose))
}

#[test]
fn reads_host_port_and_database() {
    let cases = [
        ("redis://h", tcp("h", 6379), 0),
        ("redis://h/", tcp("h", 6379), 0),
        ("REDIS://h.example.org:7000/15", tcp("h.example.org", 7000), 15),
        ("redis://[::1]:7000/1", tcp("::1", 7000), 1),
        ("redis://[2001:db8::7]", tcp("2001:db8::7", 6379), 0),
        (" redis://10.0.0.1:1 ", tcp("10.0.0.1", 1), 0),
    ];
    for (uri, address, db) in cases {
        let endpoint = parse(uri);
        assert_eq!((endpoint.address(), endpoint.db()), (&address, db), "{uri}");
        assert!(endpoint.credentials().is_none() && endpoint.tls().is_none());
    }
}

#[test]
fn reads_credentials_with_percent_decoding() {
    assert_eq!(login(&parse("redis://u:p@h")), (Some("u"), Some("p")));
    assert_eq!(login(&parse("redis://:p@h")), (None, Some("p")));
    assert_eq!(login(&parse("redis://u@h")), (Some("u"), None));
    assert_eq!(login(&parse("redis://a%40b:p%2F%3a%25%C3%A9@h")), (Some("a@b"), Some("p/:%é")));
    assert_eq!(login(&parse("redis://u:a:b@c@h")), (Some("u"), Some("a:b@c")));
    let later = parse("redis://u@h").with_password(Secret::new("p"));
    assert_eq!(login(&later), (Some("u"), Some("p")));
}

#[test]
fn reads_tls_parameters() {
    let tls = parse("rediss://h").tls().cloned().unwrap();
    assert_eq!(tls, TlsSettings::default());
    assert!(!tls.insecure && tls.min_version == TlsVersion::V1_2);
    let tls = parse("rediss://h:1/2?insecure=true&min_tls=1.3&server_name=a.b").tls().cloned();
    let tls = tls.unwrap();
    assert!(tls.insecure && tls.min_version == TlsVersion::V1_3);
    assert_eq!(tls.server_name.as_deref(), Some("a.b"));
}

#[test]
fn reads_unix_sockets() {
    let endpoint = parse("unix:///run/redis%20a.sock?db=3");
    assert_eq!(endpoint.address(), &Address::Unix("/run/redis a.sock".into()));
    assert_eq!(endpoint.db(), 3);
    assert_eq!(login(&parse("unix://u:p@/s")), (Some("u"), Some("p")));
}

#[test]
fn shows_itself_without_the_password_and_reads_that_back() {
    let cases = [
        ("redis://u:hunter2@h:1/2", "redis://u@h:1/2"),
        ("redis://:hunter2@h", "redis://h:6379"),
        ("rediss://[::1]/0", "rediss://[::1]:6379"),
        ("unix://u:hunter2@/s?db=1", "unix://u@/s?db=1"),
    ];
    for (uri, shown) in cases {
        let endpoint = parse(uri);
        assert_eq!(endpoint.to_string(), shown);
        assert!(!format!("{endpoint:?}").contains("hunter2"));
        assert_eq!(parse(shown).to_string(), shown);
    }
}

#[test]
fn says_precisely_what_is_wrong() {
    use BadUriKind as Kind;
    let cases = [
        ("h:6379", Kind::NoScheme),
        ("", Kind::NoScheme),
        ("http://h", Kind::UnknownScheme),
        ("redis+sentinel://h/m", Kind::NotYet("redis+sentinel")),
        ("redis+cluster://h", Kind::NotYet("redis+cluster")),
        ("redis://", Kind::NoHost),
        ("redis://:7000", Kind::NoHost),
        ("redis://h:0", Kind::BadPort),
        ("redis://h:65536", Kind::BadPort),
        ("redis://h:x", Kind::BadPort),
        ("redis://::1", Kind::BadHost),
        ("redis://[::1", Kind::BadHost),
        ("redis://[::g]", Kind::BadHost),
        ("redis://[::1]7", Kind::BadHost),
        ("redis://a b", Kind::BadHost),
        ("redis://h/x", Kind::BadDatabase),
        ("redis://h/-1", Kind::BadDatabase),
        ("redis://h/1/2", Kind::BadDatabase),
        ("redis://h#x", Kind::Fragment),
        ("redis://u:p/q@h", Kind::Unencoded),
        ("redis://u:p?q@h", Kind::Unencoded),
        ("redis://u:p#q@h", Kind::Unencoded),
        ("unix://u:p@/q@/run/redis.sock", Kind::Unencoded),
        ("unix:///u:p@/run/redis.sock", Kind::Unencoded),
        ("redis://u:50%@h", Kind::BadEncoding("password")),
        ("redis://u%zz:p@h", Kind::BadEncoding("user")),
        ("redis://u:%ff@h", Kind::BadEncoding("password")),
        ("unix://host/path", Kind::NoSocket),
        ("unix:///", Kind::NoSocket),
        ("unix:///s?db=x", Kind::BadDatabase),
        ("unix:///s?name=x", Kind::UnknownParameter { known: "db" }),
    ];
    for (uri, kind) in cases {
        assert_eq!(Endpoint::parse(uri).map_err(|error| error.kind), Err(kind), "{uri}");
    }
    for uri in ["redis://h?insecure=true", "rediss://h?ca=/x", "rediss://h?insecure=maybe"] {
        assert!(Endpoint::parse(uri).is_err(), "{uri}");
    }
}

#[test]
fn no_error_shows_a_password_wherever_it_was_put() {
    let uris = [
        "redis://u:hunter2@h:x",
        "redis://u:hunter2/x@h",
        "redis://h:hunter2",
        "redis://u:x/hunter2@h",
        "redis://u:x?hunter2@h",
        "redis://u:x#hunter2@h",
        "u:hunter2@h",
        "hunter://u:hunter2%@h",
        "rediss://h?password=hunter2",
        "redis://h/hunter2",
    ];
    for uri in uris {
        let error = Endpoint::parse(uri).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let error = Endpoint::parse("redis://u:hunter2@h:x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "bad endpoint \"redis://***@h…\": its port is not a number from 1 to 65535"
    );
}
