//! Tokens whose public keys are in a file (RFC 7517), which is read again when it changes.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::{ChainError, addressed};
use crate::{
    auth::{
        AuthFault, Authenticator, Evidence, Proof, Reason, Standing,
        token::{KeySet, TokenPolicy},
    },
    config::identity::JwksFileSettings,
};

/// Time between two looks at the file: how long a key that was taken away may still open the door.
const LOOK: Duration = Duration::from_secs(1);

/// Largest file: keys of a hundred issuers.
const LARGEST: u64 = 1 << 20;

/// Proves tokens by the keys in a file.
#[derive(Debug)]
pub(super) struct JwksFile {
    name: String,
    policy: TokenPolicy,
    path: PathBuf,
    keys: ArcSwap<KeySet>,
    seen: Mutex<Option<Stamp>>,
}

/// What tells one state of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
    size: u64,
}

impl JwksFile {
    /// Reads the file, which must be sound this once.
    fn new(settings: &JwksFileSettings, standing: Standing) -> Result<Self, ChainError> {
        let path = settings.path.clone();
        let name = format!("jwks_file {}", path.display());
        let seen = stamp(&path);
        let keys = read(&path).map_err(|problem| ChainError::new(name.as_str(), &problem))?;
        let policy = TokenPolicy { rules: settings.rules.clone(), claims: settings.claims.clone(), standing };
        Ok(Self { name, policy, path, keys: ArcSwap::from_pointee(keys), seen: Mutex::new(seen) })
    }

    /// The same, with somebody who looks at the file once a second as long as it is used.
    pub(super) fn watched(settings: &JwksFileSettings, standing: Standing) -> Result<Arc<Self>, ChainError> {
        let made = Arc::new(Self::new(settings, standing)?);
        tokio::spawn(watch(Arc::downgrade(&made)));
        Ok(made)
    }

    /// Takes over what is new in the file. One that cannot be used changes nothing and is told once.
    fn look(&self) {
        let now = stamp(&self.path);
        let mut seen = self.seen.lock();
        if *seen == now {
            return;
        }
        *seen = now;
        let file = self.path.display();
        match read(&self.path) {
            Ok(keys) => {
                let keys = keys.replacing(&self.keys.load());
                tracing::info!(event = "keys_reloaded", %file, keys = keys.len());
                self.keys.store(Arc::new(keys));
            }
            Err(problem) => {
                tracing::warn!(event = "keys_unreadable", %file, problem, "the former keys stay");
            }
        }
    }
}

async fn watch(file: Weak<JwksFile>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(file) = file.upgrade() else { return };
        // Disks may be slow, and those of other machines may be away.
        tokio::task::spawn_blocking(move || file.look()).await.ok();
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = |data: &Metadata| Stamp {
        modified: (data.mtime(), data.mtime_nsec()),
        changed: (data.ctime(), data.ctime_nsec()),
        inode: data.ino(),
        size: data.size(),
    };
    std::fs::metadata(path).as_ref().map(of).ok()
}

fn read(path: &Path) -> Result<KeySet, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("is larger than {LARGEST} bytes"));
    }
    KeySet::parse(&bytes)
}

#[async_trait]
impl Authenticator for JwksFile {
    fn name(&self) -> &str {
        &self.name
    }

