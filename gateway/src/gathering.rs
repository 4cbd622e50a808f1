//! What is measured, brought up to date whenever somebody asks: `/metrics`, and receivers to which metrics are pushed.

use std::sync::Arc;

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use par_pool::fleet::Pool;
use prometheus::{Registry, TextEncoder};

use crate::{
    observe::{Gather, LogSink, metrics::EdgeMetrics},
    tls::Gate,
};

/// The text of it, as Prometheus reads it.
pub(crate) type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Writes it.
pub(crate) fn metrics_text(gather: Gather) -> MetricsText {
    // Families that were registered always have a text form.
    Arc::new(move || TextEncoder::new().encode_to_string(&gather()).unwrap_or_default())
}

/// What there is to be measured.
pub(crate) fn gathering(
    registry: Registry,
    pool: Arc<Pool>,
    sink: LogSink,
    edge: EdgeMetrics,
    tls: Option<Arc<Gate>>,
) -> Gather {
    Arc::new(move || {
        if let Some(tls) = &tls {
            tls.measure();
        }
        pool.refresh_metrics();
        edge.log_dropped.inc_by(sink.dropped().saturating_sub(edge.log_dropped.get()));
        {
            let directory = pool.directory();
            edge.forget(|id| directory.find(id).is_none() && directory.package(id, Some(b"")).is_none());
        }
        registry.gather()
    })
}

/// The port of its own.
pub(crate) fn metrics_routes(metrics: MetricsText) -> Router {
    let answer = move || {
        let text = metrics();
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
    };
    Router::new().route("/metrics", get(answer))
}
