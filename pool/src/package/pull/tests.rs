//! The whole street on real archives, directories and installers.

use std::{fs, path::PathBuf};

use tokio::sync::Notify;

use super::*;
use crate::package::{
    Keyring, Loaders, S3Settings, SignaturePolicy,
    fetch::tests::{Act, Server, status, whole},
    signature::tests::gpg::Gpg,
    unpack::tests::archive,
};

const MANIFEST: &str = "name: echo\nversion: 1.10\nentrypoint: src.main:handler\n";

/// Settings for a street below a directory.
pub(crate) fn settings(directory: &Path) -> PackageSettings {
    PackageSettings {
        data_dir: directory.join("data"),
        cache_dir: directory.join("cache"),
        max_package_bytes: 1 << 20,
        download_timeout: Duration::from_secs(10),
        download_idle_timeout: Duration::from_secs(5),
        tries_of_refused: 1,
        max_cache_bytes: 1 << 30,
        s3: S3Settings::default(),
        signatures: SignaturePolicy::NotNeeded,
        install_timeout: Duration::from_secs(60),
        wheelhouse: None,
        uv: None,
        pythons: Vec::new(),
        loaders: Loaders::default(),
        pass_env: BTreeMap::new(),
        adapters: Vec::new(),
    }
}

struct Desk {
    directory: tempfile::TempDir,
    street: Street,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let street = Street::new(settings(directory.path()), None).unwrap();
        rustls::crypto::ring::default_provider().install_default().ok();
        Self { directory, street }
    }

    /// The same directories opened again, with these keys required.
    fn requiring(self, keys: &[PathBuf]) -> Self {
        let mut settings = settings(self.directory.path());
        settings.signatures = SignaturePolicy::Required(Arc::new(Keyring::read(keys).unwrap()));
        Self { street: Street::new(settings, None).unwrap(), ..self }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Source {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        Source::path(&path)
    }

    fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join("cache")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with("owner-")).collect()
    }
}

#[tokio::test]
async fn an_archive_is_fetched_once_per_content() {
    let desk = Desk::new();
    let bytes = archive(&[("agent.yaml", MANIFEST), ("src/main.py", "def handler(x): return x")]);
    let one = desk.street.fetch(&desk.file("one.apkg", &bytes)).await.unwrap();
    let two =
        desk.street.upload(&desk.directory.path().join("one.apkg"), Some(one.digest), None).await.unwrap();
    assert_eq!(one.package.id.to_string(), "echo@1.10");
    assert_eq!((one.digest, &one.root), (two.digest, &two.root));
    assert!(one.root.join("src/main.py").is_file());
    let steps: Vec<Step> = one.steps.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [Step::Fetch, Step::Verify, Step::Unpack, Step::Manifest]);
    assert_eq!(desk.entries().len(), 1);
    assert!(desk.directory.path().join("one.apkg").exists());
}

#[tokio::test]
async fn a_refused_package_leaves_nothing_behind() {
    let desk = Desk::new();
    let good = archive(&[("agent.yaml", MANIFEST)]);
    let digest = "ab".repeat(32).parse().unwrap();
    let wrong = Source { sha256: Some(digest), ..desk.file("wrong.apkg", &good) };
    let error = desk.street.fetch(&wrong).await.unwrap_err();
    assert_eq!((error.step, error.transient), (Step::Verify, false));
    for (bytes, step, text) in [
        (b"no zip".to_vec(), Step::Unpack, "not a zip file"),
        (
            archive(&[("x/agent.yaml", MANIFEST)]),
            Step::Manifest,
            "missing at the root of the archive; there is one at x/agent.yaml",
        ),
        (archive(&[("agent.yaml", "name: a/b\nversion: 1")]), Step::Manifest, "package name"),
        (archive(&[("../agent.yaml", MANIFEST)]), Step::Unpack, "leads out"),
        (vec![b'x'; 2 << 20], Step::Fetch, "larger"),
    ] {
        let error = desk.street.fetch(&desk.file("bad.apkg", &bytes)).await.unwrap_err();
        assert_eq!(error.step, step, "{error}");
        assert!(error.detail.contains(text), "{error}");
    }
    let missing = desk.street.fetch(&Source::parse("/missing/dir/x.apkg").unwrap()).await.unwrap_err();
    assert_eq!(missing.detail, "the file x.apkg does not exist");
    assert_eq!(desk.entries(), Vec::<String>::new());
}

