//! Where packages come from, and what is asked of them before anybody may call them.

use std::fs;

use serde_json::json;

use crate::harness::{HttpsServer, Output, Package, agent, par, par_command, scratch, zip_directory};

fn saying(name: &str, word: &str) -> Package {
    Package::with_main(name, "1.0.0", &format!("def run(input):\n    return '{word}'\n"))
}

async fn inspect(args: &[&std::ffi::OsStr]) -> Output {
    let mut command = par_command();
    command.arg("inspect").args(args);
    Output::of(command).await
}

#[tokio::test]
async fn an_archive_a_directory_and_a_folder_of_archives_are_sources() {
    let scratch = scratch();
    let folder = scratch.path().join("folder");
    fs::create_dir(&folder).expect("a directory");
    saying("inside-one", "one").apkg(&folder);
    saying("inside-two", "two").apkg(&folder);
    fs::write(folder.join("notes.txt"), "no package").expect("a file");
    let par = par()
        .source(saying("archive", "archive").apkg(scratch.path()))
        .source(saying("directory", "directory").directory(scratch.path()))
        .source(&folder)
        .env("PACKAGES_URLS", saying("listed", "listed").apkg(scratch.path()).to_string_lossy())
        .start()
        .await;
    for (id, word) in [
        ("archive", "archive"),
        ("directory", "directory"),
        ("inside-one", "one"),
        ("inside-two", "two"),
        ("listed", "listed"),
    ] {
        assert_eq!(par.http.invoke(id, &json!({})).await.ok(), json!(word));
    }
}

