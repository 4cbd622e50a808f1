//! Whether a binary would serve: it is started once beside this process, with the same command line and what it finds of
//! configuration, certificates and keys, but in a directory of its own, on ports that nobody knows, without packages and
//! without anybody to tell. Whatever crashes at its start crashes there.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use par_pool::process::SandboxMode;
use rustix::process::{Signal, getpid, kill_process};
use tempfile::TempDir;
use tokio::time::timeout;

use super::Refused;
use crate::{
    config::{Config, LogFormat, telemetry::Telemetry},
    exit::Exit,
    sockets::HANDED,
};

/// The first word of a command line that rehearses; a directory follows, and then what stands behind the program's name.
pub(crate) const REHEARSAL: &str = "rehearse-upgrade";

/// What is said when requests are answered.
const PASSED: &str = "it would serve";

/// How long the other binary may take: it reads files and looks for interpreters, on a machine that is busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long it waits for an answer of its own. Less than [`PATIENCE`], so that it says itself what it waits for.
const ANSWER: Duration = Duration::from_secs(20);

/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(10);

/// Most bytes that are told of what it says: the last ones.
const TOLD: usize = 2_000;

/// Longest path of a socket (`sun_path`, unix(7)), with its end.
const LONGEST: usize = 107;

/// The local socket in the directory.
const SOCKET: &str = "par.sock";

/// What is meant for this process alone. A service manager would take what a rehearsal tells for ours.
const OURS: [&str; 7] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", HANDED];

/// Has a binary start with this command line, and with environment and files as they are now.
pub(super) async fn rehearse(binary: &Path, arguments: &[OsString], data_dir: &Path) -> Result<(), Refused> {
    let name = || binary.display().to_string();
    let place = place(data_dir).map_err(Refused::NoPlace)?;
    let mut command = tokio::process::Command::new(binary);
    command.arg(REHEARSAL).arg(place.path()).args(arguments);
    for name in OURS {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let said = timeout(PATIENCE, command.output()).await.map_err(|_| Refused::Silent { binary: name() })?;
    let said = said.map_err(|source| Refused::NoProgram { binary: name(), source })?;
    let out = String::from_utf8_lossy(&said.stdout);
    if said.status.success() && out.lines().any(|line| line == PASSED) {
        return Ok(());
    }
    let err = String::from_utf8_lossy(&said.stderr);
    let words = [err.trim(), out.trim()].into_iter().find(|words| !words.is_empty());
    let told = words.map_or_else(|| said.status.to_string(), |words| last(words).to_owned());
    Err(Refused::WouldNotServe { binary: name(), told })
}

/// The end of a text.
fn last(text: &str) -> &str {
    text.get(text.ceil_char_boundary(text.len().saturating_sub(TOLD))..).unwrap_or_default()
}

/// A directory that goes with the rehearsal; where paths below the data directory are too long for a socket, elsewhere.
fn place(data_dir: &Path) -> io::Result<TempDir> {
    let mut wanted = tempfile::Builder::new();
    wanted.prefix(".try-");
    let beside = wanted.tempdir_in(data_dir)?;
    if beside.path().join(SOCKET).as_os_str().as_bytes().len() <= LONGEST {
        return Ok(beside);
    }
    wanted.tempdir()
}

/// The configuration of a rehearsal: what is read stays, what would be written, bound, asked or told does not.
pub(crate) fn adapted(mut config: Config, place: &Path) -> Config {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (config.http, config.a2a, config.metrics) = (nowhere, nowhere, nowhere);
    place.clone_into(&mut config.data_dir);
    config.packages.cache_dir = place.join("cache");
    config.socket = place.join(SOCKET);
    (config.single, config.dev) = (None, false);
    (config.sources, config.lazy, config.registry) = (Vec::new(), Vec::new(), None);
    (config.webhooks, config.billing, config.metering) = (None, None, None);
    config.telemetry = Telemetry::default();
    // Groups of packages are made beside the process's own.
    config.sandbox.mode = SandboxMode::Off;
    config.shutdown.delay = Duration::ZERO;
    (config.log.level, config.log.format) = (tracing::Level::ERROR, LogFormat::Text);
    config.log.sampling = None;
    config
}

/// Waits beside what is being started until it answers, says so, and has it end as any runtime does.
pub(crate) fn watch(config: &Config) {
    let socket = config.socket.clone();
    thread::spawn(move || {
        let end = match answered(&socket) {
            Ok(()) => io::stdout().write_fmt(format_args!("{PASSED}\n")),
            Err(error) => Err(error),
        };
        if let Err(error) = end.and_then(|()| Ok(kill_process(getpid(), Signal::TERM)?)) {
            // Whoever does not listen cannot be told.
            io::stderr().write_fmt(format_args!("par: it does not answer: {error}\n")).ok();
            std::process::exit(Exit::Late.number().into());
        }
    });
}

fn answered(socket: &Path) -> io::Result<()> {
    let until = Instant::now() + ANSWER;
    loop {
        match healthy(socket) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => thread::sleep(AGAIN),
        }
    }
}

/// Asks the edge for what a load balancer asks.
fn healthy(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    Err(io::Error::other(answer.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags};

    #[tokio::test]
    async fn only_a_binary_that_says_so_would_serve() {
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let arguments = ["serve", "-c", "x"].map(OsString::from);
        let ask = async |binary: &Path| rehearse(binary, &arguments, folder.path()).await;
        let good =
            script("good", &format!("[ \"$3 $4 $5\" = 'serve -c x' ] && [ -d \"$2\" ] && echo {PASSED}"));
        assert!(ask(&good).await.is_ok());
        let told = |refused: Result<(), Refused>| refused.unwrap_err().to_string();
        let bad = script("bad", "echo 1 fault >&2; exit 64");
        assert!(told(ask(&bad).await).contains("1 fault"));
        let crashed = script("crashed", &format!("echo {PASSED}; kill -SEGV $$"));
        assert!(told(ask(&crashed).await).contains("would not serve"));
        assert!(told(ask(Path::new("/bin/true")).await).contains("would not serve"));
        assert!(told(ask(Path::new("/nowhere/par")).await).contains("cannot be run"));
        let left = std::fs::read_dir(folder.path()).unwrap().flatten();
        assert!(!left.map(|entry| entry.file_name()).any(|name| name.as_bytes().starts_with(b".try-")));
    }

    #[test]
    fn a_rehearsal_reaches_nobody() {
        let settings = "PACKAGES_URLS=https://example.org/a.apkg REGISTRY_URL=https://example.org/i.json \
                        WEBHOOK_URL=https://example.org WEBHOOK_SECRET=whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw";
        let environment: Environment = settings.split(' ').filter_map(|pair| pair.split_once('=')).collect();
        let config = Config::load(&Flags::default(), &environment).unwrap();
        assert!(config.webhooks.is_some() && config.registry.is_some() && !config.sources.is_empty());
        let config = adapted(config, Path::new("/place"));
        assert!(config.webhooks.is_none() && config.registry.is_none() && config.sources.is_empty());
        assert!(config.socket.starts_with("/place") && config.packages.cache_dir.starts_with("/place"));
        assert!([config.http, config.a2a, config.metrics].iter().all(|address| address.port() == 0));
    }
}
