//! The boot of the one agent, in order: package, ports, surfaces, ready; and what happens if it fails.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use par_pool::{fleet::Pool, package::Step};
use tokio::sync::oneshot;

use super::{
    container::{Booted, Container, Surfaces},
    failures::FailedBoots,
    probe::{self, Unanswered},
    verdict::Verdict,
};
use crate::{
    config::{Config, Single},
    control::ShutdownSwitch as _,
    exit::Exit,
    lifecycle::Lifecycle,
    program,
    upgrade::Kept,
};

/// Longest wait for a port of ours to accept after it was told to.
const OPENING: Duration = Duration::from_secs(4);

/// Time between two tries to connect to it.
const KNOCK: Duration = Duration::from_millis(5);

/// What a boot needs. It is used up.
pub(crate) struct Boot {
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// Where the package is mounted.
    pub(crate) pool: Arc<Pool>,
    /// Whose health is told.
    pub(crate) container: Arc<Container>,
    /// Ended if the boot fails.
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Makes the gRPC port accept.
    pub(crate) open_a2a: oneshot::Sender<()>,
    /// Makes the UI port accept; dropped if there is no UI.
    pub(crate) open_ui: oneshot::Sender<()>,
    /// Doors that open once the agent answers.
    pub(crate) kept: Kept,
    /// Start of the process.
    pub(crate) begin: Instant,
}

impl Boot {
    /// Boots once the edge answers, then looks after the health; a boot that fails ends the process.
    pub(crate) async fn run(self, started: oneshot::Receiver<()>) {
        if started.await.is_err() {
            return;
        }
        let (container, lifecycle) = (Arc::clone(&self.container), Arc::clone(&self.lifecycle));
        let single = container.settings().clone();
        let failed = FailedBoots::new(&self.config.data_dir, single.boot_failures);
        let kept = self.kept.clone();
        let attempted = self.attempt(&single, &failed).await;
        match attempted {
            Ok(()) => {
                kept.serves();
                container.keep().await;
            }
            Err(None) => {}
            Err(Some(verdict)) => give_up(&verdict, &failed, &lifecycle).await,
        }
    }

    async fn attempt(self, single: &Single, failed: &FailedBoots) -> Result<(), Option<Verdict>> {
        let errors = self.pool.boot(self.config.sources.clone(), Vec::new()).await;
        if let Some(error) = errors.first() {
            return Err(Verdict::of(error));
        }
        let at = SystemTime::now();
        let Some(generation) = self.container.generation() else {
            return Err(Some(Verdict::serving(Exit::Failed, "the package is not mounted")));
        };
        let declared = self.container.declared();
        if declared.ui && self.container.index().is_none() {
            let path = generation.installed.package.surfaces.ui.as_ref().map(|ui| ui.path.as_str());
            let detail = format!("the UI has no index.html in {:?}", path.unwrap_or_default());
            return Err(Some(Verdict::serving(Exit::Package, detail)));
        }
        let Self { config, container, open_a2a, open_ui, begin, .. } = self;
        if declared.rest {
            container.ask_rest().await.map_err(|error| Some(silent("REST", &error)))?;
        }
        // Nobody waiting means that the process is being told to stop.
        if open_a2a.send(()).is_ok() {
            accepting("A2A_PORT", config.a2a).await?;
        }
        if declared.ui && open_ui.send(()).is_ok() {
            accepting("UI_PORT", single.ui).await?;
        }
        if declared.a2a {
            container.ask_a2a().await.map_err(|error| Some(silent("A2A", &error)))?;
        }
        if let Err(error) = failed.forget() {
            tracing::warn!(event = "failed_boots_unsaved", %error, "the count of failed boots stays");
        }
        let booted = Booted { total: begin.elapsed(), phases: phases(&generation.installed.steps), at };
        tell(&config, single, &booted, declared);
        container.ready(booted);
        program::forget_start();
        Ok(())
    }
}

/// Says why, waits if this was not the first time, and ends the process. Until then health says 503; a signal ends it at
/// once.
async fn give_up(verdict: &Verdict, failed: &FailedBoots, lifecycle: &Lifecycle) {
    let wait = failed.count();
    tracing::error!(
        event = "boot_failed",
        step = verdict.step,
        exit = verdict.exit.number(),
        output = verdict.output,
        failed_before = failed.earlier().saturating_sub(1),
        wait_seconds = wait.as_secs_f64(),
        "{}",
        verdict.detail
    );
    lifecycle.fail(verdict.exit);
    tokio::select! {
        () = tokio::time::sleep(wait) => lifecycle.begin(),
        () = lifecycle.leaves() => {}
    }
}

fn silent(surface: &str, error: &Unanswered) -> Verdict {
    Verdict::serving(Exit::Failed, format!("the {surface} surface does not answer: {error}"))
}

/// Waits until a port of ours accepts.
async fn accepting(name: &str, address: std::net::SocketAddr) -> Result<(), Option<Verdict>> {
    let until = Instant::now() + OPENING;
    loop {
        match probe::accepts(address).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= until => {
                let detail = format!("{name} {address} does not accept: {error}");
                return Err(Some(Verdict::serving(Exit::Failed, detail)));
            }
            Err(_) => tokio::time::sleep(KNOCK).await,
        }
    }
}

/// The time of each phase of the log, in order, also of those that had nothing to do.
fn phases(steps: &[(Step, Duration)]) -> Vec<(&'static str, Duration)> {
    let mut phases: Vec<_> = ["download", "verify", "extract", "install", "load", "serve"]
        .map(|name| (name, Duration::ZERO))
        .into();
    for (step, took) in steps {
        if let Some((_, time)) = phases.iter_mut().find(|(name, _)| *name == step.phase()) {
            *time += *took;
        }
    }
    phases
}

fn text(phases: &[(&'static str, Duration)]) -> String {
    let texts = phases.iter().map(|(name, took)| format!("{name} {:.3} s", took.as_secs_f64()));
    texts.collect::<Vec<_>>().join(", ")
}

/// Everything answers, and where.
fn tell(config: &Config, single: &Single, booted: &Booted, declared: Surfaces) {
    let (seconds, phases) = (booted.total.as_secs_f64(), text(&booted.phases));
    tracing::info!(
        event = "ready",
        address = %config.http,
        url = format!("http://{}{}/", config.http, single.base_path.prefix()),
        base_path = %single.base_path,
        a2a = %config.a2a,
        ui = declared.ui.then(|| tracing::field::display(single.ui)),
        metrics = %config.metrics,
        seconds,
        phases,
        "ready"
    );
    if booted.total > single.boot_budget {
        let budget_seconds = single.boot_budget.as_secs_f64();
        tracing::warn!(
            event = "boot_budget_exceeded",
            seconds,
            budget_seconds,
            phases,
            "the boot took longer than BOOT_BUDGET_MS"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_a_time_and_those_of_several_steps_are_added() {
        let second = Duration::from_secs(1);
        let steps = [Step::Fetch, Step::Unpack, Step::Manifest, Step::Template, Step::Serve];
        let phases = phases(&steps.map(|step| (step, second)));
        let seconds: Vec<_> = phases.iter().map(|(name, took)| (*name, took.as_secs())).collect();
        assert_eq!(
            seconds,
            [("download", 1), ("verify", 0), ("extract", 2), ("install", 0), ("load", 1), ("serve", 1)]
        );
        assert!(text(&phases).starts_with("download 1.000 s, verify 0.000 s, extract 2.000 s"));
    }
}
