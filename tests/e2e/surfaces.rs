//! Who may use the surfaces of a package: whoever may call all of its agents, within the same limits.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::rest::plain;
use crate::harness::{Answer, Answered, IdentityProvider, Package, RawConnection, WebSocket, par, scratch};

/// Says what it was told about its caller.
const TELLS: &str = r#"
import json


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    told = {name.decode(): value.decode() for name, value in scope["headers"]}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
"#;

/// A package with all surfaces behind agents of these roles.
fn package(name: &str, manifest: &str) -> Package {
    let manifest = format!("http_server: web:app\nui: {{path: ui, public: PUBLIC}}\n{manifest}");
    let public = name.starts_with("open");
    Package::new(name, "1.0.0", &manifest.replace("PUBLIC", if public { "true" } else { "false" }))
        .file("web.py", TELLS)
        .file("main.py", "def run(input):\n    return 'called'\n")
        .file("ui/index.html", "<title>ui</title>")
        .file("ui/app.3f2a9c1b.js", "1")
}

const MIXED: &str = "
exports:
  - {id: NAME-free, handler: main:run}
  - {id: NAME-bills, handler: main:run, role_required: billing}
  - {id: NAME-audits, handler: main:run, role_required: auditing}
";

const HIDDEN: &str = "
exports:
  - {id: NAME-only, handler: main:run, private: true}
";

async fn provider() -> IdentityProvider {
    let issuer = IdentityProvider::start().await;
    issuer.knows("nothing", json!({})).await;
    issuer.knows("billing", json!({"roles": ["billing"], "tenant": "acme"})).await;
    issuer.knows("auditing", json!({"roles": ["auditing"], "tenant": "acme"})).await;
    issuer.knows("both", json!({"roles": ["auditing", "billing"], "tenant": "acme, inc"})).await;
    issuer
}

#[tokio::test]
async fn a_package_is_as_secret_as_the_most_secret_of_its_agents() {
    let (issuer, scratch) = (provider().await, scratch());
    let mut par = issuer.believed_by(par());
    for (name, manifest) in
        [("mixed", MIXED), ("open-mixed", MIXED), ("hidden", HIDDEN), ("open-hidden", HIDDEN)]
    {
        par = par.source(package(name, &manifest.replace("NAME", name)).apkg(scratch.path()));
    }
    let par = par.start().await;
    let (nothing, billing, auditing, both) = (
        par.http.with_bearer(&issuer.token("nothing").await),
        par.http.with_bearer(&issuer.token("billing").await),
        par.http.with_bearer(&issuer.token("auditing").await),
        par.http.with_bearer(&issuer.token("both").await),
    );
    for path in ["/agents/mixed/x", "/agents/mixed/ui/", "/agents/mixed%2Fmixed-free/x", "/agents/mixed/"] {
        for client in [&nothing, &billing, &auditing] {
            client.get(path).await.problem(403, "forbidden");
        }
        assert_eq!(both.get(path).await.status, 200, "{path}");
    }
    for path in ["/agents/hidden/x", "/agents/hidden/ui/", "/agents/open-hidden/ui/", "/agents/nobody/ui/"] {
        both.get(path).await.problem(404, "agent_not_found");
    }
    assert_eq!(par.http.get("/agents/open-mixed/ui/").await.text(), "<title>ui</title>", "it is public");
    assert_eq!(nothing.get("/agents/open-mixed/ui/").await.status, 200);
    for client in [&billing, &auditing] {
        client.get("/agents/open-mixed/x").await.problem(403, "forbidden");
    }
    let kept = both.get("/agents/mixed/ui/app.3f2a9c1b.js").await;
    assert_eq!(kept.header("cache-control"), "private, max-age=31536000, immutable");
    let refused = WebSocket::open(par.port, "/agents/mixed/ws", "").await.err().expect("it is refused");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
}

/// What may differ between two answers to strangers: nothing that tells a name.
fn told(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut problem = answer.problem(401, "unauthenticated");
    problem["request_id"] = Value::Null;
    let names = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
    (answer.status, problem, names)
}

