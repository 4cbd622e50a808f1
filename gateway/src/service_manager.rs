//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, alive. Its socket stands in
//! `NOTIFY_SOCKET`; without one nobody is told and nothing is done.

use std::{
    env, fmt,
    io::{self, Write as _},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{interval, sleep, timeout},
};

use crate::control::{Readiness, ShutdownSwitch};

/// Between two looks at whether the runtime is ready: the start of a service is told within this, and it is asked only
/// until then.
const LOOK: Duration = Duration::from_millis(20);

/// Most of an answer that is read to see whether it is one.
const HEAD: usize = 64;

/// Who has started us, if it wants to hear. Clones speak to the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceManager(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    /// How often it wants to hear that we live.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment names it. One that cannot be reached is said: the service would be taken for one that never
    /// starts.
    pub(crate) fn of_environment() -> Self {
        let Some(place) = env::var("NOTIFY_SOCKET").ok().filter(|place| !place.is_empty()) else {
            return Self(None);
        };
        let told = |name| env::var(name).ok();
        let watchdog =
            patience(std::process::id(), told("WATCHDOG_PID").as_deref(), told("WATCHDOG_USEC").as_deref());
        match reached(&place) {
            Ok(socket) => Self(Some(Arc::new(Line { socket, watchdog }))),
            Err(error) => {
                tracing::warn!(event = "service_manager_unreachable", socket = place, %error, "it will not hear that the runtime is ready");
                Self(None)
            }
        }
    }

    /// A configuration is being read again; [`Self::ready`] ends it.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(format_args!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Calls are answered.
    pub(crate) fn ready(&self) {
        self.tell(format_args!("READY=1"));
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        self.tell(format_args!("STOPPING=1"));
    }

    fn tell(&self, what: fmt::Arguments<'_>) {
        let Some(line) = &self.0 else { return };
        let mut text = Vec::new();
        // A text in memory takes everything.
        text.write_fmt(what).ok();
        if let Err(error) = line.socket.send(&text) {
            tracing::warn!(event = "service_manager_unreachable", %error, "it has not heard: {what}");
        }
    }

    /// Tells when the runtime is ready, and from then on, if that is wanted, that it lives: as long as a request at
    /// `socket` is answered, so that a runtime that accepts nothing any more is not taken for one that does.
    /// A start is watched by it only if it began in another binary, whose service goes on (`is_watched`); while one
    /// takes over from the other nobody is answered, and signs of life come without that.
    pub(crate) async fn keep_told(self, runtime: Arc<dyn ShutdownSwitch>, socket: PathBuf, is_watched: bool) {
        let Some(line) = self.0.clone() else { return };
        // Twice in its time, as sd_watchdog_enabled(3) asks.
        let beat = line.watchdog.map(|watchdog| watchdog / 2);
        let mut told: Option<Instant> = None;
        while runtime.ready() == Readiness::Starting {
            if is_watched && beat.is_some_and(|beat| told.is_none_or(|told| told.elapsed() >= beat)) {
                self.tell(format_args!("WATCHDOG=1"));
                told = Some(Instant::now());
            }
            sleep(LOOK).await;
        }
        if runtime.ready() == Readiness::Ready {
            self.ready();
        }
        let Some(watchdog) = line.watchdog else { return };
        let mut beat = interval(watchdog / 2);
        loop {
            beat.tick().await;
            if runtime.ready() == Readiness::Leaving {
                self.tell(format_args!("WATCHDOG=1"));
                continue;
            }
            match timeout(watchdog / 2, lives(&socket)).await {
                Ok(Ok(())) => self.tell(format_args!("WATCHDOG=1")),
                Ok(Err(error)) => {
                    tracing::error!(event = "watchdog_silent", %error, "the runtime does not answer itself");
                }
                Err(_) => {
                    tracing::error!(event = "watchdog_silent", "the runtime does not answer itself in time");
                }
            }
        }
    }
}

/// Asks the edge for what every probe asks.
async fn lives(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET /runtime/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut head = Vec::new();
    stream.take(HEAD as u64).read_to_end(&mut head).await?;
    if head.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(io::Error::other("it is not alive")) }
}

fn reached(place: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match place.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None if place.starts_with('/') => socket.connect(place)?,
        None => return Err(io::Error::new(io::ErrorKind::Unsupported, "only Unix sockets are known")),
    }
    // A service manager that does not read must not hold us up.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How long it waits for a sign of life; none: it does not ask this process for one. Pure.
fn patience(own: u32, pid: Option<&str>, micros: Option<&str>) -> Option<Duration> {
    if pid.is_some_and(|pid| pid != own.to_string()) {
        return None;
    }
    micros?.parse().ok().filter(|micros| *micros > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_asked_for_signs_of_life_gives_them() {
        let second = Some(Duration::from_secs(1));
        for (pid, micros, wanted) in [
            (None, Some("1000000"), second),
            (Some("7"), Some("1000000"), second),
            (Some("8"), Some("1000000"), None),
            (Some("7"), None, None),
            (Some("7"), Some("0"), None),
            (Some("7"), Some("soon"), None),
        ] {
            assert_eq!(patience(7, pid, micros), wanted, "{pid:?} {micros:?}");
        }
    }

    #[test]
    fn an_abstract_socket_is_reached_too_and_other_kinds_are_said() {
        let name = format!("par-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let line = Line { socket: reached(&format!("@{name}")).unwrap(), watchdog: None };
        ServiceManager(Some(Arc::new(line))).ready();
        let mut text = [0; 32];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"READY=1");
        assert_eq!(reached("vsock:2:1234").unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert!(reached("/nowhere/at/all").is_err());
    }
}
