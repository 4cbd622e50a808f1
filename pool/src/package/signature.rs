//! OpenPGP detached signatures: files of trusted keys enter, a verdict about a file and its signature leaves.
//!
//! The mathematics is rPGP's (pure Rust: no C library, no agent, no keyring of the user). What it leaves open is
//! decided here and in `certificate.rs`: who is trusted, what revokes and what expires, which hashes and key sizes
//! still prove something. Formats: RFC 9580, and RFC 4880 as GnuPG writes it.

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pgp::{
    packet::{Signature, SignatureType, SignatureVersion, SubpacketData},
    types::{Fingerprint, KeyId},
};

mod certificate;
mod fault;
mod key;
mod packets;

use certificate::{Certificates, Signer};
pub use fault::{KeyFlaw, KeyringError, SignatureError};
use key::{end, is_weak};

/// Largest file of keys. Keyrings of whole distributions have less than 10 MiB.
const LARGEST_KEYRING: u64 = 16 << 20;
/// Largest blob of signatures. One has less than 1 KiB, armoured with RSA 4096; 64 KiB leave room for many signers.
const LARGEST_SIGNATURE: usize = 64 << 10;
/// Most signatures that are looked at: each of a trusted key costs one reading of the file.
const MOST_SIGNATURES: usize = 16;
/// How far the clock of a signer may be ahead of ours: clocks without a time server drift by minutes.
const SKEW: u64 = 300;

/// Whether packages must be signed, and by whom.
#[derive(Debug, Clone)]
pub enum SignaturePolicy {
    /// Signatures are not looked at.
    NotNeeded,
    /// Only what one of these keys signed is accepted.
    Required(Arc<Keyring>),
}

impl SignaturePolicy {
    /// Whether something that was verified before may still be used: `fingerprint` is that of the key that signed it.
    pub fn accepts(&self, fingerprint: Option<&str>) -> bool {
        match self {
            Self::NotNeeded => true,
            Self::Required(keys) => fingerprint.is_some_and(|fingerprint| keys.accepts(fingerprint)),
        }
    }
}

/// The trusted public keys.
pub struct Keyring {
    certificates: Certificates,
}

/// A signature that holds: the bytes are those that a trusted key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Fingerprint of the key that signed, a subkey perhaps; upper-case hexadecimal.
    pub fingerprint: String,
    /// Its key id; upper-case hexadecimal.
    pub key_id: String,
    /// When the signer says that it signed.
    pub signed_at: SystemTime,
}

impl Keyring {
    /// Reads files of public keys, armoured or binary, several keys a file. A key that is in several files is one
    /// key, and revoked if one of them says so.
    pub fn read(files: &[PathBuf]) -> Result<Self, KeyringError> {
        let mut certificates = Certificates::default();
        for file in files {
            let unreadable = |source| KeyringError::Unreadable { file: file.clone(), source };
            let mut bytes = Vec::new();
            let opened = File::open(file).map_err(unreadable)?;
            opened.take(LARGEST_KEYRING + 1).read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes.len() as u64 > LARGEST_KEYRING {
                return Err(KeyringError::TooLarge { file: file.clone() });
            }
            packets::keys(&bytes, &mut certificates).map_err(|fault| fault.of(file))?;
        }
        certificates.settle();
        Ok(Self { certificates })
    }

    /// Whether `signature` (armoured or binary; of several, one is enough) is one of the bytes of `file` that a key
    /// of this ring made. Reads the file in pieces, once for each signature of a trusted key: call it where blocking
    /// is allowed.
    pub fn verify(&self, file: &Path, signature: &[u8]) -> Result<Verified, SignatureError> {
        self.verify_at(file, signature, now())
    }

    /// Whether the key of this fingerprint is in the ring and neither revoked nor expired now.
    pub fn accepts(&self, fingerprint: &str) -> bool {
        self.accepts_at(fingerprint, now())
    }

    /// Keys that prove nothing now, one sentence each: worth a warning when the keys are configured.
    pub fn unfit(&self) -> Vec<String> {
        self.certificates.unfit(now())
    }