#[tokio::test]
async fn strangers_learn_nothing_from_surfaces() {
    let (issuer, scratch) = (provider().await, scratch());
    let mixed = package("mixed", &MIXED.replace("NAME", "mixed")).apkg(scratch.path());
    let hidden = package("open-hidden", &HIDDEN.replace("NAME", "x")).apkg(scratch.path());
    let par = issuer.believed_by(par()).source(mixed).source(hidden).start().await;
    for path in ["api/x", "", "ui/", "ui/index.html", "ui-config.json", "a2a/S/M"] {
        let mut answers = vec![];
        for id in ["mixed", "nobody", "open-hidden"] {
            answers.push(told(&par.http.get(&format!("/agents/{id}/{path}")).await));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{path}: {answers:?}");
    }
}

#[tokio::test]
async fn an_application_is_told_who_asks_and_gets_the_token_only_if_it_wants_it() {
    let (issuer, scratch) = (provider().await, scratch());
    let plain = package("tells", "").apkg(scratch.path());
    let trusting = package("trusts", "forward_authorization: true").apkg(scratch.path());
    let par = issuer.believed_by(par()).source(plain).source(trusting).start().await;
    let token = issuer.token("both").await;
    let request = |name: &str| {
        let request = par.http.with_bearer(&token).request(Method::GET, &format!("/agents/{name}/x"));
        request.header("x-par-roles", "root").header("x-par-tenant", "other")
    };
    let said = request("tells").answer().await.ok();
    assert_eq!(said["x-par-subject"], "both");
    assert_eq!(said["x-par-tenant"], "acme%2C%20inc");
    assert_eq!(said["x-par-roles"], "auditing,billing");
    assert_eq!(said["authorization"], Value::Null);
    assert_eq!(request("trusts").answer().await.ok()["authorization"], format!("Bearer {token}"));
    par.http.get("/agents/tells/x").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn without_identity_nobody_has_a_role() {
    let scratch = scratch();
    let locked = package("locked", "role_required: billing").apkg(scratch.path());
    let free = package("free", "").apkg(scratch.path());
    let par = par().source(locked).source(free).start().await;
    for path in ["/agents/locked/x", "/agents/locked/ui/"] {
        par.http.get(path).await.problem(401, "unauthenticated");
    }
    let said = par.http.get("/agents/free/x").await.ok();
    assert_eq!(said["x-par-subject"], Value::Null);
}

#[tokio::test]
async fn requests_for_surfaces_count_like_calls() {
    let scratch = scratch();
    let par = par()
        .source(plain("web", "1.0.0", "here").apkg(scratch.path()))
        .env("MAX_CONCURRENT_INVOCATIONS", "1")
        .start()
        .await;
    let mut raw = RawConnection::open(par.port).await;
    raw.send("GET /agents/web/stream HTTP/1.1\r\nHost: x\r\n\r\n").await;
    raw.read(Duration::from_millis(150)).await;
    let refused = par.http.get("/agents/web/x").await;
    refused.problem(503, "queue_full");
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    raw.read_to_close(Duration::from_millis(3000)).await;
    assert_eq!(par.http.get("/agents/web/x").await.status, 200, "the place was given back");
}

#[tokio::test]
async fn rates_count_requests_for_rest_and_not_files() {
    let scratch = scratch();
    let par = par()
        .source(package("web", "").apkg(scratch.path()))
        .setting("limits.tenant_rate", "2/h burst 2")
        .start()
        .await;
    for _ in 0..5 {
        assert_eq!(par.http.get("/agents/web/ui/").await.status, 200);
    }
    for _ in 0..2 {
        assert_eq!(par.http.get("/agents/web/x").await.status, 200);
    }
    let refused = par.http.get("/agents/web/x").await;
    refused.problem(429, "rate_limited");
    assert!(!refused.header("ratelimit").is_empty());
}
