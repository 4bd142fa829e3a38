//! What a failed handshake means, and what to do about it.

use std::io;

use runtime::Class;
use rustls::{AlertDescription, CertificateError, Error};

/// Why TLS failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsKind {
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// No trusted certificate signed the server's.
    UnknownCa,
    /// The server's certificate is for other names.
    WrongHost,
    /// The server's certificate was revoked.
    Revoked,
    /// The server's certificate is bad in another way.
    BadCertificate,
    /// The server asks for a client certificate and got none.
    ClientCertificateRequired,
    /// The server does not accept our client certificate.
    ClientCertificateRefused,
    /// No TLS version or cipher in common.
    NothingInCommon,
    /// The server broke off without a reason: often a missing client certificate in TLS 1.2.
    BrokenOff,
    /// What came is not TLS at all.
    NotTls,
    /// Anything else.
    Other,
}

// === impl TlsKind ===

impl TlsKind {
    /// What an I/O error of a TLS stream means; `None` if TLS is not to blame.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match inner {
            Error::InvalidCertificate(certificate) => Self::of_certificate(certificate),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::PeerIncompatible(_) => Self::NothingInCommon,
            Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::Other,
        })
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::UnknownIssuer => Self::UnknownCa,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongHost
            }
            CertificateError::Revoked => Self::Revoked,
            _ => Self::BadCertificate,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateRequired => Self::ClientCertificateRequired,
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => Self::ClientCertificateRefused,
            AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
                Self::NothingInCommon
            }
            AlertDescription::HandshakeFailure => Self::BrokenOff,
            _ => Self::Other,
        }
    }

    /// Certificates and versions do not change by themselves; the rest may be a passing fault.
    #[must_use]
    pub fn class(self) -> Class {
        if self == Self::Other { Class::Retry } else { Class::Operator }
    }

    /// What happened, for the end of a message.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Expired => "the server's certificate has expired",
            Self::NotYetValid => "the server's certificate is not valid yet",
            Self::UnknownCa => "the server's certificate is not signed by a trusted authority",
            Self::WrongHost => "the server's certificate is for another name",
            Self::Revoked => "the server's certificate was revoked",
            Self::BadCertificate => "the server's certificate is not usable",
            Self::ClientCertificateRequired => "the server requires a client certificate",
            Self::ClientCertificateRefused => "the server refuses the client certificate",
            Self::NothingInCommon => "no TLS version or cipher in common with the server",
            Self::BrokenOff => "the server broke off the handshake",
            Self::NotTls => "the server does not speak TLS on this port",
            Self::Other => "the TLS connection failed",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Expired => "Renew the server's certificate, or check the clock of this machine.",
            Self::NotYetValid => "Check the clocks of this machine and of the certificate's maker.",
            Self::UnknownCa => {
                "Give the authority's certificate in the TLS settings (ca), or install it on this \
                 machine."
            }
            Self::WrongHost => {
                "Connect by a name that the certificate carries, or set server_name to one."
            }
            Self::Revoked | Self::BadCertificate => "Give the server a new certificate.",
            Self::ClientCertificateRequired => {
                "Give a client certificate and its key in the TLS settings, or set \
                 tls-auth-clients to no at the server."
            }
            Self::ClientCertificateRefused => {
                "Give a client certificate that the authority configured at the server signed and \
                 that has not expired."
            }
            Self::NothingInCommon => {
                "Check tls-protocols and tls-ciphers at the server, and min_tls here."
            }
            Self::BrokenOff => {
                "The server may require a client certificate, or share no cipher with us: its log \
                 says which."
            }
            Self::NotTls => "Use redis:// for a plain port, or name the server's TLS port.",
            Self::Other => "The server's log may say more.",
        }
    }
}
