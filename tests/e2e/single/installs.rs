//! Steps 3 and 4: what a package needs is recognised, and installed for it alone.

use serde_json::json;

use super::{ID, serving};
use crate::harness::{Output, Package, scratch};

const ASKING: &str = "import importlib.util, sys\ndef run(input):\n    found = {name: importlib.util.find_spec(name) is not None for name in input['names']}\n    return {'found': found, 'prefix': sys.prefix}\n";

fn asking() -> Package {
    Package::with_main("needy", "1.0.0", ASKING)
}

#[tokio::test]
async fn projects_and_requirements_are_recognised() {
    let setup = "from setuptools import setup\nsetup(name='needy', version='1.0.0', py_modules=['extra'])\n";
    let project = "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n[project]\nname = 'needy'\nversion = '1.0.0'\ndependencies = ['six==1.17.0']\n[tool.setuptools]\npy-modules = ['extra']\n";
    for (what, package, module) in [
        ("setup.py", asking().file("setup.py", setup).file("extra.py", "x = 1\n"), "extra"),
        ("pyproject.toml", asking().file("pyproject.toml", project).file("extra.py", "x = 1\n"), "six"),
        ("requirements.txt", asking().file("requirements.txt", "six==1.17.0\n"), "six"),
    ] {
        let place = scratch();
        let par = serving(&package, place.path()).start().await;
        let answer = par.http.invoke(ID, &json!({"names": [module]})).await.ok();
        assert_eq!(answer["found"], json!({module: true}), "{what}");
    }
}

#[tokio::test]
async fn what_is_installed_is_importable_there_and_nowhere_else() {
    let place = scratch();
    let package = asking().file("requirements.txt", "six==1.17.0\n");
    let system = || async {
        let mut command = std::process::Command::new("python3");
        command.args([
            "-I",
            "-c",
            "import importlib.metadata as m; print(sorted(d.name for d in m.distributions()))",
        ]);
        Output::of(command).await.stdout
    };
    let before = system().await;
    let par = serving(&package, place.path()).start().await;
    let answer = par.http.invoke(ID, &json!({"names": ["six"]})).await.ok();
    assert_eq!(answer["found"], json!({"six": true}));
    // The interpreter of its environment imports it, too.
    let prefix = answer["prefix"].as_str().expect("a path").to_owned();
    let data = par.data_dir().canonicalize().expect("it is there");
    assert!(std::path::Path::new(&prefix).starts_with(&data), "{prefix} is below {}", data.display());
    let mut command = std::process::Command::new(format!("{prefix}/bin/python"));
    command.args(["-I", "-c", "import six; print(six.__file__)"]);
    let imported = Output::of(command).await;
    assert!(imported.code == 0 && imported.stdout.starts_with(&prefix), "{imported:?}");
    assert_eq!(system().await, before, "nothing came to the system's Python");
}
