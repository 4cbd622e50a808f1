//! The Python client as another program uses it: over the local socket, and over real TLS with a token.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::harness::{
    Authority, IdentityProvider, Output, Package, ParBuilder, eventually, par, repository, scratch,
};

/// What the client meets: a state of sessions, files, streams, and who called.
const CODE: &str = "
import pathlib, tempfile

def chat(*, text, context):
    said = context.session.state.setdefault('said', []) if context.session else []
    said.append(text)
    return {'session': context.session and context.session.id, 'said': said}

def measure(*, file, times=1):
    content = file.read()
    return {'name': file.name, 'type': file.content_type, 'size': len(content), 'sum': sum(content) * int(times)}

def picture(*, file):
    path = pathlib.Path(tempfile.mkdtemp()) / 'out.png'
    path.write_bytes(b'\\x89PNG' + file.read())
    return path

def count(*, to):
    for n in range(to):
        yield {'n': n}

def endless():
    try:
        while True:
            yield 'x' * 1000
    finally:
        print('the generator was closed', flush=True)

def who(value, context):
    return context.caller and context.caller['subject']

def guarded():
    return 'guarded'
";

fn outside(folder: &Path) -> std::path::PathBuf {
    let exports = ["chat", "measure", "picture", "count", "endless", "who"]
        .map(|name| format!("  - {{id: {name}, handler: 'main:{name}'}}\n"))
        .concat();
    let guarded = "  - {id: guarded, handler: 'main:guarded', role_required: billing}\n";
    let manifest = format!("session: {{mode: sticky}}\nexports:\n{exports}{guarded}");
    Package::new("outside", "1.0.0", &manifest).file("main.py", CODE).directory(folder)
}

/// Runs a program that has the client and nothing else of ours. It prints one line of JSON.
async fn program(folder: &Path, text: &str, variables: &[(&str, &str)]) -> Value {
    fs::write(folder.join("program.py"), text).expect("a file");
    let mut command = Command::new("python3");
    command
        .arg(folder.join("program.py"))
        .current_dir(folder)
        .env("PYTHONPATH", repository().join("pool/worker"));
    for (name, value) in variables {
        command.env(name, value);
    }
    let output = Output::of(command).await;
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    output.json()
}

/// Sessions, files both ways, streams to their end and left, in blocking and in async code. `connected` makes the client.
fn story(connected: &str) -> String {
    format!(
        r#"
import asyncio, io, json, os, ssl
import pixell_runtime
from pixell_runtime import Upload

{connected}
large = bytes(range(256)) * 8192
told = {{}}
with par.session() as chat:
    told["session"] = [chat.call("chat", text=text)["said"] for text in ("one", "two")]
    told["same"] = chat.call("chat", text="three")["session"] == chat.id
told["other"] = par.session("mine").call("outside/chat", text="alone")
told["measure"] = par.call("measure", file=Upload(io.BytesIO(large), name="a.bin"), times=2)
with open("a.csv", "wb") as file:
    file.write(b"1,2\n")
par.call("picture", file=Upload("a.csv")).save("out.png")
told["picture"] = open("out.png", "rb").read().hex()
told["count"] = list(par.stream("outside/count", to=3))
with par.stream("endless") as stream:
    told["endless"] = len(next(stream))

async def later():
    async with par:
        async with par.session() as chat:
            said = [(await chat.acall("chat", text=text))["said"] for text in ("one", "two")]
        measured = await par.acall("measure", file=Upload(io.BytesIO(large), name="a.bin"))
        counted = [item async for item in await par.astream("outside/count", to=2)]
        picture = await par.acall("picture", file=Upload("a.csv"))
        return [said, measured["size"], counted, (await picture.read()).hex()]

told["later"] = asyncio.run(later())
told["who"] = par.call("who")
print(json.dumps(told))
"#
    )
}

fn is_as_told(told: &Value) {
    let said = json!([["one"], ["one", "two"]]);
    assert_eq!((&told["session"], &told["same"]), (&said, &json!(true)), "{told}");
    assert_eq!(told["other"], json!({"session": "mine", "said": ["alone"]}));
    let size = 256 * 8192;
    let sum = 2 * 8192 * (0..256).sum::<u64>();
    let measured = json!({"name": "a.bin", "type": "application/octet-stream", "size": size, "sum": sum});
    assert_eq!(told["measure"], measured);
    let picture = "89504e47312c320a";
    assert_eq!((&told["picture"], &told["endless"]), (&json!(picture), &json!(1000)));
    assert_eq!(told["count"], json!([{"n": 0}, {"n": 1}, {"n": 2}]));
    assert_eq!(told["later"], json!([said, size, [{"n": 0}, {"n": 1}], picture]));
}

