//! The management commands against the real routes on a socket.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::SystemTime,
};

use async_trait::async_trait;
use par_pool::{
    fleet::{AgentStatus, Busy, Failure, LoadError, LoadOptions, Loaded, PackageStatus, Process, Unloaded},
    package::Source,
};
use par_proto::ids::{AgentId, PackageId};

use super::*;
use crate::{
    auth::Role,
    config::Flags,
    control::{ControlState, Fleet, Observatory, Readiness, ShutdownSwitch, router},
    observe::RecentLines,
};

struct Nothing;

#[async_trait]
impl Fleet for Nothing {
    async fn load(&self, source: &Source, _options: LoadOptions) -> Result<Loaded, LoadError> {
        Err(LoadError::Conflict(format!("{}@1", source.given.rsplit('/').next().unwrap()).parse().unwrap()))
    }

    async fn upload(&self, file: PathBuf, options: LoadOptions) -> Result<Loaded, LoadError> {
        assert!(options.force && options.sha256.is_some());
        let id: PackageId = std::fs::read_to_string(file).unwrap().parse().unwrap();
        let agents = vec![format!("{id}/say").parse().unwrap()];
        Ok(Loaded { package_id: id, agents, created: true, former: None })
    }

    fn unload(&self, id: &PackageId) -> Option<Unloaded> {
        (id.name.as_str() == "echo").then(|| Unloaded { package_id: id.clone(), draining: 1, indexed: false })
    }

    fn set_enabled(&self, id: &str, enabled: Option<bool>) -> Option<(AgentId, bool)> {
        Some((id.parse().ok()?, enabled?))
    }

    fn packages(&self) -> Vec<PackageStatus> {
        Vec::new()
    }

    fn failures(&self) -> Vec<Failure> {
        Vec::new()
    }

    fn agents(&self) -> Vec<AgentStatus> {
        Vec::new()
    }

    fn agent(&self, _id: &str) -> Option<AgentStatus> {
        None
    }

    fn processes(&self) -> Vec<Process> {
        Vec::new()
    }

    fn loads(&self) -> Vec<Busy> {
        Vec::new()
    }

    fn in_flight(&self) -> usize {
        0
    }

    fn answered(&self) -> u64 {
        0
    }
}

impl ShutdownSwitch for Nothing {
    fn begin(&self) {}

    fn succeed(&self) {}

    fn ready(&self) -> Readiness {
        Readiness::Stopping
    }
}

/// Serves the routes on a socket as an operator, on a thread of their own, until the test ends.
fn running(root: &Path) -> String {
    let socket = root.join("par.sock");
    let mut config = Config::load(&Flags::default(), &Environment::default()).unwrap();
    config.data_dir = root.join("data");
    let recent = Arc::new(RecentLines::new(10));
    recent.feed(
        b"{\"ts\":\"2026-01-31T12:00:01.123Z\",\"level\":\"info\",\"event\":\"ready\",\"details\":{}}\n",
    );
    let state = ControlState {
        container: None,
        pool: Arc::new(Nothing),
        rollouts: Arc::new(crate::control::scripted::Scripted),
        sessions: Arc::new(crate::control::scripted::Scripted),
        hook: crate::control::scripted::hook(),
        config: Arc::new(config),
        redactor: crate::observe::Redactor::new(),
        recent,
        explanations: crate::observe::Explanations::default(),
        levels: crate::observe::levels::Levels::new(
            crate::observe::levels::Rules::new(tracing::Level::INFO),
            None,
        ),
        observatory: Observatory::new(Arc::new(crate::observe::figures::Reading::default)),
        lifecycle: Arc::new(Nothing),
        upgrade: None,
        metrics: Arc::new(String::new),
        webhooks: None,
        billing: None,
        started: SystemTime::now(),
    };
    let stamp = |mut request: axum::extract::Request, next: axum::middleware::Next| async move {
        Role::Operator.stamp(request.headers_mut());
        next.run(request).await
    };
    let routes = router(state).layer(axum::middleware::from_fn(stamp));
    let (ready, is_ready) = mpsc::channel();
    let path = socket.clone();
    thread::spawn(move || {
        in_runtime(async {
            let listener = tokio::net::UnixListener::bind(path).unwrap();
            ready.send(()).unwrap();
            axum::serve(listener, routes).await
        })
    });
    is_ready.recv().unwrap();
    socket.display().to_string()
}

