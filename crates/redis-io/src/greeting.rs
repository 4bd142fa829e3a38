//! The first words on a connection: AUTH, CLIENT SETNAME, SELECT, PING, in one round trip.
//!
//! Guarantee: after it the connection is let in, is in its database, and has answered as a Redis
//! does; a server that cannot serve yet (loading, no primary, full) is an error to retry.

use std::sync::Arc;

use bytes::BytesMut;
use wire::resp::encode::write_command;
use wire::resp::reply::Reply;

use crate::connection::Connection;
use crate::endpoint::{Credentials, Endpoint};
use crate::error::{AuthKind, Error, quoted};
use crate::refusal::{Code, Refusal};

/// Greets; `name` is for `CLIENT SETNAME`.
pub(crate) async fn greet(
    connection: &mut Connection,
    endpoint: &Endpoint,
    name: Option<&str>,
) -> Result<(), Error> {
    let mut bytes = BytesMut::new();
    let credentials = endpoint.credentials_now().map_err(|source| {
        let endpoint = Arc::clone(connection.endpoint());
        Error::Password { endpoint, source }
    })?;
    if let Some(credentials) = &credentials {
        write_auth(&mut bytes, credentials);
    }
    if let Some(name) = name {
        write_command(&mut bytes, ["CLIENT", "SETNAME", name]);
    }
    let db = endpoint.db();
    if db != 0 {
        write_command(&mut bytes, ["SELECT", &db.to_string()]);
    }
    write_command(&mut bytes, ["PING"]);
    say(connection, &bytes).await?;
    if let Some(credentials) = &credentials {
        let reply = hear(connection).await?;
        judge_auth(connection, credentials, &reply)?;
    }
    if name.is_some() && hear(connection).await?.is_ok() {
        connection.set_named();
    }
    // The PING's answer says best why a server serves nobody, so it is heard before SELECT's is
    // judged.
    let selected = if db == 0 { None } else { Some(hear(connection).await?) };
    let pong = hear(connection).await?;
    judge_ping(connection, &pong)?;
    match selected {
        Some(Reply::Error(text)) => Err(Error::Server {
            endpoint: Arc::clone(connection.endpoint()),
            command: format!("SELECT {db}"),
            refusal: Refusal::read(&text),
        }),
        _ => {
            connection.set_db(db);
            Ok(())
        }
    }
}

fn write_auth(bytes: &mut BytesMut, credentials: &Credentials) {
    let password = credentials.password.as_ref().map_or("", runtime::Secret::expose);
    match &credentials.user {
        Some(user) => write_command(bytes, ["AUTH", user, password]),
        None => write_command(bytes, ["AUTH", password]),
    }
}

/// Writes the greeting. A server that hangs up while we write may have said why, so what it said
/// is read first.
async fn say(connection: &mut Connection, bytes: &[u8]) -> Result<(), Error> {
    let sent = match connection.send(bytes).await {
        Ok(()) => connection.flush().await,
        Err(error) => Err(error),
    };
    match sent {
        Err(error @ Error::Closed { .. }) => {
            match connection.reader_mut().fill("greeting the server").await {
                Err(Error::Closed { .. }) => Err(error),
                Err(better) => Err(better),
                // Something came: the replies tell.
                Ok(()) => Ok(()),
            }
        }
        sent => sent,
    }
}

async fn hear(connection: &mut Connection) -> Result<Reply, Error> {
    match connection.recv().await {
        Err(Error::Protocol { endpoint, .. }) => {
            let came = quoted(connection.reader_mut().buffer_mut());
            Err(Error::NotRedis { endpoint, came })
        }
        // A few foreign bytes and then nothing, such as a TLS alert.
        Err(Error::Closed { .. } | Error::Timeout { .. }) if has_foreign_bytes(connection) => {
            let came = quoted(connection.reader_mut().buffer_mut());
            let endpoint = Arc::clone(connection.endpoint());
            Err(Error::NotRedis { endpoint, came })
        }
        // A server that is full, or in protected mode, answers once and hangs up.
        Ok(Reply::Error(text)) if turns_away(&text) => {
            let endpoint = Arc::clone(connection.endpoint());
            let refusal = Refusal::read(&text);
            Err(Error::Server { endpoint, command: "the connection".to_owned(), refusal })
        }
        other => other,
    }
}

fn has_foreign_bytes(connection: &mut Connection) -> bool {
    let first = connection.reader_mut().buffer_mut().first().copied();
    first.is_some_and(|first| !b"+-:$*".contains(&first))
}

fn turns_away(text: &[u8]) -> bool {
    matches!(Refusal::read(text).code, Code::TooManyClients | Code::ProtectedMode)
}

fn judge_auth(
    connection: &Connection,
    credentials: &Credentials,
    reply: &Reply,
) -> Result<(), Error> {
    let Reply::Error(text) = reply else { return Ok(()) };
    let said = Refusal::read(text);
    let kind = match said.code {
        Code::WrongPassword => AuthKind::WrongPassword,
        Code::NoPermission => AuthKind::NoPermission,
        _ if said.text.contains("no password is set")
            || said.text.contains("without any password configured") =>
        {
            AuthKind::NotNeeded
        }
        _ if credentials.user.is_some() && said.text.contains("wrong number of arguments") => {
            AuthKind::NoUsers
        }
        _ => AuthKind::Other,
    };
    Err(Error::Auth { endpoint: Arc::clone(connection.endpoint()), kind, said })
}

/// Any error reply proves a Redis; only those that concern every command are errors here.
fn judge_ping(connection: &Connection, reply: &Reply) -> Result<(), Error> {
    let endpoint = Arc::clone(connection.endpoint());
    match reply {
        Reply::Error(text) => {
            let refusal = Refusal::read(text);
            match refusal.code {
                Code::NoAuth => {
                    Err(Error::Auth { endpoint, kind: AuthKind::NoPassword, said: refusal })
                }
                Code::Loading | Code::MasterDown | Code::Busy => {
                    Err(Error::Server { endpoint, command: "PING".to_owned(), refusal })
                }
                _ => Ok(()),
            }
        }
        Reply::Simple(text) | Reply::Bulk(text) if text.eq_ignore_ascii_case(b"PONG") => Ok(()),
        other => Err(connection.unexpected("PING", other)),
    }
}

#[cfg(test)]
mod tests;
