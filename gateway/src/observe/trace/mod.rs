//! Traces: W3C context in and out, and a span for each part of a request whose trace is sampled. Who is not sampled
//! costs one comparison.
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions in the version of [`SCHEMA`]; those of GenAI
//! were still in development there, which is why the version is pinned.

mod agents;
mod context;
mod invocation;
mod sampler;
mod span;
mod tracer;

pub(crate) use context::{SpanId, TraceId, TraceParent, is_tracestate};
pub(crate) use invocation::{Course, Invocation};
pub(crate) use sampler::Sampler;
pub(crate) use span::{Kind, Span, Value, nanoseconds};
pub(crate) use tracer::{Request, Tracer};

/// The version of the conventions, as receivers know it.
pub(crate) const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";
