//! What a handler finds around itself: dependencies, modules, variables; and what installing costs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::harness::{Package, Par, agent, eventually, par, scratch};

/// A package that tells which of some modules can be imported.
fn importing(name: &str, version: &str) -> Package {
    let surroundings = fs::read(agent("environment").join("surroundings.py")).expect("the environment agent");
    Package::new(name, version, "entrypoint: surroundings:imports").file("surroundings.py", surroundings)
}

async fn importable(par: &Par, id: &str, modules: &[&str]) -> Value {
    par.http.invoke(id, &json!({"modules": modules})).await.ok()
}

/// A wheel with one module, made without any tool: a zip with three text files.
fn wheel(directory: &Path, name: &str, version: &str, code: &str) -> PathBuf {
    let info = format!("{name}-{version}.dist-info");
    let record = format!("{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n");
    let bytes = Package::bare(name, version)
        .file(&format!("{name}.py"), code)
        .file(
            &format!("{info}/METADATA"),
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
        )
        .file(
            &format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        .file(&format!("{info}/RECORD"), record)
        .bytes();
    let path = directory.join(format!("{name}-{version}-py3-none-any.whl"));
    fs::write(&path, bytes).expect("a file");
    path
}

#[tokio::test]
async fn requirements_are_installed_for_the_package_and_for_nobody_else() {
    let scratch = scratch();
    let par = par()
        .source(
            importing("with", "1.0.0").file("requirements.txt", "six==1.17.0\n").directory(scratch.path()),
        )
        .source(importing("without", "1.0.0").directory(scratch.path()))
        .start()
        .await;
    assert_eq!(importable(&par, "with", &["six"]).await, json!({"six": true}));
    assert_eq!(importable(&par, "without", &["six"]).await, json!({"six": false}));
}

#[tokio::test]
async fn dependencies_of_the_manifest_count_when_there_are_no_requirements() {
    let scratch = scratch();
    let surroundings = fs::read(agent("environment").join("surroundings.py")).expect("the environment agent");
    let manifest = "entrypoint: surroundings:imports\ndependencies: ['six==1.17.0']";
    let package = Package::new("listed", "1.0.0", manifest).file("surroundings.py", surroundings);
    let par = par().source(package.directory(scratch.path())).start().await;
    assert_eq!(importable(&par, "listed", &["six"]).await, json!({"six": true}));
}

#[tokio::test]
async fn the_same_resolved_dependencies_are_installed_once() {
    let scratch = scratch();
    let par = par().own_environments().start().await;
    let load = async |package: Package| {
        let path = package.apkg(scratch.path());
        par.operator().post("/runtime/packages/load", &json!({"path": path})).await.ok();
    };
    // Written differently, resolved to the same set.
    load(importing("one", "1.0.0").file("requirements.txt", "attrs==25.3.0\nsix==1.17.0\n")).await;
    load(importing("two", "1.0.0").file("requirements.txt", "# sorted\nsix == 1.17.0\nattrs==25.3.0")).await;
    load(
        importing("one", "1.0.1")
            .file("requirements.txt", "attrs==25.3.0\nsix==1.17.0\n")
            .file("more.py", ""),
    )
    .await;
    for id in ["one@1.0.0", "two@1.0.0", "one@1.0.1"] {
        assert_eq!(importable(&par, id, &["six", "attr"]).await, json!({"six": true, "attr": true}), "{id}");
    }
    let copies = walkdir::WalkDir::new(par.data_dir().join("environments"))
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name() == "six.py")
        .count();
    assert_eq!(copies, 1, "one shared environment holds it");
}

