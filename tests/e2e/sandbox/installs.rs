//! Builds of packages: code of strangers that runs before any agent does.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Package, par, scratch};

/// A build that looks around and writes down how far it came.
const SETUP: &str = r#"
import errno, os, signal
from setuptools import setup

TEMPORARY = os.environ["TMPDIR"]
DATA = os.path.abspath(os.path.join(TEMPORARY, "..", "..", "..", ".."))
OUTSIDE = OUTSIDE_PATH

def read(path):
    return lambda: open(path).read()

def write(path):
    return lambda: open(path, "w").close()

def parents():
    pid = os.getppid()
    while pid > 1:
        yield pid
        with open(f"/proc/{pid}/stat") as stat:
            pid = int(stat.read().rpartition(")")[2].split()[1])

def runtime():
    for pid in parents():
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            if b"\0serve\0" in line.read():
                return pid
    raise RuntimeError("the runtime is none of our parents")

ATTEMPTS = {
    "read passwords": read("/etc/shadow"),
    "read the operator's token": read(f"{DATA}/operator.token"),
    "list the data directory": lambda: os.listdir(DATA),
    "list the home directory": lambda: os.listdir(HOME_PATH),
    "write beside": write(OUTSIDE),
    "write into other environments": write(f"{DATA}/environments/intruder"),
    "write into the shared cache": write(f"{DATA}/installer/uv-cache/intruder"),
    "list other workshops": lambda: os.listdir(f"{DATA}/installer/tmp"),
    "read the runtime's environment": lambda: open(f"/proc/{runtime()}/environ", "rb").read(),
    "signal the runtime": lambda: os.kill(runtime(), 0),
    "own temporary files": write(f"{TEMPORARY}/mine"),
    "own home": write(os.path.expanduser("~/mine")),
}

FOUND = {}
for name, attempt in ATTEMPTS.items():
    try:
        attempt()
        FOUND[name] = "done"
    except OSError as error:
        FOUND[name] = errno.errorcode[error.errno]

with open("findings.py", "w") as module:
    module.write(f"FOUND = {FOUND!r}\n")

setup(name="intruder", version="1", py_modules=["findings"])
"#;

const MAIN: &str = "from findings import FOUND\n\ndef run():\n    return FOUND\n";

/// What the build of a package could do with the sandbox in this mode.
async fn found(sandbox: &str, outside: &Path) -> Value {
    let scratch = scratch();
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    let setup = SETUP
        .replace("OUTSIDE_PATH", &format!("{:?}", outside.display().to_string()))
        .replace("HOME_PATH", &format!("{home:?}"));
    let intruder = Package::new("intruder", "1.0.0", "entrypoint: main:run")
        .file("main.py", MAIN)
        .file("setup.py", setup);
    let par = par()
        .own_environments()
        .setting("sandbox", sandbox)
        .allow("configuration")
        .source(intruder.directory(scratch.path()))
        .start()
        .await;
    par.http.invoke("intruder", &json!({})).await.ok()
}

#[tokio::test]
async fn the_build_of_a_package_reaches_its_own_workshop_and_nothing_else() {
    let scratch = scratch();
    let outside = scratch.path().join("outside");
    let found = found("require", &outside).await;
    let own = ["own temporary files", "own home"];
    for (attempt, outcome) in found.as_object().expect("an object") {
        let outcome = outcome.as_str().unwrap_or_default();
        if own.contains(&attempt.as_str()) {
            assert_eq!(outcome, "done", "{attempt}");
        } else {
            assert!(["EACCES", "EPERM"].contains(&outcome), "{attempt}: {outcome}");
        }
    }
    assert!(!outside.exists());
}

#[tokio::test]
async fn without_the_sandbox_the_same_build_gets_everywhere() {
    let scratch = scratch();
    let outside = scratch.path().join("outside");
    let found = found("off", &outside).await;
    for (attempt, outcome) in found.as_object().expect("an object") {
        assert_eq!(outcome, "done", "{attempt}");
    }
    assert!(outside.exists());
}
