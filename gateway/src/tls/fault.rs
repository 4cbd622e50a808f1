//! Why a certificate, a key or authorities cannot be used. None of it is told to clients.

use std::{error::Error, io, path::PathBuf};

/// What is wrong with what was given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MaterialFault {
    /// The certificate's file.
    #[error("{} cannot be read", path.display())]
    Chain {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key's file.
    #[error("{} cannot be read", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The authorities' file.
    #[error("{} cannot be read", path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing between `BEGIN CERTIFICATE` and `END CERTIFICATE`.
    #[error("{} holds no certificate in PEM form", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// A certificate that cannot be used.
    #[error("{}: certificate {place} cannot be used: {reason}", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Which certificate of it, from 1.
        place: usize,
        /// Why.
        reason: String,
    },
    /// No key.
    #[error("{} holds no private key in PEM form (PKCS#8, PKCS#1 or SEC1)", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// A key that would need a passphrase.
    #[error("{} is encrypted; nobody is there to type its passphrase", path.display())]
    EncryptedKey {
        /// Which.
        path: PathBuf,
    },
    /// A key that cannot be used.
    #[error("{}: the key cannot be used (RSA from 2048 bits, P-256, P-384, Ed25519 can)", path.display())]
    UnfitKey {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Another certificate's key.
    #[error("{} is not the key of the first certificate in {}", key.display(), chain.display())]
    Mismatch {
        /// The certificate's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A certificate whose time is not now, where one that is valid serves already.
    #[error("the certificate is valid from {from} to {to}, which is not now")]
    Untimely {
        /// Begin.
        from: String,
        /// End.
        to: String,
    },
    /// A certificate of our own cannot be made or kept.
    #[error("a self-signed certificate cannot be kept in {}", directory.display())]
    SelfSigned {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The TLS library refuses the whole.
    #[error("TLS cannot be set up")]
    Setup {
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl MaterialFault {
    /// The fault with its causes, for the log and for whoever corrects the configuration.
    pub(crate) fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Whether the key is what is to be corrected, and not the certificate.
    pub(crate) fn is_of_key(&self) -> bool {
        match self {
            Self::Key { .. }
            | Self::NoKey { .. }
            | Self::EncryptedKey { .. }
            | Self::UnfitKey { .. }
            | Self::Mismatch { .. } => true,
            Self::Chain { .. }
            | Self::Authorities { .. }
            | Self::NoCertificate { .. }
            | Self::Certificate { .. }
            | Self::Untimely { .. }
            | Self::SelfSigned { .. }
            | Self::Setup { .. } => false,
        }
    }
}
