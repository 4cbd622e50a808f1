//! `par upgrade`: this process becomes another binary. That one first starts beside it with nothing to serve (`rehearsal.rs`);
//! then a moment is awaited in which no call has been running for long (`moment.rs`), calls that run come to their end,
//! everything is written down as with any stop, and the binary is executed in place, with the sockets that listen
//! (`legacy.rs`): what connects meanwhile waits for its answer and is not refused. What fails at its start becomes again
//! what it was (`former.rs`).
//!
//! There is one process at any time, with one number, so a service manager needs not be told, a container goes on, and
//! nothing on disk is ever shared by two versions. The price is a pause: new calls wait for the longest of those that run,
//! at most `shutdown.grace`, and for the start of the packages.

mod former;
mod kept;
mod legacy;
mod moment;
mod rehearsal;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    control::ShutdownSwitch,
    edge::{Earlier, InFlight},
    observe::LogSink,
    sockets::{Given, Use},
};

pub(crate) use former::Fallback;
pub(crate) use kept::Kept;
use legacy::Legacy;
pub(crate) use rehearsal::{REHEARSAL, adapted, watch};

/// How old the word of a binary may be when it is executed. It is asked again behind a longer wait: files may have changed.
const FRESH: Duration = Duration::from_secs(1);

/// How long the last log lines may take to leave.
const FLUSH: Duration = Duration::from_secs(1);

/// What the kernel puts behind the name of a program whose file was replaced. Source: proc(5), `/proc/<pid>/exe`.
const DELETED: &str = " (deleted)";

/// Why this process stays what it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It was asked before.
    #[error("an upgrade is under way already")]
    UnderWay,
    /// There is no place where it could be tried.
    #[error("there is no place to try it: {0}")]
    NoPlace(#[source] io::Error),
    /// It is no program.
    #[error("{binary} cannot be run: {source}")]
    NoProgram {
        /// The binary.
        binary: String,
        #[source]
        source: io::Error,
    },
    /// It would not start with the configuration as it is now.
    #[error("{binary} would not serve: {told}")]
    WouldNotServe {
        /// The binary.
        binary: String,
        /// What it says.
        told: String,
    },
    /// It says nothing.
    #[error("{binary} did not say within {} s whether it would serve", rehearsal::PATIENCE.as_secs())]
    Silent {
        /// The binary.
        binary: String,
    },
}

/// How far an upgrade has come.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody wants one.
    Idle,
    /// A binary is being asked.
    Asked,
    /// This is what comes.
    Chosen(PathBuf),
}

/// What this process can become.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// The file that this process was started from; another one may be there by now.
    program: PathBuf,
    /// Behind the program's name, as they were.
    arguments: Vec<OsString>,
    data_dir: PathBuf,
    /// Whether the file of the local socket is ours.
    owns_file: bool,
    in_flight: InFlight,
    grace: Duration,
    /// Those that are handed on; none: nobody is to connect any more.
    sockets: Mutex<BTreeMap<Use, OwnedFd>>,
    stage: Mutex<Stage>,
    failed: Mutex<Option<String>>,
    overdue: Mutex<Option<Earlier>>,
    begun: CancellationToken,
}

/// A binary is being asked. Dropped, nobody wants it any more.
struct Asked<'a>(&'a Mutex<Stage>);

impl<'a> Asked<'a> {
    fn first(stage: &'a Mutex<Stage>) -> Result<Self, Refused> {
        let mut now = stage.lock();
        if *now != Stage::Idle {
            return Err(Refused::UnderWay);
        }
        *now = Stage::Asked;
        Ok(Self(stage))
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut now = self.0.lock();
        if *now == Stage::Asked {
            *now = Stage::Idle;
        }
    }
}

impl Upgrade {
    /// Of this process, with copies of the sockets that listen. Requests in flight may take so long to end.
    ///
    /// # Errors
    /// Of the kernel: there are no more descriptors.
    pub(crate) fn of_process<'a>(
        sockets: impl IntoIterator<Item = (Use, &'a dyn AsFd)>,
        owns_file: bool,
        data_dir: &Path,
        (in_flight, grace): (InFlight, Duration),
    ) -> io::Result<Self> {
        let copies = sockets.into_iter().map(|(place, socket)| {
            let copy = socket.as_fd().try_clone_to_owned()?;
            Ok((place, copy))
        });
        Ok(Self {
            program: program(&std::env::current_exe()?),
            arguments: std::env::args_os().skip(1).collect(),
            data_dir: data_dir.to_owned(),
            owns_file,
            in_flight,
            grace,
            sockets: Mutex::new(copies.collect::<io::Result<_>>()?),
            stage: Mutex::new(Stage::Idle),
            failed: Mutex::new(legacy::failed()),
            overdue: Mutex::new(None),
            begun: CancellationToken::new(),
        })
    }

