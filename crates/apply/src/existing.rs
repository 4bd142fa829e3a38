//! What a destination holds before it is first synced: refused unless the settings say what to do about it.

use std::sync::Arc;

use event::names;
use redis_io::Connection;
use wire::resp::encode::Decimal;
use wire::resp::reply::Reply;

use crate::config::{Config, Existing};
use crate::error::Error;
use crate::lane::Link;
use crate::limits;
use crate::names::Names;

/// Refuses a mapping to a database that the destination does not have. What is not mapped is for the changes to show.
///
/// # Errors
/// [`Error::NoDatabase`].
pub(crate) fn check_mapping(link: &Link, config: &Config) -> Result<(), Error> {
    // Counted where it is not told.
    let databases = link.facts.databases.unwrap_or_default();
    let beyond = config
        .mapping
        .named()
        .find(|(_, from, to)| *to >= databases && from.is_none_or(|from| config.filters.db(from)));
    match beyond {
        None => Ok(()),
        Some((mapping, _, db)) => {
            let endpoint = link.connection.endpoint().to_string();
            Err(Error::NoDatabase { endpoint, mapping, db, databases })
        }
    }
}

/// Refuses a destination whose databases that we would write to hold keys which are not ours.
///
/// # Errors
/// [`Error::Existing`]; [`Error::Untold`] where nobody may look; or what the destination refused.
pub(crate) async fn check(link: &mut Link, config: &Config, own: &Names) -> Result<(), Error> {
    if config.existing != Existing::Fail {
        return Ok(());
    }
    let is_target =
        |db: u32| config.mapping.sources(db, |source| config.filters.db(source)).next().is_some();
    let is_told = link.facts.refusal_of("INFO").is_none();
    let told = |db| link.facts.keyspace.get(&db).map_or(0, |facts| facts.keys);
    let databases = link.facts.databases.unwrap_or_default();
    let dbs: Vec<(u32, Option<u64>)> = (0..databases)
        .filter(|db| is_target(*db))
        .map(|db| (db, is_told.then(|| told(db))))
        .collect();
    for (db, told) in dbs {
        let strange = match told {
            Some(0) => 0,
            Some(keys) => strangers(&mut link.connection, (db, keys), own).await?,
            None => unseen_strangers(&mut link.connection, db, own).await?,
        };
        select(&mut link.connection, config.checkpoint_db).await?;
        if strange > 0 {
            let endpoint = link.connection.endpoint().to_string();
            return Err(Error::Existing { endpoint, db, keys: strange });
        }
    }
    Ok(())
}

/// How many keys of a database are not ours. Keys are looked at only where they are few enough to be all ours.
async fn strangers(
    connection: &mut Connection,
    (db, keys): (u32, u64),
    own: &Names,
) -> Result<u64, Error> {
    if keys > limits::EXISTING_KEYS_LOOKED_AT {
        return Ok(keys);
    }
    select(connection, db).await?;
    count_strangers(connection, own).await
}

/// The same where `INFO` is not allowed: by DBSIZE, or by a walk over all keys.
async fn unseen_strangers(connection: &mut Connection, db: u32, own: &Names) -> Result<u64, Error> {
    select(connection, db).await?;
    let size = connection.ask(["DBSIZE"]).await?.as_int();
    match size.and_then(|size| u64::try_from(size).ok()) {
        Some(0) => Ok(0),
        Some(keys) => strangers(connection, (db, keys), own).await,
        None => match count_strangers(connection, own).await {
            Err(Error::Connection(error)) if error.is_denied() => {
                let endpoint = connection.endpoint().to_string();
                Err(Error::untold(endpoint, format!("whether database {db} is empty")))
            }
            other => other,
        },
    }
}

/// How many keys of the selected database are not ours.
async fn count_strangers(connection: &mut Connection, own: &Names) -> Result<u64, Error> {
    let mut strange = 0;
    let mut scan = Scan::default();
    while let Some(found) = scan.next(connection).await? {
        let others = found.iter().filter(|key| !own.is_own(key) && !names::is_ours(key));
        strange += others.count() as u64;
    }
    Ok(strange)
}

/// Selects a database.
pub(crate) async fn select(connection: &mut Connection, db: u32) -> Result<(), Error> {
    let db = Decimal::from(u64::from(db));
    connection.call([b"SELECT".as_slice(), db.as_ref()]).await?;
    Ok(())
}

/// A walk over the keys of the selected database: each that stays there comes at least once.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    cursor: Option<bytes::Bytes>,
    ended: bool,
    pattern: Option<&'static [u8]>,
}

// === impl Scan ===

impl Scan {
    /// A walk over the keys that fit a pattern.
    pub(crate) fn matching(pattern: &'static [u8]) -> Self {
        Self { pattern: Some(pattern), ..Self::default() }
    }

    /// The next keys; none at the end.
    ///
    /// # Errors
    /// What the destination refused.
    pub(crate) async fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Vec<bytes::Bytes>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let cursor = self.cursor.take().unwrap_or_else(|| bytes::Bytes::from_static(b"0"));
        let count = Decimal::from(limits::SCAN_COUNT as u64);
        let mut args: Vec<&[u8]> = vec![b"SCAN", &cursor, b"COUNT", count.as_ref()];
        if let Some(pattern) = self.pattern {
            args.extend([b"MATCH".as_slice(), pattern]);
        }
        let reply = connection.call(args).await?;
        let Some([Reply::Bulk(next), Reply::Array(found)]) = reply.as_array() else {
            return Err(Error::Connection(redis_io::Error::Unexpected {
                endpoint: Arc::clone(connection.endpoint()),
                command: "SCAN".to_owned(),
                came: "something else than a cursor and keys".to_owned(),
            }));
        };
        self.ended = next.as_ref() == b"0";
        self.cursor = Some(next.clone());
        Ok(Some(found.iter().filter_map(|key| key.as_bytes().cloned()).collect()))
    }
}
