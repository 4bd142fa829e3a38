//! TLS: who is trusted, and what is said of those who are not.

use std::fs;

use anyhow::{Result, ensure};
use redis_io::tls::{ClientIdentity, TlsKind, TlsSettings, TlsVersion};
use redis_io::{Connection, Connector, Endpoint, Error, Settings};
use runtime::{Class, Classified, Secret};
use testkit::{Kind, Server, ServerCert, TlsFiles};

use crate::replica::Replica;
use crate::{clock, endpoint, refusal};

/// The only cached binary that is built with TLS.
const KIND: Kind = Kind::Redis7_0;

fn trusting(files: &TlsFiles) -> Result<TlsSettings> {
    Ok(TlsSettings { ca_pem: Some(fs::read(files.ca())?), ..TlsSettings::default() })
}

fn identity(
    (certificate, key): (std::path::PathBuf, std::path::PathBuf),
) -> Result<ClientIdentity> {
    Ok(ClientIdentity {
        certificate_pem: fs::read(certificate)?,
        key_pem: Secret::new(fs::read_to_string(key)?),
    })
}

fn over_tls(server: &Server, tls: TlsSettings) -> Endpoint {
    endpoint(&server.uri()).with_tls(tls)
}

async fn connect(server: &Server, tls: TlsSettings) -> Result<Connection, Error> {
    Connector::new(over_tls(server, tls), Settings::default(), clock())?.connect().await
}

async fn failure(server: &Server, tls: TlsSettings) -> Result<TlsKind> {
    match connect(server, tls).await {
        Err(error @ Error::Tls { kind, .. }) => {
            assert_eq!(error.class(), Class::Operator, "{error}");
            ensure!(!error.advice().is_empty() && error.to_string().contains("rediss://"));
            Ok(kind)
        }
        other => anyhow::bail!("a failure of TLS was expected: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_with_a_trusted_certificate_is_connected_to() -> Result<()> {
    let files = TlsFiles::generate()?;
    let server = Server::start_tls(KIND, &files, ServerCert::Good, &[])?;
    for min_version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let tls = TlsSettings { min_version, ..trusting(&files)? };
        connect(&server, tls).await?.call(["PING"]).await?;
    }
    let by_address = endpoint(&format!("rediss://127.0.0.1:{}", server.port()));
    let connector =
        Connector::new(by_address.with_tls(trusting(&files)?), Settings::default(), clock())?;
    connector.connect().await?;
    Ok(())
}

#[tokio::test]
async fn each_fault_of_a_certificate_has_its_name() -> Result<()> {
    let files = TlsFiles::generate()?;
    let cases = [
        (ServerCert::Expired, TlsKind::Expired),
        (ServerCert::WrongHost, TlsKind::WrongHost),
        (ServerCert::UnknownIssuer, TlsKind::UnknownCa),
    ];
    for (shown, expected) in cases {
        let server = Server::start_tls(KIND, &files, shown, &[])?;
        assert_eq!(failure(&server, trusting(&files)?).await?, expected);
        let careless = TlsSettings { insecure: true, ..TlsSettings::default() };
        connect(&server, careless).await?.call(["PING"]).await?;
    }
    let server = Server::start_tls(KIND, &files, ServerCert::WrongHost, &[])?;
    let named = Some("elsewhere.example".to_owned());
    connect(&server, TlsSettings { server_name: named, ..trusting(&files)? }).await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_only_this_machine_would_trust_is_unknown() -> Result<()> {
    let files = TlsFiles::generate()?;
    let server = Server::start_tls(KIND, &files, ServerCert::Good, &[])?;
    match connect(&server, TlsSettings::default()).await {
        Err(Error::Tls { kind: TlsKind::UnknownCa, .. } | Error::TlsSettings { .. }) => Ok(()),
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_may_ask_for_a_client_certificate() -> Result<()> {
    let files = TlsFiles::generate()?;
    for protocols in ["TLSv1.3", "TLSv1.2"] {
        let lines = ["tls-auth-clients yes", &format!("tls-protocols {protocols}")];
        let server = Server::start_tls(KIND, &files, ServerCert::Good, &lines)?;
        let with = |pair| -> Result<_> {
            Ok(TlsSettings { client: Some(identity(pair)?), ..trusting(&files)? })
        };
        connect(&server, with(files.client())?).await?.call(["PING"]).await?;
        let nobody = failure(&server, trusting(&files)?).await?;
        ensure!(
            matches!(nobody, TlsKind::ClientCertificateRequired | TlsKind::BrokenOff),
            "{protocols}: {nobody:?}"
        );
        let stranger = failure(&server, with(files.stranger())?).await?;
        assert_eq!(stranger, TlsKind::ClientCertificateRefused, "{protocols}");
    }
    Ok(())
}

#[tokio::test]
async fn an_old_protocol_is_refused() -> Result<()> {
    let files = TlsFiles::generate()?;
    let lines = ["tls-protocols TLSv1.2"];
    let server = Server::start_tls(KIND, &files, ServerCert::Good, &lines)?;
    connect(&server, trusting(&files)?).await?;
    let modern = TlsSettings { min_version: TlsVersion::V1_3, ..trusting(&files)? };
    assert_eq!(failure(&server, modern).await?, TlsKind::NothingInCommon);
    Ok(())
}

#[tokio::test]
async fn a_plain_connection_to_a_tls_port_is_told_so() -> Result<()> {
    let files = TlsFiles::generate()?;
    let server = Server::start_tls(KIND, &files, ServerCert::Good, &[])?;
    let error = refusal(&format!("redis://127.0.0.1:{}", server.port())).await;
    ensure!(error.advice().contains("rediss://"), "{error:?}: {}", error.advice());
    Ok(())
}

#[tokio::test]
async fn a_replica_works_over_tls() -> Result<()> {
    let files = TlsFiles::generate()?;
    let server = Server::start_tls(KIND, &files, ServerCert::Good, &[])?;
    server.client()?.cmd(&["DEBUG", "POPULATE", "20000", "key", "100"])?;
    let connection = connect(&server, trusting(&files)?).await?;
    let mut replica = Replica::open(connection, None).await?;
    replica.read_snapshot().await?;
    ensure!(replica.snapshot().len() > 20_000 * 4 && replica.snapshot().starts_with(b"REDIS"));
    server.client()?.cmd(&["SET", "last", "word"])?;
    replica.read_until("SET last word").await?;
    Ok(())
}
