//! Who may bring code in, when keys say so.

use std::{
    fs,
    path::{Path, PathBuf},
};

use reqwest::{Method, multipart};
use serde_json::json;

use crate::harness::{
    Answered, Gpg, HttpsServer, Index, Key, Output, Package, Par, ParBuilder, S3Server, par, par_command,
    scratch,
};

/// Leaves a file behind when it is imported.
fn marking(name: &str, marks: &Path) -> Package {
    let mark = marks.join(name);
    let code = format!(
        "open({:?}, 'w').close()\n\n\ndef run(input):\n    return '{name}'\n",
        mark.to_string_lossy()
    );
    Package::writing(name, "1.0.0", &code, marks)
        .file(&format!("only_in_{}.txt", name.replace('-', "_")), "x")
}

struct Story {
    scratch: tempfile::TempDir,
    gpg: Gpg,
    marks: PathBuf,
}

impl Story {
    fn begin() -> Self {
        let scratch = scratch();
        let marks = scratch.path().join("marks");
        fs::create_dir(&marks).expect("a directory");
        Self { scratch, gpg: Gpg::new(), marks }
    }

    fn package(&self, name: &str) -> Package {
        marking(name, &self.marks)
    }

    fn apkg(&self, name: &str) -> PathBuf {
        self.package(name).apkg(self.scratch.path())
    }

    fn public(&self, keys: &[&Key]) -> String {
        let file = |(at, key): (usize, &&Key)| {
            self.gpg.public(key, self.scratch.path(), at % 2 == 0).to_string_lossy().into_owned()
        };
        keys.iter().enumerate().map(file).collect::<Vec<_>>().join(",")
    }

    /// In production, with these keys trusted.
    fn trusting(&self, keys: &[&Key]) -> ParBuilder {
        par().production().env("TRUSTED_KEYS", self.public(keys))
    }

    /// Nothing of it was imported, nothing of it lies below the data directory.
    fn untouched(&self, par: &Par, name: &str) -> bool {
        !self.marks.join(name).exists() && !unpacked(par, name)
    }
}

fn unpacked(par: &Par, name: &str) -> bool {
    let file = format!("only_in_{}.txt", name.replace('-', "_"));
    let mut entries = walkdir::WalkDir::new(par.data_dir()).into_iter().filter_map(Result::ok);
    entries.any(|entry| *entry.file_name() == *file)
}

async fn serves(par: &Par, name: &str) {
    assert_eq!(par.http.invoke(name, &json!({})).await.ok(), json!(name));
}

#[tokio::test]
async fn signatures_of_real_gpg_are_accepted_in_every_form() {
    let story = Story::begin();
    let keys = [story.gpg.key("rsa", "rsa3072"), story.gpg.key("curve", "ed25519")];
    let mut builder = story.trusting(&[&keys[0], &keys[1]]);
    let mut names = vec![];
    for (kind, key) in ["rsa", "curve"].iter().zip(&keys) {
        for armour in [true, false] {
            let name = format!("{kind}-{}", if armour { "text" } else { "binary" });
            let path = story.apkg(&name);
            story.gpg.sign(key, &path, armour);
            builder = builder.source(path);
            names.push(name);
        }
    }
    let strong = story.apkg("sha512");
    story.gpg.sign_with(&keys[0], &strong, true, &["--digest-algo", "SHA512"]);
    names.push("sha512".to_owned());
    let par = builder.source(strong).start().await;
    for name in &names {
        serves(&par, name).await;
        assert!(story.marks.join(name).exists() && unpacked(&par, name), "{name}: the tests look rightly");
    }
}

