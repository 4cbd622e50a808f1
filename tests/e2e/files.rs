//! Files of a form reach their agent and nobody else, and are gone with their call; files that agents return are
//! downloads.

use std::path::{Path, PathBuf};

use reqwest::{
    Method, RequestBuilder,
    multipart::{Form, Part},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Package, Par, ParBuilder, eventually, par, scratch};

mod incoming;
mod leftovers;
mod moving;
mod outgoing;
mod refused;

/// Tells of its files, keeps them waiting, gives some.
const CODE: &str = r#"
import hashlib, os, pathlib, sys, tempfile, time
from pixell_runtime import File, ReceivedFile

def told(value, content):
    if isinstance(value, ReceivedFile):
        return {"name": value.name, "field": value.field, "content_type": value.content_type,
                "size": value.size, "ending": os.path.splitext(value.path)[1],
                "sha256": hashlib.sha256(content[value.path]).hexdigest()}
    if isinstance(value, list):
        return [told(one, content) for one in value]
    if isinstance(value, dict):
        return {name: told(one, content) for name, one in value.items()}
    return value

def files(value):
    if isinstance(value, ReceivedFile):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value if isinstance(value, list) else value.values():
            yield from files(one)

def tell(value):
    return told(value, {file.path: b"".join(file) for file in files(value)})

async def atell(value):
    content = {}
    for file in files(value):
        content[file.path] = b"".join([piece async for piece in file])
        assert content[file.path] == await file.aread()
    return told(value, content)

def only_pdf(*, doc):
    return doc.size

def attempt(doc, do):
    try:
        return {"reached": repr(eval(do, {"os": os, "doc": doc}))}
    except OSError as error:
        return {"errno": error.errno}

def hold(doc, gate):
    print("holding", doc.path, flush=True)
    while not os.path.exists(doc.path + gate):
        if gate == "crash":
            os._exit(9)
        time.sleep(0.01)

def read(*, path):
    try:
        return open(path).read()
    except OSError as error:
        return error.errno

def content(size):
    return bytes(i % 251 for i in range(251)) * (size // 251) + bytes(range(size % 251))

def give(kind, size=0, name="table.csv", disposition=None):
    if kind == "data":
        return File(data=content(size), name=name, disposition=disposition)
    if kind == "json":
        return File(data=b"{broken", content_type="application/json")
    if kind == "raw":
        return bytearray(content(size))
    if kind == "missing":
        return pathlib.Path("/not/there.pdf")
    if kind == "secret":
        return File("/etc/shadow")
    path = pathlib.Path(tempfile.mkdtemp()) / name
    path.write_bytes(content(size))
    return path

async def agive(size=0, name="table.csv"):
    return File(give("path", size, name))

def endless(*, size):
    def chunks():
        made = 0
        try:
            while True:
                yield b"x" * size
                made += 1
        finally:
            print(f"closed after {made}", flush=True)
    return File(chunks=chunks(), name="endless.bin")
"#;

const MANIFEST: &str = r#"
exports:
  - {id: tell, handler: "main:tell"}
  - {id: atell, handler: "main:atell"}
  - id: only_pdf
    handler: "main:only_pdf"
    input_schema:
      type: object
      required: [doc]
      additionalProperties: false
      properties:
        doc:
          type: object
          required: [name, content_type, size]
          additionalProperties: false
          properties: {name: {}, content_type: {const: application/pdf}, size: {maximum: 10}}
  - {id: attempt, handler: "main:attempt"}
  - {id: hold, handler: "main:hold"}
  - {id: read, handler: "main:read"}
  - {id: give, handler: "main:give"}
  - {id: agive, handler: "main:agive"}
  - {id: endless, handler: "main:endless"}
"#;

fn package(name: &str) -> Package {
    Package::new(name, "1.0.0", MANIFEST).file("main.py", CODE)
}

/// A runtime in production, with `keeper` and `other`, and settings.
fn host(folder: &Path, settings: &[(&str, &str)]) -> ParBuilder {
    let builder =
        ["keeper", "other"].iter().fold(par().production().allow("agent_conflict"), |builder, name| {
            builder.source(package(name).apkg(folder))
        });
    settings.iter().fold(builder, |builder, (key, value)| builder.setting(key, *value))
}

async fn serving(settings: &[(&str, &str)]) -> (TempDir, Par) {
    let folder = scratch();
    let par = host(folder.path(), settings).start().await;
    (folder, par)
}

fn sending(client: &Client, agent: &str, form: Form) -> RequestBuilder {
    client.request(Method::POST, &format!("/agents/{agent}/invoke")).multipart(form)
}

fn file(content: impl Into<Vec<u8>>, name: &str, kind: &str) -> Part {
    Part::bytes(content.into()).file_name(name.to_owned()).mime_str(kind).expect("a type")
}

/// What lies in the directories of uploads.
fn kept(par: &Par) -> Vec<PathBuf> {
    let below = |path: PathBuf| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    below(par.data_dir().join("uploads")).into_iter().flat_map(below).collect()
}

/// Waits until no file of any call is left.
async fn nothing_is_kept(par: &Par) {
    eventually("uploads are removed", async || kept(par).is_empty().then_some(())).await;
}

/// The bytes that `content` of the package makes.
fn content(size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..251).collect::<Vec<u8>>().repeat(size / 251);
    bytes.extend(0..(size % 251) as u8);
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

fn told(field: &str, name: &str, kind: &str, ending: &str, content: &[u8]) -> Value {
    json!({"name": name, "field": field, "content_type": kind, "size": content.len(), "ending": ending,
        "sha256": sha256(content)})
}
