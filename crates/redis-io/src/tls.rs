//! TLS for connections: settings in, a rustls configuration out.
//!
//! Guarantees: TLS 1.2 or 1.3 only; the server's certificate and name are verified unless the
//! settings say `insecure`; roots are the machine's own and the given ones together. Certificates
//! and keys come as PEM text: nobody but the command line reads files.

mod failure;
mod verify;

use std::sync::Arc;

use runtime::Secret;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use thiserror::Error;

pub use failure::TlsKind;

/// What to ask of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// Certificates to trust besides the machine's own, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Who we are, where the server asks for it.
    pub client: Option<ClientIdentity>,
    /// Accept whatever the server shows: no protection against an impostor.
    pub insecure: bool,
    /// The oldest version to speak.
    pub min_version: TlsVersion,
    /// The name to verify instead of the host connected to.
    pub server_name: Option<String>,
}

/// A client certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The chain, our own certificate first, PEM.
    pub certificate_pem: Vec<u8>,
    /// Its private key, PEM (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key_pem: Secret,
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Settings that no connection can be made with.
#[derive(Debug, Error)]
pub enum TlsProblem {
    /// Not PEM, or PEM of something else.
    #[error("the {what} holds no readable PEM")]
    BadPem {
        /// Which setting.
        what: &'static str,
        /// What the reader said.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// PEM without a certificate in it.
    #[error("the {what} holds no certificate")]
    NoCertificate {
        /// Which setting.
        what: &'static str,
    },
    /// A certificate or key that rustls refuses, or that do not belong together.
    #[error("the {what} is not usable")]
    Refused {
        /// Which setting.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Neither the machine nor the settings have a certificate to trust.
    #[error("this machine has no trusted certificates and none were given")]
    NoRoots,
    /// TLS over a Unix socket, which no server offers.
    #[error("a Unix socket does not speak TLS")]
    UnixSocket,
    /// Not a name that a certificate could carry.
    #[error("{0:?} is not a name that a certificate can be verified for")]
    BadServerName(String),
}

// === impl TlsSettings ===

impl TlsSettings {
    /// Checks everything that can be checked without a server.
    ///
    /// # Errors
    /// A setting that no connection can be made with.
    pub fn build(&self) -> Result<Arc<ClientConfig>, TlsProblem> {
        let provider = Arc::new(ring::default_provider());
        let versions: &[&SupportedProtocolVersion] = match self.min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|source| TlsProblem::Refused { what: "TLS version", source })?;
        let builder = if self.insecure {
            let verifier: Arc<dyn ServerCertVerifier> = Arc::new(verify::Anyone::new(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(client) => builder
                .with_client_auth_cert(client.chain()?, client.key()?)
                .map_err(|source| TlsProblem::Refused { what: "client certificate", source })?,
        };
        Ok(Arc::new(config))
    }

    /// The name to verify when connecting to `host`.
    ///
    /// # Errors
    /// When it is neither a DNS name nor an IP address.
    pub fn name_for(&self, host: &str) -> Result<ServerName<'static>, TlsProblem> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|_| TlsProblem::BadServerName(name.to_owned()))
    }

    fn roots(&self) -> Result<RootCertStore, TlsProblem> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::debug!(%error, "read a trusted certificate of this machine");
        }
        // A machine's store may hold oddities that no certificate will ever chain to.
        roots.add_parsable_certificates(native.certs);
        if let Some(pem) = &self.ca_pem {
            for certificate in certificates(pem, "CA certificate")? {
                roots
                    .add(certificate)
                    .map_err(|source| TlsProblem::Refused { what: "CA certificate", source })?;
            }
        }
        if roots.is_empty() { Err(TlsProblem::NoRoots) } else { Ok(roots) }
    }
}

// === impl ClientIdentity ===

impl ClientIdentity {
    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
        certificates(&self.certificate_pem, "client certificate")
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsProblem> {
        PrivateKeyDer::from_pem_slice(self.key_pem.expose().as_bytes())
            .map_err(|source| TlsProblem::BadPem { what: "client key", source })
    }
}

fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsProblem::BadPem { what, source })?;
    if found.is_empty() { Err(TlsProblem::NoCertificate { what }) } else { Ok(found) }
}

/// The provider that verification and handshakes share.
type Provider = Arc<CryptoProvider>;

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> ClientIdentity {
        let made = rcgen::generate_simple_self_signed(["me".to_owned()]).unwrap();
        ClientIdentity {
            certificate_pem: made.cert.pem().into_bytes(),
            key_pem: Secret::new(made.signing_key.serialize_pem()),
        }
    }

    #[test]
    fn builds_from_pem_text() {
        let client = identity();
        let ca_pem = Some(client.certificate_pem.clone());
        let settings = TlsSettings { ca_pem, client: Some(client), ..TlsSettings::default() };
        settings.build().unwrap();
        TlsSettings { min_version: TlsVersion::V1_3, ..settings }.build().unwrap();
        TlsSettings { insecure: true, ..TlsSettings::default() }.build().unwrap();
    }

    #[test]
    fn says_which_setting_is_not_usable() {
        let (one, other) = (identity(), identity());
        let ca = |pem: &str| TlsSettings { ca_pem: Some(pem.into()), ..Default::default() };
        let as_client =
            |client| TlsSettings { client: Some(client), insecure: true, ..Default::default() };
        let mixed = ClientIdentity { key_pem: other.key_pem.clone(), ..one.clone() };
        let keyless = ClientIdentity { key_pem: Secret::new("nothing"), ..one.clone() };
        let cases = [
            (ca("nothing"), "the CA certificate holds no certificate"),
            (ca(one.key_pem.expose()), "the CA certificate holds no certificate"),
            (as_client(mixed), "the client certificate is not usable"),
            (as_client(keyless), "the client key holds no readable PEM"),
        ];
        for (settings, message) in cases {
            assert_eq!(settings.build().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn verifies_the_given_name_rather_than_the_host() {
        let settings =
            TlsSettings { server_name: Some("db.example.org".to_owned()), ..Default::default() };
        assert_eq!(settings.name_for("10.0.0.1").unwrap().to_str(), "db.example.org");
        assert!(TlsSettings::default().name_for("10.0.0.1").is_ok());
        assert!(TlsSettings::default().name_for("a_b..c").is_err());
    }
}
