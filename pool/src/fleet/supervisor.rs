//! One task per generation: keeps the warm minimum, grows when calls wait, reaps what is cold, ends what uses too
//! much memory.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{
    generation::Generation,
    growth::{Demand, Sample},
    snapshot::{SeatView, Snapshot},
};
use crate::process::{Death, Doing, Lane, usage};

/// Time between two looks at memory and cold workers. A worker that allocates a GB a second is 100 MB over its limit
/// when it is ended.
const LOOK: Duration = Duration::from_millis(100);

/// How long a call waits before another worker is worth its start: half the price of a fork. Without it, queues that
/// live for microseconds would start workers that nobody needs.
const WORTH: Duration = Duration::from_millis(1);

/// A call that has run for so long, or that is known to, is not the one whose end is worth waiting for.
const LONG: Duration = Duration::from_millis(10);

/// Time between two looks at busy workers that tell computing from waiting; the runtime's timers know no shorter one.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// After a look that found nothing to start, how long the next call that waits is no reason for another: on a full machine
/// calls begin to wait at every turn, and a look at each of them took a tenth of what they cost.
const NO_NEWS: Duration = Duration::from_millis(5);

/// Busy workers looked at in one sample. Each costs up to 60 µs; with half as many a few that happen to sleep would decide.
const SAMPLED: usize = 8;

/// Most workers of a package whose manifest says `max: auto`, whatever memory allows.
const MOST: u32 = 512;

/// Share of the available memory that growth may plan with.
const MEMORY_SHARE: f64 = 0.8;

pub(crate) async fn run(generation: Arc<Generation>) {
    let mut ending = generation.ending.subscribe();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rest = tokio::time::interval(REST);
    rest.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut quiet = 0;
    let (mut seen, mut deaf_until) = (None, Instant::now());
    loop {
        // A package that nobody calls costs nothing: the next call wakes this up.
        let resting = quiet >= QUIET && !generation.solitary.is_busy() && generation.slots.rest();
        tokio::select! {
            _ = ending.changed() => return,
            () = pressure(&generation, deaf_until) => quiet = 0,
            // What a thread takes after its call is seen all the same.
            _ = rest.tick(), if resting => watch_memory(&generation, &generation.slots.snapshot()),
            _ = look.tick(), if !resting => {
                let now = generation.slots.snapshot();
                reap(&generation);
                watch_memory(&generation, &now);
                let minimum = minimum(&generation);
                let still = now.seats.len() == minimum && now.seats.iter().all(|seat| seat.outstanding == 0);
                quiet = if still { quiet + 1 } else { 0 };
                if now.seats.len() >= minimum && generation.slots.waiting() == 0 {
                    continue;
                }
            }
        }
        if grow(&generation, &mut seen).await {
            deaf_until = Instant::now() + NO_NEWS;
        }
    }
}

/// Waits until calls wait, or have begun to while nobody listened.
async fn pressure(generation: &Generation, deaf_until: Instant) {
    tokio::time::sleep_until(deaf_until.into()).await;
    generation.slots.pressure.notified().await;
}

/// Time between two looks at the memory of a package at rest: some microseconds for each worker.
const REST: Duration = Duration::from_secs(1);

/// Looks without a call after which the supervisor rests.
const QUIET: u32 = 20;

fn minimum(generation: &Generation) -> usize {
    let package = &generation.installed.package;
    // A package of surfaces alone has nothing that a worker could answer.
    if package.exports.is_empty() { 0 } else { package.workers.min as usize }
}

/// Whether a worker is busy with a call that takes long.
fn is_held(seat: &SeatView) -> bool {
    seat.outstanding > 0 && seat.still >= LONG
}

