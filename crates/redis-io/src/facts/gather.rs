//! Asking for the facts: one `INFO`, three `CONFIG GET`, and databases by trying where that is
//! refused.

use std::collections::BTreeMap;

use wire::resp::reply::Reply;

use super::{DbFacts, Flavour, Missing, Module, ReplicationFacts, Role, ServerFacts, SizeFacts};
use crate::connection::Connection;
use crate::error::Error;
use crate::info::{Info, part};
use crate::refusal::Refusal;

/// How a question about the configuration is called where it is refused.
const CONFIG_GET: &str = "CONFIG GET";

/// Databases beyond this are not looked for by trying; no default comes near it.
const MOST_DATABASES_TRIED: u32 = 1 << 16;

pub(super) async fn gather(connection: &mut Connection) -> Result<ServerFacts, Error> {
    let mut facts = match connection.ask(["INFO"]).await? {
        Reply::Error(text) => missing("INFO", &text),
        reply => match reply.as_bytes() {
            Some(text) => from_info(&Info::parse(&String::from_utf8_lossy(text))),
            None => return Err(connection.unexpected("INFO", &reply)),
        },
    };
    if facts.role != Some(Role::Sentinel) {
        facts.databases = databases(connection, &mut facts).await?;
        let is_closed = facts.missing.iter().any(|missing| missing.command == CONFIG_GET);
        facts.sizes = if is_closed { SizeFacts::default() } else { sizes(connection).await? };
    }
    Ok(facts)
}

pub(super) async fn ask_again(
    facts: &mut ServerFacts,
    connection: &mut Connection,
) -> Result<(), Error> {
    let known = (facts.version.is_some(), facts.role.is_some(), facts.cluster_enabled.is_some());
    if known != (true, true, true) {
        take_hello(facts, &connection.ask(["HELLO", "2"]).await?);
    }
    Ok(())
}

/// Takes from the reply to `HELLO` what is not known.
pub(super) fn take_hello(facts: &mut ServerFacts, reply: &Reply) {
    let pairs = reply.as_array().unwrap_or_default().chunks_exact(2);
    let told: BTreeMap<&str, &str> = pairs
        .filter_map(|pair| match pair {
            [name, value] => Some((name.as_str()?, value.as_str()?)),
            _ => None,
        })
        .collect();
    let get = |name| told.get(name).copied();
    if facts.version.is_none() {
        facts.version = get("version").and_then(|text| text.parse().ok());
        facts.flavour = facts.flavour.take().or_else(|| {
            get("server").map(|name| match name {
                "redis" => Flavour::Redis,
                "valkey" => Flavour::Valkey,
                other => Flavour::Other(other.to_owned()),
            })
        });
    }
    let mode = get("mode");
    facts.cluster_enabled = facts.cluster_enabled.or(mode.map(|mode| mode == "cluster"));
    facts.role = facts.role.take().or_else(|| match (mode, get("role")?) {
        (Some("sentinel"), _) => Some(Role::Sentinel),
        (_, "master") => Some(Role::Primary { replicas: 0 }),
        (_, "replica" | "slave") => Some(Role::Replica {
            primary_host: String::new(),
            primary_port: 0,
            link_up: false,
            syncing: false,
        }),
        _ => None,
    });
}

pub(super) fn from_info(info: &Info) -> ServerFacts {
    let (flavour, version) = identity(info);
    ServerFacts {
        flavour,
        version,
        role: role(info),
        run_id: info.get("run_id").map(str::to_owned),
        replication: replication(info),
        loading: info.flag("loading"),
        maxmemory_bytes: info.number("maxmemory"),
        used_memory_bytes: info.number("used_memory"),
        maxmemory_policy: info.get("maxmemory_policy").map(str::to_owned),
        cluster_enabled: info.flag("cluster_enabled"),
        databases: None,
        sizes: SizeFacts::default(),
        replica_read_only: info.flag("slave_read_only"),
        keyspace: keyspace(info),
        modules: modules(info),
        missing: Vec::new(),
    }
}

fn missing(command: &str, text: &[u8]) -> ServerFacts {
    let said = Refusal::read(text).text;
    let missing = vec![Missing { command: command.to_owned(), said }];
    ServerFacts { missing, ..ServerFacts::default() }
}

/// Valkey poses as Redis 7.2.4 for old clients, so its own fields go first.
fn identity(info: &Info) -> (Option<Flavour>, Option<super::Version>) {
    let version = |field| info.get(field).and_then(|text| text.parse().ok());
    if let Some(valkey) = version("valkey_version") {
        return (Some(Flavour::Valkey), Some(valkey));
    }
    match (info.get("server_name"), version("redis_version")) {
        (Some(name), found) if !name.eq_ignore_ascii_case("redis") => {
            (Some(Flavour::Other(name.to_owned())), found)
        }
        (_, Some(redis)) => (Some(Flavour::Redis), Some(redis)),
        (_, None) => (None, None),
    }
}

