//! Opening connections, and what is said when there is nobody to connect to.

use std::time::Duration;

use anyhow::{Result, ensure};
use redis_io::error::ConnectKind;
use redis_io::{Connector, Error, Settings};
use runtime::{Class, Classified};
use testkit::{Kind, Server, eventually, free_port};

use crate::{LIMIT, clock, connect, endpoint, refusal, settings};

#[tokio::test]
async fn connects_over_tcp_and_unix_into_the_database_asked_for() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[])?;
        let uris =
            [format!("{}/3", server.uri()), format!("unix://{}?db=3", server.socket().display())];
        for uri in uris {
            let mut connection = connect(&uri).await?;
            ensure!(connection.is_named(), "{kind} did not take the name");
            let name = connection.call(["CLIENT", "GETNAME"]).await?;
            assert_eq!(name.as_str(), Some("keyferry-test"), "{kind}");
            connection.call(["SET", "k", &uri]).await?;
            let mut client = server.client()?;
            client.select(3)?;
            assert_eq!(client.cmd(&["GET", "k"])?.text()?, uri, "{kind}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn tries_every_address_of_a_name() -> Result<()> {
    let server = Server::start(Kind::Redis7_0, &[])?;
    let uri = format!("redis://localhost:{}", server.port());
    connect(&uri).await?.call(["PING"]).await?;
    Ok(())
}

#[tokio::test]
async fn says_why_nobody_was_reached() -> Result<()> {
    let nobody = format!("redis://127.0.0.1:{}", free_port()?);
    let cases = [
        (nobody.clone(), ConnectKind::Refused),
        ("redis://no-such-host.invalid".to_owned(), ConnectKind::UnknownHost),
        ("unix:///no/such/socket".to_owned(), ConnectKind::NoSocket),
    ];
    for (uri, expected) in cases {
        match refusal(&uri).await {
            error @ Error::Connect { kind, .. } if kind == expected => {
                assert_eq!(error.class(), Class::Retry, "{uri}");
                let message = error.to_string();
                ensure!(message.starts_with("could not connect to") && message.contains("://"));
                ensure!(!error.advice().is_empty());
            }
            other => anyhow::bail!("{uri}: {other:?}"),
        }
    }
    let message = refusal(&nobody).await.to_string();
    ensure!(message.contains("tried 127.0.0.1:"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_stopped_server_is_given_up_after_the_patience() -> Result<()> {
    let server = Server::start(Kind::Redis7_0, &[])?;
    let patience = Duration::from_millis(100);
    let connector =
        Connector::new(endpoint(&server.uri()), Settings { patience, ..settings() }, clock())?;
    let mut connection = connector.connect().await?;
    server.pause()?;
    let error = connection.call(["PING"]).await.expect_err("nobody answers");
    ensure!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Retry);
    let error = connector.connect().await.expect_err("nobody answers");
    ensure!(matches!(error, Error::Timeout { .. }), "{error:?}");
    server.resume()?;
    connector.connect().await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_server_closes_the_connection() -> Result<()> {
    let mut server = Server::start(Kind::Valkey9_1, &[])?;
    let mut connection = connect(&server.uri()).await?;
    server.kill()?;
    let error = connection.call(["PING"]).await.expect_err("nobody answers");
    ensure!(matches!(error, Error::Closed { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Retry);
    Ok(())
}

#[tokio::test]
async fn a_full_server_is_tried_again() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &["maxclients 1"])?;
        let mut holding = eventually(LIMIT, "the one place is ours", || {
            let mut client = server.client()?;
            Ok(client.cmd(&["PING"]).is_ok().then_some(client))
        })?;
        let error = refusal(&server.uri()).await;
        assert_eq!(error.class(), Class::Retry, "{kind}: {error}");
        ensure!(error.advice().contains("maxclients"), "{kind}: {error}");
        holding.cmd(&["PING"])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_database_out_of_range_is_an_operators_matter() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[])?;
        let error = refusal(&format!("{}/16", server.uri())).await;
        assert_eq!(error.class(), Class::Operator, "{kind}");
        ensure!(error.to_string().contains("refused SELECT 16"), "{kind}: {error}");
    }
    Ok(())
}
