//! Steps 1, 5 and 10: REST, gRPC and UI where the contract says that they are, and nowhere else.

use serde_json::{Value, json};

use super::{ID, line};
use crate::harness::{
    CLIENTS, Client, Par, ParBuilder, Rpc, S3Server, agent,
    grpc::{field, text_of},
    par, zip_directory,
};

/// Boots a package of `tests/agents` from S3.
async fn from_s3(s3: &S3Server, name: &str, dress: impl FnOnce(ParBuilder) -> ParBuilder) -> Par {
    let url = s3.put("packages-of-tests", &format!("{name}.apkg"), zip_directory(&agent(name)));
    dress(s3.known_to(par().single(ID, url), s3.port)).start().await
}

async fn status(par: &Par, path: &str) -> u16 {
    par.http.get(path).await.status
}

fn surfaces(rest: bool, a2a: bool, ui: bool) -> Value {
    json!({"rest": rest, "a2a": a2a, "ui": ui})
}

#[tokio::test]
async fn every_surface_is_below_the_base_path_and_on_its_port() {
    let s3 = S3Server::start().await;
    let par = from_s3(&s3, "surfaces", |builder| builder).await;
    assert_eq!(par.http.get("/health").await.ok()["surfaces"], surfaces(true, true, true));
    let base = format!("/agents/{ID}");
    // REST, its prefix taken away exactly once; the root stays clean.
    assert_eq!(par.http.get(&format!("{base}/api/ping")).await.ok()["pong"], true);
    assert_eq!(status(&par, &format!("{base}{base}/api/ping")).await, 404);
    assert_eq!(status(&par, "/api/ping").await, 404);
    assert_eq!(status(&par, &format!("{base}/api/nothing")).await, 404);
    // The UI, below REST and on its own port.
    let page = par.http.get(&format!("{base}/ui/")).await;
    assert!(page.status == 200 && page.text().contains("<html"), "{}", page.text());
    let ui = Client::new(par.ui_port);
    assert_eq!(ui.get("/").await.text(), page.text());
    assert_eq!(ui.get("/app.3f2a9c1b.js").await.status, 200);
    assert_eq!(ui.get("/health").await.ok(), json!({"ok": true, "service": "ui", "port": par.ui_port}));
    assert_eq!(ui.get("/api/ping").await.status, 404, "the UI's port has no REST");
    // Calls, by every id.
    for id in [ID, "surfaces", "surfaces@1.0.0"] {
        assert_eq!(par.http.invoke(id, &json!({"a": 1})).await.status, 200, "{id}");
    }
    assert_eq!(
        par.http.get(&format!("{base}/ui-config.json")).await.ok(),
        json!({"apiBase": format!("{base}/api")})
    );
}

#[tokio::test]
async fn what_describes_the_container_really_asks_at_the_root_and_below_the_base_path() {
    let s3 = S3Server::start().await;
    let par = from_s3(&s3, "surfaces", |builder| builder.env("DEPLOYMENT_ID", "d")).await;
    for base in [String::new(), format!("/agents/{ID}")] {
        let health = par.http.get(&format!("{base}/health")).await.ok();
        assert_eq!(
            (&health["ok"], &health["surfaces"]),
            (&json!(true), &surfaces(true, true, true)),
            "{base}"
        );
        let meta = par.http.get(&format!("{base}/meta")).await.ok();
        assert_eq!((&meta["name"], &meta["version"]), (&json!("surfaces"), &json!("1.0.0")), "{meta}");
        assert_eq!(meta["surfaces"], surfaces(true, true, true), "{meta}");
        assert_eq!(meta["author"], "PAR", "{meta}");
        assert!(meta["boot_stats"]["total_ms"].as_u64().is_some_and(|total| total > 0), "{meta}");
        for phase in ["download", "verify", "extract", "install", "load", "serve"] {
            assert!(meta["boot_stats"]["phases_ms"][phase].is_u64(), "{phase} in {meta}");
        }
        for service in ["a2a", "ui"] {
            let told = par.http.get(&format!("{base}/{service}/health")).await.ok();
            assert_eq!((&told["ok"], &told["service"]), (&json!(true), &json!(service)), "{base}");
            assert!(told["timestamp"].is_u64(), "{told}");
        }
        assert_eq!(par.http.get(&format!("{base}/runtime/info")).await.ok()["mode"], "single", "{base}");
        assert_eq!(status(&par, &format!("{base}/runtime/live")).await, 200, "{base}");
    }
    let root = par.http.get("/").await.ok();
    assert_eq!(root["service"], "Pixell Agent Runtime", "{root}");
    assert_eq!(root["endpoints"]["health"], "/health", "{root}");
}

