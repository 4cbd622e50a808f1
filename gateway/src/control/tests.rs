//! The routes with a scripted fleet.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use axum::{
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use par_pool::{
    fleet::{
        AgentState, AgentStatus, Busy, Failure, LoadError, LoadOptions, Loaded, PackageStatus, Process,
        Unloaded,
    },
    package::{PullError, Source, Step},
};
use par_proto::ids::{AgentId, PackageId};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{scripted::Life, *};
use crate::{
    auth::Role,
    config::{Environment, Flags},
    observe::{figures::Reading, levels::Rules},
};

/// A fleet that has two agents and remembers what it was asked for.
#[derive(Default)]
struct Script {
    loads: Mutex<Vec<(String, LoadOptions)>>,
    uploads: Mutex<Vec<(PathBuf, Vec<u8>)>>,
    enabled: AtomicBool,
}

fn package() -> PackageId {
    "echo@1.0.0".parse().unwrap()
}

fn status(export: &str, private: bool, role: Option<&str>) -> AgentStatus {
    AgentStatus {
        id: format!("echo@1.0.0/{export}").parse().unwrap(),
        package_id: package(),
        name: export.to_owned(),
        description: String::new(),
        version: "1.0.0".to_owned(),
        status: if export == "down" { AgentState::CrashLoop } else { AgentState::Ready },
        private,
        role_required: role.map(str::to_owned),
        input_schema: None,
        output_schema: None,
        surfaces: Vec::new(),
        conflict: None,
    }
}

fn outcome(text: &str) -> Result<Loaded, LoadError> {
    if text.contains("conflict") {
        return Err(LoadError::Conflict(package()));
    }
    if text.contains("full") {
        return Err(LoadError::Full { package: package().to_string(), limit: 1 });
    }
    if text.contains("stopping") {
        return Err(LoadError::Stopping);
    }
    if text.contains("broken") {
        let refused = PullError::refused(Step::Unpack, "agent.yaml is missing")
            .with_hint("add one")
            .with_log("/secret");
        return Err(LoadError::Refused(refused));
    }
    Ok(Loaded {
        package_id: package(),
        agents: vec!["echo@1.0.0/say".parse().unwrap()],
        created: true,
        former: None,
    })
}

#[async_trait]
impl Fleet for Script {
    async fn load(&self, source: &Source, options: LoadOptions) -> Result<Loaded, LoadError> {
        self.loads.lock().push((source.given.clone(), options));
        outcome(&source.given)
    }

    async fn upload(&self, file: PathBuf, _options: LoadOptions) -> Result<Loaded, LoadError> {
        let bytes = std::fs::read(&file).unwrap();
        let result = outcome(&String::from_utf8_lossy(&bytes));
        self.uploads.lock().push((file, bytes));
        result
    }

    fn unload(&self, id: &PackageId) -> Option<Unloaded> {
        (*id == package()).then(|| Unloaded { package_id: package(), draining: 2, indexed: false })
    }

    fn set_enabled(&self, id: &str, enabled: Option<bool>) -> Option<(AgentId, bool)> {
        let agent = self.agent(id)?;
        let enabled = enabled.unwrap_or(!self.enabled.load(Ordering::SeqCst));
        self.enabled.store(enabled, Ordering::SeqCst);
        Some((agent.id, enabled))
    }

    fn packages(&self) -> Vec<PackageStatus> {
        Vec::new()
    }

    fn processes(&self) -> Vec<Process> {
        Vec::new()
    }

    fn loads(&self) -> Vec<Busy> {
        Vec::new()
    }

    fn failures(&self) -> Vec<Failure> {
        Vec::new()
    }

    fn agents(&self) -> Vec<AgentStatus> {
        vec![
            status("say", false, None),
            status("down", false, None),
            status("hidden", true, None),
            status("billing", false, Some("billing")),
            status("health", false, None),
        ]
    }

    fn agent(&self, id: &str) -> Option<AgentStatus> {
        self.agents().into_iter().find(|agent| agent.id.to_string() == id || agent.name == id)
    }

    fn in_flight(&self) -> usize {
        3
    }

    fn answered(&self) -> u64 {
        7
    }
}

struct Bench {
    fleet: Arc<Script>,
    life: Arc<Life>,
    state: ControlState,
    root: tempfile::TempDir,
}