#[tokio::test]
async fn https_is_a_source_and_its_certificate_is_checked() {
    let scratch = scratch();
    let server = HttpsServer::start(scratch.path()).await;
    let package = saying("remote", "from afar");
    let url = server.gives("/remote-1.0.0.apkg", package.bytes());
    let trusting = par().source(&url).env("SSL_CERT_FILE", server.authorities()).start().await;
    assert_eq!(trusting.http.invoke("remote", &json!({})).await.ok(), json!("from afar"));
    assert_eq!(server.asked(), 1);

    let wary = par().source(&url).agent("echo").allow("package_failed").allow("log").start().await;
    let failure = wary.failure("remote").await.expect("it is listed");
    assert_eq!(failure["step"], "fetch");
    assert!(failure["detail"].to_string().to_lowercase().contains("certificate"), "{failure}");
    assert_eq!(server.asked(), 1, "no request passed the handshake");
    assert_eq!(wary.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn a_digest_after_the_source_is_compared_before_anything_is_visible() {
    let scratch = scratch();
    let package = saying("pinned", "as promised");
    let path = package.apkg(scratch.path());
    let pinned = |digest: &str| format!("{}#sha256={digest}", path.display());
    let right = par().source(pinned(&package.sha256())).start().await;
    assert_eq!(right.http.invoke("pinned", &json!({})).await.ok(), json!("as promised"));

    let wrong = par().source(pinned(&"0".repeat(64))).allow("package_failed").start().await;
    let failure = wrong.failure("pinned").await.expect("it is listed");
    assert_eq!(failure["step"], "verify");
    assert!(
        failure["detail"].to_string().contains(&package.sha256()[..12]),
        "both digests are named: {failure}"
    );
    wrong.http.invoke("pinned", &json!({})).await.problem(404, "agent_not_found");
}

#[tokio::test]
async fn a_download_that_fails_names_the_fetch_and_leaves_the_rest_alone() {
    let scratch = scratch();
    let server = HttpsServer::start(scratch.path()).await;
    let bytes = saying("broken", "never").bytes();
    let par = par()
        .source(server.fails("/missing.apkg", 404))
        .source(server.breaks_off("/half.apkg", bytes.clone()))
        .source(server.stalls("/stalled.apkg"))
        .source(server.gives("/large.apkg", vec![0; 3 << 20]))
        .source(server.redirects("/elsewhere.apkg", "http://127.0.0.1:1/plain.apkg"))
        .agent("echo")
        .env("SSL_CERT_FILE", server.authorities())
        .env("DOWNLOAD_TIMEOUT_SECONDS", "2")
        .env("MAX_PACKAGE_SIZE_MB", "1")
        .allow("package_failed")
        .start()
        .await;
    for name in ["missing", "half", "stalled", "large", "elsewhere"] {
        let failure = par.failure(name).await.unwrap_or_else(|| panic!("{name} is listed"));
        assert_eq!(failure["step"], "fetch", "{failure}");
    }
    assert!(par.failure("missing").await.expect("listed")["detail"].to_string().contains("404"));
    assert!(
        par.failure("large").await.expect("listed")["detail"].to_string().contains('1'),
        "the limit is named"
    );
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn versions_of_the_runtime_that_do_not_fit_are_refused_with_both_named() {
    let scratch = scratch();
    let wants = |name: &str, version: &str| {
        Package::new(name, "1.0.0", &format!("entrypoint: main:run\nruntime_version: '{version}'"))
            .file("main.py", "def run(input):\n    return 1\n")
    };
    let mut version = par_command();
    version.arg("--version");
    let ours = Output::of(version).await.stdout.split_whitespace().last().expect("a version").to_owned();
    let par = par()
        .source(wants("older", "0.0.1").apkg(scratch.path()))
        .source(wants("same", &ours).apkg(scratch.path()))
        .source(wants("range", ">=0.0.1,<99").apkg(scratch.path()))
        .source(wants("newer", "99.0.0").apkg(scratch.path()))
        .source(wants("outside", ">=99.1").apkg(scratch.path()))
        .allow("package_failed")
        .start()
        .await;
    for id in ["older", "same", "range"] {
        assert_eq!(par.http.invoke(id, &json!({})).await.ok(), json!(1), "{id}");
    }
    for (name, wanted) in [("newer", "99.0.0"), ("outside", "99.1")] {
        let failure = par.failure(name).await.expect("it is listed");
        let detail = failure["detail"].to_string();
        assert!(detail.contains(wanted) && detail.contains(&ours), "{failure}");
    }
}

#[tokio::test]
async fn more_packages_than_allowed_are_refused_and_named() {
    let scratch = scratch();
    let mut builder = par().env("MAX_PACKAGES", "2").allow("package_failed");
    for name in ["first", "second", "third"] {
        builder = builder.source(saying(name, name).apkg(scratch.path()));
    }
    let par = builder.start().await;
    assert_eq!(par.http.invoke("first", &json!({})).await.ok(), json!("first"));
    assert_eq!(par.http.invoke("second", &json!({})).await.ok(), json!("second"));
    let failure = par.failure("third").await.expect("the surplus is listed");
    assert!(failure["detail"].to_string().contains('2'), "the limit is named: {failure}");
    let refused = par.operator().post("/runtime/packages/load", &json!({"path": agent("echo")})).await;
    let problem = refused.problem(422, "package_invalid");
    assert_eq!(problem["step"], "mount");
}

#[tokio::test]
async fn packages_that_fail_at_any_step_do_not_stop_the_start_nor_the_others() {
    let scratch = scratch();
    let failing = [
        ("unpack", saying("no-zip", "x")),
        ("manifest", Package::bare("no-manifest", "1.0.0").file("main.py", "")),
        (
            "manifest",
            Package::bare("no-version", "1.0.0").file("agent.yaml", "name: no-version\nentrypoint: a:b\n"),
        ),
        ("manifest", Package::new("no-handler", "1.0.0", "description: nothing to call")),
        ("template", Package::new("no-module", "1.0.0", "entrypoint: nowhere:run")),
        ("template", Package::new("no-function", "1.0.0", "entrypoint: main:nowhere").file("main.py", "")),
        ("template", Package::with_main("no-import", "1.0.0", "import not_installed_anywhere\n")),
        ("template", Package::with_main("syntax", "1.0.0", "def run(:\n")),
        ("template", Package::with_main("exits", "1.0.0", "import os\nos._exit(4)\n")),
        (
            "probe",
            Package::new(
                "unhealthy",
                "1.0.0",
                "entrypoint: main:run\nhealthcheck: {export: default, input: {}, expect: {ok: true}}",
            )
            .file("main.py", "def run(input):\n    return {'ok': False}\n"),
        ),
    ];
    let mut builder = par().agent("hello").allow("package_failed");
    let mut expected = vec![];
    for (step, package) in &failing {
        let path = package.apkg(scratch.path());
        if *step == "unpack" {
            fs::write(&path, b"this is no archive").expect("a file");
        }
        expected.push((*step, path.file_name().expect("a name").to_string_lossy().into_owned()));
        builder = builder.source(path);
    }
    let par = builder.agent("echo").start().await;
    for id in ["hello", "echo"] {
        assert_eq!(par.http.invoke(id, &json!({})).await.status, 200, "{id}");
    }
    for (step, file) in &expected {
        let failure = par.failure(file).await.unwrap_or_else(|| panic!("{file} is listed"));
        assert_eq!(failure["step"], *step, "{failure}");
        assert!(failure["detail"].as_str().is_some_and(|text| text.len() > 10), "{failure}");
        assert_eq!(failure["code"], "package_invalid", "{failure}");
        assert!(!failure["since"].is_null(), "{failure}");
        let problem =
            par.operator().post("/runtime/packages/load", &json!({"path": scratch.path().join(file)})).await;
        assert_eq!(problem.problem(422, "package_invalid")["step"], *step, "{file}");
    }
    assert_eq!(par.http.get("/health").await.status, 200, "ready all the same");
}

#[tokio::test]
async fn inspect_tells_what_is_understood_and_refuses_what_serve_would_refuse() {
    let scratch = scratch();
    let archive = scratch.path().join("private.apkg");
    fs::write(&archive, zip_directory(&agent("private"))).expect("a file");
    for source in [archive.as_os_str(), agent("private").as_os_str()] {
        let output = inspect(&[source, "--json".as_ref()]).await;
        assert_eq!(output.code, 0, "{output:?}");
        let told = output.json();
        let text = told.to_string();
        for words in
            ["private@1.0.0", "open", "secret", "guarded", "billing.read", "digest", "warnings", "surfaces"]
        {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
    let people = inspect(&[archive.as_os_str()]).await;
    assert!(people.code == 0 && people.stdout.contains("private@1.0.0"), "{people:?}");

    let bad = scratch.path().join("bad.apkg");
    fs::write(&bad, b"no archive").expect("a file");
    let output = inspect(&[bad.as_os_str()]).await;
    assert_eq!(output.code, 65, "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.contains("unpack"), "{output:?}");
    let missing = inspect(&[scratch.path().join("nowhere.apkg").as_os_str()]).await;
    assert!(matches!(missing.code, 65 | 69) && !missing.stderr.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn check_tells_all_faults_of_the_configuration_at_once() {
    let scratch = scratch();
    let file = scratch.path().join("par.yaml");
    fs::write(&file, "server: {port: 0, hots: x}\nlimits: {request_timeout: soon}\n").expect("a file");
    let mut command = par_command();
    command.args(["check", "-c"]).arg(&file).env("METRICS_PORT", "70000").env("MAX_PACKAGES", "many");
    let output = Output::of(command).await;
    assert_eq!(output.code, 64, "{output:?}");
    let told = format!("{}{}", output.stdout, output.stderr);
    for key in ["server.port", "server.hots", "limits.request_timeout", "METRICS_PORT", "MAX_PACKAGES"] {
        assert!(told.contains(key), "{key} in {told}");
    }
    let mut defaults = par_command();
    defaults.arg("check");
    let output = Output::of(defaults).await;
    assert_eq!(output.code, 0, "{output:?}");
}

#[tokio::test]
async fn a_configuration_with_faults_ends_the_start_with_64() {
    for (name, value) in
        [("PORT", "0"), ("PORT", "http"), ("PORT", "65536"), ("REQUEST_TIMEOUT_SECONDS", "-1")]
    {
        let mut command = par_command();
        command.args(["serve", "--dev"]).env(name, value).env("PAR_DATA_DIR", scratch().path());
        let output = Output::of(command).await;
        assert_eq!(output.code, 64, "{name}={value}: {output:?}");
        assert!(format!("{}{}", output.stdout, output.stderr).contains(name), "{name}={value}: {output:?}");
    }
    let mut equal = par_command();
    equal
        .args(["serve", "--dev", "--port", "8123", "--metrics-port", "8123"])
        .env("PAR_DATA_DIR", scratch().path());
    assert_eq!(Output::of(equal).await.code, 64, "ports are distinct");
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_start_and_no_other_is_chosen() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let mut par = par().agent("echo").env("PORT", &port).allow("*").launch();
    let status = par.exit().await;
    assert!(!status.success(), "{status}");
    assert!(par.everything_said().contains(&port), "{}", par.everything_said());
}
