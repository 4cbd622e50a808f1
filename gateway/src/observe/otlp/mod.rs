//! OTLP, the protocol of OpenTelemetry: traces and metrics to a receiver, by gRPC or HTTP.
//!
//! The messages and the clients of gRPC are the official ones. The official SDK is not used: its exporter of metrics
//! takes what its own instruments have recorded and nothing else, and its exporter of traces does not tell what it drops.

mod attribute;
mod backoff;
mod causes;
mod line;
mod metrics;
mod spans;

pub(crate) use attribute::resource;
pub(crate) use line::{Line, Parcel};
pub(crate) use metrics::{Exemplars, OtlpPush};
pub(crate) use spans::Batches;
