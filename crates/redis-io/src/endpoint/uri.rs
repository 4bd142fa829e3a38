//! The grammar of endpoint URIs, and what to say about those that do not follow it.
//!
//! Errors quote scheme and host at most: what stands elsewhere may be a misplaced password.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use runtime::{Class, Classified, Secret};
use thiserror::Error;

use super::{Address, Credentials, DEFAULT_PORT, Endpoint};
use crate::tls::{TlsSettings, TlsVersion};

/// A URI that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("bad endpoint {shown}: {kind}")]
pub struct BadUri {
    /// Scheme and host, as far as they could be told.
    pub shown: String,
    /// What is wrong.
    pub kind: BadUriKind,
}

/// What is wrong with a URI.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadUriKind {
    /// No `://`.
    #[error("it has no scheme; write redis://host:port, rediss:// for TLS, or unix:///path")]
    NoScheme,
    /// A scheme of something else.
    #[error("its scheme is not one of redis, rediss and unix")]
    UnknownScheme,
    /// A scheme that is known but not implemented.
    #[error("{0}:// is not supported yet by this version; name one server with redis:// instead")]
    NotYet(&'static str),
    /// `@` after a `/`, `?` or `#`.
    #[error(
        "a user or password with one of / ? # must be percent-encoded: / is %2F, ? is %3F, # is %23; \
         and an @ in a path, which is %40"
    )]
    Unencoded,
    /// A `%` that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the {0} is not valid percent-encoded UTF-8; a percent sign itself is %25")]
    BadEncoding(&'static str),
    /// Nothing where the host should be.
    #[error("it names no host")]
    NoHost,
    /// Characters that no host has.
    #[error("its host is neither a name nor an address; IPv6 addresses stand in brackets")]
    BadHost,
    /// Not a port.
    #[error("its port is not a number from 1 to 65535")]
    BadPort,
    /// Not a database.
    #[error("its database is not a number; write …/0 or leave it out")]
    BadDatabase,
    /// A Unix socket without a path.
    #[error("it names no socket; write unix:///path/to/socket")]
    NoSocket,
    /// Something after `#`.
    #[error("it has a fragment (#…), which means nothing here")]
    Fragment,
    /// A parameter of another name.
    #[error("it has an unknown parameter; known here: {known}")]
    UnknownParameter {
        /// What the scheme takes.
        known: &'static str,
    },
    /// A parameter with a value it does not take.
    #[error("its parameter {name} must be {wanted}")]
    BadParameter {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        wanted: &'static str,
    },
}

/// The URI in its parts, nothing decoded yet.
struct Parts<'a> {
    userinfo: Option<&'a str>,
    host_port: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

pub(super) fn parse(uri: &str) -> Result<Endpoint, BadUri> {
    parse_kind(uri.trim()).map_err(|kind| BadUri { shown: shown(uri.trim()), kind })
}

fn parse_kind(uri: &str) -> Result<Endpoint, BadUriKind> {
    let (scheme, rest) = uri.split_once("://").ok_or(BadUriKind::NoScheme)?;
    match scheme.to_ascii_lowercase().as_str() {
        "redis" => tcp(rest, None),
        "rediss" => tcp(rest, Some(TlsSettings::default())),
        "unix" => unix(rest),
        "redis+sentinel" | "rediss+sentinel" => Err(BadUriKind::NotYet("redis+sentinel")),
        "redis+cluster" | "rediss+cluster" => Err(BadUriKind::NotYet("redis+cluster")),
        _ => Err(BadUriKind::UnknownScheme),
    }
}

fn tcp(rest: &str, tls: Option<TlsSettings>) -> Result<Endpoint, BadUriKind> {
    let parts = split(rest)?;
    if parts.path.contains('@') || parts.query.is_some_and(|query| query.contains('@')) {
        return Err(BadUriKind::Unencoded);
    }
    let credentials = parts.userinfo.map(credentials).transpose()?;
    let address = host_port(parts.host_port)?;
    let db = match parts.path.strip_prefix('/').unwrap_or_default() {
        "" => 0,
        number => number.parse().map_err(|_| BadUriKind::BadDatabase)?,
    };
    let tls = match tls {
        Some(tls) => Some(tls_parameters(tls, parts.query)?),
        None if parameters(parts.query).next().is_some() => {
            return Err(BadUriKind::UnknownParameter {
                known: "none (TLS ones go with rediss://)",
            });
        }
        None => None,
    };
    Ok(Endpoint { address, credentials, passwords: None, tls, db })
}

