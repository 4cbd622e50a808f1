//! Steps 3, 4, 5 and 8: what cannot be run ends the process with the code that says whose fault it is, soon, and health
//! has never been anything but 503.

use std::fs;

use super::{ID, failing, fails, line, serving};
use crate::harness::{Entry, Package, ParBuilder, ZipByHand, par, scratch};

/// One way to fail.
struct Case {
    what: &'static str,
    archive: Vec<u8>,
    dress: fn(ParBuilder) -> ParBuilder,
    exit: i32,
    step: &'static str,
    told: &'static str,
}

fn case(what: &'static str, archive: Vec<u8>, exit: i32, step: &'static str, told: &'static str) -> Case {
    Case { what, archive, dress: |builder| builder, exit, step, told }
}

async fn check(cases: Vec<Case>) {
    for Case { what, archive, dress, exit, step, told } in cases {
        let place = scratch();
        let file = place.path().join("agent.apkg");
        fs::write(&file, archive).expect("a file");
        let mut par = failing(dress(par().single(ID, file.to_string_lossy()))).launch();
        assert_eq!(fails(&mut par).await, exit, "{what}: {}", par.everything_said());
        let failed = line(&par, "boot_failed");
        assert!(failed.mentions(told), "{what}: {told:?} in {}", failed.text());
        assert_eq!(failed["details"]["step"], step, "{what}: {}", failed.text());
        assert_eq!(failed["details"]["exit"], exit, "{what}");
        assert_eq!(failed["level"].as_str().map(str::to_lowercase).as_deref(), Some("error"), "{what}");
        assert!(par.lines().iter().all(|line| line.event() != "ready"), "{what}");
        soon(&par.lines(), what);
    }
}

/// From the cause to the end of the process: less than five seconds.
fn soon(lines: &[crate::harness::Line], what: &str) {
    let at = |event: &str| {
        let line = lines.iter().find(|line| line.event() == event);
        let text = line.and_then(|line| line["ts"].as_str()).unwrap_or_else(|| panic!("{what}: no {event}"));
        // Of one minute, or of the next.
        let mut parts =
            text[11..text.len() - 1].split(':').map(|part| part.parse::<f64>().expect("a number"));
        let mut part = || parts.next().expect("hours, minutes, seconds");
        part() * 3600.0 + part() * 60.0 + part()
    };
    let took = (at("stopped") - at("boot_failed")).rem_euclid(86_400.0);
    assert!(took < 5.0, "{what}: {took} s");
}

#[tokio::test]
async fn archives_and_manifests_that_are_none_end_it_with_65() {
    let bare = |name: &str, text: &str| Package::bare("x", "1").file(name, text).bytes();
    let mut cut = Package::saying("x", "1.0.0", "x").bytes();
    cut.truncate(cut.len() / 2);
    check(vec![
        case("no archive", b"PK\x03\x04 and nonsense".to_vec(), 65, "unpack", "zip"),
        case("half an archive", cut, 65, "unpack", "zip"),
        case("no manifest", bare("main.py", "x = 1\n"), 65, "manifest", "agent.yaml"),
        case(
            "a manifest without a version",
            bare("agent.yaml", "name: x\nentrypoint: m:f\n"),
            65,
            "manifest",
            "version",
        ),
        case(
            "a manifest without a handler",
            bare("agent.yaml", "name: x\nversion: '1'\n"),
            65,
            "manifest",
            "no handler",
        ),
        case("a manifest that is no YAML", bare("agent.yaml", "name: [x\n"), 65, "manifest", "agent.yaml"),
        case(
            "a way out of the archive",
            ZipByHand::harmless().entry(Entry::file("../../evil", "x")).bytes(),
            65,
            "unpack",
            "evil",
        ),
        case(
            "a rest surface without an entry",
            bare("agent.yaml", "name: x\nversion: '1'\nrest: {}\n"),
            65,
            "manifest",
            "rest",
        ),
    ])
    .await;
}

#[tokio::test]
async fn code_that_cannot_be_used_ends_it_with_65() {
    let with_main = |code: &str| Package::with_main("x", "1.0.0", code).bytes();
    check(vec![
        case("no such handler", with_main("def other(input):\n    return 1\n"), 65, "template", "run"),
        case(
            "no such module",
            Package::new("x", "1.0.0", "entrypoint: gone:run").bytes(),
            65,
            "template",
            "gone",
        ),
        case("a failing import", with_main("raise ValueError('not today')\n"), 65, "template", "not today"),
        case("an import that exits", with_main("import os\nos._exit(3)\n"), 65, "template", "ended before"),
    ])
    .await;
}

#[tokio::test]
async fn what_cannot_be_installed_ends_it_with_74() {
    let needs = |text: &str| {
        Package::with_main("x", "1.0.0", "def run(input):\n    return 1\n")
            .file("requirements.txt", text)
            .bytes()
    };
    // An empty wheelhouse answers at once, without a network.
    let empty = |builder: ParBuilder| builder.env("WHEELHOUSE_DIR", env!("CARGO_MANIFEST_DIR"));
    check(vec![
        Case {
            dress: empty,
            ..case("nothing of that name", needs("no-such-thing-at-all==1.0\n"), 74, "environment", "")
        },
        case("no requirement", needs("this is not a requirement\n"), 74, "environment", ""),
    ])
    .await;
    // An index that takes connections and never says anything.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let index = format!("http://{}/simple", silent.local_addr().expect("it is bound"));
    let place = scratch();
    let package = Package::with_main("x", "1.0.0", "def run(input):\n    return 1\n")
        .file("requirements.txt", "never-answered==1.0\n");
    let builder = failing(serving(&package, place.path())).env("INSTALL_TIMEOUT_SECONDS", "2");
    let mut par = builder.env("UV_DEFAULT_INDEX", &index).env("PIP_INDEX_URL", &index).launch();
    assert_eq!(fails(&mut par).await, 74, "{}", par.everything_said());
    let failed = line(&par, "boot_failed");
    assert!(
        failed.mentions("longer than allowed") && failed["details"]["step"] == "environment",
        "{}",
        failed.text()
    );
}

#[tokio::test]
async fn an_import_without_an_end_ends_it_with_75() {
    let endless = Package::with_main("x", "1.0.0", "import time\ntime.sleep(600)\n").bytes();
    check(vec![Case {
        dress: |builder| builder.setting("pool.import_timeout", "1s"),
        ..case("an import without an end", endless, 75, "template", "not imported within")
    }])
    .await;
}

#[tokio::test]
async fn what_is_not_there_ends_it_with_69() {
    let mut par = failing(par().single(ID, "/nowhere/agent.apkg")).launch();
    assert_eq!(fails(&mut par).await, 69);
    assert!(line(&par, "boot_failed").mentions("does not exist"), "{}", par.everything_said());
}

#[tokio::test]
async fn a_package_that_dies_while_it_runs_does_not_end_the_container() {
    let place = scratch();
    let package = Package::with_main("x", "1.0.0", "import os\ndef run(input):\n    os._exit(1)\n");
    let mut par = serving(&package, place.path()).allow("worker_died").start().await;
    par.http.invoke(ID, &serde_json::json!({})).await.problem(502, "worker_crashed");
    assert_eq!(par.http.get("/health").await.status, 200);
    assert!(par.exited().is_none());
    par.term();
    assert_eq!(par.exit().await.code(), Some(0), "a clean stop");
}
