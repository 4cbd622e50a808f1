//! Figures once a second for whoever watches: one task makes them for all, and none runs while nobody does.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use par_pool::fleet::{Busy, KeptReceipt};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{sync::watch, time::timeout};

use super::super::{ControlState, asker::Viewer};
use crate::observe::figures::{Agent, Point, Reading, Source, compare};

/// Time between two lines.
const PACE: Duration = Duration::from_secs(1);

/// A line that took long to make is followed by a pause so many times as long: with a thousand agents, too, watching
/// costs less than one percent of a core.
const REST: u32 = 200;

/// But no longer than this: on a machine that is busy with other things everything takes long, and a page that hears
/// nothing for 15 s takes the stream for broken.
const LONGEST: Duration = Duration::from_secs(5);

/// Latencies are told over so many readings: those of one second would jump.
const WINDOW: usize = 10;

/// Points that a new watcher is told: five minutes, at 250 bytes each.
const HISTORY: usize = 300;

/// How often a stream looks whether the runtime stops: a watcher must not hold up its end for longer.
const LOOK_UP: Duration = Duration::from_millis(250);

/// Agents that are told of, those with the most calls.
const AGENTS: usize = 50;

/// What everybody sees who watches.
pub(crate) struct Observatory {
    source: Source,
    line: watch::Sender<Bytes>,
    points: Mutex<Points>,
    is_open: AtomicBool,
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    point: &'a RawValue,
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    agents: Vec<Agent>,
    queues: Vec<Busy>,
    /// Receipts of rollouts under way.
    rollouts: Vec<KeptReceipt>,
    /// Failures and ends of workers since the start: what is listed elsewhere has changed if these have.
    failures: u64,
    ended: u64,
    receipts: usize,
    log_dropped: u64,
}

/// The first line of a stream.
#[derive(Serialize)]
struct First<'a> {
    history: Vec<&'a RawValue>,
}

impl Observatory {
    /// Looks at `source` while somebody watches.
    pub(crate) fn new(source: Source) -> Arc<Self> {
        Arc::new(Self {
            source,
            line: watch::Sender::new(Bytes::new()),
            points: Mutex::default(),
            is_open: AtomicBool::new(false),
        })
    }

    /// Watches from now on.
    fn watch(self: &Arc<Self>, state: &Arc<ControlState>) -> (Bytes, watch::Receiver<Bytes>) {
        let mut line = self.line.subscribe();
        line.mark_unchanged();
        if !self.is_open.swap(true, Ordering::SeqCst) {
            tokio::spawn(Arc::clone(self).run(Arc::clone(state)));
        }
        let points = self.points.lock();
        (json(&First { history: points.0.iter().map(|point| &**point).collect() }), line)
    }

    async fn run(self: Arc<Self>, state: Arc<ControlState>) {
        let mut readings: VecDeque<(Instant, Reading)> = VecDeque::new();
        let mut pause = Duration::ZERO;
        loop {
            tokio::time::sleep(pause).await;
            if self.line.receiver_count() == 0 {
                self.is_open.store(false, Ordering::SeqCst);
                // Somebody may have come between these two lines, and relied on us.
                if self.line.receiver_count() == 0 || self.is_open.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
            let begin = Instant::now();
            readings.push_back((begin, (self.source)()));
            if readings.len() > WINDOW + 1 {
                readings.pop_front();
            }
            self.tell(&state, &readings);
            pause = rest(begin.elapsed());
        }
    }

    fn tell(&self, state: &ControlState, readings: &VecDeque<(Instant, Reading)>) {
        let (Some((now, newest)), Some((oldest_at, oldest))) = (readings.back(), readings.front()) else {
            return;
        };
        // The first reading says nothing of rates, but all the rest.
        let (last_at, last) =
            readings.iter().rev().nth(1).map_or((now, newest), |(at, reading)| (at, reading));
        let queues = state.pool.loads();
        let seconds = now.duration_since(*last_at).as_secs_f64();
        let (mut point, mut agents) =
            compare(newest, (last, seconds), (oldest, now.duration_since(*oldest_at).as_secs_f64()));
        agents.truncate(AGENTS);
        point.at =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
        point.in_flight = state.pool.in_flight();
        point.load(&queues);
        let Ok(point) = serde_json::value::to_raw_value::<Point>(&point) else { return };
        let receipts = state.rollouts.rollouts();
        let (failures, ended) = state.explanations.counts();
        let line = Line {
            point: &point,
            status: state.lifecycle.ready().text(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: state.started.elapsed().map_or(0, |age| age.as_secs()),
            agents,
            queues,
            receipts: receipts.len(),
            rollouts: receipts.into_iter().filter(KeptReceipt::is_running).collect(),
            failures,
            ended,
            log_dropped: newest.log_dropped,
        };
        let mut bytes: Vec<u8> = json(&line).into();
        state.redactor.mask(&mut bytes);
        self.line.send_replace(bytes.into());
        self.points.lock().push(point);
    }
}

/// How long nothing is said after a line that took so long to make.
fn rest(took: Duration) -> Duration {
    (took * REST).clamp(PACE, LONGEST).saturating_sub(took)
}

/// The last points: as many as [`HISTORY`], however long somebody watches.
#[derive(Debug, Default)]
struct Points(VecDeque<Box<RawValue>>);

impl Points {
    fn push(&mut self, point: Box<RawValue>) {
        if self.0.len() == HISTORY {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }
}

/// One line of the stream.
fn json<T: Serialize>(value: &T) -> Bytes {
    // Texts and finite numbers always become JSON; those that are not become null.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// `GET /runtime/dashboard/stream`: `application/x-ndjson`. The first line is `{"history":[point…]}`, then one a second:
/// `{"point","status","version","uptime_seconds","agents","queues","rollouts","failures","ended","receipts",
/// "log_dropped"}`. A reader that falls behind misses lines and gets the newest.
#[utoipa::path(get, path = "/runtime/dashboard/stream", tag = "runtime", responses(
    (status = 200, content_type = "application/x-ndjson", body = String, description = "figures, one line a second")
))]
pub(in super::super) async fn figures(_: Viewer, State(state): State<Arc<ControlState>>) -> Response {
    let (first, line) = state.observatory.watch(&state);
    let lines = stream::unfold((Some(first), line), move |(first, mut line)| {
        let state = Arc::clone(&state);
        async move {
            if let Some(first) = first {
                return Some((Ok::<_, std::convert::Infallible>(first), (None, line)));
            }
            loop {
                match timeout(LOOK_UP, line.changed()).await {
                    Ok(Ok(())) => {
                        let bytes = line.borrow_and_update().clone();
                        return Some((Ok(bytes), (None, line)));
                    }
                    Ok(Err(_)) => return None,
                    Err(_) if state.lifecycle.ready().ends_streams() => return None,
                    Err(_) => {}
                }
            }
        }
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_takes_long_is_followed_by_a_longer_pause_and_never_by_silence() {
        let millis = Duration::from_millis;
        assert_eq!(rest(millis(1)), millis(999));
        assert_eq!(rest(millis(10)), millis(1990));
        assert_eq!(rest(millis(400)), millis(4600));
        assert_eq!(rest(Duration::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn a_day_of_points_is_no_more_than_five_minutes_of_them() {
        let mut points = Points::default();
        for second in 0..86_400 {
            points.push(serde_json::value::to_raw_value(&second).unwrap());
        }
        assert_eq!(points.0.len(), HISTORY);
        assert_eq!(points.0.back().unwrap().get(), "86399");
        assert!(points.0.capacity() <= 2 * HISTORY);
    }
}