fn bench(dev: bool) -> Bench {
    let root = tempfile::tempdir().unwrap();
    let mut config = Config::load(&Flags { dev, ..Flags::default() }, &Environment::default()).unwrap();
    config.data_dir = root.path().join("data");
    config.packages.max_package_bytes = 1 << 20;
    config.packages.load_roots = vec![root.path().join("packages")];
    std::fs::create_dir(root.path().join("packages")).unwrap();
    let fleet = Arc::new(Script::default());
    let life = Arc::new(Life(Mutex::new(Readiness::Ready)));
    let state = ControlState {
        container: None,
        pool: Arc::clone(&fleet) as Arc<dyn Fleet>,
        rollouts: Arc::new(crate::control::scripted::Scripted),
        sessions: Arc::new(crate::control::scripted::Scripted),
        hook: crate::control::scripted::hook(),
        config: Arc::new(config),
        redactor: crate::observe::Redactor::new(),
        recent: Arc::new(RecentLines::new(10)),
        explanations: Explanations::default(),
        levels: Levels::new(Rules::new(tracing::Level::INFO), None),
        observatory: Observatory::new(Arc::new(Reading::default)),
        lifecycle: Arc::clone(&life) as Arc<dyn ShutdownSwitch>,
        upgrade: None,
        metrics: Arc::new(|| "par_build_info 1\n".to_owned()),
        webhooks: None,
        billing: None,
        started: SystemTime::UNIX_EPOCH,
    };
    Bench { fleet, life, state, root }
}

impl Bench {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        router(self.state.clone()).oneshot(request).await.unwrap()
    }

    async fn ask(&self, role: Role, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let mut request = request.header("x-request-id", "r-1").body(Body::from(body.to_owned())).unwrap();
        role.stamp(request.headers_mut());
        let response = self.send(request).await;
        assert_eq!(response.headers()["x-request-id"], "r-1");
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_client_error() {
            assert_eq!(
                (&body["request_id"], &body["status"]),
                (&"r-1".into(), &status.as_u16().into()),
                "{body}"
            );
        }
        (status, body)
    }

    async fn load(&self, body: Value) -> (u16, Value) {
        let (status, answer) =
            self.ask(Role::Operator, "POST", "/runtime/packages/load", &body.to_string()).await;
        (status.as_u16(), answer)
    }
}

#[tokio::test]
async fn each_route_asks_for_its_role() {
    let bench = bench(false);
    let (open, caller, viewer, operator) = (Role::None, Role::Caller, Role::Viewer, Role::Operator);
    for (method, path, least) in [
        ("GET", "/health", open),
        ("GET", "/runtime/health", open),
        ("GET", "/runtime/live", open),
        ("GET", "/agents/say/health", caller),
        ("GET", "/agents", caller),
        ("GET", "/agents/say", caller),
        ("GET", "/runtime/agents", caller),
        ("GET", "/runtime/info", caller),
        ("GET", "/runtime/openapi.json", caller),
        ("GET", "/runtime/packages", viewer),
        ("GET", "/runtime/logs", viewer),
        ("GET", "/runtime/logs/level", viewer),
        ("GET", "/runtime/dashboard", open),
        ("GET", "/runtime/dashboard/stream", viewer),
        ("GET", "/runtime/errors", viewer),
        ("GET", "/runtime/errors/r-1", viewer),
        ("GET", "/runtime/workers", viewer),
        ("GET", "/runtime/sessions", viewer),
        ("GET", "/runtime/webhooks/deliveries", viewer),
        ("GET", "/metrics", viewer),
        ("POST", "/runtime/agents/say/enable", operator),
        ("POST", "/runtime/shutdown", operator),
        ("PUT", "/runtime/logs/level", operator),
        ("DELETE", "/runtime/logs/level", operator),
        ("DELETE", "/runtime/packages/echo@1.0.0", operator),
        ("DELETE", "/runtime/sessions/once", operator),
        ("POST", "/runtime/packages/load", operator),
        ("POST", "/runtime/packages/upload", operator),
    ] {
        for role in [open, caller, viewer, operator] {
            let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            role.stamp(request.headers_mut());
            let response = bench.send(request).await;
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&response.status());
            assert_eq!(refused, role < least, "{role:?} {method} {path}: {}", response.status());
            let challenged = response.headers().contains_key(header::WWW_AUTHENTICATE);
            assert_eq!(challenged, response.status() == StatusCode::UNAUTHORIZED);
        }
    }
}

#[tokio::test]
async fn what_does_not_exist_is_a_problem_and_other_methods_are_named() {
    let bench = bench(false);
    let (status, body) = bench.ask(Role::Operator, "GET", "/runtime/nothing", "").await;
    assert_eq!((status.as_u16(), &body["code"]), (404, &json!("not_found")));
    let request = Request::builder().method("PUT").uri("/runtime/packages/load").body(Body::empty()).unwrap();
    let response = bench.send(request).await;
    assert_eq!(response.status().as_u16(), 405);
    assert_eq!(response.headers()[header::ALLOW], "POST");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()["x-request-id"].len(), 32);
}

