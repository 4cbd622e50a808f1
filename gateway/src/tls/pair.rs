//! A certificate chain and its key: PEM in, a pair that is known to belong together out.

use std::{
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    Error, InconsistentKeys,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, time::ASN1Time,
};

use super::{MaterialFault, file};

/// A certificate with its chain and its key.
#[derive(Clone)]
pub(crate) struct Pair {
    certified: Arc<CertifiedKey>,
    fingerprint: String,
    names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Pair {
    /// Reads and checks both files. A certificate whose time is over is a pair like any other.
    pub(crate) fn read(chain: &Path, key: &Path) -> Result<Self, MaterialFault> {
        let chain_pem =
            file::read(chain).map_err(|source| MaterialFault::Chain { path: chain.to_owned(), source })?;
        let key_pem =
            file::read(key).map_err(|source| MaterialFault::Key { path: key.to_owned(), source })?;
        Self::of_pem((chain, &chain_pem), (key, &key_pem))
    }

    /// Checks what was read of two files.
    pub(super) fn of_pem(
        (chain_path, chain_pem): (&Path, &[u8]),
        (key_path, key_pem): (&Path, &[u8]),
    ) -> Result<Self, MaterialFault> {
        let chain = file::certificates(chain_path, chain_pem)?;
        let unusable =
            |reason: String| MaterialFault::Certificate { path: chain_path.to_owned(), place: 1, reason };
        let leaf = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| unusable(error.to_string()))?;
        let facts = (
            colons(leaf),
            names(&parsed),
            time(&parsed.validity().not_before),
            time(&parsed.validity().not_after),
        );
        let key = private_key(key_path, key_pem)?;
        let provider = ring::default_provider();
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|source| MaterialFault::UnfitKey { path: key_path.to_owned(), source })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(MaterialFault::Mismatch {
                    chain: chain_path.to_owned(),
                    key: key_path.to_owned(),
                });
            }
            Err(error) => return Err(unusable(error.to_string())),
        }
        let (fingerprint, names, not_before, not_after) = facts;
        Ok(Self { certified: Arc::new(certified), fingerprint, names, not_before, not_after })
    }

    /// What handshakes use.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// SHA-256 of the certificate as people compare it: `AB:CD:…`, as `openssl x509 -fingerprint -sha256`
    /// prints it.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Hosts and addresses that the certificate is for.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// From when on it is valid.
    pub(crate) fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Until when it is valid.
    pub(crate) fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, MaterialFault> {
    // PKCS#8, and what openssl wrote before it.
    let marks = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
    if marks.iter().any(|mark| memchr::memmem::find(pem, mark).is_some()) {
        return Err(MaterialFault::EncryptedKey { path: path.to_owned() });
    }
    // What exactly is wrong with the text of a key is not repeated: it would be part of the key.
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| MaterialFault::NoKey { path: path.to_owned() })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = &alternatives.value.general_names;
    names.iter().filter_map(host).collect()
}

/// A name that stands for a host or an address.
fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::RegisteredID(_) => None,
    }
}

/// The address of an `iPAddress`: 4 or 16 bytes (RFC 5280 §4.2.1.6).
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Times before 1970 are 1970: both are over.
pub(super) fn time(time: &ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.timestamp().try_into().unwrap_or_default())
}

fn colons(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made(names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn pair(chain: &str, key: &str) -> Result<Pair, String> {
        let of = Pair::of_pem((Path::new("c"), chain.as_bytes()), (Path::new("k"), key.as_bytes()));
        of.map_err(|fault| fault.told())
    }

    #[test]
    fn a_certificate_and_its_key_are_a_pair_that_knows_its_names_and_times() {
        let (chain, key) = made(&["localhost", "::1", "10.0.0.1"]);
        let pair = pair(&chain, &key).unwrap();
        assert_eq!(pair.names(), ["localhost", "::1", "10.0.0.1"]);
        assert!(pair.not_before() < SystemTime::now() && SystemTime::now() < pair.not_after());
        assert_eq!(pair.fingerprint().len(), 32 * 3 - 1);
    }

    #[test]
    fn what_is_no_pair_is_refused_by_name() {
        let (chain, key) = made(&["localhost"]);
        let (_, other) = made(&["localhost"]);
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n\
                   -----END RSA PRIVATE KEY-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (chain, key, wanted) in [
            (chain.as_str(), other.as_str(), "k is not the key of the first certificate in c"),
            ("", key.as_str(), "c holds no certificate in PEM form"),
            (key.as_str(), key.as_str(), "c holds no certificate in PEM form"),
            (broken, key.as_str(), "c: certificate 1 cannot be used: "),
            (chain.as_str(), "", "k holds no private key in PEM form"),
            (chain.as_str(), chain.as_str(), "k holds no private key in PEM form"),
            (chain.as_str(), encrypted, "k is encrypted"),
            (chain.as_str(), old, "k is encrypted"),
        ] {
            let told = pair(chain, key).err().unwrap();
            assert!(told.starts_with(wanted), "{told:?} is not {wanted:?}");
        }
    }
}