#[test]
fn the_management_commands_speak_to_a_running_par() {
    let root = tempfile::tempdir().unwrap();
    let socket = running(root.path());
    let file = root.path().join("x.apkg");
    std::fs::write(&file, "echo@1.0.0").unwrap();
    let file = format!("{}#sha256={}", file.display(), "ab".repeat(32));
    let root_text = root.path().display().to_string();
    for (words, number, out, err) in [
        (&["enable", "echo@1.0.0/say"][..], 0, "echo@1.0.0/say is enabled\n", ""),
        (&["disable", "echo@1.0.0/say"], 0, "echo@1.0.0/say is disabled\n", ""),
        (&["enable", "nobody"], 1, "", "par: no such agent (agent_not_found)\n"),
        (&["unload", "echo@1.0.0"], 0, "echo@1.0.0 is unmounted, 1 calls drain\n", ""),
        (
            &["reload", "echo"],
            0,
            "PACKAGE  VERSION  OUTCOME    STEP  DETAIL\necho     1.0.0    unchanged  -     -\n",
            "",
        ),
        (&["rollback", "new"], 1, "", "par: no former generation of new is parked (conflict)\n"),
        (
            &["unload", "echo@1.0.0", "--json"],
            0,
            "{\"status\":\"success\",\"package_id\":\"echo@1.0.0\",\"draining\":1,\"indexed\":false}\n",
            "",
        ),
        (&["load", "--force", &file], 0, "echo@1.0.0 is mounted\n  echo@1.0.0/say\n", ""),
        (
            &["load", &root_text],
            1,
            "",
            "par: the path is not below a directory of packages.load_roots; upload the file (forbidden)\n",
        ),
        (
            &["load", "https://h/x"],
            1,
            "",
            "par: x@1 is mounted with other bytes; load it with force to replace it (conflict)\n",
        ),
        (&["load", "/nowhere.apkg"], 69, "", "par: /nowhere.apkg: No such file or directory (os error 2)\n"),
        (&["packages", "--json"], 0, "{\"packages\":[],\"failed\":[]}\n", ""),
        (&["agents"], 0, "AGENT  STATUS  ROLE  PRIVATE  SURFACES  DESCRIPTION\n", ""),
        (&["logs"], 0, "12:00:01 INFO  ready\n", ""),
        (&["logs", "--level", "error"], 0, "", ""),
        (&["logs", "level"], 0, "all  info\n", ""),
        (&["logs", "level", "warn", "--target", "access"], 0, "all  info\naccess  warn\n", ""),
        (&["logs", "level", "debug", "--for", "10m"], 0, "all  debug  (for 600 s)\naccess  warn\n", ""),
        (&["logs", "level", "--reset"], 0, "all  info\n", ""),
        (
            &["logs", "level", "debug", "--target", "hyper"],
            1,
            "",
            "par: hyper is not ours and says no more than info: below that it prints requests whole (bad_request)\n",
        ),
        (
            &["logs", "level", "debug", "--for", "soon"],
            64,
            "",
            "par: --for: \"soon\" is not a time like 30, 1.5s, 500ms, 2m or 1h\n",
        ),
        (&["logs", "--follow"], 0, "12:00:01 INFO  ready\n", ""),
        (
            &["logs", "--level", "loud"],
            1,
            "",
            "par: level: \"loud\" is not one of trace, debug, info, warn, error (bad_request)\n",
        ),
    ] {
        let ran = par(words, &[("PAR_SOCKET", &socket)]);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), (out, err), "{words:?}");
        assert!(is(ran.code, number), "{words:?}");
    }
}