#[tokio::test]
async fn the_root_has_agent_routes_only_where_that_is_wanted() {
    let s3 = S3Server::start().await;
    let wanted = from_s3(&s3, "surfaces", |builder| builder.env("ROOT_ROUTES", "true")).await;
    for path in ["/api/ping", &format!("/agents/{ID}/api/ping")] {
        assert_eq!(status(&wanted, path).await, 200, "{path}");
    }
    assert_eq!(wanted.http.get("/health").await.ok()["status"], "healthy", "built-ins win");
    drop(wanted);
    let root = from_s3(&s3, "surfaces", |builder| builder.env("BASE_PATH", "/")).await;
    assert_eq!(status(&root, "/api/ping").await, 200);
    assert_eq!(status(&root, "/ui/").await, 200);
    assert_eq!(status(&root, "/meta").await, 200);
    assert_eq!(root.http.invoke(ID, &json!({})).await.status, 200, "the identity is an id all the same");
    drop(root);
    let elsewhere = from_s3(&s3, "surfaces", |builder| builder.env("BASE_PATH", "/team/x")).await;
    for path in ["/team/x/api/ping", "/team/x/ui/", "/team/x/meta", &format!("/agents/{ID}/api/ping")] {
        assert_eq!(status(&elsewhere, path).await, 200, "{path}");
    }
    for path in ["/team/x/team/x/api/ping", "/team/api/ping", "/api/ping"] {
        assert_eq!(status(&elsewhere, path).await, 404, "{path}");
    }
}

#[tokio::test]
async fn the_ui_is_only_on_its_port_where_that_is_wanted() {
    let s3 = S3Server::start().await;
    let par = from_s3(&s3, "surfaces", |builder| builder.env("MULTIPLEXED", "false")).await;
    assert_eq!(status(&par, &format!("/agents/{ID}/ui/")).await, 404);
    assert_eq!(Client::new(par.ui_port).get("/").await.status, 200);
    assert_eq!(par.http.get("/health").await.ok()["surfaces"], surfaces(true, true, true));
}

#[tokio::test]
async fn packages_with_one_surface_become_ready_too() {
    let s3 = S3Server::start().await;
    for (name, wanted) in [
        ("rest-only", surfaces(true, false, false)),
        ("ui-only", surfaces(true, false, true)),
        ("grpc-own", surfaces(true, true, false)),
    ] {
        let par = from_s3(&s3, name, |builder| builder).await;
        let health = par.http.get("/health").await.ok();
        assert_eq!(health["surfaces"], wanted, "{name}");
        assert_eq!(line(&par, "health_changed")["details"]["to"], "healthy", "{name}");
        let (a2a, ui) = (par.http.get("/a2a/health").await.status, par.http.get("/ui/health").await.status);
        let told = |yes: &Value| if yes == true { 200 } else { 404 };
        assert_eq!((a2a, ui), (told(&wanted["a2a"]), told(&wanted["ui"])), "{name}");
    }
}

#[tokio::test]
async fn a_call_over_grpc_is_answered_without_a_name_and_below_the_base_path() {
    let s3 = S3Server::start().await;
    let par = from_s3(&s3, "grpc-own", |builder| builder).await;
    let calls = [
        Rpc::unary("/example.own.Own/Say", field(1, "hi")),
        Rpc::unary(&format!("/agents/{ID}/a2a/example.own.Own/Say"), field(1, "there")),
        Rpc::unary("/grpc.health.v1.Health/Check", field(1, "example.own.Own")),
    ];
    for client in CLIENTS {
        let told = client.ask(&par, &calls).await;
        assert_eq!(text_of(told[0].ok(), 1), "You said: hi");
        assert_eq!(text_of(told[1].ok(), 1), "You said: there");
        assert_eq!(told[2].ok(), [8, 1], "serving");
    }
}
