//! The whole street on real archives, directories and installers.

use std::fs;

use super::*;
use crate::package::unpack::tests::archive;

const MANIFEST: &str = "name: echo\nversion: 1.10\nentrypoint: src.main:handler\n";

fn settings(directory: &Path) -> PackageSettings {
    PackageSettings {
        data_dir: directory.join("data"),
        cache_dir: directory.join("cache"),
        max_package_bytes: 1 << 20,
        download_timeout: Duration::from_secs(10),
        install_timeout: Duration::from_secs(60),
        wheelhouse: None,
        uv: None,
        pythons: Vec::new(),
        pass_env: BTreeMap::new(),
    }
}

struct Desk {
    directory: tempfile::TempDir,
    street: Street,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let street = Street::new(settings(directory.path())).unwrap();
        Self { directory, street }
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
        desk.street.upload(desk.directory.path().join("one.apkg").as_path(), Some(one.digest)).await.unwrap();
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
    assert_eq!(missing.detail, "the archive x.apkg does not exist");
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
    assert!(installed.python.is_file());
    assert_eq!(
        installed.variables["VIRTUAL_ENV"],
        installed.python.parent().unwrap().parent().unwrap().to_str().unwrap()
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
    let unknown = desk.street.fetch(&Source::parse("s3://bucket/one.apkg").unwrap()).await.unwrap_err();
    assert_eq!(unknown.detail, "s3:// sources are not supported by this version");
}