    fn verify_at(&self, file: &Path, signature: &[u8], now: u64) -> Result<Verified, SignatureError> {
        let mut refusal = SignatureError::Garbage("it holds no signature");
        for signature in &packets::signatures(signature)? {
            match self.judge(file, signature, now) {
                Ok(verified) => return Ok(verified),
                // Of several, the one of a key that is known tells more.
                Err(error)
                    if matches!(refusal, SignatureError::Garbage(_) | SignatureError::UnknownKey { .. }) =>
                {
                    refusal = error;
                }
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    fn accepts_at(&self, fingerprint: &str, now: u64) -> bool {
        self.certificates.signers().any(|signer| {
            signer.fingerprint().eq_ignore_ascii_case(fingerprint) && signer.flaw(now).is_none()
        })
    }

    fn judge(&self, file: &Path, signature: &Signature, now: u64) -> Result<Verified, SignatureError> {
        let claim = Claim::of(signature)?;
        let mut refusal = SignatureError::UnknownKey { key: claim.key.clone() };
        for signer in self.certificates.signers().filter(|signer| signer.is_named_by(signature)) {
            match claim.check(&signer, now).and_then(|()| check_bytes(file, signature, &signer)) {
                Ok(()) => {
                    return Ok(Verified {
                        fingerprint: signer.fingerprint().to_owned(),
                        key_id: claim.key,
                        signed_at: UNIX_EPOCH + Duration::from_secs(claim.made),
                    });
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.certificates.signers().map(|signer| signer.fingerprint().to_owned()))
            .finish()
    }
}

/// Key ids that a blob of signatures names, upper-case hexadecimal, whoever they belong to: nothing is verified.
pub fn named_keys(signature: &[u8]) -> Result<Vec<String>, SignatureError> {
    packets::signatures(signature)?.iter().map(named_key).collect()
}

/// What a signature says of itself.
struct Claim {
    key: String,
    made: u64,
    ends: Option<u64>,
    binary: bool,
    weak_hash: Option<String>,
}

impl Claim {
    fn of(signature: &Signature) -> Result<Self, SignatureError> {
        let (SignatureVersion::V4 | SignatureVersion::V6, Some(config)) =
            (signature.version(), signature.config())
        else {
            return Err(SignatureError::Garbage("its version is not supported"));
        };
        let unknown_notation = config
            .hashed_subpackets()
            .any(|part| part.is_critical && matches!(part.data, SubpacketData::Notation(_)));
        if unknown_notation {
            return Err(SignatureError::Garbage("it depends on something that is unknown here"));
        }
        let made = signature.created().ok_or(SignatureError::Garbage("it does not say when it was made"))?;
        let made = u64::from(made.as_secs());
        Ok(Self {
            key: named_key(signature)?,
            made,
            ends: end(made, signature.signature_expiration_time()),
            binary: config.typ() == SignatureType::Binary,
            weak_hash: is_weak(config.hash_alg).then(|| config.hash_alg.to_string()),
        })
    }

    /// Everything but the bytes.
    fn check(&self, signer: &Signer<'_>, now: u64) -> Result<(), SignatureError> {
        let key = || self.key.clone();
        if !self.binary {
            return Err(SignatureError::NotBinary { key: key() });
        }
        if let Some(hash) = self.weak_hash.clone() {
            return Err(SignatureError::WeakHash { key: key(), hash });
        }
        if self.made > now + SKEW {
            return Err(SignatureError::Future { key: key() });
        }
        if self.ends.is_some_and(|ends| ends <= now) {
            return Err(SignatureError::Expired { key: key() });
        }
        // A key that is good now was good then, unless it did not exist: expiry counts from its creation, and a
        // revocation counts for all that was ever signed.
        match signer.flaw(now).or_else(|| signer.flaw_at(self.made)) {
            Some((key, flaw)) => Err(SignatureError::Key { key, flaw }),
            None => Ok(()),
        }
    }
}

fn named_key(signature: &Signature) -> Result<String, SignatureError> {
    let id = |id: &KeyId| hex::encode_upper(id);
    let of_fingerprint = |fingerprint: &&Fingerprint| {
        let bytes = fingerprint.as_bytes();
        match fingerprint {
            Fingerprint::V4(_) => bytes.last_chunk::<8>().map(hex::encode_upper),
            Fingerprint::V6(_) => bytes.first_chunk::<8>().map(hex::encode_upper),
            Fingerprint::V2(_) | Fingerprint::V3(_) | Fingerprint::V5(_) | Fingerprint::Unknown(_) => None,
        }
    };
    let fingerprint = signature.issuer_fingerprint().iter().find_map(of_fingerprint);
    fingerprint
        .or_else(|| signature.issuer_key_id().first().map(|first| id(first)))
        .ok_or(SignatureError::Garbage("it does not say which key made it"))
}

fn check_bytes(file: &Path, signature: &Signature, signer: &Signer<'_>) -> Result<(), SignatureError> {
    let opened = File::open(file).map_err(SignatureError::Unreadable)?;
    let mut bytes = Watched { inner: BufReader::with_capacity(128 << 10, opened), failed: None };
    let outcome = signer.verify(signature, &mut bytes);
    if let Some(error) = bytes.failed {
        return Err(SignatureError::Unreadable(error));
    }
    outcome
        .map_err(|error| SignatureError::WrongData { key: signer.id().to_owned(), source: Box::new(error) })
}

/// Keeps the error of a reader: a disk that fails is no proof of a forgery.
struct Watched<R> {
    inner: R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            kind.into()
        })
    }
}

/// Seconds since 1970; a clock before that is as good as at it.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
pub(crate) mod tests;
