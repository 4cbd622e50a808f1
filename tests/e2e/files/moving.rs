//! Files go where their call goes: to another worker, and to another version than the one they were sent to.

use std::time::{Duration, Instant};

use super::*;
use crate::harness::{Answered, RawConnection};

/// Reads its file; `sleep` holds the worker up.
const READER: &str = "
import os, time

def read(*, doc, context):
    return {'text': doc.read().decode(), 'version': context.version, 'pid': os.getpid(),
            'n': context.session and context.session.state.setdefault('n', 1)}

def sleep(*, seconds=0.0):
    time.sleep(seconds)
    return os.getpid()
";

fn reader(version: &str, more: &str) -> Package {
    let exports = "exports: [{id: read, handler: 'main:read'}, {id: sleep, handler: 'main:sleep'}]";
    Package::new("reader", version, &format!("{exports}\n{more}")).file("main.py", READER)
}

fn reading(par: &Par, text: &str) -> RequestBuilder {
    sending(&par.http, "reader/read", Form::new().part("doc", file(text, "a.txt", "text/plain")))
}

async fn load(par: &Par, package: &Package, folder: &Path) {
    let path = package.apkg(folder);
    par.operator().post("/runtime/packages/load", &json!({"path": path})).await.ok();
}

#[tokio::test]
async fn a_call_that_is_given_back_takes_its_file_to_another_worker() {
    let folder = scratch();
    let par = par().source(reader("1.0.0", "workers: {min: 2}").apkg(folder.path())).start().await;
    // Short calls only: several may now wait at one worker.
    for _ in 0..200 {
        reading(&par, "warm").answer().await.ok();
    }
    for round in 0..5 {
        let http = par.http.clone();
        let long =
            tokio::spawn(async move { http.invoke("reader/sleep", &json!({"seconds": 2.0})).await.ok() });
        let began = Instant::now();
        let files = (0..40).map(|n| reading(&par, &format!("{round}-{n}")).answer());
        for (n, answer) in futures_util::future::join_all(files).await.into_iter().enumerate() {
            assert_eq!(answer.ok()["text"], format!("{round}-{n}"));
        }
        assert!(began.elapsed() < Duration::from_millis(1900), "none of them waited for the long one");
        long.await.expect("a task");
    }
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn a_file_follows_its_session_to_the_version_in_which_it_lives() {
    let folder = scratch();
    let session = "session: {mode: sticky}";
    let par = par().source(reader("1.0.0", session).apkg(folder.path())).start().await;
    let in_session =
        async |name: &str, text: &str| reading(&par, text).header("x-par-session", name).answer().await.ok();
    assert_eq!(in_session("old", "one").await["version"], "1.0.0");
    load(&par, &reader("2.0.0", session), folder.path()).await;
    let old = in_session("old", "two").await;
    assert_eq!((&old["text"], &old["version"]), (&json!("two"), &json!("1.0.0")), "{old}");
    let new = in_session("new", "three").await;
    assert_eq!((&new["text"], &new["version"]), (&json!("three"), &json!("2.0.0")), "{new}");
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn a_file_that_is_still_coming_when_its_version_is_replaced_reaches_the_next_one() {
    let folder = scratch();
    let par = par().source(reader("1.0.0", "").apkg(folder.path()));
    let par = par.setting("rollout.rollback_ttl", "0").setting("rollout.drain_timeout", "1s").start().await;
    let begin = "--B\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"a\"\r\n\r\n";
    let (half, end) = ("x".repeat(400_000), "\r\n--B--\r\n");
    let length = begin.len() + 2 * half.len() + end.len();
    let head = format!(
        "POST /agents/reader/read/invoke HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary=B\r\n\r\n{begin}{half}"
    );
    let mut raw = RawConnection::open(par.port).await;
    assert!(raw.send(head).await);
    eventually("some of it is written", async || (!kept(&par).is_empty()).then_some(())).await;
    let mut former = par.process().descendants();
    former.retain(|process| process.command().contains("__main__.py"));
    load(&par, &reader("2.0.0", ""), folder.path()).await;
    let over = async || {
        let told = par.package("reader@1.0.0").await.is_some();
        (!told && !former.iter().any(|process| process.alive())).then_some(())
    };
    eventually("the former version is gone with its processes", over).await;
    assert!(raw.send(format!("{half}{end}")).await);
    let answer = raw.read_to_close(Duration::from_secs(20)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.300}");
    assert!(
        answer.contains(r#""version":"2.0.0""#) && answer.contains(&format!("{half}{half}")),
        "{answer:.300}"
    );
    nothing_is_kept(&par).await;
}
