//! Requests at REST surfaces of one session go to the same of several processes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Answered, Package, par, scratch};

/// Echoes what came, with the process that got it.
const APPLICATION: &str = r#"
import json, os


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    told = json.dumps({"pid": os.getpid(), "body": body.decode()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told})
"#;

fn serving(mode: &str) -> Package {
    let manifest = format!("http_server: web:app\nsurfaces: {{workers: 2}}\nsession: {{mode: {mode}}}");
    Package::new("web", "1.0.0", &manifest).file("web.py", APPLICATION)
}

#[tokio::test]
async fn requests_of_one_session_stay_with_one_process() {
    let folder = scratch();
    let par = par().source(serving("sticky").apkg(folder.path())).start().await;
    let by_header = async |session: &str| {
        let request =
            par.http.request(reqwest::Method::GET, "/agents/web/x").header("x-par-session", session);
        request.answer().await.ok()["pid"].clone()
    };
    let by_body = async |body: Value| {
        let answer = par.http.post("/agents/web/", &body).await.ok();
        assert_eq!(answer["body"], body.to_string(), "the body arrives as it was sent");
        answer["pid"].clone()
    };
    let mut used = BTreeSet::new();
    for n in 0..8 {
        let session = format!("s-{n}");
        let pid = by_header(&session).await;
        used.insert(pid.as_u64());
        for params in [
            json!({"sessionId": session}),
            json!({"contextId": session}),
            json!({"message": {"contextId": session, "parts": []}}),
        ] {
            let request = json!({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": params});
            assert_eq!(by_body(request).await, pid, "{session}");
            assert_eq!(by_header(&session).await, pid, "{session}");
        }
    }
    assert_eq!(used.len(), 2, "sessions are spread over both");
}

#[tokio::test]
async fn without_sessions_processes_take_turns_whatever_a_body_says() {
    let folder = scratch();
    let par = par().source(serving("none").apkg(folder.path())).start().await;
    let mut used = BTreeSet::new();
    for _ in 0..4 {
        let body = json!({"params": {"sessionId": "s"}});
        used.insert(par.http.post("/agents/web/", &body).await.ok()["pid"].as_u64());
    }
    assert_eq!(used.len(), 2);
}
