//! Environments by real installers from the real index.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use super::*;
use crate::package::{Loaders, Pin, S3Settings, SignaturePolicy, manifest};

/// uv where tests find it: on PATH, or where `PAR_TEST_UV` says.
fn uv() -> Option<PathBuf> {
    let given = std::env::var_os("PAR_TEST_UV").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("uv"));
    let found = given.into_iter().chain(on_path).find(|path| path.is_file());
    if found.is_none() {
        let why = "environments by uv: it is not here (make setup)";
        eprintln!("NOT CHECKED: {why}");
        if let Some(file) = std::env::var_os("PAR_NOT_CHECKED") {
            use std::io::Write as _;
            let told = fs::OpenOptions::new().append(true).create(true).open(file);
            told.and_then(|mut file| writeln!(file, "{why}")).unwrap();
        }
    }
    found
}

impl Environments {
    /// For whatever interpreter is found first.
    async fn provided(&self, unpacked: &Unpacked) -> Result<Environment, PullError> {
        self.provide(unpacked, &PythonWanted::Any).await
    }
}

struct Desk {
    directory: tempfile::TempDir,
    environments: Environments,
}

impl Desk {
    fn new(uv: Option<PathBuf>, wheelhouse: Option<PathBuf>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { environments: Self::open(directory.path(), uv, wheelhouse), directory }
    }

    /// The same environments with another installer.
    fn opened_with(&self, uv: PathBuf) -> Environments {
        Self::open(self.directory.path(), Some(uv), None)
    }

    fn open(directory: &Path, uv: Option<PathBuf>, wheelhouse: Option<PathBuf>) -> Environments {
        let settings = PackageSettings {
            data_dir: directory.join("data"),
            cache_dir: directory.join("cache"),
            max_package_bytes: 1 << 20,
            download_timeout: Duration::from_secs(10),
            download_idle_timeout: Duration::from_secs(5),
            tries_of_refused: 1,
            max_cache_bytes: 1 << 30,
            s3: S3Settings::default(),
            signatures: SignaturePolicy::NotNeeded,
            install_timeout: Duration::from_secs(120),
            wheelhouse,
            uv,
            pythons: Vec::new(),
            loaders: Loaders::default(),
            pass_env: BTreeMap::new(),
            adapters: Vec::new(),
        };
        Environments::open(&settings, None).unwrap()
    }

    /// A package of files; `agent.yaml` has these lines besides the usual ones.
    fn package(&self, name: &str, manifest: &str, files: &[(&str, &str)]) -> Unpacked {
        let root = self.directory.path().join(name);
        let manifest = format!("name: {name}\nversion: 1\nentrypoint: main:f\n{manifest}");
        for (name, content) in files.iter().chain(&[("agent.yaml", manifest.as_str())]) {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let package = manifest::read(&root, &Loaders::default(), &[]).unwrap().0;
        Unpacked {
            package: Arc::new(package),
            digest: par_proto::ids::Digest::new(Sha256::digest(name).into()),
            pin: Arc::new(Pin::unlocked(&root)),
            root,
            warnings: Vec::new(),
            steps: Vec::new(),
            fetched_at: SystemTime::now(),
        }
    }

    async fn run(&self, environment: &Environment, code: &str) -> String {
        let layer =
            environment.layer.as_deref().map(|layer| format!("import sys; sys.path.insert(0, {layer:?}); "));
        let code = format!("{}{code}", layer.unwrap_or_default());
        let arguments = ["-I", "-c", &code].map(Into::into);
        let deadline = Instant::now() + Duration::from_secs(20);
        let output = self.environments.tools.run(&environment.python, &arguments, deadline).await;
        output.unwrap_or_else(|error| panic!("{error:?}")).trim().to_owned()
    }
}

#[tokio::test]
async fn packages_without_requirements_share_one_empty_environment() {
    let desk = Desk::new(None, None);
    let (one, two) =
        (desk.package("one", "", &[]), desk.package("two", "", &[("requirements.txt", "# nothing\n")]));
    let (one, two) = tokio::join!(desk.environments.provided(&one), desk.environments.provided(&two));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.directory, two.directory);
    let prefix = desk.run(&one, "import sys; print(sys.prefix)").await;
    assert_eq!(Path::new(&prefix), one.directory);
    assert!(one.readable.contains(&one.directory) && one.readable.len() >= 2);
    fs::remove_file(one.directory.join("bin/python")).unwrap();
    let again = desk.environments.provided(&desk.package("three", "", &[])).await.unwrap();
    assert_ne!(again.directory, one.directory, "an environment whose interpreter went is made anew");
    assert!(again.python.is_file());
}

