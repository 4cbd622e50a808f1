//! Begins traces, names spans, and hands those that are over to whoever sends them. Never waits for him.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::mpsc;

use super::{
    context::{SpanId, TraceId, TraceParent},
    invocation::Invocation,
    sampler::Sampler,
    span::{Clock, Kind, Span},
};
use crate::observe::{delivery::Tally, otlp::Exemplars};

/// Traces of one process.
#[derive(Debug)]
pub(crate) struct Tracer {
    sampler: Sampler,
    ids: Ids,
    outbox: mpsc::Sender<Span>,
    tally: Tally,
    /// Where requests are noted for histograms, if those go to a receiver that wants them.
    exemplars: Option<Arc<Exemplars>>,
}

/// Ids that no two processes share and that cost no system call: random keys of this process, and a counter that is
/// mixed with them, so that ids are spread evenly and none comes twice.
#[derive(Debug)]
struct Ids {
    keys: [u64; 3],
    next: AtomicU64,
}

impl Ids {
    fn new() -> std::io::Result<Self> {
        let mut bytes = [[0; 8]; 3];
        getrandom::fill(bytes.as_flattened_mut()).map_err(std::io::Error::other)?;
        Ok(Self { keys: bytes.map(u64::from_ne_bytes), next: AtomicU64::new(1) })
    }

    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The number by which it is decided whether a trace is kept: the last half of its id.
    fn decisive(&self, number: u64) -> u64 {
        let [key, _, _] = self.keys;
        mixed(key.wrapping_add(number))
    }

    fn trace(&self, number: u64) -> TraceId {
        let [_, key, _] = self.keys;
        let halves = u128::from(mixed(key ^ number)) << 64 | u128::from(self.decisive(number));
        // All zeros is no id; one in 2^128 is.
        TraceId(halves.max(1).to_be_bytes())
    }

    fn span(&self) -> SpanId {
        let [_, _, key] = self.keys;
        SpanId(mixed(key.wrapping_add(self.next())).max(1).to_be_bytes())
    }
}

/// SplitMix64's finish (Steele, Lea, Flood 2014): every number to another one.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The trace of one request that is kept.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) tracer: Arc<Tracer>,
    pub(super) clock: Clock,
    pub(super) begin: Instant,
    pub(super) trace: TraceId,
    pub(super) parent: Option<SpanId>,
    pub(super) own: SpanId,
    /// `tracestate`, as it came.
    pub(crate) state: Option<Box<str>>,
    /// When it was let in.
    pub(crate) admitted: Option<Instant>,
    /// The call that it makes.
    pub(crate) call: Option<Arc<Invocation>>,
    /// When it was sent on to a surface, and the span of that.
    surface: Option<(Instant, SpanId)>,
}

impl Tracer {
    /// Spans go to `outbox`; those that it has no room for are counted.
    pub(crate) fn new(
        sampler: Sampler,
        outbox: mpsc::Sender<Span>,
        tally: Tally,
        exemplars: Option<Arc<Exemplars>>,
    ) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self { sampler, ids: Ids::new()?, outbox, tally, exemplars }))
    }

    /// Decides about a request that began at `begin`; `None`: its trace is not kept.
    pub(crate) fn begin(
        self: &Arc<Self>,
        parent: Option<&TraceParent>,
        begin: Instant,
    ) -> Option<Box<Request>> {
        let trace = match (self.sampler.inherited(parent), parent) {
            (Some(false), _) => return None,
            (Some(true), Some(parent)) => parent.trace,
            (_, Some(parent)) => Some(parent.trace).filter(|trace| self.sampler.keeps(*trace))?,
            (_, None) => {
                let number = self.ids.next();
                if !self.sampler.keeps_number(self.ids.decisive(number)) {
                    return None;
                }
                self.ids.trace(number)
            }
        };
        Some(Box::new(Request {
            tracer: Arc::clone(self),
            clock: Clock::at(begin),
            begin,
            trace,
            parent: parent.map(|parent| parent.span),
            own: self.ids.span(),
            state: None,
            admitted: None,
            call: None,
            surface: None,
        }))
    }

    /// A request of an agent in a version has taken so long.
    pub(crate) fn note(&self, labels: &[String; 2], seconds: f64, ids: (TraceId, SpanId)) {
        if let Some(exemplars) = &self.exemplars {
            exemplars.note(labels, seconds, ids);
        }
    }

    /// A name for a span.
    pub(super) fn span_id(&self) -> SpanId {
        self.ids.span()
    }

    /// Takes a span that is over.
    pub(super) fn take(&self, span: Span) {
        if self.outbox.try_send(span).is_err() {
            self.tally.dropped(1);
        }
    }

    /// Counts spans of agents that were too many or could not be read.
    pub(super) fn refuse(&self, count: usize) {
        self.tally.refused(count);
    }
}

