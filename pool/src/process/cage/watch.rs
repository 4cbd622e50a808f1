//! The cages of this runtime, and the thread that looks after them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    super::{
        death::Death,
        sandbox::{SandboxMode, SandboxSettings},
        usage,
    },
    census::{self, Resident},
    mark::Mark,
    sweep::sweep,
};

/// Time between two looks at how many processes the host has started: 10 us each. A fork bomb starts some
/// hundreds meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// Time between two counts while fewer have started than any package may; for the memory of what they start.
const COUNT: Duration = Duration::from_secs(1);

/// Share of its time that the thread counts at most, on hosts with many processes: one of so many parts.
const SHARE: u32 = 10;

/// Threads of a template or a worker that do not count: pools of ordinary size.
const FREE_THREADS: u32 = 64;

static CAGES: LazyLock<Mutex<Vec<Arc<Inside>>>> = LazyLock::new(|| {
    let started = thread::Builder::new().name("par-cages".into()).spawn(watch);
    if let Err(error) = started {
        tracing::error!(event = "cages_unwatched", "processes of packages are not counted: {error}");
    }
    Mutex::default()
});

/// One package's cage. Dropping it ends all that is in it.
#[derive(Debug)]
pub(crate) struct Cage(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    package: String,
    mark: Mark,
    processes: u32,
    memory_mb: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    templates: HashSet<u32>,
    workers: HashSet<u32>,
    /// Workers that a sweep ended, and why.
    ended: HashMap<u32, Death>,
    closed: bool,
}

/// A template or worker in its cage, while it lives.
#[derive(Debug)]
pub(crate) struct Member {
    inside: Arc<Inside>,
    pid: u32,
}

impl Cage {
    /// For a package whose workers may have `memory_mb` each.
    pub(crate) fn new(package: String, settings: &SandboxSettings, memory_mb: u64) -> Self {
        let processes = settings.processes;
        let state = Mutex::default();
        let inside = Arc::new(Inside { package, mark: Mark::next(), processes, memory_mb, state });
        match settings.mode {
            SandboxMode::Off => {}
            SandboxMode::Auto | SandboxMode::Require => CAGES.lock().push(Arc::clone(&inside)),
        }
        Self(inside)
    }

    /// What its processes carry.
    pub(crate) fn mark(&self) -> Mark {
        self.0.mark
    }

    /// Takes a template in.
    pub(crate) fn template(&self, pid: u32) -> Member {
        self.0.state.lock().templates.insert(pid);
        Member { inside: Arc::clone(&self.0), pid }
    }

    /// Ends all that is left. Returns when it is gone; blocks for some milliseconds.
    pub(crate) fn close(&self) {
        if !std::mem::replace(&mut self.0.state.lock().closed, true) {
            forget(&self.0);
            sweep(self.0.mark, |_, _| false);
        }
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // The thread sweeps: a runtime's must not wait.
        self.0.state.lock().closed = true;
    }
}

impl Member {
    /// Takes a template's worker in.
    pub(crate) fn worker(&self, pid: u32) -> Self {
        self.inside.state.lock().workers.insert(pid);
        Self { inside: Arc::clone(&self.inside), pid }
    }

    /// Why it was ended, if it was.
    pub(crate) fn sentence(&self) -> Option<Death> {
        self.inside.state.lock().ended.get(&self.pid).cloned()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.inside.state.lock();
        state.templates.remove(&self.pid);
        state.workers.remove(&self.pid);
        state.ended.remove(&self.pid);
    }
}

fn forget(inside: &Arc<Inside>) {
    CAGES.lock().retain(|one| !Arc::ptr_eq(one, inside));
}

impl State {
    fn knows(&self, pid: u32) -> bool {
        self.templates.contains(&pid) || self.workers.contains(&pid)
    }

    /// Processes and threads beside the templates and workers. Pure.
    fn count<'a>(&self, residents: impl Iterator<Item = &'a Resident>) -> u32 {
        let weigh = |one: &Resident| {
            if self.knows(one.pid) { one.threads.saturating_sub(FREE_THREADS) } else { one.threads }
        };
        residents.map(weigh).fold(0, u32::saturating_add)
    }
}