#[tokio::test]
async fn a_rollout_of_code_alone_installs_nothing() {
    let Some(uv) = uv() else { return };
    let desk = Desk::new(Some(uv), None);
    let files = [("requirements.txt", "six\nidna==3.10\n")];
    let one = desk.environments.provided(&desk.package("one", "", &files)).await.unwrap();
    let version =
        desk.run(&one, "import six, idna; print(idna.__version__, six.__cached__.endswith('.pyc'))").await;
    assert_eq!(version, "3.10 True");
    let site = desk.run(&one, "import six; print(six.__file__)").await;
    let pyc = Path::new(&site).parent().unwrap().join("__pycache__");
    assert!(fs::read_dir(pyc).unwrap().count() > 0, "it is compiled once");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&site).unwrap().permissions());
    assert_eq!(mode & 0o222, 0, "it is read-only");
    let broken =
        Desk { environments: desk.opened_with(PathBuf::from("/bin/false")), ..Desk::new(None, None) };
    let two =
        broken.environments.provided(&desk.package("two", "dependencies: [toml]", &files)).await.unwrap();
    assert_eq!(two.directory, one.directory, "no installer is asked");
    let pinned = desk.package("pinned", "", &[("requirements.txt", "idna==3.9\n")]);
    assert_ne!(desk.environments.provided(&pinned).await.unwrap().directory, one.directory);
}

#[tokio::test]
async fn versions_are_those_of_the_first_install_until_they_are_forgotten() {
    let Some(uv) = uv() else { return };
    let desk = Desk::new(Some(uv), None);
    let data_dir = desk.directory.path().join("data");
    let locks = || {
        let files = fs::read_dir(data_dir.join("resolutions")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "txt")).collect::<Vec<_>>()
    };
    let idna = async |environments: &Environments, name: &str| {
        let package = desk.package(name, "", &[("requirements.txt", "idna\n")]);
        let environment = environments.provided(&package).await.unwrap();
        desk.run(&environment, "import idna; print(idna.__version__)").await
    };
    let pinned = desk.package("pinned", "", &[("requirements.txt", "idna==3.9\n")]);
    desk.environments.provided(&pinned).await.unwrap();
    let old = fs::read_to_string(&locks()[0]).unwrap();
    let newest = idna(&desk.environments, "first").await;
    assert_ne!(newest, "3.9");
    // As if the first install had been when this was the newest.
    for lock in locks() {
        fs::write(lock, &old).unwrap();
    }
    assert_eq!(idna(&desk.environments, "second").await, "3.9", "code alone changes no version");

    assert_eq!(forget_resolutions(&data_dir).unwrap(), 2);
    let broken = desk.opened_with(PathBuf::from("/bin/false"));
    assert_eq!(idna(&broken, "third").await, "3.9", "nothing can be asked: as before");
    assert_eq!(idna(&desk.environments, "fourth").await, newest);
    assert_eq!(forget_resolutions(&data_dir).unwrap(), 1, "what was not asked for again has no lock");
    assert_eq!(forget_resolutions(Path::new("/nothing/here")).unwrap(), 0);
}

#[tokio::test]
async fn requirements_that_cannot_be_met_are_refused_with_the_cause() {
    let Some(uv) = uv() else { return };
    let desk = Desk::new(Some(uv), None);
    let package = desk.package("a", "dependencies: ['six==0.0.1']", &[]);
    let error = desk.environments.provided(&package).await.unwrap_err();
    assert_eq!((error.step, error.transient), (Step::Environment, false), "{error:?}");
    assert!(error.detail.contains("six==0.0.1"), "{error}");
    assert!(!error.detail.contains(&*desk.directory.path().to_string_lossy()), "{error}");
    assert!(!error.log.is_empty());
}

