//! What would not serve leaves the old one serving: it is refused, or the process becomes again what it was.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{copy, runs, started_again, starts, upgraded};
use crate::harness::{Client, Receiver, par, par_command, scratch};

fn script(place: &Path, text: &str) -> PathBuf {
    fs::write(place, format!("#!/bin/sh\n{text}\n")).expect("a file");
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("a file");
    place.to_owned()
}

#[tokio::test]
async fn a_binary_or_a_configuration_that_would_not_serve_changes_nothing() {
    let folder = scratch();
    let settings = folder.path().join("par.yaml");
    fs::write(&settings, "log: {level: info}\n").expect("a file");
    let par = par().production().agent("echo").env("PAR_CONFIG", settings.to_string_lossy());
    let par = par.allow("upgrade_refused").start().await;
    let text = folder.path().join("text");
    fs::write(&text, "no program").expect("a file");
    let crash = script(&folder.path().join("crash"), "kill -SEGV $$");
    let (nowhere, other) = (PathBuf::from("/nowhere/par"), PathBuf::from("/bin/true"));
    for (binary, reason) in [
        (&text, "cannot be run"),
        (&nowhere, "cannot be run"),
        (&folder.path().to_path_buf(), "cannot be run"),
        (&crash, "SIGSEGV"),
        (&other, "would not serve"),
    ] {
        let refused = par.cli(&["upgrade", "--binary", &binary.to_string_lossy()]).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused.stderr.contains(reason) && refused.stderr.contains("nothing has changed"),
            "{refused:?}"
        );
    }
    fs::write(&settings, "log: {level: loud}\n").expect("a file");
    let refused = par.cli(&["upgrade"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("log.level"), "{refused:?}");
    // Not a fault of the configuration: it is there, and what it names is not.
    fs::write(&settings, "tls: {cert: /nowhere/cert.pem, key: /nowhere/key.pem}\n").expect("a file");
    let refused = par.cli(&["upgrade"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("/nowhere/"), "{refused:?}");
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
    assert_eq!(starts(&par), 1);
    // Who may name a program to be run sits at the machine.
    par.operator().post("/runtime/upgrade", &json!({"binary": other})).await.problem(403, "forbidden");
    Client::new(par.port).post("/runtime/upgrade", &json!({})).await.problem(401, "unauthenticated");
    let local = Client::local(&par.data_dir().join("par.sock"));
    local.post("/runtime/upgrade", &json!({"binary": "par"})).await.problem(400, "bad_request");
    fs::write(&settings, "log: {level: info}\n").expect("a file");
    upgraded(&par, &copy(folder.path(), "par-next")).await;
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1), "and what would serve does");
}

/// What each template begins with.
const IMPORTED: &str = "from pixell_runtime.batch import batch";

/// The binary with other words in it.
fn broken(place: &Path, right: &str, wrong: &str) -> PathBuf {
    let mut bytes = fs::read(par_command().get_program()).expect("the binary");
    assert_eq!(right.len(), wrong.len());
    let found: Vec<usize> = memchr::memmem::find_iter(&bytes, right).collect();
    assert!(!found.is_empty(), "{right:?} has another name");
    for at in found {
        bytes[at..at + right.len()].copy_from_slice(wrong.as_bytes());
    }
    fs::write(place, bytes).expect("a file");
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("a file");
    place.to_owned()
}

#[tokio::test]
async fn a_binary_that_fails_at_its_start_becomes_again_what_it_was() {
    let folder = scratch();
    let receiver = Receiver::start().await;
    let par = par().production().agent("echo").allow("upgrade_failed").allow("package_failed");
    let par = par
        .env("WEBHOOK_URL", receiver.url())
        .env("WEBHOOK_SECRET", "whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw");
    let par = par.start().await;
    let own = runs(&par);
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
    // What no rehearsal has: an outbox, whose name leads to a directory that is not there, and a package, for which there is
    // no Python.
    let starts = [
        ("outbox.db", "outb/x.db", "webhooks"),
        (IMPORTED, "from pixell_runtime.batch import botch", "the log says why"),
    ];
    for (number, (right, wrong, reason)) in starts.into_iter().enumerate() {
        let binary = broken(&folder.path().join(format!("broken-{number}")), right, wrong);
        let failed = par.cli(&["upgrade", "--binary", &binary.to_string_lossy()]).await;
        assert_eq!(failed.code, 1, "{failed:?}");
        let told = &failed.stderr;
        assert!(told.contains("what ran before serves") && told.contains(reason), "{failed:?}");
        assert_eq!(runs(&par), own);
        started_again(&par, 1 + number).await;
        assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
    }
    // What has failed once keeps nobody from another.
    upgraded(&par, &copy(folder.path(), "par-next")).await;
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn a_binary_that_is_gone_when_its_time_comes_leaves_what_there_was() {
    let folder = scratch();
    let par = par().production().agent("echo").agent("slow").allow("upgrade_refused").start().await;
    let next = copy(folder.path(), "par-next");
    let long = par.http.clone();
    let call = tokio::spawn(async move { long.invoke("sleep", &json!({"seconds": 3.0})).await.ok() });
    par.wait_for_line("the long call runs", |line| line.mentions("sleep began")).await;
    let words = next.to_string_lossy().into_owned();
    let arguments = ["upgrade", "--binary", &words];
    let (failed, ()) = tokio::join!(par.cli(&arguments), async {
        par.wait_for_line("it was chosen", |line| line.event() == "upgrading").await;
        fs::remove_file(&next).expect("a file of ours");
    });
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("cannot be run"), "{failed:?}");
    assert_eq!(call.await.expect("a task"), json!({"slept": 3.0}));
    assert_eq!((starts(&par), par.http.invoke("echo", &json!(1)).await.ok()), (1, json!(1)));
}
