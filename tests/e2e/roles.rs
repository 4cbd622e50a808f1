//! What roles allow, with identity on; and that who has not proved who they are learns nothing.

use std::time::{Duration, Instant};

use reqwest::{
    Method,
    header::{ACCEPT, DATE},
};
use serde_json::{Value, json};

use super::security::{OPERATORS, VIEWERS};
use crate::harness::{Answer, Answered, Client, IdentityProvider, Package, Par, par, scratch};

/// Agents behind roles of their own, of their package, and behind none.
const MANIFEST: &str = "
role_required: billing
exports:
  - {id: inherits, handler: main:run}
  - {id: audits, handler: main:run, role_required: auditing}
  - {id: hides, handler: main:run, private: true}
";

/// Tells whether it was called at all.
const CODE: &str = "def run(input):\n    return 'called'\n";

fn package(name: &str, manifest: &str) -> Package {
    Package::new(name, "1.0.0", manifest).file("main.py", CODE)
}

/// A provider that knows one caller of each kind, named like its only role; `nothing` has none.
async fn provider() -> IdentityProvider {
    let issuer = IdentityProvider::start().await;
    issuer.knows("nothing", json!({})).await;
    for role in ["billing", "auditing", "par-viewer", "par-operator"] {
        issuer.knows(role, json!({"roles": [role], "tenant": "acme"})).await;
    }
    issuer
}

async fn who(issuer: &IdentityProvider, par: &Par, name: &str) -> Client {
    par.http.with_bearer(&issuer.token(name).await)
}

#[tokio::test]
async fn a_role_is_needed_on_every_way_to_an_agent() {
    let (issuer, scratch) = (provider().await, scratch());
    let par = issuer.believed_by(par()).source(package("books", MANIFEST).apkg(scratch.path()));
    let par = par.agent("echo").start().await;
    let mut callers = vec![];
    for name in ["nothing", "billing", "auditing", "par-viewer", "par-operator"] {
        callers.push((name, who(&issuer, &par, name).await));
    }
    for (agent, role) in [("inherits", "billing"), ("audits", "auditing")] {
        for id in [
            agent.to_owned(),
            format!("{agent}@1.0.0"),
            format!("books/{agent}"),
            format!("books%2F{agent}"),
            format!("books@1.0.0/{agent}"),
        ] {
            par.http.invoke(&id, &json!({})).await.problem(401, "unauthenticated");
            par.http.envelope(&id, &json!({"input": {}})).await.problem(401, "unauthenticated");
            for (name, client) in &callers {
                let direct = client.invoke(&id, &json!({})).await;
                let wrapped = client.envelope(&id, &json!({"input": {}})).await;
                let path = format!("/agents/{id}/invoke");
                let stream = client.request(Method::POST, &path).header(ACCEPT, "text/event-stream");
                let streamed = stream.json(&json!({})).answer().await;
                if *name == role {
                    assert_eq!(direct.ok(), "called");
                    assert_eq!(wrapped.ok()["output"], "called");
                    assert_ne!(streamed.status, 403, "{id} {name}");
                } else {
                    for answer in [direct, wrapped, streamed] {
                        answer.problem(403, "forbidden");
                    }
                }
            }
        }
    }
    for (name, client) in &callers {
        client.invoke("echo", &json!(1)).await.ok();
        let hidden = client.invoke("books/hides", &json!({})).await;
        hidden.problem(404, "agent_not_found");
        assert!(!hidden.text().contains("private"), "{name}: {}", hidden.text());
    }
}

#[tokio::test]
async fn a_package_id_needs_the_strictest_role_of_its_agents() {
    let (issuer, scratch) = (provider().await, scratch());
    let only = package("only", "exports:\n  - {id: one, handler: main:run, role_required: billing}");
    let entry = package("entry", "role_required: auditing\nentrypoint: main:run");
    let par = issuer.believed_by(par());
    let par = par.source(only.apkg(scratch.path())).source(entry.apkg(scratch.path())).start().await;
    for (id, role, other) in [
        ("only", "billing", "nothing"),
        ("entry", "auditing", "billing"),
        ("entry@1.0.0", "auditing", "billing"),
    ] {
        par.http.invoke(id, &json!({})).await.problem(401, "unauthenticated");
        who(&issuer, &par, other).await.invoke(id, &json!({})).await.problem(403, "forbidden");
        assert_eq!(who(&issuer, &par, role).await.invoke(id, &json!({})).await.ok(), "called");
    }
}

