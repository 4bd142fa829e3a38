//! Passwords, certificates and keys: read from files, and doubted when others may read them too.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use redis_io::tls::{ClientIdentity, TlsVersion};
use redis_io::{Credentials, Endpoint, TlsSettings};
use runtime::Secret;

use super::Reader;
use crate::password_file::PasswordFile;

/// Everybody on the machine may read it.
const READABLE_BY_ALL: u32 = 0o004;

// === impl Reader ===

impl Reader<'_> {
    /// Looks at the files of an endpoint that there is not.
    pub(super) fn secrets(&mut self, section: &str) {
        drop(self.password(section));
        for name in ["tls_ca_file", "tls_cert_file", "tls_key_file"] {
            drop(self.file(&format!("{section}.{name}")));
        }
    }

    pub(super) fn with_credentials(&mut self, endpoint: Endpoint, section: &str) -> Endpoint {
        let password = self.password(section);
        let user = self.values.get(&format!("{section}.user")).map(str::to_owned);
        let known = endpoint.credentials().cloned();
        let user = known.as_ref().and_then(|known| known.user.clone()).or(user);
        let in_uri = known.and_then(|known| known.password);
        let rotates = in_uri.is_none() && self.values.get(&format!("{section}.password")).is_none();
        let password = in_uri.or(password.map(Secret::new));
        if user.is_none() && password.is_none() {
            return endpoint;
        }
        let endpoint = endpoint.with_credentials(Credentials { user, password });
        match self.values.get(&format!("{section}.password_file")).filter(|_| rotates) {
            Some(file) => endpoint.with_password_source(Arc::new(PasswordFile(file.into()))),
            None => endpoint,
        }
    }

    pub(super) fn with_tls(&mut self, endpoint: Endpoint, section: &str) -> Endpoint {
        let path = |name: &str| format!("{section}.{name}");
        let certificate = self.file(&path("tls_cert_file"));
        let key = self.secret_file(&path("tls_key_file"));
        for (one, other) in [("tls_cert_file", "tls_key_file"), ("tls_key_file", "tls_cert_file")] {
            let given = |name| self.values.get(&path(name)).is_some();
            if given(one) && !given(other) {
                let other = path(other);
                self.problem(&path(one), &format!("needs {other} beside it, which is not set"));
            }
        }
        let ca_pem = self.file(&path("tls_ca_file"));
        let Some(from_uri) = endpoint.tls().cloned() else {
            if ca_pem.is_some() || certificate.is_some() {
                self.problem(
                    &path("uri"),
                    "is not a TLS endpoint, but TLS files are given: write rediss://",
                );
            }
            return endpoint;
        };
        let client = certificate.zip(key).map(|(certificate_pem, key)| ClientIdentity {
            certificate_pem,
            key_pem: Secret::new(String::from_utf8_lossy(&key).into_owned()),
        });
        let server_name = self.values.get(&path("tls_server_name")).map(str::to_owned);
        let newest_only = self.values.get(&path("tls_min_version")) == Some("1.3");
        endpoint.with_tls(TlsSettings {
            ca_pem,
            client,
            insecure: from_uri.insecure || self.flag(&path("tls_insecure")),
            min_version: if newest_only { TlsVersion::V1_3 } else { from_uri.min_version },
            server_name: from_uri.server_name.or(server_name),
        })
    }

    /// The password of an endpoint beside its URI.
    fn password(&mut self, section: &str) -> Option<String> {
        self.secret_text(&format!("{section}.password"), &format!("{section}.password_file"))
    }

    /// A secret that stands at one path, or in the file that another names.
    pub(super) fn secret_text(&mut self, here: &str, file: &str) -> Option<String> {
        let written = self.values.get(here).map(str::to_owned);
        if written.is_some() && self.values.get(file).is_some() {
            let other = self.values.origin(file);
            self.problem(here, &format!("and {other} are both set: leave one out"));
        }
        if let Some(config) = self.values.file_of(here).filter(|_| written.is_some()) {
            let config = config.to_owned();
            self.doubt(here, &config);
        }
        let bytes = self.secret_file(file);
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let from_file = text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        if from_file.as_deref() == Some("") {
            let name = self.values.get(file).unwrap_or_default().to_owned();
            self.problem(file, &format!("names {name}, which is empty: write the secret into it"));
        }
        written.or(from_file)
    }

    /// What is in a file that nobody else should read.
    pub(super) fn secret_file(&mut self, path: &str) -> Option<Vec<u8>> {
        let bytes = self.file(path)?;
        let file = self.values.get(path)?.to_owned();
        self.doubt(path, Path::new(&file));
        Some(bytes)
    }

    fn file(&mut self, path: &str) -> Option<Vec<u8>> {
        let file = self.values.get(path)?.to_owned();
        match std::fs::read(Path::new(&file)) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.problem(path, &format!("names {file}, which cannot be read: {error}"));
                None
            }
        }
    }

    pub(super) fn doubt(&mut self, path: &str, file: &Path) {
        let open = std::fs::metadata(file)
            .is_ok_and(|found| found.permissions().mode() & READABLE_BY_ALL != 0);
        if open {
            let file = file.display();
            self.warning(
                path,
                &format!("is in {file}, which everybody can read: chmod 600 {file}"),
            );
        }
    }
}
