//! Steps 5 and 6: surfaces that cannot be served, and those that die later.

use serde_json::json;

use super::{ID, failing, fails, line, serving};
use crate::harness::{Package, Par, eventually_within, par, process::Process, scratch};

const MOUNT: &str =
    "def mount(app):\n    @app.get('/api/ping')\n    async def ping():\n        return {'pong': True}\n";

/// A package with a REST surface in `web.py`.
fn web(code: &str) -> Package {
    Package::new("web", "1.0.0", "rest: {entry: 'web:mount'}").file("web.py", code)
}

#[tokio::test]
async fn surfaces_that_cannot_be_served_end_the_boot_and_health_was_never_200() {
    let own_port = "import grpc\nfrom concurrent import futures\n\ndef serve():\n    server = grpc.server(futures.ThreadPoolExecutor(1))\n    assert server.add_insecure_port('127.0.0.1:0')\n    return server\n";
    let cases = [
        ("an import that fails", web("import no_such_module_at_all\n"), 65, "no_such_module_at_all"),
        ("a function that is not there", web("x = 1\n"), 65, "mount"),
        (
            "a mount that raises",
            web("def mount(app):\n    raise RuntimeError('not today')\n"),
            70,
            "not today",
        ),
        (
            "a gRPC server with a port of its own",
            Package::new("own", "1.0.0", "a2a: {service: 'own:serve'}").file("own.py", own_port),
            70,
            "",
        ),
        (
            "an A2A service that raises",
            Package::new("own", "1.0.0", "a2a: {service: 'own:serve'}")
                .file("own.py", "def serve():\n    raise RuntimeError('no service today')\n"),
            70,
            "no service today",
        ),
        (
            "a UI without a page",
            Package::new("page", "1.0.0", "ui: {path: ui}").file("ui/other.html", "x"),
            65,
            "index.html",
        ),
    ];
    for (what, package, exit, told) in cases {
        let place = scratch();
        let mut par = failing(serving(&package, place.path())).allow("boot_failed").launch();
        assert_eq!(fails(&mut par).await, exit, "{what}: {}", par.everything_said());
        assert!(line(&par, "boot_failed").mentions(told), "{what}: {}", par.everything_said());
    }
}

#[tokio::test]
async fn an_application_that_is_not_served_in_time_ends_the_boot_with_75() {
    let place = scratch();
    let package = web("import time\ndef mount(app):\n    time.sleep(600)\n");
    let builder = failing(serving(&package, place.path())).setting("pool.import_timeout", "15s");
    let mut par = builder.launch();
    assert_eq!(fails(&mut par).await, 75, "{}", par.everything_said());
}

#[tokio::test]
async fn a_malformed_dotenv_is_a_warning_and_placeholders_have_their_defaults() {
    let place = scratch();
    let code =
        "import os\ndef run(input):\n    return {name: os.environ.get(name) for name in input['names']}\n";
    let manifest = "entrypoint: main:run\nenvironment:\n  DOOR: '${A2A_PORT:-50051}'\n  OTHER: '${NOBODY_SET_THIS:-fallback}'";
    let package = Package::new("env", "1.0.0", manifest)
        .file("main.py", code)
        .file(".env", "GOOD=yes\nthis is no assignment\n=empty\nQUOTED=\"a b\"\n");
    let par = serving(&package, place.path()).start().await;
    let warnings: Vec<_> = par.lines().into_iter().filter(|line| line.event() == "package_warning").collect();
    assert_eq!(warnings.iter().filter(|line| line.mentions(".env")).count(), 2, "{warnings:?}");
    let asked = json!({"names": ["GOOD", "QUOTED", "DOOR", "OTHER"]});
    let got = par.http.invoke(ID, &asked).await.ok();
    // In single mode the ports of the container are passed on: the placeholder sees the real one.
    let door = par.grpc_port.to_string();
    assert_eq!(got, json!({"GOOD": "yes", "QUOTED": "a b", "DOOR": door, "OTHER": "fallback"}));
    drop(par);
    let unset = serving(&package, place.path()).env("PAR_PASS_ENV", "NOTHING");
    let par = unset.start().await;
    assert_eq!(par.http.invoke(ID, &asked).await.ok()["DOOR"], "50051");
}

