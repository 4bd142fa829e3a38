//! Names as numbers in strings and as sorted sets.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Loader, add_all};
use crate::data::{Data, Name};
use crate::keys;
use crate::words::{Word, words};

/// Every fifth surname has a deadline.
const SURNAME_DEADLINE_ONE_IN: u32 = 5;

pub(super) fn names(loader: &mut Loader, data: &Data) -> Result<()> {
    let mut initials: BTreeMap<&str, Vec<Vec<Vec<u8>>>> = BTreeMap::new();
    for name in &data.surnames {
        let key = keys::surname(&name.name);
        loader.put(words!["SET", key, name.percent])?;
        loader.expire_some(&key, SURNAME_DEADLINE_ONE_IN)?;
        initials.entry(name.name.get(..1).unwrap_or_default()).or_default().push(scored(name));
    }
    for (initial, members) in &initials {
        add_all(loader, "ZADD", &keys::surnames(initial), members)?;
    }
    for (kind, names) in [("female", &data.female), ("male", &data.male)] {
        let members: Vec<_> = names.iter().map(scored).collect();
        add_all(loader, "ZADD", &keys::first_names(kind), &members)?;
    }
    Ok(())
}

fn scored(name: &Name) -> Vec<Vec<u8>> {
    vec![name.percent.word(), name.name.word()]
}
