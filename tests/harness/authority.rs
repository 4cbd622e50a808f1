//! Real authorities and certificates, made by the real `openssl`.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::scratch;

/// What `openssl ca` is told for every certificate. Nothing is copied from requests: they are ours.
const RULES: &str = "[ca]\ndefault_ca = here\n[here]\ndatabase = index.txt\nserial = serial\n\
                     new_certs_dir = .\ncertificate = authority.pem\nprivate_key = authority.key\ndefault_md = sha256\n\
                     policy = any\nunique_subject = no\nstring_mask = utf8only\n\
                     [any]\ncountryName = optional\norganizationName = optional\n\
                     organizationalUnitName = optional\ncommonName = supplied\n";

/// When certificates begin and end, as `openssl ca` wants it.
const NOW: (&str, &str) = ("20240101000000Z", "20480101000000Z");
const OVER: (&str, &str) = ("20200101000000Z", "20210101000000Z");

/// An authority with a directory of its own.
pub(crate) struct Authority {
    home: TempDir,
    /// Certificates between this authority and its root, nearest first.
    between: String,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    /// PEM file of the certificate and those that lead to the root.
    pub(crate) chain: PathBuf,
    /// PEM file of the key.
    pub(crate) key: PathBuf,
}

impl Authority {
    /// One that signs itself.
    pub(crate) fn new(name: &str) -> Self {
        let authority = Self { home: scratch(), between: String::new() };
        authority.begin();
        let subject = format!("/O=PAR tests/CN={name}");
        let words = "req -x509 -new -key authority.key -days 3650 -addext basicConstraints=critical,CA:TRUE \
                     -addext keyUsage=critical,keyCertSign -out authority.pem -subj";
        authority.run(words.split_whitespace().chain([subject.as_str()]));
        authority
    }

    /// One that this one has signed.
    pub(crate) fn below(&self, name: &str) -> Self {
        let lower = Self { home: scratch(), between: String::new() };
        lower.begin();
        let extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
        let key = lower.home.path().join("authority.key");
        let pem = self.sign(&key, &format!("/O=PAR tests/CN={name}"), extensions, NOW);
        fs::write(lower.home.path().join("authority.pem"), &pem).expect("a file");
        Self { between: format!("{pem}{}", self.between), ..lower }
    }

    /// Its own certificate, for those who trust it.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.home.path().join("authority.pem")
    }

    /// For servers on this machine.
    pub(crate) fn server(&self, name: &str) -> Issued {
        self.issue(name, &format!("/CN={name}"), &["DNS:localhost", "IP:127.0.0.1"], NOW)
    }

    /// The same, but its time is over.
    pub(crate) fn expired_server(&self, name: &str) -> Issued {
        self.issue(name, &format!("/CN={name}"), &["DNS:localhost", "IP:127.0.0.1"], OVER)
    }

    /// For a client.
    pub(crate) fn client(&self, name: &str) -> Issued {
        self.issue(name, &format!("/O=PAR tests/CN={name}"), &[&format!("URI:spiffe://tests/{name}")], NOW)
    }

    /// The same, for so many seconds from now on.
    pub(crate) fn client_for(&self, name: &str, seconds: u64) -> Issued {
        let end = Command::new("date")
            .args(["-u", "-d", &format!("+{seconds} seconds"), "+%Y%m%d%H%M%SZ"])
            .output()
            .expect("date is installed");
        let end = String::from_utf8_lossy(&end.stdout).trim().to_owned();
        self.issue(
            name,
            &format!("/O=PAR tests/CN={name}"),
            &[&format!("URI:spiffe://tests/{name}")],
            (NOW.0, &end),
        )
    }

    /// The same, but its time is over.
    pub(crate) fn expired_client(&self, name: &str) -> Issued {
        self.issue(name, &format!("/O=PAR tests/CN={name}"), &[&format!("URI:spiffe://tests/{name}")], OVER)
    }

    fn issue(&self, name: &str, subject: &str, alternatives: &[&str], time: (&str, &str)) -> Issued {
        let place = |kind: &str| self.home.path().join(format!("{name}.{kind}"));
        let issued = Issued { chain: place("pem"), key: place("key") };
        self.key(&issued.key);
        let names = alternatives.join(",");
        let extensions = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n");
        let pem = self.sign(&issued.key, subject, &extensions, time);
        fs::write(&issued.chain, format!("{pem}{}", self.between)).expect("a file");
        issued
    }

    /// The certificate of a key, as PEM.
    fn sign(&self, key: &Path, subject: &str, extensions: &str, (from, to): (&str, &str)) -> String {
        let place = |name: &str| self.home.path().join(name);
        fs::write(place("extensions"), extensions).expect("a file");
        let key = key.to_str().expect("a path of text");
        self.run(["req", "-new", "-utf8", "-key", key, "-subj", subject, "-out", "request"]);
        let words =
            "ca -batch -notext -utf8 -config rules -extfile extensions -in request -out signed -startdate";
        self.run(words.split_whitespace().chain([from, "-enddate", to]));
        fs::read_to_string(place("signed")).expect("a certificate")
    }

    fn begin(&self) {
        let place = |name: &str| self.home.path().join(name);
        fs::write(place("rules"), RULES).expect("a file");
        fs::write(place("index.txt"), "").expect("a file");
        fs::write(place("serial"), "1000\n").expect("a file");
        self.key(&place("authority.key"));
    }

    fn key(&self, path: &Path) {
        let path = path.to_str().expect("a path of text");
        self.run(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path]);
    }

    fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) {
        openssl(self.home.path(), words);
    }
}

impl Issued {
    /// Puts both files into the place of others: first the key, then the certificate, each written over.
    pub(crate) fn replace(&self, other: &Self) {
        fs::copy(&self.key, &other.key).expect("a file");
        fs::copy(&self.chain, &other.chain).expect("a file");
    }

    /// A copy below a directory, where it may be replaced.
    pub(crate) fn copy(&self, directory: &Path) -> Self {
        let copy = Self { chain: directory.join("tls.crt"), key: directory.join("tls.key") };
        self.replace(&copy);
        copy
    }

    /// Certificate and key in one text.
    pub(crate) fn whole(&self) -> String {
        let read = |path| fs::read_to_string(path).expect("a file");
        format!("{}{}", read(&self.key), read(&self.chain))
    }

    /// SHA-256 of the certificate, as openssl prints it.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&fs::read_to_string(&self.chain).expect("a file"))
    }
}

/// SHA-256 of the first certificate in a PEM text, as openssl prints it.
pub(crate) fn fingerprint(pem: &str) -> String {
    let home = scratch();
    fs::write(home.path().join("pem"), pem).expect("a file");
    let told = openssl(home.path(), ["x509", "-in", "pem", "-noout", "-fingerprint", "-sha256"]);
    told.trim().rsplit('=').next().expect("a fingerprint").to_owned()
}

fn openssl<'a>(home: &Path, words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
    let output = Command::new("openssl")
        .args(&words)
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