#[tokio::test]
async fn health_follows_the_life_of_the_process() {
    let bench = bench(false);
    for (readiness, code, status) in [
        (Readiness::Starting, 503, "starting"),
        (Readiness::Ready, 200, "healthy"),
        (Readiness::Leaving, 200, "healthy"),
        (Readiness::Stopping, 503, "stopping"),
    ] {
        *bench.life.0.lock() = readiness;
        let (answered, body) = bench.ask(Role::None, "GET", "/health", "").await;
        assert_eq!((answered.as_u16(), &body["status"]), (code, &json!(status)));
        assert_eq!(body["ok"], code == 200);
        assert!(body["timestamp"].is_u64() && body["surfaces"].is_object());
        let (_, body) = bench.ask(Role::None, "GET", "/runtime/health", "").await;
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(bench.ask(Role::None, "GET", "/runtime/live", "").await.0, StatusCode::OK);
    }
    let (_, info) = bench.ask(Role::Caller, "GET", "/runtime/info", "").await;
    assert_eq!((&info["start_time"], &info["mode"]), (&json!("1970-01-01T00:00:00.000Z"), &json!("host")));
    assert_eq!((&info["total_invocations"], &info["agents_mounted"]), (&json!(7), &json!(5)));
}

#[tokio::test]
async fn callers_see_what_they_may_call_and_operators_everything() {
    let bench = bench(false);
    let names = |body: &Value| -> Vec<String> {
        let agents = body["agents"].as_array().unwrap();
        agents.iter().map(|agent| agent["name"].as_str().unwrap().to_owned()).collect()
    };
    let (_, body) = bench.ask(Role::Caller, "GET", "/agents", "").await;
    assert_eq!(names(&body), ["say", "down", "health"]);
    let (_, body) = bench.ask(Role::Operator, "GET", "/runtime/agents", "").await;
    assert_eq!(names(&body).len(), 5);
    for (path, caller, operator) in [
        ("/agents/say", 200, 200),
        ("/agents/echo@1.0.0/say", 200, 200),
        ("/agents/echo%401.0.0%2Fsay", 200, 200),
        ("/agents/echo%25401.0.0/say", 404, 404),
        ("/agents/hidden", 404, 200),
        ("/agents/billing", 404, 200),
        ("/agents/%ff", 404, 404),
        ("/agents/nobody", 404, 404),
        ("/agents/say/health", 200, 200),
        ("/agents/echo%401.0.0%2Fsay/health", 200, 200),
        ("/agents/down/health", 503, 503),
        ("/agents/hidden/health", 404, 200),
        ("/agents/nobody/health", 404, 404),
    ] {
        assert_eq!(bench.ask(Role::Caller, "GET", path, "").await.0.as_u16(), caller, "{path}");
        assert_eq!(bench.ask(Role::Operator, "GET", path, "").await.0.as_u16(), operator, "{path}");
    }
    let (_, body) = bench.ask(Role::Caller, "GET", "/agents/echo@1.0.0/health", "").await;
    assert_eq!(body["id"], "echo@1.0.0/health", "an agent of that name comes before the health of another");
    let (_, body) = bench.ask(Role::Caller, "GET", "/agents/down/health", "").await;
    assert_eq!(body, json!({"ok": false, "agentId": "down", "status": "crash_loop", "loaded": true}));
}

#[tokio::test]
async fn an_agent_is_switched_or_toggled() {
    let bench = bench(false);
    let path = "/runtime/agents/echo%401.0.0/say/enable";
    let (_, body) = bench.ask(Role::Operator, "POST", path, r#"{"enabled":true}"#).await;
    assert_eq!(body, json!({"id": "echo@1.0.0/say", "enabled": true}));
    let (_, body) = bench.ask(Role::Operator, "POST", path, "").await;
    assert_eq!(body["enabled"], false);
    for (path, body, wanted) in [
        ("/runtime/agents/nobody/enable", "", 404),
        ("/runtime/agents/say/other", "", 404),
        (path, r#"{"enabled":"x"}"#, 400),
        (path, r#"{"on":true}"#, 400),
        (path, "{", 400),
    ] {
        assert_eq!(bench.ask(Role::Operator, "POST", path, body).await.0.as_u16(), wanted, "{path} {body}");
    }
}

#[tokio::test]
async fn a_mounted_package_is_taken_away() {
    let bench = bench(false);
    let (_, body) = bench.ask(Role::Operator, "DELETE", "/runtime/packages/echo%401.0.0", "").await;
    assert_eq!(
        body,
        json!({"status": "success", "package_id": "echo@1.0.0", "draining": 2, "indexed": false})
    );
    for path in ["/runtime/packages/other@1.0.0", "/runtime/packages/echo", "/runtime/packages/%ff"] {
        let (status, body) = bench.ask(Role::Operator, "DELETE", path, "").await;
        assert_eq!((status.as_u16(), &body["code"]), (404, &json!("package_not_found")), "{path}");
    }
}

#[tokio::test]
async fn shutdown_begins_the_end_and_metrics_are_text() {
    let bench = bench(false);
    let mut request = Request::get("/metrics").body(Body::empty()).unwrap();
    Role::Operator.stamp(request.headers_mut());
    let response = bench.send(request).await;
    assert!(
        response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/plain; version=0.0.4")
    );
    assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "par_build_info 1\n");
    assert_eq!(bench.ask(Role::Operator, "POST", "/runtime/shutdown", "").await.0, StatusCode::ACCEPTED);
    assert_eq!(bench.life.ready(), Readiness::Stopping);
}

mod deliveries;
mod loading;
mod logs;
mod sessions;