/// The processes of the surfaces.
async fn primaries(par: &Par) -> Vec<u32> {
    let told = par.package("web@1.0.0").await.expect("it is mounted");
    let listed = told["primaries"].as_array().cloned().unwrap_or_default();
    listed.iter().filter_map(|pid| u32::try_from(pid.as_u64()?).ok()).collect()
}

#[tokio::test]
async fn a_surface_that_dies_for_good_makes_health_503_until_it_comes_back() {
    let place = scratch();
    // While the file is there, the application ends its process as soon as it is served.
    let fatal = place.path().join("fatal");
    let code = format!(
        "import asyncio, os\nfrom contextlib import asynccontextmanager\n\nasync def watch():\n    while not os.path.exists({fatal:?}):\n        await asyncio.sleep(0.02)\n    os._exit(9)\n\n@asynccontextmanager\nasync def lifespan(app):\n    task = asyncio.get_running_loop().create_task(watch())\n    yield\n    task.cancel()\n\ndef mount(app):\n    app.router.lifespan_context = lifespan\n    @app.get('/api/ping')\n    async def ping():\n        return {{'pong': True}}\n"
    );
    let readable = place.path().to_string_lossy().into_owned();
    let manifest = format!("rest: {{entry: 'web:mount'}}\npermissions: {{fs_read: [{readable:?}]}}");
    let package = Package::new("web", "1.0.0", &manifest).file("web.py", code);
    let par = serving(&package, place.path())
        .allow("primary_died")
        .allow("primary_failed")
        .allow("health_changed")
        .start()
        .await;
    let first = primaries(&par).await;
    assert_eq!(first.len(), 1);
    let ping = format!("/agents/{ID}/api/ping");
    assert_eq!(par.http.get(&ping).await.status, 200);
    // One death is no reason to be taken out of service.
    Process::running(first[0]).expect("it lives").signal(rustix::process::Signal::KILL);
    let long = std::time::Duration::from_secs(60);
    eventually_within(long, "another one serves", async || {
        (par.http.get(&ping).await.status == 200 && primaries(&par).await != first).then_some(())
    })
    .await;
    assert_eq!(par.http.get("/health").await.status, 200);
    std::fs::write(&fatal, "").expect("a file");
    let gone = eventually_within(long, "health says no", async || {
        Some(par.http.get("/health").await).filter(|health| health.status == 503)
    })
    .await;
    assert_eq!(gone.json()["ok"], false);
    let changed = par
        .wait_for_line("it is told", |line| {
            line.event() == "health_changed" && line["details"]["to"] == "unhealthy"
        })
        .await;
    assert!(changed.mentions("ends again and again"), "{}", changed.text());
    std::fs::remove_file(&fatal).expect("it is there");
    eventually_within(long, "health says yes again", async || {
        (par.http.get("/health").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(par.http.get(&ping).await.status, 200);
}

#[tokio::test]
async fn a_good_one_is_served() {
    let place = scratch();
    let par = serving(&web(MOUNT), place.path()).start().await;
    assert_eq!(par.http.get(&format!("/agents/{ID}/api/ping")).await.ok(), json!({"pong": true}));
    assert_eq!(crate::harness::Client::new(par.port).get("/ui/health").await.status, 404);
}

#[tokio::test]
async fn a_ui_whose_page_goes_is_not_healthy() {
    let place = scratch();
    let package = Package::new("page", "1.0.0", "ui: {path: ui}").file("ui/index.html", "<html></html>");
    let builder = par().single(ID, package.directory(place.path()).to_string_lossy());
    let par = builder.allow("health_changed").start().await;
    assert_eq!(par.http.get("/health").await.ok()["surfaces"]["ui"], true);
    let index = walkdir::WalkDir::new(par.data_dir())
        .into_iter()
        .filter_map(Result::ok)
        .find(|entry| entry.file_name() == "index.html")
        .expect("it is in the store");
    // The store keeps its trees read-only.
    let folder = index.path().parent().expect("it lies in a folder");
    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder, writable).expect("ours");
    std::fs::remove_file(index.path()).expect("it is there");
    let health = eventually_within(std::time::Duration::from_secs(10), "health says no", async || {
        Some(par.http.get("/health").await).filter(|health| health.status == 503)
    })
    .await;
    assert_eq!(health.json()["surfaces"]["ui"], false);
    assert_eq!(par.http.get("/ui/health").await.status, 404);
}
