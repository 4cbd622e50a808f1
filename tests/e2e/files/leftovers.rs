//! Files are gone with their call, however it ends.

use super::*;
use crate::harness::Answered;

fn holding(par: &Par, gate: &str) -> RequestBuilder {
    let form =
        Form::new().part("doc", file(content(300_000), "a.txt", "text/plain")).text("gate", gate.to_owned());
    sending(&par.http, "keeper/hold", form)
}

async fn is_held(par: &Par) {
    par.wait_for_line("the handler runs", |line| line.text().contains("holding ")).await;
    assert_eq!(kept(par).len(), 1);
}

#[tokio::test]
async fn a_call_that_ends_takes_its_files_with_it() {
    let (_folder, par) = serving(&[]).await;
    assert_eq!(holding(&par, "").answer().await.ok(), Value::Null);
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn a_crash_of_the_worker_takes_them() {
    let (_folder, par) = serving(&[]).await;
    par.allow("worker_died");
    holding(&par, "crash").answer().await.problem(502, "worker_crashed");
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn a_caller_that_leaves_takes_them_as_soon_as_the_handler_has_ended() {
    let (_folder, par) = serving(&[("limits.request_timeout", "2s")]).await;
    par.allow("worker_stuck");
    par.allow("worker_died");
    let calling = tokio::spawn(holding(&par, "never").send());
    is_held(&par).await;
    calling.abort();
    // A plain function cannot be interrupted: its deadline ends it.
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing() {
    let (_folder, par) = serving(&[]).await;
    let mut raw = crate::harness::RawConnection::open(par.port).await;
    let head = "POST /agents/keeper/tell/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\
        Content-Type: multipart/form-data; boundary=B\r\n\r\n\
        --B\r\nContent-Disposition: form-data; name=\"doc\"; filename=\"a\"\r\n\r\n";
    raw.send(head).await;
    raw.send(vec![b'x'; 1_000_000]).await;
    eventually("some of it is written", async || (!kept(&par).is_empty()).then_some(())).await;
    drop(raw);
    nothing_is_kept(&par).await;
}

#[tokio::test]
async fn what_a_killed_runtime_has_left_is_swept_at_the_next_start() {
    let folder = scratch();
    let builder = host(folder.path(), &[]);
    let mut par = builder.clone().start().await;
    let calling = tokio::spawn(holding(&par, "never").send());
    is_held(&par).await;
    par.kill();
    par.exit().await;
    assert_eq!(kept(&par).len(), 1, "nobody was there to remove it");
    calling.abort();
    drop(par);
    let par = builder.start().await;
    assert!(kept(&par).is_empty());
}