    async fn authenticate(&self, evidence: &Evidence<'_>) -> Result<Option<Proof>, AuthFault> {
        let Some(token) = evidence.token else { return Ok(None) };
        let issuer = self.policy.rules.issuer.as_deref();
        let Some(parsed) = addressed(token, issuer)? else { return Ok(None) };
        let keys = self.keys.load();
        match keys.find(parsed.kid(), parsed.algorithm()) {
            Some(key) => self.policy.prove(&parsed, key, SystemTime::now()).map(Some),
            // Without an issuer the key alone tells whose token it is.
            None if issuer.is_none() => Ok(None),
            None => Err(AuthFault::refused(Reason::UnknownKey, "no key of that name in the file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{
        super::{
            minted::{Minted, claims, jwks, rules},
            scripted::{Request, told},
        },
        *,
    };
    use crate::auth::{claims::ClaimPaths, token::Algorithm};

    struct Story {
        directory: TempDir,
        first: Minted,
        second: Minted,
        file: JwksFile,
    }

    impl Story {
        fn begin(issuer: Option<&str>) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (first, second) = (Minted::new("first"), Minted::new("second"));
            let path = directory.path().join("keys.json");
            fs::write(&path, jwks(&[&first])).unwrap();
            let settings = JwksFileSettings {
                path,
                rules: rules(issuer, Algorithm::ASYMMETRIC),
                claims: ClaimPaths::default(),
            };
            let file = JwksFile::new(&settings, Standing::default()).unwrap();
            Self { directory, first, second, file }
        }

        /// As editors and Kubernetes do it: a new file takes the place of the old one.
        fn replace(&self, text: &str) {
            let beside = self.directory.path().join("new");
            fs::write(&beside, text).unwrap();
            fs::rename(beside, &self.file.path).unwrap();
            self.file.look();
        }

        async fn told(&self, key: &Minted) -> String {
            told(&Request::with(&key.token(&claims("https://own", "ann"))).to(&self.file).await)
        }
    }

    #[tokio::test]
    async fn keys_of_the_file_prove_tokens_of_its_issuer() {
        let story = Story::begin(Some("https://own"));
        assert_eq!(story.told(&story.first).await, "ann");
        assert_eq!(story.told(&story.second).await, "unknown_key");
        assert_eq!(story.told(&Minted::new("first")).await, "signature");
        let foreign = story.first.token(&claims("https://other", "ann"));
        for request in [Request::with(&foreign), Request::with("opaque"), Request::bare()] {
            assert_eq!(told(&request.to(&story.file).await), "nobody's");
        }
        let anybody = Story::begin(None);
        assert_eq!(anybody.told(&anybody.first).await, "ann");
        assert_eq!(anybody.told(&anybody.second).await, "nobody's");
    }

    #[tokio::test]
    async fn a_changed_file_changes_the_keys_and_ends_what_a_lost_one_has_proved() {
        let story = Story::begin(Some("https://own"));
        let token = story.first.token(&claims("https://own", "ann"));
        let proof = Request::with(&token).to(&story.file).await.unwrap().unwrap();
        let life = proof.key.unwrap();
        story.replace(&jwks(&[&story.second, &story.first]));
        assert_eq!(
            (story.told(&story.first).await, story.told(&story.second).await),
            ("ann".into(), "ann".into())
        );
        assert!(life.goes_on(), "the key is still there");
        story.replace(&jwks(&[&story.second]));
        assert_eq!(story.told(&story.first).await, "unknown_key");
        assert!(!life.goes_on());
    }

    #[tokio::test]
    async fn a_broken_or_missing_file_leaves_the_keys_as_they_were() {
        let story = Story::begin(Some("https://own"));
        for broken in ["", "{", "[]", "{\"keys\": 1}", &format!("{{\"keys\":[]}}{}", " ".repeat(1 << 20))] {
            story.replace(broken);
            assert_eq!(story.told(&story.first).await, "ann", "{broken:.10}");
        }
        fs::remove_file(&story.file.path).unwrap();
        story.file.look();
        assert_eq!(story.told(&story.first).await, "ann");
        story.replace(&jwks(&[&story.second]));
        assert_eq!(story.told(&story.second).await, "ann", "a sound one counts again");
    }

    #[tokio::test]
    async fn the_file_is_watched_as_long_as_it_is_used() {
        let story = Story::begin(None);
        let path = story.file.path.clone();
        let settings = JwksFileSettings {
            path: path.clone(),
            rules: rules(None, Algorithm::ASYMMETRIC),
            claims: ClaimPaths::default(),
        };
        let watched = JwksFile::watched(&settings, Standing::default()).unwrap();
        fs::write(&path, jwks(&[&story.second])).unwrap();
        let token = story.second.token(&claims("https://own", "ann"));
        let taken_over = async {
            while told(&Request::with(&token).to(&*watched).await) != "ann" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), taken_over).await.unwrap();
        let gone = Arc::downgrade(&watched);
        drop(watched);
        let ended = async {
            while gone.upgrade().is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    }
}
