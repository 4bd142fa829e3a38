//! Whether source and destination hold the same: what a figure is worth nothing without.

use anyhow::{Result, bail, ensure};
use testkit::{Client, Dataset, Tolerance, Value, compare};

use crate::stage::{KIND, LAST_KEYS, Stage};

/// Of large data sets the value of one key in so many is compared; how many there are, of all.
const SAMPLE_EVERY: usize = 50;
/// Keys whose digests are asked for at once.
const DIGESTS: usize = 500;
/// Differences that are named.
const NAMED: usize = 10;

/// Fails unless both servers hold `count` keys besides the last ones, and of a sample of those (each
/// named by `key`) the same values, by the servers' own digest of a value.
///
/// # Errors
/// If they differ.
pub(crate) fn by_sample(stage: &Stage, count: u64, key: impl Fn(u64) -> [u8; 16]) -> Result<()> {
    let mut source = stage.source.client()?;
    let mut destination = stage.destination.client()?;
    let (at_source, arrived) = (data_keys(&mut source)?, data_keys(&mut destination)?);
    let wanted = count + LAST_KEYS;
    ensure!(
        at_source == wanted && arrived == wanted,
        "WRONG RESULT: {wanted} keys were written, the source has {at_source}, the destination {arrived}"
    );
    let sample: Vec<[u8; 16]> = (0..count).step_by(SAMPLE_EVERY).map(key).collect();
    for keys in sample.chunks(DIGESTS) {
        let mut ask = vec![&b"DEBUG"[..], b"DIGEST-VALUE"];
        ask.extend(keys.iter().map(<[u8; 16]>::as_slice));
        let (ours, theirs) = (digests(&mut source, &ask)?, digests(&mut destination, &ask)?);
        if let Some((key, _)) = keys.iter().zip(ours.iter().zip(&theirs)).find(|(_, (a, b))| a != b)
        {
            bail!("WRONG RESULT: {} differs at the destination", key.escape_ascii());
        }
    }
    Ok(())
}

/// Fails unless both servers hold the same, every key, value and deadline.
///
/// # Errors
/// If they differ.
pub(crate) fn whole(stage: &Stage) -> Result<()> {
    let source = Dataset::read(&mut stage.source.client()?)?;
    let destination = Dataset::read(&mut stage.destination.client()?)?;
    let found = compare(&source, &destination, &Tolerance::native(KIND, KIND));
    let named: Vec<String> = found.iter().take(NAMED).map(ToString::to_string).collect();
    ensure!(found.is_empty(), "WRONG RESULT: {} differences\n{}", found.len(), named.join("\n"));
    ensure!(source.len() > 1, "WRONG RESULT: there is nothing at the source");
    Ok(())
}

/// Keys of a server without those that keyferry keeps there.
fn data_keys(client: &mut Client) -> Result<u64> {
    let all = u64::try_from(client.cmd(&["DBSIZE"])?.int()?)?;
    let mut own = 0;
    let mut cursor = "0".to_owned();
    loop {
        let scan = ["SCAN", &cursor, "MATCH", "keyferry:*", "COUNT", "10000"];
        let Ok([next, found]) = <[Value; 2]>::try_from(client.cmd(&scan)?.array()?) else {
            bail!("SCAN did not answer with a cursor and keys");
        };
        own += u64::try_from(found.array()?.len())?;
        cursor = next.text()?;
        if cursor == "0" {
            return Ok(all - own);
        }
    }
}

/// Digests of values; a key that is not there has one that is all zeros, and that is an error.
fn digests(client: &mut Client, ask: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
    let found = client.cmd(ask)?.list()?;
    let absent = |digest: &Vec<u8>| digest.iter().all(|&byte| byte == b'0');
    ensure!(!found.iter().any(absent), "WRONG RESULT: a key that was written is not there");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Pen;
    use crate::load::strings::{key, write};

    fn stage() -> Stage {
        let mut stage = Stage::empty().unwrap();
        for server in [&stage.source, &stage.destination] {
            let mut pen = Pen::to(server).unwrap();
            write(&mut pen, 1000).unwrap();
            pen.finish().unwrap();
        }
        let pen = Pen::to(&stage.source).unwrap();
        stage.finish(pen).unwrap();
        stage
    }

    #[test]
    fn equal_servers_are_equal_and_others_are_not() {
        let stage = stage();
        let mut client = stage.destination.client().unwrap();
        for n in 0..LAST_KEYS {
            client.cmd(&["SET", &format!("last:{n}"), "1"]).unwrap();
        }
        client.cmd(&["SET", "keyferry:{1}:main", "own"]).unwrap();
        by_sample(&stage, 1000, key).unwrap();
        whole(&stage).unwrap();
        client.cmd(&[b"SET", &key(50)[..], b"other"]).unwrap();
        assert!(by_sample(&stage, 1000, key).unwrap_err().to_string().contains("000050 differs"));
        assert!(whole(&stage).unwrap_err().to_string().contains("1 differences"));
        client.cmd(&[b"DEL", &key(50)[..]]).unwrap();
        assert!(by_sample(&stage, 1000, key).unwrap_err().to_string().contains("destination 1255"));
        client.cmd(&["SET", "stranger", "1"]).unwrap();
        assert!(by_sample(&stage, 1000, key).unwrap_err().to_string().contains("is not there"));
    }
}