impl Request {
    /// The trace as text.
    pub(crate) fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// The trace, and the request's own span.
    pub(crate) const fn ids(&self) -> (TraceId, SpanId) {
        (self.trace, self.own)
    }

    /// A call begins: what its worker is told belongs to it.
    pub(crate) fn invoke(&mut self) -> Arc<Invocation> {
        let call = self.call.get_or_insert_with(|| {
            Arc::new(Invocation::new(
                &self.tracer,
                (self.trace, self.state.clone()),
                self.own,
                Kind::Internal,
            ))
        });
        Arc::clone(call)
    }

    /// It is about to be sent on to a surface; gives `traceparent` for it.
    pub(crate) fn send_on(&mut self) -> String {
        let (_, span) = *self.surface.get_or_insert_with(|| (Instant::now(), self.tracer.span_id()));
        TraceParent { trace: self.trace, span, sampled: true }.to_string()
    }

    /// A span below the request's own or, without a parent of ours, the request's own.
    fn span(
        &self,
        id: SpanId,
        kind: Kind,
        name: impl Into<std::borrow::Cow<'static, str>>,
        (begin, end): (Instant, Instant),
    ) -> Span {
        Span {
            trace: self.trace,
            state: self.state.clone(),
            id,
            parent: if id == self.own { self.parent } else { Some(self.own) },
            kind,
            name: name.into(),
            begin: self.clock.wall(begin),
            end: self.clock.wall(end),
            attributes: Vec::new(),
            failure: None,
        }
    }

    /// The request is over: its own span, which `describe` says more of, that of its admission and that of a surface.
    pub(crate) fn end(&self, name: String, describe: impl FnOnce(&mut Span)) {
        let now = Instant::now();
        let mut own = self.span(self.own, Kind::Server, name, (self.begin, now));
        describe(&mut own);
        if let Some(admitted) = self.admitted {
            let (id, times) = (self.tracer.span_id(), (self.begin, admitted));
            self.tracer.take(self.span(id, Kind::Internal, "admit", times));
        }
        if let Some((begin, id)) = self.surface {
            let mut surface = self.span(id, Kind::Client, "surface", (begin, now));
            surface.failure.clone_from(&own.failure);
            self.tracer.take(surface);
        }
        self.tracer.take(own);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use prometheus::Registry;

    use super::*;
    use crate::observe::delivery::Deliveries;

    fn tracer(ratio: f64, room: usize) -> (Arc<Tracer>, mpsc::Receiver<Span>, Deliveries) {
        let (outbox, spans) = mpsc::channel(room);
        let deliveries = Deliveries::register(&Registry::new()).unwrap();
        let sampler = Sampler { parent_based: true, ratio };
        (Tracer::new(sampler, outbox, deliveries.to("traces"), None).unwrap(), spans, deliveries)
    }

    #[test]
    fn ids_are_never_the_same_and_spread_evenly() {
        let (tracer, _spans, _) = tracer(0.25, 1);
        let kept: Vec<_> = (0..4000).filter_map(|_| tracer.begin(None, Instant::now())).collect();
        assert!((800..1200).contains(&kept.len()), "{}", kept.len());
        let distinct: HashSet<_> = kept.iter().map(|request| request.trace).collect();
        let spans: HashSet<_> = kept.iter().map(|request| request.own).collect();
        assert_eq!((distinct.len(), spans.len()), (kept.len(), kept.len()));
        let sampler = tracer.sampler;
        assert!(distinct.iter().all(|trace| sampler.keeps(*trace)), "another host would keep them as well");
    }

    #[test]
    fn a_caller_that_keeps_its_trace_has_it_go_on() {
        let (tracer, mut spans, _) = tracer(0.0, 8);
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = TraceParent::read(text.as_bytes()).unwrap();
        let request = tracer.begin(Some(&parent), Instant::now()).unwrap();
        request.end("POST /".to_owned(), |_| ());
        let span = spans.try_recv().unwrap();
        assert_eq!((span.trace, span.parent), (parent.trace, Some(parent.span)));
        let unkept = TraceParent { sampled: false, ..parent };
        assert!(tracer.begin(Some(&unkept), Instant::now()).is_none());
        assert!(tracer.begin(None, Instant::now()).is_none());
    }

    #[test]
    fn spans_without_room_are_counted_and_nobody_waits() {
        let (tracer, _spans, deliveries) = tracer(1.0, 1);
        for _ in 0..3 {
            tracer.begin(None, Instant::now()).unwrap().end(String::new(), |_| ());
        }
        assert_eq!(deliveries.count("traces", "dropped"), 2);
    }
}
