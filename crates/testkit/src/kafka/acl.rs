//! Rights of users, given by Kafka's own request for it (CreateAcls).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::deadline::eventually;

/// What a right is for. The numbers are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Resource {
    /// A topic.
    Topic = 2,
    /// A consumer group.
    Group = 3,
    /// The cluster; its name is `kafka-cluster`.
    Cluster = 4,
}

/// What may be done. The numbers are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Everything.
    All = 2,
    /// Read records, join groups.
    Read = 3,
    /// Write records.
    Write = 4,
    /// Make topics.
    Create = 5,
    /// Delete records, topics, groups.
    Delete = 6,
    /// Look at topics, groups.
    Describe = 8,
    /// Look at settings.
    DescribeConfigs = 10,
}

/// The requests, of the oldest version that brokers still take.
const DESCRIBE_ACLS: (i16, i16) = (29, 1);
const CREATE_ACLS: (i16, i16) = (30, 1);
/// On which resources a right is. The numbers are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Names {
    /// The one of the given name.
    AreIt = 3,
    /// Those whose names begin with the given one.
    BeginWithIt = 4,
}

const ALLOW: u8 = 3;
const LIMIT: Duration = Duration::from_secs(30);

/// Lets a user do something, asked of a listener where everybody may do everything. The broker goes by it then.
pub(super) fn allow(
    broker: SocketAddr,
    user: &str,
    operation: Operation,
    (resource, name, names): (Resource, &str, Names),
) -> Result<()> {
    let mut right = vec![resource as u8];
    put_string(&mut right, name)?;
    right.push(names as u8);
    put_string(&mut right, &format!("User:{user}"))?;
    put_string(&mut right, "*")?;
    right.extend([operation as u8, ALLOW]);
    let body = [&1_i32.to_be_bytes()[..], &right].concat();
    let answer = ask(broker, CREATE_ACLS, &body).context("give a user a right")?;
    // Correlation, throttle time, count, then the code of the only one.
    let given = matches!(answer.get(12..14), Some([0, 0]));
    if !given {
        bail!("the broker gives {user} no right: {}", String::from_utf8_lossy(&answer));
    }
    // The controller has it; the broker hears of it a moment later.
    eventually(LIMIT, format!("the broker knows of a right of {user}"), || {
        let answer = ask(broker, DESCRIBE_ACLS, &right).context("ask for the rights of a user")?;
        // Correlation, throttle time, code, an empty message or none, count.
        let head = (answer.get(8..10), answer.get(10..12), answer.get(12..16));
        Ok(match head {
            (Some([0, 0]), Some([0, 0] | [0xff, 0xff]), Some(count)) if *count != [0; 4] => {
                Some(())
            }
            _ => None,
        })
    })
}

fn ask(broker: SocketAddr, (key, version): (i16, i16), body: &[u8]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    put_string(&mut request, "testkit")?;
    request.extend(body);
    let mut stream = TcpStream::connect(broker)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&u32::try_from(request.len())?.to_be_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn put_string(into: &mut Vec<u8>, text: &str) -> Result<()> {
    into.extend(i16::try_from(text.len())?.to_be_bytes());
    into.extend(text.as_bytes());
    Ok(())
}