#[tokio::test]
async fn env_refresh_lets_the_next_install_look_for_newer_versions() {
    let scratch = scratch();
    let par = par()
        .own_environments()
        .source(importing("loose", "1.0.0").file("requirements.txt", "six\n").directory(scratch.path()))
        .start()
        .await;
    let refresh = async |more: &[&str]| {
        let said = par.cli(&[&["env", "refresh"], more].concat()).await;
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
        said.stdout
    };
    assert_eq!(refresh(&[]).await, "1 set of requirements is resolved anew at its next install\n");
    assert_eq!(refresh(&["--json"]).await, "{\"forgotten\":0}\n");
    assert_eq!(importable(&par, "loose", &["six"]).await, json!({"six": true}), "what runs, runs on");
    let next = importing("loose", "1.0.1").file("requirements.txt", "six\n").apkg(scratch.path());
    par.operator().post("/runtime/packages/load", &json!({"path": next})).await.ok();
    assert_eq!(refresh(&["--json"]).await, "{\"forgotten\":1}\n", "it was resolved for the next install");
}

#[tokio::test]
async fn the_packages_own_project_stays_its_own() {
    let scratch = scratch();
    let setup = "from setuptools import setup\nsetup(name='NAME', version='1.0.0', packages=['src'], package_dir={'': '.'}, install_requires=[], python_requires='>=3.9', include_package_data=True)\n";
    let project = |name: &str| {
        importing(name, "1.0.0")
            .file("requirements.txt", "six==1.17.0\n")
            .file("setup.py", setup.replace("NAME", name))
            .file("src/__init__.py", "")
            .file(&format!("src/only_{name}.py"), "")
    };
    let par = par()
        .source(project("left").apkg(scratch.path()))
        .source(project("right").apkg(scratch.path()))
        .source(importing("third", "1.0.0").file("requirements.txt", "six==1.17.0\n").apkg(scratch.path()))
        .start()
        .await;
    let modules = ["src.only_left", "src.only_right"];
    let told = async |id: &str| importable(&par, id, &["src"]).await;
    assert_eq!(told("left").await, json!({"src": true}));
    assert_eq!(
        told("third").await,
        json!({"src": false}),
        "no package's `src` leaks into the shared environment"
    );
    assert_eq!(
        importable(&par, "left", &modules).await,
        json!({"src.only_left": true, "src.only_right": false})
    );
    assert_eq!(
        importable(&par, "right", &modules).await,
        json!({"src.only_left": false, "src.only_right": true})
    );
}

#[tokio::test]
async fn a_setup_py_that_cannot_be_built_is_a_warning() {
    let scratch = scratch();
    let broken = importing("broken", "1.0.0").file("setup.py", "raise SystemExit('this never builds')\n");
    // What both pixell tools write for a package without src: packages=['src'] points at nothing.
    let pointless = importing("pointless", "1.0.0").file(
        "setup.py",
        "from setuptools import setup\nsetup(name='pointless', version='1', packages=['src'], package_dir={'': '.'})\n",
    );
    let par = par()
        .source(broken.apkg(scratch.path()))
        .source(pointless.apkg(scratch.path()))
        .allow("package_warning")
        .start()
        .await;
    for id in ["broken", "pointless"] {
        assert_eq!(importable(&par, id, &["os"]).await, json!({"os": true}), "{id} runs without it");
    }
    let package = par.package("broken@1.0.0").await.expect("it is mounted");
    assert!(package["warnings"].to_string().contains("own project"), "{package}");
}