    /// Asks a binary, by default that in the place of our own, whether it would serve as this process does, and chooses
    /// it.
    ///
    /// # Errors
    /// Nothing has changed.
    pub(crate) async fn choose(&self, binary: Option<PathBuf>) -> Result<PathBuf, Refused> {
        let asked = Asked::first(&self.stage)?;
        let binary = binary.unwrap_or_else(|| self.program.clone());
        rehearsal::rehearse(&binary, &self.arguments, &self.data_dir).await?;
        *self.failed.lock() = None;
        *self.stage.lock() = Stage::Chosen(binary.clone());
        drop(asked);
        Ok(binary)
    }

    /// Waits for a good moment, and has the end begin in favour of what was chosen.
    pub(crate) async fn proceed(self: Arc<Self>, life: Arc<dyn ShutdownSwitch>) {
        let Some(binary) = self.chosen() else { return };
        let begin = Instant::now();
        *self.overdue.lock() = moment::comes(&self.in_flight, begin + self.grace).await;
        if begin.elapsed() > FRESH
            && let Err(refused) = rehearsal::rehearse(&binary, &self.arguments, &self.data_dir).await
        {
            tracing::warn!(event = "upgrade_refused", reason = %refused, "nothing has changed");
            *self.failed.lock() = Some(refused.to_string());
            *self.stage.lock() = Stage::Idle;
            return;
        }
        life.succeed();
    }

    /// What was chosen.
    pub(crate) fn chosen(&self) -> Option<PathBuf> {
        match &*self.stage.lock() {
            Stage::Idle | Stage::Asked => None,
            Stage::Chosen(binary) => Some(binary.clone()),
        }
    }

    /// Why the last one that was begun has not become anything.
    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// How many of the requests in flight are still waited for: what was there when the upgrade was asked for and has not
    /// ended within the grace is not, and neither is what has no end.
    pub(crate) fn awaited(&self) -> usize {
        self.in_flight.ending(self.overdue.lock().as_ref())
    }

    /// Told when whoever connects is left to the successor.
    pub(crate) fn begun(&self) -> CancellationToken {
        self.begun.clone()
    }

    /// Nothing is accepted any more: what connects from now on waits for the successor, or, if there is none, is refused.
    pub(crate) fn leave(&self, is_succeeded: bool) {
        if is_succeeded {
            self.begun.cancel();
        } else {
            self.sockets.lock().clear();
        }
    }

    /// Becomes what was chosen. If the file is no program any more, this process becomes once more what it is: a service
    /// that starts again is better than none. Returns only if that is impossible, too.
    pub(crate) fn execute(&self, binary: &Path, log: &LogSink) -> io::Error {
        let sockets = self.sockets.lock();
        let legacy = Legacy { sockets: &sockets, owns_file: self.owns_file };
        let own = match legacy::own_program() {
            Ok(own) => own,
            Err(error) => return error,
        };
        let error = legacy.pass_to(binary, Some(&own));
        let reason = format!("{} cannot be run: {error}", binary.display());
        tracing::error!(event = "upgrade_failed", reason, "starting again as what it was");
        log.flush(FLUSH);
        legacy.return_to(&own, &reason)
    }
}

/// Becomes what this process was before, if that is known and it serves not yet. Returns if it is not.
pub(crate) fn come_back(reason: &str) {
    if let Ok(mut given) = Given::by_former_self() {
        Fallback::of(&mut given).take(reason, None);
    }
}

/// The file that a running program was started from. Pure.
fn program(executable: &Path) -> PathBuf {
    let text = executable.as_os_str().to_string_lossy();
    text.strip_suffix(DELETED).map_or_else(|| executable.to_path_buf(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_whose_file_was_replaced_is_looked_for_in_its_place() {
        for (link, wanted) in [
            ("/usr/bin/par", "/usr/bin/par"),
            ("/usr/bin/par (deleted)", "/usr/bin/par"),
            ("/opt/a b/par", "/opt/a b/par"),
        ] {
            assert_eq!(program(Path::new(link)), Path::new(wanted));
        }
    }

    #[test]
    fn one_binary_is_asked_at_a_time_and_one_that_is_refused_leaves_room_for_another() {
        let stage = Mutex::new(Stage::Idle);
        let asked = Asked::first(&stage).unwrap();
        assert!(matches!(Asked::first(&stage), Err(Refused::UnderWay)));
        drop(asked);
        let asked = Asked::first(&stage).unwrap();
        *stage.lock() = Stage::Chosen(PathBuf::from("/usr/bin/par"));
        drop(asked);
        assert!(matches!(Asked::first(&stage), Err(Refused::UnderWay)));
    }
}
