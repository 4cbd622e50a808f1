//! The real GnuPG, with a home of its own that goes, and with the time that a test wants.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A directory with keys, files and an agent. A machine without `gpg` fails here: what it would prove is the point.
pub(crate) struct Gpg {
    home: tempfile::TempDir,
    time: Option<String>,
}

impl Gpg {
    pub(crate) fn new() -> Self {
        // Short: the agent's sockets are in it.
        Self { home: tempfile::Builder::new().prefix("g").tempdir_in("/tmp").unwrap(), time: None }
    }

    /// From now on it is this time, like `20200101T000000`; empty: the real one.
    pub(crate) fn time(&mut self, time: &str) -> &mut Self {
        self.time = Some(time.to_owned()).filter(|time| !time.is_empty());
        self
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<u8> {
        self.converse(arguments, "")
    }

    /// Runs it with answers to what it asks.
    fn converse(&self, arguments: &[&str], answers: &str) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.path());
        command.args(["--no-tty", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""]);
        command.args(["--allow-weak-digest-algos", "--ignore-time-conflict"]);
        if let Some(time) = &self.time {
            command.args(["--faked-system-time", time]);
        }
        command.args(if answers.is_empty() { ["--batch"].as_slice() } else { &["--command-fd", "0"] });
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut gpg = command.spawn().expect("these tests need gpg");
        gpg.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
        let output = gpg.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {told}");
        output.stdout
    }

    /// Makes a key and tells its fingerprint. `ends` as gpg has it: 0, 1y, seconds=60.
    pub(crate) fn key(&self, algorithm: &str, usage: &str, ends: &str) -> String {
        let name = format!("{} <k@example.org>", self.fingerprints("pub").len());
        self.run(&["--quick-generate-key", &name, algorithm, usage, ends]);
        self.fingerprints("pub").pop().unwrap()
    }

    /// Adds a subkey and tells its fingerprint.
    pub(crate) fn subkey(&self, key: &str, usage: &str, ends: &str) -> String {
        self.run(&["--quick-add-key", key, "ed25519", usage, ends]);
        self.fingerprints("sub").pop().unwrap()
    }

    /// Applies the revocation that gpg made with the key.
    pub(crate) fn revoke(&self, key: &str) {
        let file = self.write("revocation", &self.revocation(key));
        self.run(&["--import", file.to_str().unwrap()]);
    }

    /// That revocation, armed.
    pub(crate) fn revocation(&self, key: &str) -> Vec<u8> {
        let kept = self.home.path().join(format!("openpgp-revocs.d/{key}.rev"));
        std::fs::read_to_string(kept).unwrap().replace(":-----BEGIN", "-----BEGIN").into_bytes()
    }

    pub(crate) fn revoke_first_subkey(&self, key: &str) {
        self.converse(&["--edit-key", key], "key 1\nrevkey\ny\n0\n\ny\nsave\n");
    }

    /// Takes back a name of a key, given whole.
    pub(crate) fn revoke_user(&self, key: &str, name: &str) {
        self.run(&["--quick-revoke-uid", key, name]);
    }

    /// The public key in a file.
    pub(crate) fn export(&self, key: &str, armoured: bool) -> PathBuf {
        let armour: &[&str] = if armoured { &["--armor"] } else { &[] };
        let bytes = self.run(&[armour, &["--export", key]].concat());
        self.write(&format!("{key}.{armoured}"), &bytes)
    }

    /// A detached signature of a file by exactly this key.
    pub(crate) fn sign(&self, key: &str, file: &Path, more: &[&str]) -> Vec<u8> {
        let who = format!("{key}!");
        let file = file.to_str().unwrap();
        self.run(&[more, &["--local-user", &who, "--output", "-", "--detach-sign", file]].concat())
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.home.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }

    fn fingerprints(&self, kind: &str) -> Vec<String> {
        let listed = String::from_utf8(self.run(&["--list-keys", "--with-colons"])).unwrap();
        let mut found = Vec::new();
        let mut last = "";
        for fields in listed.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
            if fields[0] == "fpr" && last == kind {
                found.push(fields[9].to_owned());
            }
            if fields[0] != "fpr" {
                last = if fields[0] == "sub" {
                    "sub"
                } else if fields[0] == "pub" {
                    "pub"
                } else {
                    ""
                };
            }
        }
        found
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        end.arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status().ok();
    }
}
