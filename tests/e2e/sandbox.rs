//! What agents reach, and what they do not: files, processes, system calls, networks, limits.
//!
//! Every row is an attempt by a real agent. Rows that must fail name the error number by which the sandbox
//! refuses them, so that a refusal for another reason does not count.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Package, Par, ParBuilder, par, scratch};

mod files;
mod installs;
mod kernel;
mod networks;
mod permissions;
mod processes;
mod surfaces;

/// An agent that tries what it is told and tells how it went.
const PROBE: &str = r#"
import ctypes, fcntl, mmap, multiprocessing, os, resource, shutil, signal, socket, sqlite3, ssl, struct, subprocess
import sys, tempfile, threading, time

LIBC = ctypes.CDLL(None, use_errno=True)

def call(number, *values):
    "A system call; numbers are passed whole."
    whole = [ctypes.c_long(value) if isinstance(value, int) else value for value in values]
    result = LIBC.syscall(ctypes.c_long(number), *whole)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def read(path):
    with open(path, "rb") as file:
        return file.read(64)

def write(path, data="x"):
    with open(path, "w") as file:
        file.write(data)

def run(input):
    space = dict(globals())
    try:
        exec(input["do"], space)
        return {"reached": repr(space.get("out"))}
    except BaseException as error:
        return {"refused": type(error).__name__, "errno": getattr(error, "errno", None), "message": str(error)}
"#;

const EPERM: i64 = 1;
const EACCES: i64 = 13;
const EMFILE: i64 = 24;
const EFBIG: i64 = 27;
const ENOSYS: i64 = 38;

fn probe(name: &str, manifest: &str) -> Package {
    Package::new(name, "1.0.0", &format!("entrypoint: main:run\n{manifest}")).file("main.py", PROBE)
}

fn serving(folder: &Path, packages: &[Package]) -> ParBuilder {
    packages.iter().fold(par().production(), |par, package| par.source(package.apkg(folder)))
}

async fn attempt(par: &Par, agent: &str, code: &str) -> Value {
    par.http.invoke(agent, &json!({"do": code})).await.ok()
}

async fn refused(par: &Par, agent: &str, numbers: &[i64], code: &str) {
    let told = attempt(par, agent, code).await;
    let number = told["errno"].as_i64();
    assert!(number.is_some_and(|number| numbers.contains(&number)), "{agent}: {code}: {told}");
}

async fn reached(par: &Par, agent: &str, code: &str) -> String {
    let told = attempt(par, agent, code).await;
    assert!(told["refused"].is_null(), "{agent}: {code}: {told}");
    told["reached"].as_str().unwrap_or_default().to_owned()
}

async fn workers(par: &Par, id: &str) -> Vec<u64> {
    let package = par.package(id).await.expect("it is mounted");
    let workers = package["workers"].as_array().expect("a list").clone();
    workers.iter().filter_map(|worker| worker["pid"].as_u64()).collect()
}

#[tokio::test]
async fn switched_off_it_says_so_and_stands_in_nobodys_way() {
    let folder = scratch();
    let par = serving(folder.path(), &[probe("spy", "")])
        .setting("sandbox", "off")
        .allow("configuration")
        .start()
        .await;
    let warned = |line: &crate::harness::Line| line.is_alarm() && line.mentions("sandbox is off");
    par.wait_for_line("the warning", warned).await;
    let token = par.data_dir().join("operator.token").display().to_string();
    reached(&par, "spy", &format!("out = read({token:?})")).await;
    assert_eq!(par.package("spy@1.0.0").await.expect("mounted")["sandbox"]["level"], "none");
}

#[tokio::test]
async fn what_ordinary_packages_do_goes_on() {
    let folder = scratch();
    let par = serving(folder.path(), &[probe("plain", "")]).start().await;
    for code in [
        "ssl.create_default_context()",
        "socket.getaddrinfo('localhost', 80)",
        "subprocess.run([sys.executable, '-c', 'pass'], check=True)",
        "out = subprocess.run(['sh', '-c', 'ls /usr | head -1'], check=True, capture_output=True).stdout",
        "multiprocessing.get_context('fork').Pool(1).map(abs, [-1])",
        "out = multiprocessing.Lock(); out.acquire()",
        "base = sqlite3.connect(tempfile.gettempdir() + '/base'); base.execute('create table t (n)'); base.commit()",
        "path = tempfile.mkdtemp() + '/copy'; shutil.copy2(__file__, path); out = read(path)",
        "with tempfile.TemporaryDirectory() as place:\n    write(place + '/a'); os.rename(place + '/a', place + '/b')",
        "import zoneinfo; zoneinfo.ZoneInfo('UTC')",
        "import uuid, secrets, random; out = uuid.uuid4(), secrets.token_hex(), os.urandom(8)",
        "import asyncio; asyncio.run(asyncio.sleep(0))",
        "from concurrent.futures import ProcessPoolExecutor as Pool\nwith Pool(1, multiprocessing.get_context('fork')) as pool:\n    out = pool.submit(abs, -1).result()",
        "out = os.cpu_count(), os.listdir('/proc/self/task'), open('/proc/meminfo').read()",
        "import pwd; out = pwd.getpwuid(os.getuid())",
        "open('/dev/null', 'w').close()",
        "space = mmap.mmap(-1, 4096); space[0] = 1",
    ] {
        reached(&par, "plain", code).await;
    }
}
