//! Passwords, users and permissions.

use anyhow::{Result, ensure};
use redis_io::error::AuthKind;
use redis_io::replication::{Announcement, open};
use redis_io::{Code, Error};
use runtime::{Class, Classified};
use testkit::{Kind, Server};

use crate::{connect, refusal};

fn with_login(server: &Server, login: &str) -> String {
    server.uri().replace("redis://", &format!("redis://{login}@"))
}

#[tokio::test]
async fn lets_in_who_has_the_password_and_tells_the_others_why_not() -> Result<()> {
    for kind in Kind::ALL {
        let server =
            Server::start(kind, &["requirepass hunter2", "user ann on >s:e/c@r ~* +@all"])?;
        connect(&with_login(&server, ":hunter2")).await?;
        connect(&with_login(&server, "default:hunter2")).await?;
        connect(&with_login(&server, "ann:s%3Ae%2Fc%40r")).await?;
        let cases = [
            (server.uri(), AuthKind::NoPassword),
            (with_login(&server, ":hunter3"), AuthKind::WrongPassword),
            (with_login(&server, "bob:hunter2"), AuthKind::WrongPassword),
            (with_login(&server, "ann"), AuthKind::WrongPassword),
        ];
        for (uri, expected) in cases {
            match refusal(&uri).await {
                error @ Error::Auth { kind: found, .. } => {
                    assert_eq!(found, expected, "{kind} {uri}");
                    assert_eq!(error.class(), Class::Operator);
                    ensure!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
                }
                other => anyhow::bail!("{kind} {uri}: {other:?}"),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_password_for_a_server_without_one_is_told() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[])?;
        let error = refusal(&with_login(&server, ":hunter2")).await;
        ensure!(
            matches!(error, Error::Auth { kind: AuthKind::NotNeeded, .. }),
            "{kind}: {error:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_user_with_the_least_permissions_gets_in() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &["user rep on >pw +psync +replconf +ping"])?;
        let connection = connect(&with_login(&server, "rep:pw")).await?;
        ensure!(!connection.is_named(), "{kind}: CLIENT is not among the permissions");
        open(connection, &Announcement::default(), None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_permission_is_named() -> Result<()> {
    let cases = [
        ("user rep on >pw +replconf +ping", "+psync"),
        ("user rep on >pw +psync +ping", "+replconf"),
    ];
    for kind in Kind::ALL {
        for (user, missing) in cases {
            let server = Server::start(kind, &[user])?;
            let connection = connect(&with_login(&server, "rep:pw")).await?;
            let error =
                open(connection, &Announcement::default(), None).await.expect_err("refused");
            match &error {
                Error::Psync { refusal, .. } => assert_eq!(refusal.code, Code::NoPermission),
                other => anyhow::bail!("{kind}: {other:?}"),
            }
            assert_eq!(error.class(), Class::Operator);
            ensure!(error.advice().contains(missing), "{kind}: {}", error.advice());
        }
    }
    Ok(())
}