#[tokio::test]
async fn what_is_not_rightly_signed_is_refused_before_anything_is_unpacked() {
    let story = Story::begin();
    let (good, stranger) = (story.gpg.key("good", "ed25519"), story.gpg.key("stranger", "ed25519"));
    let revoked = story.gpg.key("revoked", "rsa2048");
    let rsa = story.gpg.key("rsa", "rsa2048");
    let apkg = |name: &str| story.apkg(name);

    let unsigned = apkg("unsigned");
    let unknown = apkg("unknown");
    story.gpg.sign(&stranger, &unknown, true);
    let other = apkg("wrong-data");
    let signature = story.gpg.sign(&good, &apkg("another"), true);
    fs::rename(signature, format!("{}.asc", other.display())).expect("a rename");
    let expired = apkg("expired");
    let yesteryear = ["--faked-system-time", "20240101T000000", "--default-sig-expire", "1d"];
    let old = story.gpg.key_made_with("old", "ed25519", &["--faked-system-time", "20230101T000000"]);
    story.gpg.sign_with(&old, &expired, true, &yesteryear);
    let weak = apkg("weak-hash");
    let sha1 =
        ["--digest-algo", "SHA1", "--allow-weak-digest-algos", "--personal-digest-preferences", "SHA1"];
    story.gpg.sign_with(&rsa, &weak, false, &sha1);
    let withdrawn = apkg("withdrawn");
    story.gpg.sign(&revoked, &withdrawn, true);
    story.gpg.revoke(&revoked);
    let garbage = apkg("garbage");
    fs::write(format!("{}.asc", garbage.display()), "-----BEGIN PGP SIGNATURE-----\n\nnothing\n")
        .expect("a file");
    let fine = apkg("fine");
    story.gpg.sign(&good, &fine, true);

    let par = story
        .trusting(&[&good, &rsa, &old, &revoked])
        .source(unsigned)
        .source(unknown)
        .source(other)
        .source(expired)
        .source(weak)
        .source(withdrawn)
        .source(garbage)
        .source(fine)
        .allow("package_failed")
        .allow("configuration") // a trusted key that is revoked
        .start()
        .await;
    serves(&par, "fine").await;
    let mut reasons = vec![];
    for name in ["unsigned", "unknown", "wrong-data", "expired", "weak-hash", "withdrawn", "garbage"] {
        let failure =
            par.failure(&format!("{name}-1.0.0")).await.unwrap_or_else(|| panic!("{name} is listed"));
        assert_eq!(failure["step"], "verify", "{failure}");
        assert!(story.untouched(&par, name), "{name}");
        par.http.invoke(name, &json!({})).await.problem(404, "agent_not_found");
        reasons.push(failure["detail"].to_string());
    }
    reasons.sort();
    reasons.dedup();
    assert_eq!(reasons.len(), 7, "each has a reason of its own: {reasons:#?}");
}

#[tokio::test]
async fn signatures_come_from_the_index_from_beside_and_with_uploads() {
    let story = Story::begin();
    let key = story.gpg.key("key", "ed25519");
    let signed = |name: &str, armour: bool| {
        let package = story.package(name);
        let path = package.apkg(story.scratch.path());
        (package, fs::read(story.gpg.sign(&key, &path, armour)).expect("a signature"))
    };
    let web = HttpsServer::start(story.scratch.path()).await;
    let s3 = S3Server::start().await;
    let (indexed, of_indexed) = signed("indexed", true);
    let (beside, of_beside) = signed("beside", false);
    let (object, of_object) = signed("object", true);
    let url = Index::default()
        .with(&indexed, json!({"signature": "proofs/indexed.asc"}))
        .file("proofs/indexed.asc", of_indexed)
        .with(&beside, json!({}))
        .file("beside-1.0.0.apkg.sig", of_beside)
        .with(&story.package("without"), json!({}))
        .on_web(&web);
    let source = s3.put("packages", "object.apkg", object.bytes());
    s3.put("packages", "object.apkg.asc", of_object);
    let builder = s3.known_to(story.trusting(&[&key]), s3.port);
    let par = builder
        .source(source)
        .env("REGISTRY_URL", url)
        .env("SSL_CERT_FILE", web.authorities())
        .allow("package_failed")
        .start()
        .await;
    for name in ["indexed", "beside", "object"] {
        serves(&par, name).await;
    }
    let failure = par.failure("without").await.expect("it is listed");
    assert_eq!(failure["step"], "verify", "{failure}");
    assert!(story.untouched(&par, "without"));

    let upload = async |package: &Package, signature: Option<Vec<u8>>| {
        let part = |bytes: Vec<u8>, name: &str| multipart::Part::bytes(bytes).file_name(name.to_owned());
        let mut form = multipart::Form::new().part("file", part(package.bytes(), "sent.apkg"));
        if let Some(bytes) = signature {
            form = form.part("signature", part(bytes, "sent.asc"));
        }
        par.operator().request(Method::POST, "/runtime/packages/upload").multipart(form).answer().await
    };
    let (sent, of_sent) = signed("sent", true);
    let refused = upload(&sent, None).await;
    assert_eq!(refused.problem(422, "package_invalid")["step"], "verify");
    let refused = upload(&story.package("other"), Some(of_sent.clone())).await;
    assert_eq!(refused.problem(422, "package_invalid")["step"], "verify");
    assert!(story.untouched(&par, "sent") && story.untouched(&par, "other"));
    upload(&sent, Some(of_sent)).await.ok();
    serves(&par, "sent").await;
}

