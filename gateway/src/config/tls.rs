//! Whether the HTTP port speaks TLS: with which certificate, and what it asks of clients.

use std::path::PathBuf;

/// TLS of the HTTP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    /// What we show.
    pub(crate) certificate: ServerCertificate,
    /// What clients show.
    pub(crate) clients: ClientAuth,
}

/// Where our certificate comes from. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerCertificate {
    /// PEM files, read again whenever they change.
    Files {
        /// The certificate, then those that lead to its authority.
        chain: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// Made at the first start and kept in the data directory.
    SelfSigned,
}

/// Whether clients show certificates, and the PEM file of the authorities that may have signed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// They are not asked.
    Off,
    /// They may; one that is shown must be good.
    Optional(PathBuf),
    /// Without a good one there is no connection.
    Require(PathBuf),
}

impl ClientAuth {
    /// The file of the authorities, if clients are asked at all.
    pub(crate) fn authorities(&self) -> Option<&PathBuf> {
        match self {
            Self::Off => None,
            Self::Optional(authorities) | Self::Require(authorities) => Some(authorities),
        }
    }
}
