//! Host mode: many packages, mounted once the edge answers.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Instant,
};

use par_pool::fleet::Pool;
use tokio::sync::oneshot;

use crate::{
    auth::operator::OperatorToken, config::Config, control::ShutdownSwitch as _, exit::Exit,
    lifecycle::Lifecycle, program, tls::Gate, upgrade::Kept, watch,
};

/// Mounts the sources of the start once the edge answers.
pub(crate) async fn boot(
    config: Arc<Config>,
    pool: Arc<Pool>,
    tls: Option<Arc<Gate>>,
    operator: OperatorToken,
    (kept, lifecycle): (Kept, Arc<Lifecycle>),
    started: oneshot::Receiver<()>,
) {
    if started.await.is_err() {
        return;
    }
    let begin = Instant::now();
    // Failures are told, kept and tried again; they stop nothing here.
    drop(pool.boot(config.sources.clone(), config.lazy.clone()).await);
    if kept.has_way_back() && pool.agents().is_empty() && !pool.failures().is_empty() {
        // What this process was before has served; this one serves nobody. The end leads back.
        lifecycle.fail(Exit::Package);
        lifecycle.begin();
        return;
    }
    kept.serves();
    let (agents, failed) = (pool.agents(), pool.failures().len());
    let (options, origin) =
        tls.map_or_else(|| ("", format!("http://{}", config.http)), |tls| tls.curl(config.http));
    let example = agents
        .iter()
        .find(|agent| !agent.private && agent.role_required.is_none())
        .map(|agent| format!("curl {options}--json '{{}}' {origin}/agents/{}/invoke", agent.id));
    tracing::info!(
        event = "ready",
        address = %config.http,
        a2a = %config.a2a,
        metrics = %config.metrics,
        packages = pool.directory().mounts().len(),
        agents = agents.len(),
        failed,
        seconds = begin.elapsed().as_secs_f64(),
        example,
        "ready"
    );
    program::forget_start();
    if config.dev {
        link(&origin, &operator);
        watch::watch(&pool, &config.sources);
    }
}

/// Prints where the dashboard is, with what it asks for. Not a line of the log: there no token ever stands. A fragment
/// is not sent anywhere.
fn link(origin: &str, operator: &OperatorToken) {
    let link = format_args!("dashboard: {origin}/runtime/dashboard#token={}\n", operator.reveal());
    // Who has closed standard error does not want to read.
    io::stderr().write_fmt(link).ok();
}