#[tokio::test]
async fn a_directory_that_is_edited_becomes_another_package() {
    let desk = Desk::new();
    let project = desk.directory.path().join("project");
    fs::create_dir_all(project.join("src/a2a")).unwrap();
    fs::write(project.join("agent.yaml"), MANIFEST).unwrap();
    fs::write(project.join("src/main.py"), "x = 1").unwrap();
    let source = Source::path(&project);
    let one = desk.street.fetch(&source).await.unwrap();
    let same = desk.street.fetch(&source).await.unwrap();
    fs::write(project.join("src/main.py"), "x = 2").unwrap();
    let two = desk.street.fetch(&source).await.unwrap();
    assert_eq!(one.root, same.root);
    assert_ne!(one.digest, two.digest);
    assert_eq!(fs::read_to_string(one.root.join("src/main.py")).unwrap(), "x = 1");
    let installed = desk.street.install(two).await.unwrap();
    let below: Vec<String> = installed
        .sys_path
        .iter()
        .map(|path| path.strip_prefix(&installed.root).unwrap().display().to_string())
        .collect();
    assert_eq!(below, ["", "src", "src/a2a"]);
    let Program::Python(python) = &installed.program else { unreachable!("{:?}", installed.program) };
    assert!(python.is_file());
    assert_eq!(
        installed.variables["VIRTUAL_ENV"],
        python.parent().unwrap().parent().unwrap().to_str().unwrap()
    );
}

#[tokio::test]
async fn what_was_fetched_before_needs_no_registry() {
    let desk = Desk::new();
    let bytes = archive(&[("agent.yaml", MANIFEST)]);
    let known = desk.street.fetch(&desk.file("one.apkg", &bytes)).await.unwrap();
    for place in ["https://127.0.0.1:1/one.apkg", "s3://bucket/one.apkg"] {
        let source = Source::parse(&format!("{place}#sha256={}", known.digest)).unwrap();
        assert_eq!(desk.street.fetch(&source).await.unwrap().root, known.root);
    }
    let again = desk.street.recall(known.digest).await.unwrap();
    assert_eq!((again.root, again.package), (known.root, known.package));
    assert!(desk.street.recall("ab".repeat(32).parse().unwrap()).await.is_none());
}

/// A server with the archive that each source of the tests is about.
struct Web {
    server: Server,
    digest: Digest,
}

impl Web {
    async fn start(acts: impl FnOnce(&[u8]) -> Vec<Act>) -> Self {
        let bytes = archive(&[("agent.yaml", MANIFEST)]);
        let server = Server::start(acts(&bytes)).await;
        let digest = Digest::new(<sha2::Sha256 as sha2::Digest>::digest(&bytes).into());
        Self { server, digest }
    }

    fn source(&self, rest: &str) -> Source {
        Source::parse(&format!("http://127.0.0.1:{}/{rest}", self.server.port)).unwrap()
    }
}

