//! `par doctor`: whether `par serve` would work on this host with this configuration, and what to do where it would not.
//!
//! Every check is a probe, which has effects and may take its time, and a decision, which is pure: what was found in, a
//! verdict and a remedy out. Probes run side by side, none for longer than [`PROGRAMS`], and leave nothing behind.

use std::{io::Write, pin::Pin, sync::Arc, time::Duration, time::SystemTime};

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::{task::spawn_blocking, time::timeout};

use super::{Exit, Failure};
use crate::{
    config::{self, Config, Environment, Faults, Flags},
    observe::colours,
};

mod certificates;
mod checked;
mod clock;
mod directory;
mod kernel;
mod parties;
mod ports;
mod programs;
mod running;

use checked::{Check, Verdict};

/// How long somebody else is waited for. A question that takes longer than this costs calls, too.
const OTHERS: Duration = Duration::from_secs(6);

/// How long programs are waited for: a dozen shims on a cold disk take seconds to tell their versions.
const PROGRAMS: Duration = Duration::from_secs(12);

/// More than there are.
const SIDE_BY_SIDE: usize = 64;

/// What one probe is going to tell.
type Asked = Pin<Box<dyn Future<Output = Vec<Check>>>>;

/// Looks at everything and tells of each check as soon as it is there, in one order. Exit 1 if something failed.
pub(super) async fn doctor(
    flags: &Flags,
    environment: &Environment,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    // Whoever installs first wins; clients need any.
    drop(rustls::crypto::ring::default_provider().install_default());
    let config = Config::load(flags, environment).map(Arc::new);
    let socket = match &config {
        Ok(config) => Some(config.socket.clone()),
        Err(_) => config::socket(flags, environment).ok(),
    };
    let running = match &socket {
        Some(socket) => running::probe(socket).await,
        None => None,
    };
    let mut asked = vec![told(vec![configuration(&config), running::judge(running.as_ref())])];
    asked.extend(of_host(config.as_deref().ok()));
    match &config {
        Ok(config) => asked.extend(of_configuration(config, running.and_then(|running| running.pid))),
        Err(_) => asked.push(told(vec![Check::skipped("the rest", "needs a valid configuration")])),
    }
    let paint = !json && colours::on_stdout();
    let mut checks = Vec::new();
    let mut answers = stream::iter(asked).buffered(SIDE_BY_SIDE);
    while let Some(told) = answers.next().await {
        for check in told {
            if !json {
                show(&check, paint, out)?;
            }
            checks.push(check);
        }
    }
    let count = |verdict| checks.iter().filter(|check: &&Check| check.verdict == verdict).count();
    let [ok, warnings, failed, skipped] =
        [Verdict::Ok, Verdict::Warning, Verdict::Failed, Verdict::Skipped].map(count);
    if json {
        let counts = json!({"ok": ok, "warning": warnings, "failed": failed, "skipped": skipped});
        writeln!(out, "{}", json!({"healthy": failed == 0, "counts": counts, "checks": checks}))?;
    } else {
        writeln!(out, "\n{ok} ok, {warnings} warnings, {failed} failed, {skipped} skipped")?;
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Refused, "one check failed")),
        failed => Err(Failure::new(Exit::Refused, format!("{failed} checks failed"))),
    }
}

/// The configuration itself. Pure.
fn configuration(config: &Result<Arc<Config>, Faults>) -> Check {
    const NAME: &str = "configuration";
    match config {
        Err(faults) => Check::failed(
            NAME,
            faults.to_string().replace('\n', "; "),
            "correct it; conf/par.yaml explains every key, `par check` tells whether it is valid",
        ),
        Ok(config) if config.warnings.is_empty() => Check::ok(NAME, "valid"),
        Ok(config) => Check::warning(
            NAME,
            config.warnings.join("; "),
            "correct what is not meant so; it works nevertheless",
        ),
    }
}

/// What can be looked at whatever the configuration says; without one, as its defaults want it.
fn of_host(config: Option<&Config>) -> Vec<Asked> {
    let pythons = config.map(|config| config.pool.pythons.clone()).unwrap_or_default();
    let mut asked = vec![asked("python", PROGRAMS, one(programs::python(pythons.clone())))];
    if let Some(config) = config {
        let installer = programs::installer(config.pool.uv.clone(), pythons);
        asked.push(self::asked("installer", PROGRAMS, one(installer)));
        asked.push(self::asked("loaders", PROGRAMS, programs::loaders(config.pool.loaders.clone())));
    }
    asked.push(told(vec![kernel::calls(), kernel::memory()]));
    asked
}

