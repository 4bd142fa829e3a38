//! Certificates for tests: an authority, good and bad server certificates, a client certificate.
//!
//! Made afresh for each test in a directory of its own; the keys are worth nothing to anybody.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// Which certificate a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerCert {
    /// Valid for `localhost` and 127.0.0.1.
    Good,
    /// As good as [`ServerCert::Good`] until the year 2020.
    Expired,
    /// For `elsewhere.example`.
    WrongHost,
    /// Right in all but its issuer, whom nobody knows.
    UnknownIssuer,
}

/// PEM files in a directory that goes with this value.
#[derive(Debug)]
pub struct TlsFiles {
    dir: TempDir,
}

// === impl TlsFiles ===

impl TlsFiles {
    /// Makes all of them.
    ///
    /// # Errors
    /// If the disk is full, or a certificate cannot be made.
    pub fn generate() -> Result<Self> {
        let files = Self { dir: tempfile::Builder::new().prefix("kf-tls-").tempdir()? };
        let (ca, issuer) = authority("keyferry test authority")?;
        let (_, stranger) = authority("nobody knows this authority")?;
        files.write("ca.crt", &ca.pem())?;
        let local = ["localhost", "127.0.0.1"];
        for shown in [
            ServerCert::Good,
            ServerCert::Expired,
            ServerCert::WrongHost,
            ServerCert::UnknownIssuer,
        ] {
            let mut params = match shown {
                ServerCert::WrongHost => leaf(&["elsewhere.example"])?,
                _ => leaf(&local)?,
            };
            if shown == ServerCert::Expired {
                params.not_before = date_time_ymd(2019, 1, 1);
                params.not_after = date_time_ymd(2020, 1, 1);
            }
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let by = if shown == ServerCert::UnknownIssuer { &stranger } else { &issuer };
            files.issue(shown.name(), &params, by)?;
        }
        let mut client = leaf(&["keyferry-client"])?;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        files.issue("client", &client, &issuer)?;
        files.issue("stranger", &client, &stranger)?;
        Ok(files)
    }

    /// The authority's certificate, which clients and servers trust.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// A server's certificate and key.
    pub fn server(&self, shown: ServerCert) -> (PathBuf, PathBuf) {
        self.pair(shown.name())
    }

    /// A client's certificate and key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        self.pair("client")
    }

    /// A client's certificate that the authority did not issue, and its key.
    pub fn stranger(&self) -> (PathBuf, PathBuf) {
        self.pair("stranger")
    }

    /// The directory with all of them.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.path(file), text).with_context(|| format!("write {file}"))
    }

    fn issue(
        &self,
        name: &str,
        params: &CertificateParams,
        issuer: &Issuer<'static, KeyPair>,
    ) -> Result<()> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        self.write(&format!("{name}.crt"), &certificate.pem())?;
        self.write(&format!("{name}.key"), &key.serialize_pem())
    }
}

// === impl ServerCert ===

impl ServerCert {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "server",
            Self::Expired => "expired",
            Self::WrongHost => "wrong-host",
            Self::UnknownIssuer => "unknown-issuer",
        }
    }
}

fn authority(name: &str) -> Result<(Certificate, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate, Issuer::new(params, key)))
}

fn leaf(names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names.clone())?;
    params
        .distinguished_name
        .push(DnType::CommonName, names.first().context("a certificate without a name")?);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}
