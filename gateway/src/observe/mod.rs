//! What is seen of the runtime from outside: log lines, the recent ones in memory, and metrics.

mod adapters;
pub(crate) mod colours;
pub(crate) mod delivery;
pub(crate) mod explained;
pub(crate) mod figures;
mod grievance;
pub(crate) mod levels;
pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod otlp;
mod outlet;
mod printed;
pub(crate) mod recent;
mod redact;
pub(crate) mod sample;
mod sink;
pub(crate) mod telemetry;
mod text;
pub(crate) mod timestamp;
pub(crate) mod trace;

pub(crate) use adapters::Gather;
pub(crate) use explained::Explanations;
pub(crate) use printed::output;
pub(crate) use recent::RecentLines;
pub(crate) use redact::Redactor;
pub(crate) use sink::LogSink;
pub(crate) use text::TextForm;