#[tokio::test]
async fn requirements_that_do_not_exist_fail_at_the_environment_and_name_it() {
    let scratch = scratch();
    let wheels = tempfile::tempdir().expect("a directory");
    let package = importing("missing", "1.0.0").file("requirements.txt", "there-is-no-such-thing==1.0\n");
    let par = par()
        .agent("echo")
        .source(package.apkg(scratch.path()))
        .env("WHEELHOUSE_DIR", wheels.path().to_string_lossy())
        .allow("package_failed")
        .start()
        .await;
    let failure = par.failure("missing").await.expect("it is listed");
    assert_eq!(failure["step"], "environment");
    assert!(failure["detail"].to_string().contains("there-is-no-such-thing"), "{failure}");
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn a_wheelhouse_installs_without_a_network() {
    let scratch = scratch();
    let wheels = scratch.path().join("wheels");
    fs::create_dir(&wheels).expect("a directory");
    wheel(&wheels, "housed", "1.0", "WORD = 'from the wheelhouse'\n");
    let code = "import housed\ndef run(input):\n    return housed.WORD\n";
    let package = Package::with_main("offline", "1.0.0", code).file("requirements.txt", "housed==1.0\n");
    let par = par()
        .source(package.apkg(scratch.path()))
        .env("WHEELHOUSE_DIR", wheels.to_string_lossy())
        // Nothing answers there: an attempt to ask an index would fail.
        .env("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple")
        .env("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
        .start()
        .await;
    assert_eq!(par.http.invoke("offline", &json!({})).await.ok(), json!("from the wheelhouse"));
}

#[tokio::test]
async fn variables_come_from_the_package_in_the_order_of_the_contract() {
    let scratch = scratch();
    let source = agent("environment");
    let read = |name: &str| fs::read_to_string(source.join(name)).expect("the environment agent");
    let deploy = json!({"expose": [], "environment": {"FROM_DEPLOY": "deploy", "DEPLOYED_OVER": "deploy"}});
    let manifest = read("agent.yaml").replace(
        "  OVERRIDDEN:",
        "  DEPLOYED_OVER: manifest\n  PASSED_OVER: manifest\n  COPY: \"${OUTSIDE}\"\n  OVERRIDDEN:",
    );
    let package = Package::bare("environment", "1.0.0")
        .file("agent.yaml", manifest)
        .file(".env", read(".env"))
        .file("surroundings.py", read("surroundings.py"))
        .file("deploy.json", deploy.to_string());
    let par = par()
        .source(package.apkg(scratch.path()))
        .env("PAR_PASS_ENV", "OUTSIDE,GLOB_*,PASSED_OVER")
        .env("OUTSIDE", "from outside")
        .env("GLOB_ONE", "1")
        .env("PASSED_OVER", "passed")
        .env("NOT_PASSED", "never")
        .env("PAR_OPERATOR_TOKEN", "a-secret-of-the-runtime")
        .start()
        .await;
    let told = par.http.invoke("variables", &json!({})).await.ok();
    for (name, wanted) in [
        ("GREETING", "Hello, world"),
        ("FROM_DOTENV", "dotenv"),
        ("FROM_MANIFEST", "manifest"),
        ("OVERRIDDEN", "manifest"),
        ("OUTSIDE", "from outside"),
        ("GLOB_ONE", "1"),
        ("PASSED_OVER", "manifest"),
        ("COPY", "from outside"),
        ("FROM_DEPLOY", "deploy"),
        ("DEPLOYED_OVER", "deploy"),
    ] {
        assert_eq!(told[name], wanted, "{name}");
    }
    let text = told.to_string();
    assert_eq!(told.get("NOT_PASSED"), None);
    assert!(!text.contains("a-secret-of-the-runtime"), "the runtime's own secrets are never passed on");
    assert_eq!(told.get("PAR_OPERATOR_TOKEN"), None);
}

#[tokio::test]
async fn secrets_are_never_passed_on_not_even_when_everything_is() {
    let par = par()
        .agent("environment")
        .env("PAR_PASS_ENV", "*")
        .env("PAR_OPERATOR_TOKEN", "a-secret-of-the-runtime")
        .env("HARMLESS", "yes")
        .start()
        .await;
    let told = par.http.invoke("variables", &json!({})).await.ok();
    assert_eq!(told["HARMLESS"], "yes");
    assert!(!told.to_string().contains("a-secret-of-the-runtime"), "{told}");
}

#[tokio::test]
async fn modules_are_found_at_the_root_then_src_then_src_a2a() {
    let scratch = scratch();
    let code = "import sys\nimport in_src, in_a2a, both\nfrom src import in_src as again\n\
                def run(input):\n    return [in_src.W, in_a2a.W, both.W, again.W, sys.path]\n";
    let package = Package::with_main("paths", "1.0.0", code)
        .file("both.py", "W = 'root'\n")
        .file("src/both.py", "W = 'src'\n")
        .file("src/in_src.py", "W = 'src'\n")
        .file("src/a2a/in_a2a.py", "W = 'a2a'\n")
        .file("src/a2a/in_src.py", "W = 'shadowed'\n");
    let par = par().source(package.apkg(scratch.path())).start().await;
    let told = par.http.invoke("paths", &json!({})).await.ok();
    assert_eq!(
        told.as_array().expect("a list")[..4],
        [json!("src"), json!("a2a"), json!("root"), json!("src")]
    );
}

#[tokio::test]
async fn the_interpreter_is_the_one_that_the_package_asks_for() {
    let scratch = scratch();
    let code = "import sys\ndef run(input):\n    return list(sys.version_info[:2])\n";
    let wants = |name: &str, runtime: &str| {
        Package::new(name, "1.0.0", &format!("entrypoint: main:run\nruntime: {runtime}"))
            .file("main.py", code)
    };
    let par = par()
        .source(wants("exact", "python3.11").apkg(scratch.path()))
        .source(wants("range", "{python: '>=3.9'}").apkg(scratch.path()))
        .source(wants("node", "node20").apkg(scratch.path()))
        .source(wants("future", "python3.99").apkg(scratch.path()))
        .allow("package_failed")
        .allow("package_warning")
        .start()
        .await;
    assert_eq!(par.http.invoke("exact", &json!({})).await.ok(), json!([3, 11]));
    let range = par.http.invoke("range", &json!({})).await.ok();
    assert!(range[1].as_u64().is_some_and(|minor| minor >= 9), "{range}");
    for (name, word) in [("node", "node20"), ("future", "3.99")] {
        let failure = par.failure(name).await.expect("it is listed");
        assert!(failure["detail"].to_string().contains(word), "{failure}");
    }
}

#[tokio::test]
async fn an_agent_cannot_change_its_package_or_its_environment() {
    let scratch = scratch();
    let code = "import os, six\ndef attempt(path):\n    try:\n        with open(path, 'a') as file:\n            file.write('x')\n        return 'written'\n    except OSError as error:\n        return type(error).__name__\n\
                def run(input):\n    here = os.path.dirname(__file__)\n    import tempfile\n    scratch = os.path.join(tempfile.gettempdir(), 'fine')\n    return [attempt(__file__), attempt(os.path.join(here, 'new.py')), attempt(six.__file__), attempt(scratch)]\n";
    let package = Package::with_main("writer", "1.0.0", code).file("requirements.txt", "six==1.17.0\n");
    let par = par().source(package.apkg(scratch.path())).start().await;
    let told = par.http.invoke("writer", &json!({})).await.ok();
    assert_eq!(told[3], "written", "its temporary directory is writable: {told}");
    for (index, what) in ["its code", "its directory", "the shared environment"].iter().enumerate() {
        assert_ne!(told[index], "written", "{what}");
    }
}

#[tokio::test]
async fn the_systems_python_is_left_alone() {
    let system = || {
        let mut command = Command::new("python3");
        command.args(["-c", "import importlib.util as u; print(u.find_spec('humanize') is None)"]);
        String::from_utf8_lossy(&command.output().expect("python3").stdout).trim().to_owned()
    };
    let before = system();
    let scratch = scratch();
    let package = importing("tidy", "1.0.0").file("requirements.txt", "humanize==4.12.3\n");
    let par = par().source(package.apkg(scratch.path())).start().await;
    assert_eq!(importable(&par, "tidy", &["humanize"]).await, json!({"humanize": true}));
    assert_eq!(system(), before);
    eventually("it stays mounted", async || par.package("tidy@1.0.0").await).await;
}
