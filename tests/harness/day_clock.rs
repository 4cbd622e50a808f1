//! A clock of the day that a test moves, for one `par` alone: libfaketime. Steady clocks stay true.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

use super::{ParBuilder, scratch};

/// The clock of whoever was started by it. Dropped, it takes away what the library leaves of processes that are gone.
#[derive(Debug)]
pub(crate) struct DayClock {
    folder: TempDir,
    wrong: Mutex<i64>,
}

impl DayClock {
    /// So many seconds ahead of the true one (behind, if less than 0).
    pub(crate) fn ahead(seconds: i64) -> Self {
        let clock = Self { folder: scratch(), wrong: Mutex::new(0) };
        clock.shift(seconds);
        clock
    }

    /// The `par` that goes by it. What `par` starts does not: it gets an environment of its own.
    pub(crate) fn of(&self, par: ParBuilder) -> ParBuilder {
        par.env("LD_PRELOAD", library().to_string_lossy())
            .env("FAKETIME_TIMESTAMP_FILE", self.file().to_string_lossy())
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1")
    }

    /// Moves it on, or back.
    pub(crate) fn shift(&self, seconds: i64) {
        let mut wrong = self.wrong.lock().expect("no holder panics");
        *wrong += seconds;
        let fresh = self.folder.path().join("fresh");
        fs::write(&fresh, format!("{:+}\n", *wrong)).expect("a file");
        // Whoever reads it sees one time or the other.
        fs::rename(fresh, self.file()).expect("a file");
    }

    /// What it shows: seconds since 1970. The process sees a shift within a second.
    pub(crate) fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_secs()).expect("not yet") + *self.wrong.lock().expect("no holder panics")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}

impl Drop for DayClock {
    fn drop(&mut self) {
        for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let process =
                name.strip_prefix("sem.faketime_sem_").or_else(|| name.strip_prefix("faketime_shm_"));
            if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
                fs::remove_file(file.path()).ok();
            }
        }
    }
}

/// Where Debian has it.
fn library() -> PathBuf {
    let all = fs::read_dir("/usr/lib").expect("a system").flatten();
    let places = all.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    places.into_iter().find(|place| place.is_file()).expect("no libfaketime: run `make tools`")
}
