//! How many workers to start, and why calls wait. Pure: the supervisor samples and starts.

use std::time::{Duration, Instant};

/// Most starts in one round. A fresh worker costs some milliseconds of a core, so this also bounds what a growing
/// package takes from the calls of its neighbours; the next round looks again with what these changed.
const ROUND: u32 = 4;

/// Share of looks at which a busy worker is running or runnable from which it is held for a user of the processor.
const ON_CPU: f32 = 0.5;

/// Calls shorter than this wait for the processor, whatever the workers that serve them do: more of those would only
/// divide batches. Workers that are held by one long call among the short ones serve none.
const SHORT: Duration = Duration::from_micros(100);

/// How long it is believed that busy workers compute: a look costs them some 100 µs, and while calls wait there is one
/// reason after the other to look again.
const BELIEVED: Duration = Duration::from_millis(50);

/// What busy workers were seen to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Share of looks at workers with a running handler in which that was running or runnable; 1: none has one.
    pub(crate) on_cpu: f32,
    /// When they were looked at.
    pub(crate) at: Instant,
}

impl Sample {
    /// The share, if it is still believed. That handlers wait is found out anew each time: it starts workers.
    pub(crate) fn believed(self, now: Instant) -> Option<f32> {
        let recent = now.saturating_duration_since(self.at) < BELIEVED;
        (self.on_cpu >= ON_CPU && recent).then_some(self.on_cpu)
    }
}

/// What is known when calls wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Demand {
    /// Calls in the queue.
    pub(crate) waiting: u32,
    /// Calls that one new worker would take at once.
    pub(crate) per_worker: u32,
    /// Live workers.
    pub(crate) live: u32,
    /// Those of them that one call has held for long.
    pub(crate) held: u32,
    /// Workers being started; they count as capacity.
    pub(crate) starting: u32,
    /// Most workers: the manifest's bound, or what memory allows.
    pub(crate) max: u32,
    /// Cores.
    pub(crate) cores: u32,
    /// Typical time of a call in a worker.
    pub(crate) cost: Duration,
    /// [`Sample::on_cpu`], if workers were looked at.
    pub(crate) on_cpu: Option<f32>,
}

impl Demand {
    /// Whether the share must be sampled before more workers are started.
    pub(crate) fn needs_sample(&self) -> bool {
        let says_more = self.cost >= SHORT || self.held > 0;
        self.on_cpu.is_none() && says_more && self.live + self.starting >= 2 * self.cores
    }

    /// Most workers for this kind of work: twice the cores if they compute, else `max`; for short calls twice the cores
    /// beside those that wait in long ones.
    pub(crate) fn cap(&self) -> u32 {
        match self.on_cpu {
            Some(share) if share < ON_CPU && self.cost >= SHORT => self.max,
            Some(share) if share < ON_CPU => self.max.min(2 * self.cores + self.held),
            Some(_) | None => self.max.min(2 * self.cores),
        }
    }

    /// Workers to start now.
    pub(crate) fn starts(&self) -> u32 {
        let wanted = self.waiting.div_ceil(self.per_worker.max(1));
        let room = self.cap().saturating_sub(self.live + self.starting);
        wanted.saturating_sub(self.starting).min(room).min(ROUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITING: Demand = Demand {
        waiting: 500,
        per_worker: 1,
        live: 1,
        held: 0,
        starting: 0,
        max: 512,
        cores: 2,
        cost: Duration::from_secs(1),
        on_cpu: None,
    };

    #[test]
    fn computing_workers_stop_at_twice_the_cores_and_sleeping_ones_do_not() {
        assert_eq!(WAITING.starts(), 3);
        let four = Demand { live: 4, ..WAITING };
        assert!(four.needs_sample());
        assert_eq!(Demand { on_cpu: Some(0.9), ..four }.starts(), 0);
        assert_eq!(Demand { on_cpu: Some(0.01), ..four }.starts(), ROUND);
    }

    #[test]
    fn computing_is_believed_for_a_while_and_waiting_never() {
        let at = Instant::now();
        let computing = Sample { on_cpu: 0.9, at };
        assert_eq!(computing.believed(at + BELIEVED / 2), Some(0.9));
        assert_eq!(computing.believed(at + BELIEVED), None);
        assert_eq!(Sample { on_cpu: 0.1, at }.believed(at), None);
    }

    #[test]
    fn short_calls_never_need_more_than_twice_the_cores() {
        let short = Demand { live: 4, cost: Duration::from_micros(20), on_cpu: Some(0.1), ..WAITING };
        assert!(!short.needs_sample());
        assert_eq!(short.starts(), 0);
    }

    #[test]
    fn short_calls_get_twice_the_cores_beside_workers_that_wait_in_long_ones() {
        let mixed = Demand { live: 4, held: 3, cost: Duration::from_micros(60), ..WAITING };
        assert!(mixed.needs_sample());
        assert_eq!(Demand { on_cpu: Some(0.1), ..mixed }.starts(), 3);
        assert_eq!(
            Demand { on_cpu: Some(0.9), ..mixed }.starts(),
            0,
            "long calls that compute have the cores"
        );
        assert_eq!(Demand { on_cpu: Some(0.1), live: 7, ..mixed }.starts(), 0, "short ones need no more");
        assert_eq!(Demand { on_cpu: Some(0.1), max: 5, ..mixed }.starts(), 1);
    }

    #[test]
    fn starting_workers_count_as_capacity() {
        let few = Demand { waiting: 2, starting: 2, ..WAITING };
        assert_eq!(few.starts(), 0);
        assert_eq!(Demand { waiting: 3, starting: 2, ..WAITING }.starts(), 1);
        assert_eq!(Demand { waiting: 300, per_worker: 100, on_cpu: Some(0.0), ..WAITING }.starts(), 3);
    }

    #[test]
    fn the_bound_of_the_manifest_holds() {
        assert_eq!(Demand { max: 1, ..WAITING }.starts(), 0);
        assert_eq!(Demand { max: 6, live: 5, on_cpu: Some(0.0), ..WAITING }.starts(), 1);
    }
}
