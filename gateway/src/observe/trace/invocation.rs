//! One call of an agent in a trace: the span of the call, of its wait in the queue and of its time in the worker, and
//! what the worker tells of it meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use par_pool::{fleet::Agent, process::Witness};
use par_proto::code::Code;
use parking_lot::Mutex;
use serde::Deserialize;

use super::{
    agents,
    context::{SpanId, TraceId, TraceParent},
    span::{Clock, Kind, Span},
    tracer::Tracer,
};

/// Most spans that the handler of one call may add. A loop that makes one an item would fill what is kept for all.
const SPANS: usize = 128;

/// A call whose trace is kept.
#[derive(Debug)]
pub(crate) struct Invocation {
    tracer: Arc<Tracer>,
    clock: Clock,
    begin: Instant,
    trace: TraceId,
    state: Option<Box<str>>,
    parent: SpanId,
    own: SpanId,
    worker: SpanId,
    kind: Kind,
    told: Mutex<Told>,
    /// Spans that its handler may still add.
    room: AtomicUsize,
}

/// What its worker has said at its end.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    /// When it was given to the pool.
    called: Option<Instant>,
    ended: Option<Instant>,
    tokens: Option<Tokens>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tokens {
    input: u64,
    output: u64,
}

/// How a call has gone.
#[derive(Debug, Default)]
pub(crate) struct Course<'a> {
    /// Who was called.
    pub(crate) agent: Option<&'a Agent>,
    /// In which session.
    pub(crate) session: Option<&'a str>,
    /// How long it waited.
    pub(crate) queued: Duration,
    /// How long its handler says it took.
    pub(crate) handler: Duration,
    /// The process that served it, 0 if none did.
    pub(crate) pid: u32,
    /// How it ended; `None`: well.
    pub(crate) code: Option<Code>,
}

impl Invocation {
    /// A call that begins now.
    pub(super) fn new(
        tracer: &Arc<Tracer>,
        (trace, state): (TraceId, Option<Box<str>>),
        parent: SpanId,
        kind: Kind,
    ) -> Self {
        let begin = Instant::now();
        Self {
            tracer: Arc::clone(tracer),
            clock: Clock::at(begin),
            begin,
            trace,
            state,
            parent,
            own: tracer.span_id(),
            worker: tracer.span_id(),
            kind,
            told: Mutex::default(),
            room: AtomicUsize::new(SPANS),
        }
    }

    /// A call that the handler of this one makes, in a span of its own if it names one.
    pub(crate) fn nested(&self, within: Option<&str>) -> Arc<Self> {
        let within = within.and_then(|id| SpanId::read(id.as_bytes()));
        let (parent, state) = (within.unwrap_or(self.worker), self.state.clone());
        Arc::new(Self::new(&self.tracer, (self.trace, state), parent, Kind::Client))
    }

    /// It is given to the pool now: here its wait begins.
    pub(crate) fn called(&self) {
        self.told.lock().called = Some(Instant::now());
    }

    /// `traceparent` for its worker.
    pub(crate) fn traceparent(&self) -> TraceParent {
        TraceParent { trace: self.trace, span: self.worker, sampled: true }
    }

    /// `tracestate` for its worker.
    pub(crate) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The trace, and the span of the call.
    pub(crate) const fn ids(&self) -> (TraceId, SpanId) {
        (self.trace, self.own)
    }

    /// The call is over for its caller.
    pub(crate) fn end(&self, course: &Course<'_>) {
        let Told { called, ended, tokens } = *self.told.lock();
        let ended = ended.unwrap_or_else(Instant::now);
        let mut own = self.span(self.own, self.parent, self.kind, (self.begin, ended));
        own.put("gen_ai.operation.name", "invoke_agent");
        own.put("gen_ai.provider.name", "par");
        if let Some(agent) = course.agent {
            let name = agent.id.export.to_string();
            own.name = format!("invoke_agent {name}").into();
            own.put("gen_ai.agent.id", agent.text.to_string());
            own.put("gen_ai.agent.name", name);
            own.put("gen_ai.agent.version", agent.id.package.version.to_string());
        }
        if let Some(session) = course.session {
            own.put("gen_ai.conversation.id", session.to_owned());
        }
        if let Some(Tokens { input, output }) = tokens {
            own.put("gen_ai.usage.input_tokens", input);
            own.put("gen_ai.usage.output_tokens", output);
        }
        own.end_with(course.code);
        let failure = own.failure.clone();
        self.tracer.take(own);
        let Some(called) = called else { return };
        let started = if course.pid == 0 { ended } else { (called + course.queued).min(ended) };
        let mut queue = self.span(self.tracer.span_id(), self.own, Kind::Internal, (called, started));
        queue.name = "queue".into();
        if course.pid == 0 {
            queue.failure = failure;
            self.tracer.take(queue);
            return;
        }
        self.tracer.take(queue);
        let mut worker = self.span(self.worker, self.own, Kind::Internal, (started, ended));
        worker.name = "worker".into();
        worker.put("process.pid", course.pid);
        if !course.handler.is_zero() {
            worker.put("par.handler.duration", course.handler.as_secs_f64());
        }
        worker.failure = failure;
        self.tracer.take(worker);
    }

    fn span(&self, id: SpanId, parent: SpanId, kind: Kind, (begin, end): (Instant, Instant)) -> Span {
        Span {
            trace: self.trace,
            state: self.state.clone(),
            id,
            parent: Some(parent),
            kind,
            name: "invoke_agent".into(),
            begin: self.clock.wall(begin),
            end: self.clock.wall(end),
            attributes: Vec::new(),
            failure: None,
        }
    }
}

impl Witness for Invocation {
    fn ended(&self, meta: &[u8]) {
        let mut told = self.told.lock();
        told.ended = Some(Instant::now());
        if !meta.is_empty() {
            told.tokens = tokens(meta);
        }
    }

    fn spans(&self, payload: &[u8]) {
        let Ok(read) = agents::read(payload) else {
            self.tracer.refuse(1);
            return;
        };
        for told in read {
            let has_room =
                self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
            let Some(span) =
                told.span(self.trace, self.state.as_deref(), self.worker).filter(|_| has_room.is_ok())
            else {
                self.tracer.refuse(1);
                continue;
            };
            self.tracer.take(span);
        }
    }
}

/// What a call has used, over all models; `None` if it has told nothing.
fn tokens(meta: &[u8]) -> Option<Tokens> {
    #[derive(Deserialize)]
    struct Meta {
        usage: Vec<Usage>,
    }
    #[derive(Deserialize)]
    struct Usage {
        #[serde(default)]
        input_tokens: u64,
        #[serde(default)]
        output_tokens: u64,
    }
    let meta: Meta = serde_json::from_slice(meta).ok()?;
    Some(meta.usage.iter().fold(Tokens::default(), |sum, one| Tokens {
        input: sum.input.saturating_add(one.input_tokens),
        output: sum.output.saturating_add(one.output_tokens),
    }))
}
