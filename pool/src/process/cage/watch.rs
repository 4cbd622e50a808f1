//! The cages of this runtime, and the thread that looks after them.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
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
    cgroup::{Bounds, Group},
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

/// Templates and workers that may be on their way beside those that are known: the kernel bounds them from their first
/// step on.
const COMING: u64 = 2;

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
    /// The same by the kernel, where it was delegated.
    group: Option<Group>,
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
        let mark = Mark::next();
        let group = match settings.mode {
            SandboxMode::Off => None,
            SandboxMode::Auto | SandboxMode::Require => Group::of(mark, bounds(processes, memory_mb, 0)),
        };
        let inside = Arc::new(Inside { package, mark, processes, memory_mb, group, state });
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

    /// The way into the group in which the kernel bounds its processes, if there is one.
    pub(crate) fn door(&self) -> Option<Arc<File>> {
        self.0.group.as_ref().map(Group::door)
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
            self.0.empty();
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
        let workers = {
            let mut state = self.inside.state.lock();
            state.workers.insert(pid);
            state.workers.len()
        };
        self.inside.make_room(workers);
        Self { inside: Arc::clone(&self.inside), pid }
    }

    /// Why it was ended, if it was: by us, or, where it ended by a signal, by the kernel for its memory.
    pub(crate) fn sentence(&self, status: Option<&Death>) -> Option<Death> {
        let known = self.inside.state.lock().ended.get(&self.pid).cloned();
        known.or_else(|| match status {
            Some(Death::Signalled(libc::SIGKILL)) => self.inside.too_large(),
            Some(_) | None => None,
        })
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

/// What the kernel is told of a package with so many workers: all that the counting allows. Workers and templates have
/// ordinary threads; what workers start may take as much memory again as they. A template's own memory is shared among
/// its workers, whose shares are watched. Pure.
fn bounds(processes: u32, memory_mb: u64, workers: usize) -> Bounds {
    let workers = u64::try_from(workers).unwrap_or(u64::MAX);
    let known = workers.saturating_add(COMING);
    let tasks = known.saturating_mul(u64::from(FREE_THREADS)).saturating_add(processes.into());
    let memory = memory_mb.saturating_mul(1024 * 1024).saturating_mul(known.saturating_mul(2));
    Bounds { tasks, memory }
}

/// Ends all that is left of any package, for the end of the runtime: of what was replaced a moment ago and of starts
/// that were given up, too.
pub(crate) async fn close_all() {
    let closing = tokio::task::spawn_blocking(|| {
        let cages = std::mem::take(&mut *CAGES.lock());
        for cage in cages {
            cage.state.lock().closed = true;
            cage.empty();
        }
    });
    if let Err(error) = closing.await {
        tracing::error!(event = "cage_open", "the end of what is left failed: {error}");
    }
}

impl Inside {
    /// Ends all that is in it.
    fn empty(&self) {
        if let Some(group) = &self.group {
            group.kill();
        }
        sweep(self.mark, |_, _| false);
        if let Some(group) = &self.group {
            group.remove();
        }
    }

    fn make_room(&self, workers: usize) {
        let Some(group) = &self.group else { return };
        if let Err(error) = group.bound(bounds(self.processes, self.memory_mb, workers)) {
            let package = &self.package;
            tracing::warn!(event = "cgroup_refused", package, %error, "more workers share the same bounds");
        }
    }

    fn too_large(&self) -> Option<Death> {
        let is_so = self.group.as_ref().is_some_and(Group::was_too_large);
        is_so.then_some(Death::OutOfMemory { limit_mb: self.memory_mb })
    }

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
            cage.empty();
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

    #[test]
    fn the_kernel_stops_nothing_that_the_counting_allows() {
        let (processes, memory_mb) = (512, 200);
        for workers in [0, 1, 8] {
            let Bounds { tasks, memory } = bounds(processes, memory_mb, workers);
            let ordinary = (workers as u64 + 1) * u64::from(FREE_THREADS);
            assert!(tasks > ordinary + u64::from(processes), "the counting ends it first, and says why");
            assert!(memory >= (memory_mb << 20) * (2 * workers as u64 + 1));
        }
        assert_eq!(bounds(u32::MAX, u64::MAX, usize::MAX), Bounds { tasks: u64::MAX, memory: u64::MAX });
    }
}