fn role(info: &Info) -> Option<Role> {
    if info.get("redis_mode").or_else(|| info.get("server_mode")) == Some("sentinel") {
        return Some(Role::Sentinel);
    }
    match info.get("role")? {
        "master" => {
            Some(Role::Primary { replicas: info.number("connected_slaves").unwrap_or_default() })
        }
        "slave" => Some(Role::Replica {
            primary_host: info.get("master_host")?.to_owned(),
            primary_port: info.number("master_port")?,
            link_up: info.get("master_link_status") == Some("up"),
            syncing: info.flag("master_sync_in_progress").unwrap_or_default(),
        }),
        _ => None,
    }
}

fn replication(info: &Info) -> Option<ReplicationFacts> {
    let second_offset =
        info.number::<i64>("second_repl_offset").and_then(|o| u64::try_from(o).ok());
    let active = info.flag("repl_backlog_active").unwrap_or_default();
    let backlog_first_offset = info.number("repl_backlog_first_byte_offset").filter(|_| active);
    Some(ReplicationFacts {
        replid: info.get("master_replid")?.to_owned(),
        // Zeros stand for none.
        replid2: info
            .get("master_replid2")
            .filter(|id| id.bytes().any(|digit| digit != b'0'))
            .map(str::to_owned),
        offset: info.number("master_repl_offset")?,
        second_offset,
        backlog_bytes: info.number("repl_backlog_size"),
        backlog_first_offset,
        backlog_used_bytes: info.number("repl_backlog_histlen"),
    })
}

fn keyspace(info: &Info) -> BTreeMap<u32, DbFacts> {
    let dbs = info.fields().filter_map(|(name, value)| {
        let db = name.strip_prefix("db")?.parse().ok()?;
        let number = |name| part(value, name)?.parse::<u64>().ok();
        Some((db, DbFacts { keys: number("keys")?, expires: number("expires").unwrap_or(0) }))
    });
    dbs.collect()
}

fn modules(info: &Info) -> Vec<Module> {
    let modules = info.all("module").filter_map(|value| {
        let version = part(value, "ver")?.parse().ok()?;
        Some(Module { name: part(value, "name")?.to_owned(), version })
    });
    modules.collect()
}

/// Asks the configuration, one by one: before 7.0 it gives one parameter at a time.
pub(super) async fn sizes(connection: &mut Connection) -> Result<SizeFacts, Error> {
    let max_bulk = connection.ask(["CONFIG", "GET", "proto-max-bulk-len"]).await?;
    if matches!(max_bulk, Reply::Error(_)) {
        return Ok(SizeFacts::default());
    }
    let query_buffer = connection.ask(["CONFIG", "GET", "client-query-buffer-limit"]).await?;
    let (max_bulk_bytes, query_buffer_bytes) = (bytes(&max_bulk), bytes(&query_buffer));
    Ok(SizeFacts { max_bulk_bytes, query_buffer_bytes })
}

fn bytes(reply: &Reply) -> Option<u64> {
    let value = reply.as_array()?.get(1)?.as_int()?;
    u64::try_from(value).ok()
}

/// Asks the configuration. A cluster node has its own rule for databases, and where the
/// configuration is closed to us there is nothing to read: there they are tried.
async fn databases(
    connection: &mut Connection,
    facts: &mut ServerFacts,
) -> Result<Option<u32>, Error> {
    if facts.cluster_enabled != Some(true) {
        match connection.ask(["CONFIG", "GET", "databases"]).await? {
            Reply::Error(text) => {
                facts.missing.extend(missing(CONFIG_GET, &text).missing);
            }
            reply => {
                let value = reply.as_array().and_then(|pair| pair.get(1)).and_then(Reply::as_int);
                if let Some(databases) = value.and_then(|value| u32::try_from(value).ok()) {
                    return Ok(Some(databases));
                }
            }
        }
    }
    try_databases(connection, facts).await
}

/// Finds the number of databases with `SELECT`: doubling, then halving the gap.
async fn try_databases(
    connection: &mut Connection,
    facts: &mut ServerFacts,
) -> Result<Option<u32>, Error> {
    let home = connection.db();
    if let Reply::Error(text) = connection.ask(["SELECT", &home.to_string()]).await? {
        facts.missing.extend(missing("SELECT", &text).missing);
        return Ok(None);
    }
    // `known` exists; `beyond` does not.
    let (mut known, mut beyond) = (home, home.max(1));
    while beyond < MOST_DATABASES_TRIED && exists(connection, beyond).await? {
        known = beyond;
        beyond *= 2;
    }
    while beyond - known > 1 {
        let middle = known + (beyond - known) / 2;
        if exists(connection, middle).await? {
            known = middle;
        } else {
            beyond = middle;
        }
    }
    connection.call(["SELECT", &home.to_string()]).await?;
    Ok(Some(known + 1))
}

async fn exists(connection: &mut Connection, db: u32) -> Result<bool, Error> {
    Ok(connection.ask(["SELECT", &db.to_string()]).await?.is_ok())
}