#[tokio::test]
async fn lists_hold_what_their_reader_may_call() {
    let (issuer, scratch) = (provider().await, scratch());
    let par = issuer.believed_by(par()).source(package("books", MANIFEST).apkg(scratch.path()));
    let par = par.agent("echo").start().await;
    for path in ["/agents", "/runtime/agents", "/agents/echo", "/agents/echo/health", "/runtime/info"] {
        par.http.get(path).await.problem(401, "unauthenticated");
    }
    for (name, of_books) in [
        ("nothing", &[][..]),
        ("billing", &["inherits"]),
        ("auditing", &["audits"]),
        ("par-viewer", &["audits", "hides", "inherits"]),
        ("par-operator", &["audits", "hides", "inherits"]),
    ] {
        let client = who(&issuer, &par, name).await;
        for path in ["/agents", "/runtime/agents"] {
            let listed = client.get(path).await.ok();
            let ids = listed["agents"].as_array().expect("a list").iter();
            let ids = ids.map(|agent| agent["id"].as_str().expect("a text"));
            let (books, others): (Vec<&str>, Vec<&str>) = ids.partition(|id| id.starts_with("books@"));
            let mut books: Vec<&str> =
                books.iter().map(|id| id.rsplit('/').next().expect("an export")).collect();
            books.sort_unstable();
            assert_eq!(books, of_books, "{name} {path}");
            assert_eq!(others.len(), 2, "{name} {path}: everybody may call echo: {others:?}");
        }
        let sees = |agent: &str| if of_books.contains(&agent) { 200 } else { 404 };
        for agent in ["inherits", "audits", "hides"] {
            let answer = client.get(&format!("/agents/books/{agent}")).await;
            assert_eq!(answer.status, sees(agent), "{name} {agent}: {}", answer.text());
        }
        // Whoever has proved who they are may ask how an agent is, but for private ones.
        for (agent, status) in [("inherits", 200), ("audits", 200), ("hides", sees("hides"))] {
            let answer = client.get(&format!("/agents/books/{agent}/health")).await;
            assert_eq!(answer.status, status, "{name} {agent}: {}", answer.text());
        }
    }
}

fn request(client: &Client, (method, path): (&str, &str)) -> reqwest::RequestBuilder {
    let method = method.parse::<Method>().expect("a method");
    let request = client.request(method.clone(), path);
    if method == Method::POST { request.json(&json!({"path": "/nowhere", "enabled": true})) } else { request }
}

#[tokio::test]
async fn viewers_look_and_operators_change() {
    let issuer = provider().await;
    let par = issuer.believed_by(par()).agent("echo").allow("package_failed").start().await;
    let viewer = who(&issuer, &par, "par-viewer").await;
    let operator = who(&issuer, &par, "par-operator").await;
    for route in OPERATORS.iter().chain(VIEWERS) {
        request(&par.http, *route).answer().await.problem(401, "unauthenticated");
        for name in ["nothing", "billing"] {
            let caller = who(&issuer, &par, name).await;
            request(&caller, *route).answer().await.problem(403, "forbidden");
        }
    }
    for route in OPERATORS {
        let answer = request(&viewer, *route).answer().await;
        answer.problem(403, "forbidden");
        let id = answer.header("x-request-id");
        let line = par.wait_for_line("its line", |line| line["request_id"] == id).await;
        assert_eq!(line["details"]["decision"], "forbidden", "{route:?}");
        assert_eq!(line["tenant"], "acme");
    }
    for route in VIEWERS {
        for client in [&viewer, &operator] {
            assert_eq!(request(client, *route).answer().await.status, 200, "{route:?}");
        }
    }
    viewer.invoke("echo", &json!(1)).await.ok();
    // The last of them ends the process.
    for route in OPERATORS {
        let answer = request(&operator, *route).answer().await;
        assert!(!matches!(answer.status, 401 | 403), "{route:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn with_identity_on_neither_the_operators_token_nor_this_machine_makes_an_operator() {
    let issuer = provider().await;
    let given = "a-token-that-opened-everything-before";
    let par = issuer.believed_by(par()).env("PAR_OPERATOR_TOKEN", given).agent("echo").start().await;
    for route in OPERATORS.iter().chain(VIEWERS) {
        let with_token = request(&par.http.with_bearer(given), *route).answer().await;
        with_token.problem(401, "unauthenticated");
        let request = request(&par.http, *route);
        let told = [
            ("x-par-role", "operator"),
            ("x-par-caller", r#"{"subject":"s","tenant":"t","roles":["par-operator"],"scopes":[]}"#),
            ("x-forwarded-for", "127.0.0.1"),
            ("host", "localhost"),
        ];
        let dressed = told.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = dressed.answer().await;
        assert_eq!(answer.status, 401, "{route:?}: {}", answer.text());
    }
    let caller = who(&issuer, &par, "nothing").await;
    let dressed = caller.request(Method::GET, "/runtime/packages").header("x-par-role", "operator");
    dressed.answer().await.problem(403, "forbidden");
    let own = par.cli(&["packages"]).await;
    assert_eq!(own.code, 0, "the operator's own shell speaks over the local socket: {own:?}");
    assert!(own.stdout.contains("echo"), "{own:?}");
}

#[tokio::test]
async fn without_identity_nobody_has_a_role() {
    let scratch = scratch();
    let par = par().production().source(package("books", MANIFEST).apkg(scratch.path())).start().await;
    par.http.invoke("inherits", &json!({})).await.problem(401, "unauthenticated");
    assert_eq!(par.http.get("/agents").await.ok(), json!({"agents": []}));
}

/// What a stranger sees, without what differs from one request to the next.
fn seen(answer: &Answer, id: &str) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| **name != DATE);
    let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}")));
    (answer.status, headers.collect(), answer.text().replace(id, "…"))
}