impl Inside {
    fn residents<'a>(&self, all: &'a [Resident]) -> impl Iterator<Item = &'a Resident> {
        let mark = self.mark;
        all.iter().filter(move |one| one.mark == mark)
    }

    /// How many more it may start, or why it is too many already.
    fn judge(&self, all: &[Resident]) -> Result<u32, Death> {
        let (count, others, workers) = {
            let state = self.state.lock();
            let others: Vec<u32> =
                self.residents(all).map(|one| one.pid).filter(|pid| !state.knows(*pid)).collect();
            (state.count(self.residents(all)), others, state.workers.len())
        };
        if count > self.processes {
            return Err(Death::Crowded { limit: self.processes });
        }
        // Workers are watched one by one; what they start may take as much again, all together.
        let share = u64::try_from(workers).unwrap_or(u64::MAX).max(1);
        let most = self.memory_mb.saturating_mul(1024 * 1024).saturating_mul(share);
        let sum = |bytes: fn(u32) -> Option<u64>| others.iter().filter_map(|pid| bytes(*pid)).sum::<u64>();
        // The cheap upper bound first.
        if sum(usage::resident) > most && sum(usage::own) > most {
            return Err(Death::OutOfMemory { limit_mb: self.memory_mb });
        }
        Ok(self.processes - count)
    }

    /// Ends workers and what they started; then, if it is still too much, the template as well.
    fn punish(&self, cause: &Death) {
        tracing::warn!(event = "package_ended", package = self.package, cause = cause.label(), "{cause}");
        let mut known = HashSet::new();
        sweep(self.mark, |round, one| {
            let mut state = self.state.lock();
            if state.templates.contains(&one.pid) {
                return true;
            }
            // Workers that were forked meanwhile have done nothing yet.
            if round > 0 && state.templates.contains(&one.parent) && !known.contains(&one.pid) {
                return true;
            }
            if state.workers.contains(&one.pid) {
                state.ended.insert(one.pid, cause.clone());
            }
            known.insert(one.pid);
            false
        });
        if self.judge(&census::take()).is_err() {
            sweep(self.mark, |_, _| false);
        }
    }
}

fn watch() {
    let mut counted = Instant::now();
    let mut pause = Duration::ZERO;
    let (mut newest, mut room, mut crowd) = (None, 0, false);
    loop {
        thread::sleep(LOOK);
        let cages = CAGES.lock().clone();
        for cage in cages.iter().filter(|cage| cage.state.lock().closed) {
            forget(cage);
            sweep(cage.mark, |_, _| false);
        }
        let now = census::newest();
        let started = match (newest, now) {
            (Some(before), Some(now)) if now >= before => now - before,
            // Numbers begin anew, or are not told.
            _ => u32::MAX,
        };
        let least = cages.iter().map(|cage| cage.processes).min().unwrap_or(u32::MAX).min(room);
        let due = started >= least || (started > 0 || crowd) && counted.elapsed() >= COUNT;
        if cages.is_empty() || !due || counted.elapsed() < pause {
            continue;
        }
        let begin = Instant::now();
        let all = census::take();
        (newest, room, counted) = (now, u32::MAX, begin);
        pause = begin.elapsed() * SHARE;
        crowd = !all.is_empty();
        for cage in cages.iter().filter(|cage| !cage.state.lock().closed) {
            match cage.judge(&all) {
                Ok(more) => room = room.min(more.max(1)),
                Err(cause) => {
                    cage.punish(&cause);
                    room = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_workers_do_not_count_and_all_that_they_start_does() {
        let mark = Mark::next();
        let one = |pid, threads| Resident { pid, parent: 1, threads, mark };
        let state = State { templates: [1].into(), workers: [2, 3].into(), ..State::default() };
        let count = |residents: &[Resident]| state.count(residents.iter());
        assert_eq!(count(&[one(1, 1), one(2, 40), one(3, 64)]), 0);
        assert_eq!(count(&[one(2, 70), one(9, 1), one(10, 3)]), 6 + 4);
    }
}