fn unix(rest: &str) -> Result<Endpoint, BadUriKind> {
    let parts = split(rest)?;
    if !parts.host_port.is_empty() || parts.path.len() < 2 {
        return Err(BadUriKind::NoSocket);
    }
    // A password that is not where it should be would be taken for a part of the path, and shown.
    if parts.path.contains('@') {
        return Err(BadUriKind::Unencoded);
    }
    let credentials = parts.userinfo.map(credentials).transpose()?;
    let path = PathBuf::from(decoded(parts.path, "path")?);
    let mut endpoint = Endpoint { credentials, ..Endpoint::new(Address::Unix(path)) };
    for (name, value) in parameters(parts.query) {
        if name != "db" {
            return Err(BadUriKind::UnknownParameter { known: "db" });
        }
        endpoint.db = value.parse().map_err(|_| BadUriKind::BadDatabase)?;
    }
    Ok(endpoint)
}

fn split(rest: &str) -> Result<Parts<'_>, BadUriKind> {
    let (rest, fragment) = match rest.split_once('#') {
        Some((before, after)) => (before, Some(after)),
        None => (rest, None),
    };
    match fragment {
        Some(fragment) if fragment.contains('@') => return Err(BadUriKind::Unencoded),
        Some(_) => return Err(BadUriKind::Fragment),
        None => {}
    }
    let (before_query, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    let slash = before_query.find('/').unwrap_or(before_query.len());
    let (authority, path) = before_query.split_at(slash);
    let (userinfo, host_port) = match authority.rsplit_once('@') {
        Some((userinfo, host_port)) => (Some(userinfo), host_port),
        None => (None, authority),
    };
    Ok(Parts { userinfo, host_port, path, query })
}

fn credentials(userinfo: &str) -> Result<Credentials, BadUriKind> {
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (userinfo, None),
    };
    let user = Some(decoded(user, "user")?).filter(|user| !user.is_empty());
    let password = password.map(|password| decoded(password, "password")).transpose()?;
    Ok(Credentials { user, password: password.map(Secret::new) })
}

fn host_port(text: &str) -> Result<Address, BadUriKind> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or(BadUriKind::BadHost)?;
        host.parse::<Ipv6Addr>().map_err(|_| BadUriKind::BadHost)?;
        match after {
            "" => (host, None),
            after => (host, Some(after.strip_prefix(':').ok_or(BadUriKind::BadHost)?)),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(BadUriKind::BadHost),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err(BadUriKind::NoHost);
    }
    let is_host = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if !host.chars().all(is_host) {
        return Err(BadUriKind::BadHost);
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(BadUriKind::BadPort)?,
    };
    Ok(Address::Tcp { host: host.to_owned(), port })
}

fn tls_parameters(mut tls: TlsSettings, query: Option<&str>) -> Result<TlsSettings, BadUriKind> {
    for (name, value) in parameters(query) {
        match name {
            "insecure" => {
                tls.insecure = value.parse().map_err(|_| BadUriKind::BadParameter {
                    name: "insecure",
                    wanted: "true or false",
                })?;
            }
            "min_tls" => {
                tls.min_version = match value {
                    "1.2" => TlsVersion::V1_2,
                    "1.3" => TlsVersion::V1_3,
                    _ => {
                        let wanted = "1.2 or 1.3";
                        return Err(BadUriKind::BadParameter { name: "min_tls", wanted });
                    }
                };
            }
            "server_name" => tls.server_name = Some(decoded(value, "server_name")?),
            _ => {
                let known = "insecure, min_tls, server_name (files go in the configuration)";
                return Err(BadUriKind::UnknownParameter { known });
            }
        }
    }
    Ok(tls)
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Percent-decoding that accepts no stray `%`, unlike the lenient rule of browsers.
fn decoded(text: &str, what: &'static str) -> Result<String, BadUriKind> {
    let mut after_signs = text.split('%').skip(1);
    let is_hex = |after: &str| {
        after.get(..2).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    if !after_signs.all(is_hex) {
        return Err(BadUriKind::BadEncoding(what));
    }
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| BadUriKind::BadEncoding(what))
}

fn shown(uri: &str) -> String {
    let (scheme, rest) = uri.split_once("://").map_or(("", uri), |(scheme, rest)| (scheme, rest));
    let known =
        !scheme.is_empty() && scheme.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'+');
    let scheme = if known { format!("{scheme}://") } else { String::new() };
    let (masked, host) = match rest.rsplit_once('@') {
        Some((_, host)) => ("***@", host),
        None => ("", rest),
    };
    let end = if host.starts_with('[') { host.find(']').map(|at| at + 1) } else { None };
    let end = end.or_else(|| host.find([':', '/', '?', '#'])).unwrap_or(host.len());
    format!("\"{scheme}{masked}{}…\"", host.get(..end).unwrap_or_default())
}

impl Classified for BadUri {
    fn class(&self) -> Class {
        Class::Operator
    }

    fn advice(&self) -> String {
        "Write redis://[user@]host[:port][/db], rediss://… for TLS, or unix:///path[?db=n]; percent-encode what is \
         special in a user. A password goes into the environment, a password file or the configuration file."
            .to_owned()
    }
}