#[tokio::test]
async fn signatures_are_asked_for_when_keys_are_there_always_or_never() {
    let story = Story::begin();
    let key = story.gpg.key("key", "ed25519");
    let path = story.apkg("unsigned");
    let open = par().production().source(&path).start().await;
    serves(&open, "unsigned").await;
    let off = story.trusting(&[&key]).env("VERIFY_SIGNATURES", "off").source(&path).allow("configuration");
    serves(&off.start().await, "unsigned").await;

    let mut command = par_command();
    command.arg("check").env("VERIFY_SIGNATURES", "require");
    let output = Output::of(command).await;
    assert_eq!(output.code, 64, "{output:?}");
    assert!(format!("{}{}", output.stdout, output.stderr).contains("TRUSTED_KEYS"), "{output:?}");
}

#[tokio::test]
async fn what_is_in_the_store_is_not_trusted_longer_than_its_signer() {
    let story = Story::begin();
    let (first, second) = (story.gpg.key("first", "ed25519"), story.gpg.key("second", "ed25519"));
    let path = story.apkg("stored");
    story.gpg.sign(&first, &path, true);
    let source = format!("{}#sha256={}", path.display(), story.package("stored").sha256());
    let par = story.trusting(&[&first]).source(&source).allow("package_failed").start().await;
    serves(&par, "stored").await;
    let stopped = par.stop().await.env("TRUSTED_KEYS", story.public(&[&second]));
    let par = stopped.start().await;
    let failure = par.failure("stored").await.expect("it is listed");
    assert_eq!(failure["step"], "verify", "{failure}");
    par.http.invoke("stored", &json!({})).await.problem(404, "agent_not_found");
}

#[tokio::test]
async fn inspect_tells_the_signer_and_refuses_what_serve_would_refuse() {
    let story = Story::begin();
    let (key, stranger) = (story.gpg.key("key", "ed25519"), story.gpg.key("stranger", "ed25519"));
    let (right, wrong) = (story.apkg("right"), story.apkg("wrong"));
    story.gpg.sign(&key, &right, true);
    story.gpg.sign(&stranger, &wrong, true);
    let inspect = async |path: &Path| {
        let mut command = par_command();
        command.arg("inspect").arg(path).arg("--json").env("TRUSTED_KEYS", story.public(&[&key]));
        Output::of(command).await
    };
    let told = inspect(&right).await;
    assert_eq!(told.code, 0, "{told:?}");
    let id = key.fingerprint[24..].to_lowercase();
    assert!(told.json()["signature"].to_string().to_lowercase().contains(&id), "{told:?}");
    let refused = inspect(&wrong).await;
    assert_eq!(refused.code, 65, "{refused:?}");
}