/// What the configuration names.
fn of_configuration(config: &Arc<Config>, running: Option<u32>) -> Vec<Asked> {
    let tls = config.tls.clone();
    let (ports, servers, allowed) = (ports::of(config), clock::servers(config), clock::allowed(config));
    vec![
        told(vec![kernel::sandbox(config.sandbox.mode), kernel::descriptors(config.connections.max)]),
        asked("ports", OTHERS, blocking(move || ports::check(&ports, running))),
        asked("data directory", OTHERS, directories(config)),
        asked("tls", OTHERS, blocking(move || vec![certificates::check(tls.as_ref(), SystemTime::now())])),
        asked("clock", OTHERS, one(clock::check(servers, allowed))),
        asked("registry", OTHERS, one(parties::registry(Arc::clone(config)))),
        asked("identity", OTHERS, parties::identity(Arc::clone(config))),
        asked("billing", OTHERS, one(parties::billing(Arc::clone(config)))),
        asked("telemetry", OTHERS, parties::telemetry(Arc::clone(config))),
        asked("webhooks", OTHERS, one(parties::webhooks(Arc::clone(config)))),
    ]
}

/// The data directory, and that of packages where it is elsewhere.
fn directories(config: &Config) -> impl Future<Output = Vec<Check>> + use<> {
    let (data, cache) = (config.data_dir.clone(), config.packages.cache_dir.clone());
    let packages = config.packages.max_cache_bytes;
    let records = config.metering.as_ref().map_or(0, |metering| metering.journal_bytes);
    blocking(move || {
        let is_inside = cache.starts_with(&data);
        let wanted = records + if is_inside { packages } else { 0 };
        let mut checks = vec![directory::check("data directory", "PAR_DATA_DIR", &data, wanted)];
        if !is_inside {
            checks.push(directory::check("package cache", "PACKAGE_CACHE_DIR", &cache, packages));
        }
        checks
    })
}

async fn one(check: impl Future<Output = Check>) -> Vec<Check> {
    vec![check.await]
}

/// On a thread of its own: a disk may not answer.
async fn blocking(work: impl FnOnce() -> Vec<Check> + Send + 'static) -> Vec<Check> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| vec![Check::failed("par doctor", error.to_string(), "please report this")])
}

/// What is known already.
fn told(checks: Vec<Check>) -> Asked {
    Box::pin(std::future::ready(checks))
}

/// A probe that is given up in the end.
fn asked(name: &'static str, within: Duration, work: impl Future<Output = Vec<Check>> + 'static) -> Asked {
    Box::pin(async move {
        timeout(within, work).await.unwrap_or_else(|_| {
            let found = format!("no answer within {} s", within.as_secs());
            vec![Check::failed(name, found, "look what does not answer: a disk, a name server, a firewall")]
        })
    })
}

fn show(check: &Check, paint: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let (on, off) = if paint { (colour(check.verdict), "\x1b[0m") } else { ("", "") };
    let plain = |text: &str| text.replace(char::is_control, " ");
    writeln!(
        out,
        "{on}{:<7}{off}  {:<15}  {}",
        check.verdict.text(),
        plain(&check.name),
        plain(&check.found)
    )?;
    if let Some(remedy) = &check.remedy {
        writeln!(out, "{:<7}  {:<15}  → {}", "", "", plain(remedy))?;
    }
    out.flush()
}

const fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "\x1b[32m",
        Verdict::Warning => "\x1b[33m",
        Verdict::Failed => "\x1b[31m",
        Verdict::Skipped => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_never_ends_is_given_up() {
        let [check] = asked("registry", OTHERS, std::future::pending()).await.try_into().unwrap();
        assert_eq!((check.verdict, check.found.as_str()), (Verdict::Failed, "no answer within 6 s"));
    }

    #[test]
    fn a_line_is_a_line_whatever_was_found() {
        let check = Check::failed("issuer \x1b[2J", "two\nlines", "do\nthis");
        let mut out = Vec::new();
        show(&check, true, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("\x1b[31mfailed \x1b[0m  issuer"), "{text:?}");
        assert!(text.contains("two lines") && text.contains("→ do this"), "{text:?}");
    }
}
