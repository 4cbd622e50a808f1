//! Isolated sessions: a worker of its own each, and of nobody else.

use serde_json::{Value, json};

use super::{count, counting, one, over, serving, started};
use crate::harness::{Answered, Package, Par, eventually, par, process::Process};

fn process(answer: &Value) -> Process {
    let pid = answer["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    Process::running(pid.expect("a pid")).expect("it lives")
}

#[tokio::test]
async fn an_isolated_session_shares_neither_worker_nor_module_with_anybody() {
    let par = serving(&counting("1.0.0", "{mode: isolated}", "")).await;
    let mut seen = vec![];
    for id in ["a", "b", "c"] {
        let first = count(&par.http, id).await;
        assert_eq!((&first["n"], &first["calls"]), (&json!(1), &json!(1)), "nobody was here before");
        let second = count(&par.http, id).await;
        assert_eq!((&second["pid"], &second["n"], &second["calls"]), (&first["pid"], &json!(2), &json!(2)));
        seen.push(first["pid"].clone());
    }
    seen.push(par.http.invoke("count", &json!({})).await.ok()["pid"].clone());
    seen.sort_by_key(Value::as_u64);
    seen.dedup();
    assert_eq!(seen.len(), 4, "each its own, and those without a session another");
    let told = one(&par, "a").await.expect("it is listed");
    assert_eq!(told["mode"], "isolated");
    let package = par.package("kept@1.0.0").await.expect("mounted");
    let states: Vec<_> = package["workers"].as_array().expect("workers").iter().collect();
    assert_eq!(states.iter().filter(|worker| worker["state"] == "isolated").count(), 3, "{package}");
}

#[tokio::test]
async fn a_worker_of_its_own_ends_with_its_session() {
    let par = serving(&counting("1.0.0", "{mode: isolated, idle_ttl: 1s}", "")).await;
    let expires = process(&count(&par.http, "expires").await);
    over(&par, "expires").await;
    eventually("its process is gone", async || (!expires.alive()).then_some(())).await;
    let killed = process(&count(&par.http, "killed").await);
    par.operator().delete("/runtime/sessions/killed").await.ok();
    eventually("its process is gone", async || (!killed.alive()).then_some(())).await;
}

#[tokio::test]
async fn what_an_isolated_session_starts_with_is_what_the_package_imported() {
    let par = serving(&counting("1.0.0", "{mode: isolated}", "")).await;
    // Work in one worker is seen by no fork that comes later.
    for _ in 0..3 {
        count(&par.http, "busy").await;
    }
    assert_eq!(count(&par.http, "fresh").await["calls"], 1);
}

/// Writes into its temporary directory, and tells what it sees of another one.
const PLACES: &str = "
import os, subprocess, sys, tempfile

AT_IMPORT = tempfile.gettempdir()

def attempt(do):
    try:
        return do()
    except OSError as error:
        return type(error).__name__

def place(*, context, look=None):
    own = tempfile.gettempdir()
    if look is None:
        with open(os.path.join(own, 'kept.txt'), 'w') as file:
            file.write(context.session.id if context.session else 'nobody')
        child = subprocess.run([sys.executable, '-c', 'import tempfile; print(tempfile.gettempdir())'],
                               capture_output=True, text=True, check=True)
        return {'own': own, 'package': AT_IMPORT, 'home': os.path.expanduser('~'), 'child': child.stdout.strip()}
    return {
        'list': attempt(lambda: os.listdir(look)),
        'read': attempt(lambda: open(os.path.join(look, 'kept.txt')).read()),
        'write': attempt(lambda: open(os.path.join(look, 'new.txt'), 'w').write('x')),
        'own': open(os.path.join(own, 'kept.txt')).read(),
    }
";

async fn placing() -> Par {
    let manifest = "session: {mode: isolated}\nexports: [{id: place, handler: 'main:place'}]";
    started(par(), &Package::new("places", "1.0.0", manifest).file("main.py", PLACES)).await
}

async fn place(par: &Par, session: &str, input: Value) -> Value {
    let request = par.http.request(reqwest::Method::POST, "/agents/place/invoke");
    let request = if session.is_empty() { request } else { request.header("x-par-session", session) };
    request.json(&input).answer().await.ok()
}

#[tokio::test]
async fn isolated_sessions_see_nothing_of_each_others_temporary_files() {
    let par = placing().await;
    let mut own = vec![];
    // The last one is a call without a session, in a worker of all.
    for session in ["a", "b", ""] {
        let told = place(&par, session, json!({})).await;
        assert_eq!((&told["home"], &told["child"]), (&told["own"], &told["own"]), "{told}");
        assert_eq!(session.is_empty(), told["own"] == told["package"], "{told}");
        own.push((session, told["own"].clone()));
    }
    for (session, here) in &own {
        for (_, there) in own.iter().filter(|(_, there)| there != here) {
            let seen = place(&par, session, json!({"look": there})).await;
            for how in ["list", "read", "write"] {
                assert_eq!(seen[how], "PermissionError", "{session:?} in {there}: {seen}");
            }
        }
        let wanted = if session.is_empty() { "nobody" } else { session };
        assert_eq!(place(&par, session, json!({"look": here})).await["own"], wanted);
    }
}

#[tokio::test]
async fn the_temporary_files_of_an_isolated_session_go_with_it() {
    let par = placing().await;
    let own = async |session: &str| {
        let told = place(&par, session, json!({})).await;
        std::path::PathBuf::from(told["own"].as_str().expect("a path"))
    };
    let (ended, lives) = (own("ended").await, own("lives").await);
    assert!(ended.join("kept.txt").is_file() && lives.join("kept.txt").is_file());
    par.operator().delete("/runtime/sessions/ended").await.ok();
    eventually("its files are gone", async || (!ended.exists()).then_some(())).await;
    assert!(lives.join("kept.txt").is_file());
    let told =
        par.http.request(reqwest::Method::POST, "/agents/place/invoke").header("x-par-session", "ended");
    told.json(&json!({})).answer().await.problem(410, "session_lost");
    assert_ne!(own("ended").await, ended, "a new session of that id begins with nothing");
}
