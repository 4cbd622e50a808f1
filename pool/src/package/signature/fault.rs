//! Why keys cannot be used and signatures are refused.

use std::{io, path::PathBuf};

use super::LARGEST_KEYRING;

/// Why a file of trusted keys cannot be used. Names the file: these are read for the operator only.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// It cannot be read.
    #[error("{} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It is larger than any keyring.
    #[error("{} is larger than {} MiB, which no file of public keys is", file.display(), LARGEST_KEYRING >> 20)]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// It holds no public key.
    #[error("{} holds no OpenPGP public key", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// It holds a secret key, which has no business here.
    #[error("{} holds a secret key; export the public one (gpg --export)", file.display())]
    SecretKey {
        /// The file.
        file: PathBuf,
    },
    /// It holds something else.
    #[error("{} is not a file of OpenPGP public keys: it holds {found}", file.display())]
    Garbage {
        /// The file.
        file: PathBuf,
        /// What was found in it.
        found: String,
    },
    /// It cannot be understood to its end. Nothing is skipped: what cannot be read may be a revocation.
    #[error("{} is not a file of OpenPGP public keys, or damaged", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<pgp::errors::Error>,
    },
}

/// Why a signature is refused. The texts are fit for clients.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Nobody who is trusted made it.
    #[error("no trusted key has the id {key} that the signature names")]
    UnknownKey {
        /// Key id, upper-case hexadecimal.
        key: String,
    },
    /// The key is trusted, and did not sign these bytes.
    #[error("the signature of key {key} does not fit: these are not the bytes that were signed")]
    WrongData {
        /// Key id.
        key: String,
        /// What the verification says.
        #[source]
        source: Box<pgp::errors::Error>,
    },
    /// The signature says of itself that it holds no longer.
    #[error("the signature of key {key} has expired")]
    Expired {
        /// Key id.
        key: String,
    },
    /// Made later than now.
    #[error("the signature of key {key} was made in the future: one of the clocks is wrong")]
    Future {
        /// Key id.
        key: String,
    },
    /// The key that made it may not be relied on.
    #[error("the signature was made by key {key}, which {flaw}")]
    Key {
        /// Key id, and whose subkey it is if the flaw is the primary key's.
        key: String,
        /// What is wrong with it.
        flaw: KeyFlaw,
    },
    /// Somebody else could make bytes with the same hash.
    #[error(
        "the signature of key {key} is made with {hash}, which is too weak; sign with SHA-256 or stronger"
    )]
    WeakHash {
        /// Key id.
        key: String,
        /// Name of the hash.
        hash: String,
    },
    /// It signs a text, a key or something else, not the bytes of a file.
    #[error("the signature of key {key} is not one of binary data (gpg --detach-sign makes such)")]
    NotBinary {
        /// Key id.
        key: String,
    },
    /// Not a detached signature.
    #[error("this is not an OpenPGP detached signature: {0}")]
    Garbage(&'static str),
    /// Looks like OpenPGP and cannot be parsed.
    #[error("this is not an OpenPGP detached signature: it is damaged")]
    Damaged(#[source] Box<pgp::errors::Error>),
    /// The signed file cannot be read: the signature may be good.
    #[error("the signed file could not be read")]
    Unreadable(#[source] io::Error),
}

/// Why a key that is trusted proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFlaw {
    /// Its owner took it back, for whatever reason.
    #[error("is revoked")]
    Revoked,
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// It did not exist when the signature says that it was made.
    #[error("is younger than the signature")]
    TooYoung,
    /// No self-signature of it, or binding to its primary key, holds. One that was made with SHA-1 does not.
    #[error("has no valid self-signature (one that is made with a strong hash)")]
    Unbound,
    /// It is for something else.
    #[error("is not made for signing data")]
    NotForSigning,
    /// RSA that can be broken.
    #[error("is too short: RSA with {bits} bits, at least 2048 are needed")]
    ShortRsa {
        /// Length of its modulus.
        bits: u16,
    },
    /// An algorithm or version that is out of use or unknown.
    #[error("is of a kind that is not accepted ({0})")]
    Kind(String),
}