#[tokio::test]
async fn sessions_files_and_streams_go_over_the_local_socket() {
    let folder = scratch();
    let par = par().production().source(outside(folder.path())).start().await;
    let data = par.data_dir().to_str().expect("a path of text").to_owned();
    let told =
        program(folder.path(), &story("par = pixell_runtime.connect()"), &[("PAR_DATA_DIR", &data)]).await;
    is_as_told(&told);
    assert!(told["who"].as_str().is_some_and(|subject| subject.starts_with("local:")), "{told}");
    par.wait_for_line("the stream that was left", |line| line.mentions("the generator was closed")).await;
    let named = |session: &Value| session["id"] != "mine";
    eventually("sessions that the client has named are over", async || {
        let sessions = par.operator().get("/runtime/sessions").await.ok();
        (!sessions["sessions"].as_array()?.iter().any(named)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_files_and_streams_go_over_tls_with_a_token() {
    let folder = scratch();
    let issuer = IdentityProvider::start().await;
    issuer.knows("caller", json!({"roles": ["billing"]})).await;
    let authority = Authority::new("clients");
    let certificate = authority.server("here");
    let text = |path: &Path| path.to_str().expect("a path of text").to_owned();
    let par = issuer.believed_by(par().production()).source(outside(folder.path()));
    let par =
        par.env("TLS_CERT", text(&certificate.chain)).env("TLS_KEY", text(&certificate.key)).start().await;
    let (ca, token) = (text(&authority.certificate()), issuer.token("caller").await);
    let address = format!("https://localhost:{}", par.port);
    let variables = [("CA", ca.as_str()), ("TOKEN", token.as_str()), ("ADDRESS", address.as_str())];
    let connected = "trusting = ssl.create_default_context(cafile=os.environ['CA'])\n\
        par = pixell_runtime.connect(os.environ['ADDRESS'], token=lambda: os.environ['TOKEN'], tls=trusting)";
    let told = program(folder.path(), &story(connected), &variables).await;
    is_as_told(&told);
    assert_eq!(told["who"], "caller");
    par.wait_for_line("the stream that was left", |line| line.mentions("the generator was closed")).await;
    // Who does not trust the authority sends nothing, and whose token does not hold is told so.
    let refused = "
import json, os, ssl
import pixell_runtime
from pixell_runtime import client
def failing(do):
    try:
        return do()
    except client.CallError as error:
        return [type(error).__name__, error.code]
trusting = ssl.create_default_context(cafile=os.environ['CA'])
print(json.dumps([
    failing(lambda: pixell_runtime.connect(os.environ['ADDRESS'], token=os.environ['TOKEN']).call('who')),
    failing(lambda: pixell_runtime.connect(os.environ['ADDRESS'], tls=trusting).call('who')),
    failing(lambda: pixell_runtime.connect(os.environ['ADDRESS'], token='x.y.z', tls=trusting).call('who')),
    failing(lambda: pixell_runtime.connect(os.environ['ADDRESS'], token=os.environ['TOKEN'], tls=trusting).call('guarded')),
]))
";
    let told = program(folder.path(), refused, &variables).await;
    assert_eq!(told[0][0], "PeerRefused", "{told}");
    assert_eq!((&told[1][1], &told[2][1]), (&json!("unauthenticated"), &json!("unauthenticated")), "{told}");
    assert_eq!(told[3], "guarded");
}

/// The agents that the README's example speaks of.
fn spoken_of(folder: &Path) -> ParBuilder {
    let assistant = "def run(*, text, context):\n    said = context.session.state.setdefault('said', [])\n    \
                     said.append(text)\n    return said\n";
    let table = "from pixell_runtime import File\n\ndef run(*, file):\n    \
                 return File(data=b'PNG of ' + file.read(), name='t.png')\n";
    let manifest = "session: {mode: sticky}\nentrypoint: main:run";
    let assistant = Package::new("assistant", "1.0.0", manifest).file("main.py", assistant);
    let table = Package::with_main("table", "1.0.0", table);
    let par = par().agent("hello").agent("streams");
    par.source(assistant.directory(folder)).source(table.directory(folder))
}

#[tokio::test]
async fn the_example_of_the_readme_works() {
    let markdown = fs::read_to_string(repository().join("README.md")).expect("README.md");
    let mut blocks = markdown.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next());
    let example =
        blocks.find(|block| block.contains("pixell_runtime.connect()")).expect("the README shows it");
    let folder = scratch();
    let par = spoken_of(folder.path()).start().await;
    fs::write(folder.path().join("example.py"), example).expect("a file");
    fs::write(folder.path().join("a.csv"), "1,2\n").expect("a file");
    // What it shows waits in the open, as in a notebook.
    let notebook = "
import ast, asyncio, contextlib, inspect, io, json
said = io.StringIO()
code = compile(open('example.py').read(), 'README.md', 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
names = {}
async def run():
    with contextlib.redirect_stdout(said):
        running = eval(code, names)
        if inspect.isawaitable(running):
            await running
asyncio.run(run())
print(json.dumps({'said': said.getvalue().splitlines(), 'file': open('out.png').read(), 'hello': names['par'].call('hello', name='Ada')}))
";
    let data = par.data_dir().to_str().expect("a path of text").to_owned();
    let told = program(folder.path(), notebook, &[("PAR_DATA_DIR", &data)]).await;
    assert_eq!(told["said"], json!(["{'number': 0}", "{'number': 1}", "{'number': 2}"]));
    assert_eq!(told["file"], "PNG of 1,2\n");
    // The result that stands beside the first call.
    let shown = example.lines().find(|line| line.starts_with("par.call(\"hello\"")).expect("its first call");
    let shown = shown.split("# ").nth(1).expect("its result").replace('\'', "\"");
    assert_eq!(told["hello"], serde_json::from_str::<Value>(&shown).expect("JSON"));
}