#[tokio::test]
async fn without_uv_pip_does_it() {
    let desk = Desk::new(None, None);
    let package = desk.package("a", "", &[("pyproject.toml", "[project]\nname = 'a'\nversion = '1'\ndynamic = ['x']\ndependencies = ['six']\n[build-system]\nrequires = ['missing-backend-of-nobody']\nbuild-backend = 'x'")]);
    let environment = desk.environments.provided(&package).await.unwrap();
    assert_eq!(desk.run(&environment, "import six; print(six.__name__)").await, "six");
    assert_eq!((environment.layer, environment.warnings.len()), (None, 1), "a build that fails is a warning");
}

#[tokio::test]
async fn a_wheelhouse_makes_it_work_offline() {
    let Some(uv) = uv() else { return };
    let wheels = tempfile::tempdir().unwrap();
    wheel(wheels.path(), "offline_only");
    let desk = Desk::new(Some(uv), Some(wheels.path().to_path_buf()));
    let package = desk.package("a", "", &[("requirements.txt", "offline-only>=1")]);
    let environment = desk.environments.provided(&package).await.unwrap();
    assert_eq!(desk.run(&environment, "import offline_only; print(offline_only.X)").await, "1");
    let absent = desk.package("b", "dependencies: ['six>=1']", &[]);
    assert!(desk.environments.provided(&absent).await.is_err());
}

#[tokio::test]
async fn local_paths_get_an_environment_of_their_own() {
    let Some(uv) = uv() else { return };
    let desk = Desk::new(Some(uv), None);
    let vendored = |name: &str| {
        let package =
            desk.package(name, "", &[("requirements.txt", "./wheels/offline_only-1.0-py3-none-any.whl")]);
        fs::create_dir_all(package.root.join("wheels")).unwrap();
        wheel(&package.root.join("wheels"), "offline_only");
        package
    };
    let one = desk.environments.provided(&vendored("one")).await.unwrap();
    let two = desk.environments.provided(&vendored("two")).await.unwrap();
    assert_ne!(one.directory, two.directory);
    assert_eq!(desk.run(&two, "import offline_only; print(offline_only.X)").await, "1");
}

#[tokio::test]
async fn a_project_gets_a_layer_and_its_metadata_names_its_dependencies() {
    let Some(uv) = uv() else { return };
    let desk = Desk::new(Some(uv), None);
    // A backend of its own, so that no other is needed from the index.
    let backend = r#"
import zipfile
def build_wheel(directory, *rest):
    name = "own-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as z:
        z.writestr("own_code/__init__.py", "X = 7")
        z.writestr("own-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: own\nVersion: 1.0\nRequires-Dist: idna==3.10\nRequires-Dist: nothing-like-it; extra == 'dev'\n")
        z.writestr("own-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("own-1.0.dist-info/RECORD", "")
    return name
"#;
    let pyproject = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n";
    let files = [("pyproject.toml", pyproject), ("backend.py", backend)];
    let environment = desk.environments.provided(&desk.package("a", "", &files)).await.unwrap();
    assert_eq!(environment.warnings, Vec::<String>::new());
    let output = desk.run(&environment, "import own_code, idna; print(own_code.X, idna.__version__)").await;
    assert_eq!(output, "7 3.10");
    assert!(!environment.layer.unwrap().starts_with(&environment.directory));
}

/// A wheel of one module.
fn wheel(directory: &Path, name: &str) {
    let info = format!("{name}-1.0.dist-info");
    let bytes = crate::package::unpack::tests::archive(&[
        (&format!("{name}.py"), "X = 1"),
        (&format!("{info}/METADATA"), &format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")),
        (
            &format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (&format!("{info}/RECORD"), ""),
    ]);
    fs::write(directory.join(format!("{name}-1.0-py3-none-any.whl")), bytes).unwrap();
}