#[tokio::test]
async fn the_same_bytes_wanted_at_once_are_fetched_once_and_nobody_who_leaves_ends_it() {
    let go = Arc::new(Notify::new());
    let web = Web::start(|bytes| vec![Act::Wait(Arc::clone(&go), whole(bytes))]).await;
    for rest in ["a.apkg".to_owned(), format!("b.apkg#sha256={}", web.digest)] {
        let desk = Desk::new();
        let source = web.source(&rest);
        let before = web.server.asked().len();
        let mut first = Box::pin(desk.street.fetch(&source));
        let mut second = Box::pin(desk.street.fetch(&source));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        go.notify_one();
        let third = desk.street.fetch(&source);
        let (second, third) = tokio::join!(second, third);
        assert_eq!(second.unwrap().root, third.unwrap().root);
        assert_eq!(web.server.asked().len(), before + 1);
    }
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_leaves_nothing() {
    let web =
        Web::start(|_| vec![Act::Stall("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_owned())]).await;
    let (desk, source) = (Desk::new(), web.source("a.apkg"));
    let waiting = desk.street.fetch(&source);
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    assert_eq!(desk.entries(), Vec::<String>::new());
}

#[tokio::test]
async fn the_same_bytes_may_come_from_another_place_when_the_first_has_none() {
    let go = Arc::new(Notify::new());
    let missing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec();
    let web = Web::start(|bytes| vec![Act::Wait(Arc::clone(&go), missing), Act::Say(whole(bytes))]).await;
    let desk = Desk::new();
    let [one, other] = ["one", "other"].map(|name| web.source(&format!("{name}.apkg#sha256={}", web.digest)));
    let mut first = Box::pin(desk.street.fetch(&one));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(desk.street.fetch(&other));
    assert!(futures_util::poll!(&mut second).is_pending());
    go.notify_one();
    let (first, second) = tokio::join!(first, second);
    assert!(first.unwrap_err().detail.contains("answered 404"));
    assert_eq!(second.unwrap().digest, web.digest);
}

#[tokio::test]
async fn a_damaged_package_is_fetched_again() {
    let web = Web::start(|bytes| vec![Act::Say(whole(bytes))]).await;
    let mut desk = Desk::new();
    let source = web.source(&format!("a.apkg#sha256={}", web.digest));
    let root = desk.street.fetch(&source).await.unwrap().root;
    desk.street.fetch(&source).await.unwrap();
    assert_eq!(web.server.asked().len(), 1);
    fs::remove_file(root.join("agent.yaml")).unwrap();
    fs::write(root.join("agent.yaml"), "name: evil\nversion: 1\nentrypoint: a:b").unwrap();
    desk.street = Street::new(settings(desk.directory.path()), None).unwrap();
    let again = desk.street.fetch(&source).await.unwrap();
    assert_eq!((again.package.id.to_string().as_str(), &again.root), ("echo@1.10", &root));
    assert_eq!(web.server.asked().len(), 2);
}

#[tokio::test]
async fn only_what_a_trusted_key_signed_is_unpacked_when_signatures_are_required() {
    let gpg = Gpg::new();
    let (ours, stranger) = (gpg.key("ed25519", "sign", "0"), gpg.key("ed25519", "sign", "0"));
    let desk = Desk::new().requiring(&[gpg.export(&ours, true)]);
    let bytes = archive(&[("agent.yaml", MANIFEST)]);
    let source = desk.file("one.apkg", &bytes);
    let path = desk.directory.path().join("one.apkg");
    let [good, strange] = [&ours, &stranger].map(|key| gpg.sign(key, &path, &["--armor"]));

    let unsigned = desk.street.fetch(&source).await.unwrap_err();
    assert_eq!(unsigned.step, Step::Verify);
    assert_eq!(unsigned.detail, "one.apkg is not signed, and signatures are required");
    let directory = desk.directory.path().join("project");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("agent.yaml"), MANIFEST).unwrap();
    let unsigned = desk.street.fetch(&Source::path(&directory)).await.unwrap_err();
    assert!(unsigned.step == Step::Verify && unsigned.hint.is_some(), "{unsigned:?}");

    let with = |signature: &[u8]| Some(Signature::Bytes(Arc::from(signature)));
    for (signature, text) in [
        (&strange[..], "no trusted key"),
        (b"nonsense", "signature"),
        (&vec![b'x'; 70_000], "larger than the 65536 bytes"),
    ] {
        let error = desk.street.upload(&path, None, with(signature)).await.unwrap_err();
        assert!(error.step == Step::Verify && error.detail.contains(text), "{error}");
    }
    assert_eq!(desk.entries(), Vec::<String>::new(), "nothing of it is visible");

    let uploaded = desk.street.upload(&path, None, with(&good)).await.unwrap();
    assert_eq!(uploaded.pin.signer(), Some(ours.as_str()));
    for ending in ["asc", "sig"] {
        let beside = desk.directory.path().join(format!("one.apkg.{ending}"));
        fs::write(&beside, &good).unwrap();
        desk.street.fetch(&source).await.unwrap();
        fs::remove_file(beside).unwrap();
    }
    let elsewhere = desk.directory.path().join("signature");
    let at = Some(Signature::At(Location::File(elsewhere.clone())));
    let named = Source { signature: at, ..source };
    let error = desk.street.fetch(&named).await.unwrap_err();
    assert_eq!(
        (error.step, error.detail.as_str()),
        (Step::Verify, "the signature: the file signature does not exist")
    );
    fs::write(&elsewhere, &good).unwrap();
    desk.street.fetch(&named).await.unwrap();
}

#[tokio::test]
async fn what_was_stored_is_used_only_if_its_signer_is_still_trusted() {
    let gpg = Gpg::new();
    let [one, other] = [(); 2].map(|()| gpg.key("ed25519", "sign", "0"));
    let keys = [&one, &other].map(|key| gpg.export(key, true));
    let web = Web::start(|bytes| {
        let file = gpg.write("a.apkg", bytes);
        let [one, other] = [&one, &other].map(|key| Act::Say(whole(&gpg.sign(key, &file, &[]))));
        let whole = || Act::Say(whole(bytes));
        vec![whole(), whole(), status("404 Not Found"), one, whole(), other, Act::Hang]
    })
    .await;
    let source = web.source(&format!("a.apkg?key=1#sha256={}", web.digest));
    let desk = Desk::new();
    let unsigned = desk.street.fetch(&source).await.unwrap();
    assert_eq!((unsigned.pin.signer(), web.server.asked().len()), (None, 1));
    // Not signed when it came in: it is fetched again, its signature beside it, `.asc` before `.sig`.
    let desk = desk.requiring(&keys[..1]);
    assert!(desk.street.recall(web.digest).await.is_none());
    let signed = desk.street.fetch(&source).await.unwrap();
    assert_eq!((signed.pin.signer(), web.server.asked().len()), (Some(one.as_str()), 4));
    assert!(web.server.asked()[2].starts_with("get /a.apkg.asc?key=1 "));
    assert!(web.server.asked()[3].starts_with("get /a.apkg.sig?key=1 "));
    assert!(desk.street.recall(web.digest).await.is_some());
    // Who signed it then is not trusted any more.
    let desk = desk.requiring(&keys[1..]);
    assert!(desk.street.recall(web.digest).await.is_none());
    desk.street.fetch(&source).await.unwrap();
    desk.street.fetch(&source).await.unwrap();
    assert_eq!(web.server.asked().len(), 6);
}