/// Rounds of starts until nobody waits or nothing more may be started. `seen`: what workers did when they were looked
/// at last. Returns whether calls wait to which no worker may be added.
async fn grow(generation: &Arc<Generation>, seen: &mut Option<Sample>) -> bool {
    let policy = &generation.installed.package.workers;
    while !*generation.ending.borrow() {
        let now = generation.slots.snapshot();
        let live = u32::try_from(now.seats.iter().filter(|seat| !seat.retiring).count()).unwrap_or(u32::MAX);
        let [sync, concurrent] = now.waiting;
        let [_, room] = now.capacity;
        let [sync_cost, concurrent_cost] = now.cost;
        // Behind calls that are known to take long nobody gets his turn by waiting.
        let cost = if sync > 0 { sync_cost } else { concurrent_cost };
        let aged = cost >= LONG
            || now.oldest.is_some_and(|since| since.elapsed() >= WORTH)
            || now.seats.iter().all(|seat| seat.retiring || is_held(seat));
        let waiting = if aged { sync + concurrent.div_ceil(room.max(1) as usize) } else { 0 };
        let mut demand = Demand {
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
            per_worker: 1,
            live,
            held: u32::try_from(now.seats.iter().filter(|seat| !seat.retiring && is_held(seat)).count())
                .unwrap_or(u32::MAX),
            starting: u32::try_from(generation.starting.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
            max: policy.max.unwrap_or_else(|| affordable(&now)).max(policy.min),
            cores: generation.settings.cores,
            cost,
            on_cpu: seen.and_then(|sample| sample.believed(Instant::now())),
        };
        let least = u32::try_from(minimum(generation)).unwrap_or(policy.min);
        let missing = least.saturating_sub(live + demand.starting);
        if demand.waiting > 0 && demand.needs_sample() {
            *seen = sample(&now).await;
            demand.on_cpu = seen.map(|sample| sample.on_cpu);
        }
        let starts = demand.starts().max(missing);
        let at_cap = demand.waiting > 0 && starts == 0;
        generation.at_cap.send_replace(at_cap);
        if at_cap {
            // Nothing will make it faster: who waits in vain is told now, not at his deadline.
            for lane in [Lane::Sync, Lane::Async] {
                generation.slots.turn_away(lane, generation.turn(lane));
            }
        }
        if starts == 0 {
            if aged || now.oldest.is_none() {
                return at_cap;
            }
            tokio::time::sleep(WORTH).await;
            continue;
        }
        let wait = generation.health.lock().next_start.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
            if *generation.ending.borrow() {
                return false;
            }
        }
        let results = join_all((0..starts).map(|_| generation.start_worker())).await;
        if let Some(error) =
            results.into_iter().find_map(Result::err).filter(|_| !*generation.ending.borrow())
        {
            tracing::warn!(
                event = "worker_failed",
                package = %generation.installed.package.id,
                "a worker could not be started: {error}"
            );
            let mut health = generation.health.lock();
            health.last_error = Some(error.to_string());
            health.backoff = health.backoff.failed();
            health.next_start = Instant::now() + health.backoff.delay().max(Duration::from_millis(20));
            generation.troubled.store(true, Ordering::Relaxed);
        }
    }
    false
}

/// What busy workers do; `None` if none of them could be looked at. Workers that compute are always running or
/// runnable, so if none is at the first look there is no need for a second.
async fn sample(now: &Snapshot) -> Option<Sample> {
    let busy: Vec<&SeatView> = now.seats.iter().filter(|seat| seat.outstanding > 0).take(SAMPLED).collect();
    let look = || busy.iter().filter_map(|seat| seat.worker.doing()).collect::<Vec<_>>();
    let mut seen = look();
    if seen.is_empty() {
        return None;
    }
    if seen.contains(&Doing::Computing) {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        seen.extend(look());
    }
    let of = |wanted| seen.iter().filter(|doing| **doing == wanted).count() as f32;
    let (computing, waiting) = (of(Doing::Computing), of(Doing::Waiting));
    // Where no handler runs, none of them waits.
    let on_cpu = if waiting == 0.0 { 1.0 } else { computing / (computing + waiting) };
    Some(Sample { on_cpu, at: Instant::now() })
}

/// Workers that the available memory allows, by the measured size of one of them.
fn affordable(now: &Snapshot) -> u32 {
    let live = now.seats.len();
    // Small numbers are always affordable; measuring costs up to a millisecond.
    if live < 16 {
        return MOST;
    }
    let one = now.seats.first().and_then(|seat| usage::proportional(seat.worker.pid));
    match (one, usage::available_memory()) {
        (Some(one), Some(available)) => {
            let more = available as f64 * MEMORY_SHARE / one.max(1) as f64;
            MOST.min(u32::try_from(live).unwrap_or(MOST).saturating_add(more as u32))
        }
        (None, _) | (_, None) => MOST,
    }
}

fn reap(generation: &Generation) {
    for worker in generation.slots.take_cold(minimum(generation), generation.settings.idle_ttl) {
        worker.retire();
    }
}

fn watch_memory(generation: &Generation, now: &Snapshot) {
    let limit_mb = generation.installed.package.workers.memory_mb;
    let limit = limit_mb.saturating_mul(1024 * 1024);
    let alone = generation.solitary.workers();
    for worker in now.seats.iter().map(|seat| &seat.worker).chain(&alone) {
        let pid = worker.pid;
        // The cheap upper bound first: only a worker that could be over it is measured properly.
        let over = usage::resident(pid).is_some_and(|bytes| bytes > limit)
            && usage::own(pid).is_some_and(|bytes| bytes > limit);
        if over {
            worker.kill(Death::OutOfMemory { limit_mb });
        }
    }
}