#[tokio::test]
async fn strangers_cannot_tell_agents_that_are_there_from_those_that_are_not() {
    let (issuer, scratch) = (provider().await, scratch());
    let dormant = Package::saying("dormant", "1.0.0", "awake").apkg(scratch.path());
    let par = issuer
        .believed_by(par())
        .source(package("books", MANIFEST).apkg(scratch.path()))
        .agent("echo")
        .setting("packages.lazy", json!([dormant]))
        .start()
        .await;
    let operator = who(&issuer, &par, "par-operator").await;
    let disabled = operator.post("/runtime/agents/aecho/enable", &json!({"enabled": false})).await;
    disabled.ok();
    let mounted =
        || par.lines().iter().filter(|line| line.event() != "access" && line.mentions("dormant")).count();
    let before = mounted();
    let http2 = Client::http2(par.port);
    let with_junk = par.http.with_bearer("junk");
    for client in [&par.http, &http2, &with_junk] {
        let look = async |method: &Method, path: String, id: &str| {
            let request = client.request(method.clone(), &path).header("x-request-id", "the-same");
            seen(&request.json(&json!({})).answer().await, id)
        };
        for pattern in [
            "/agents/{}/invoke",
            "/runtime/agents/{}/invoke",
            "/agents/{}",
            "/agents/{}/",
            "/agents/{}/health",
            "/agents/{}/ui/",
            "/agents/{}/a2a",
            "/agents/{}/anything/else",
            "/runtime/agents/{}/enable",
        ] {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                let unknown = "nobody-knows-it";
                let path = |id: &str| pattern.replace("{}", id);
                let nobody = look(&method, path(unknown), unknown).await;
                assert_eq!(nobody.0, 401, "{method} {pattern}: {nobody:?}");
                for id in ["echo", "echo@1.0.0", "aecho", "inherits", "books/audits", "hides", "dormant"] {
                    assert_eq!(look(&method, path(id), id).await, nobody, "{method} {pattern} {id}");
                }
            }
        }
    }
    assert_eq!(mounted(), before, "nobody was woken");
    let awake = who(&issuer, &par, "nothing").await.invoke("dormant", &json!({})).await;
    assert_eq!(awake.ok(), "awake");
    assert!(mounted() > before, "by whom it may be, it is");
}

/// The median time of answers to two paths, asked in turn on one connection.
async fn medians(client: &Client, paths: [&str; 2]) -> [Duration; 2] {
    let mut times = [vec![], vec![]];
    for _ in 0..200 {
        for (path, times) in paths.iter().zip(&mut times) {
            let begun = Instant::now();
            client.post(path, &json!({})).await.problem(401, "unauthenticated");
            times.push(begun.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

#[tokio::test]
async fn the_time_of_an_answer_does_not_tell_strangers_what_is_there() {
    let issuer = provider().await;
    let par = issuer.believed_by(par()).agent("echo").start().await;
    // The first answers warm up the connection.
    medians(&par.http, ["/agents/echo/invoke", "/agents/ohce/invoke"]).await;
    let [known, unknown] = medians(&par.http, ["/agents/echo/invoke", "/agents/ohce/invoke"]).await;
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!((0.7..=1.4).contains(&ratio), "{known:?} for a known agent, {unknown:?} for an unknown one");
}

#[tokio::test]
async fn a_call_without_the_role_is_audited_and_counted() {
    let (issuer, scratch) = (provider().await, scratch());
    let par = issuer.believed_by(par()).source(package("books", MANIFEST).apkg(scratch.path())).start().await;
    let answer = who(&issuer, &par, "auditing").await.invoke("inherits", &json!({})).await;
    let problem = answer.problem(403, "forbidden");
    assert!(
        !problem.to_string().contains("billing"),
        "which role it is, is not the caller's business: {problem}"
    );
    let id = answer.header("x-request-id");
    let line = par.wait_for_line("its line", |line| line["request_id"] == id).await;
    assert_eq!(line["details"]["decision"], "forbidden");
    assert_eq!(
        (&line["tenant"], &line["status"], &line["code"]),
        (&json!("acme"), &json!(403), &json!("forbidden"))
    );
    assert_ne!(line["details"]["subject"], Value::Null);
    let lines = par.lines();
    assert_eq!(lines.iter().filter(|line| line["request_id"] == id).count(), 1, "one line each");
}
