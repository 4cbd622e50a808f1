//! A certificate of our own making, for tries and for networks that need no authority: made once, kept in the
//! data directory, made again before its time is over or when the machine has another name.

use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use tempfile::NamedTempFile;

use super::{MaterialFault, Pair};

const DAY: Duration = Duration::from_secs(86_400);

/// How long one is valid. Clients refuse certificates of more than 398 days.
const VALID: Duration = Duration::from_secs(365 * 86_400);

/// A new one is made when so little is left: whoever has noted the fingerprint has a month of overlap to plan
/// in, and a process that is started seldom never serves one that is over.
const RENEWED: Duration = Duration::from_secs(30 * 86_400);

/// Clocks of clients may be behind ours.
const BACKDATED: Duration = DAY;

/// The two files.
pub(super) struct SelfSigned {
    directory: PathBuf,
}

impl SelfSigned {
    /// Kept in `tls` of the data directory.
    pub(super) fn in_data_directory(data_dir: &Path) -> Self {
        Self { directory: data_dir.join("tls") }
    }

    /// The certificate's file.
    pub(super) fn chain(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    /// The key's file.
    pub(super) fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    /// Sees to it that both files hold a pair that may serve now.
    pub(super) fn keep(&self) -> Result<(), MaterialFault> {
        let names = wanted_names();
        // Whatever is wrong with what is there: a new one cures it.
        let fits =
            Pair::read(&self.chain(), &self.key()).is_ok_and(|pair| is_fit(&pair, &names, SystemTime::now()));
        if fits {
            return Ok(());
        }
        let failed = |source| MaterialFault::SelfSigned { directory: self.directory.clone(), source };
        let (chain, key) = make(names, SystemTime::now()).map_err(|error| failed(error.into()))?;
        self.write(&chain, &key).map_err(|error| failed(Box::<dyn Error + Send + Sync>::from(error)))
    }

    /// The key first: a certificate without its key is replaced at the next look, nobody serves it.
    fn write(&self, chain: &str, key: &str) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))?;
        for (path, text) in [(self.key(), key), (self.chain(), chain)] {
            // Readable for its owner only, from its first byte on.
            let mut file = NamedTempFile::new_in(&self.directory)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path)?;
        }
        Ok(())
    }
}

/// This machine, from itself and by its name.
fn wanted_names() -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = own.trim().to_ascii_lowercase();
    let is_name =
        !own.is_empty() && own.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_name && !names.contains(&own) {
        names.push(own);
    }
    names
}

/// Whether a pair may serve on.
fn is_fit(pair: &Pair, names: &[String], now: SystemTime) -> bool {
    pair.not_before() <= now
        && now + RENEWED < pair.not_after()
        && names.iter().all(|name| pair.names().contains(name))
}

/// Certificate and key as PEM.
fn make(names: Vec<String>, now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let mut wanted = CertificateParams::new(names)?;
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, "PAR, self-signed");
    wanted.not_before = (now - BACKDATED).into();
    wanted.not_after = (now + VALID).into();
    wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = wanted.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(data_dir: &Path) -> Pair {
        let own = SelfSigned::in_data_directory(data_dir);
        own.keep().unwrap();
        Pair::read(&own.chain(), &own.key()).unwrap()
    }

    #[test]
    fn it_is_made_once_for_its_owner_only_and_kept_while_it_is_valid() {
        let data = tempfile::tempdir().unwrap();
        let first = kept(data.path());
        assert_eq!(kept(data.path()).fingerprint(), first.fingerprint());
        let mode = |name: &str| {
            let path = data.path().join("tls").join(name);
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode(""), mode("key.pem"), mode("certificate.pem")), (0o700, 0o600, 0o600));
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert!(first.names().iter().any(|known| known == name), "{:?}", first.names());
        }
    }

    #[test]
    fn what_is_damaged_or_belongs_to_somebody_else_is_made_again() {
        let data = tempfile::tempdir().unwrap();
        let mut known = kept(data.path());
        let other = make(vec!["elsewhere".to_owned()], SystemTime::now()).unwrap();
        for damage in ["", "-----BEGIN", &other.1] {
            fs::write(data.path().join("tls/key.pem"), damage).unwrap();
            let next = kept(data.path());
            assert_ne!(next.fingerprint(), known.fingerprint());
            known = next;
        }
        fs::write(data.path().join("tls/key.pem"), &other.1).unwrap();
        fs::write(data.path().join("tls/certificate.pem"), &other.0).unwrap();
        assert!(
            kept(data.path()).names().contains(&"localhost".to_owned()),
            "the machine's names have changed"
        );
    }

    #[test]
    fn it_is_made_again_a_month_before_its_end() {
        let data = tempfile::tempdir().unwrap();
        let pair = kept(data.path());
        let names = wanted_names();
        let end = pair.not_after();
        assert!(is_fit(&pair, &names, end - RENEWED - DAY));
        for now in [end - RENEWED, end, end + DAY, pair.not_before() - DAY] {
            assert!(!is_fit(&pair, &names, now));
        }
    }
}
