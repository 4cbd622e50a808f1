//! Real keys and signatures, made by the real `gpg` in a home of its own.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::scratch;

/// A home with keys.
pub(crate) struct Gpg {
    home: TempDir,
}

/// A key pair.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Fingerprint of the primary key, in capitals.
    pub(crate) fingerprint: String,
}

impl Gpg {
    /// Empty.
    pub(crate) fn new() -> Self {
        let home = scratch(); // a short path: the agent's socket lies there
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).expect("our own directory");
        Self { home }
    }

    /// A new key that may sign: `rsa2048`, `ed25519`.
    pub(crate) fn key(&self, name: &str, algorithm: &str) -> Key {
        self.key_made_with(name, algorithm, &[])
    }

    /// The same with further options, `--faked-system-time` for example.
    pub(crate) fn key_made_with(&self, name: &str, algorithm: &str, options: &[&str]) -> Key {
        let user = format!("{name} <{name}@example.org>");
        let words = ["--status-fd", "1", "--quick-generate-key", &user, algorithm, "sign", "never"];
        let told = self.run(options.iter().copied().chain(words));
        let created = told.lines().find(|line| line.contains("KEY_CREATED")).expect("a key");
        Key { fingerprint: created.split_whitespace().last().expect("its fingerprint").to_owned() }
    }

    /// The public key in a file below `directory`, armoured or not.
    pub(crate) fn public(&self, key: &Key, directory: &Path, armour: bool) -> PathBuf {
        let path = directory.join(format!("{}.{}", key.fingerprint, if armour { "asc" } else { "pgp" }));
        let out = path.to_str().expect("a path of text");
        let mut words = vec!["--yes", "--output", out];
        if armour {
            words.push("--armor");
        }
        words.extend(["--export", &key.fingerprint]);
        self.run(words);
        path
    }

    /// Revokes the key by the certificate that was made with it.
    pub(crate) fn revoke(&self, key: &Key) {
        let place = self.home.path().join("openpgp-revocs.d").join(format!("{}.rev", key.fingerprint));
        // A colon before the armour keeps people from importing it by accident.
        let certificate =
            fs::read_to_string(&place).expect("a revocation").replace(":-----BEGIN", "-----BEGIN");
        fs::write(&place, certificate).expect("a file");
        self.run(["--import", place.to_str().expect("a path of text")]);
    }

    /// A detached signature beside the file: `.asc` if armoured, else `.sig`.
    pub(crate) fn sign(&self, key: &Key, file: &Path, armour: bool) -> PathBuf {
        self.sign_with(key, file, armour, &[])
    }

    /// The same with further options.
    pub(crate) fn sign_with(&self, key: &Key, file: &Path, armour: bool, options: &[&str]) -> PathBuf {
        let out = PathBuf::from(format!("{}.{}", file.display(), if armour { "asc" } else { "sig" }));
        let user = format!("{}!", key.fingerprint);
        let mut words = options.to_vec();
        words.extend(["--yes", "--local-user", &user, "--output", out.to_str().expect("a path of text")]);
        if armour {
            words.push("--armor");
        }
        words.extend(["--detach-sign", file.to_str().expect("a path of text")]);
        self.run(words);
        out
    }

    fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.path());
        command.args(["--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""]);
        let words: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
        let output = command.args(&words).stdin(Stdio::null()).output().expect("gpg is installed");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {words:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Gpg {
    /// The agent that gpg left behind ends with the home.
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        end.arg("--homedir").arg(self.home.path()).args(["--kill", "all"]);
        end.stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
    }
}
