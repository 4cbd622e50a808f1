//! Spans to a receiver: collected for a while, sent together, tried again. What has no room meanwhile is dropped and
//! counted; nobody waits.

use std::time::Duration;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as Sent, Status, span::SpanKind, status::StatusCode},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    attribute::{attribute, scope},
    line::{Line, Parcel},
};
use crate::{
    config::telemetry::Traces,
    observe::{
        delivery::Tally,
        grievance::Grievance,
        trace::{Kind, SCHEMA, Span},
    },
};

/// What sends spans.
pub(crate) struct Batches {
    pub(crate) spans: mpsc::Receiver<Span>,
    pub(crate) line: Line,
    pub(crate) resource: Resource,
    pub(crate) batch: usize,
    pub(crate) delay: Duration,
    pub(crate) patience: Duration,
    pub(crate) tally: Tally,
}

impl Batches {
    /// For these settings.
    pub(crate) fn new(
        settings: &Traces,
        spans: mpsc::Receiver<Span>,
        line: Line,
        resource: Resource,
        tally: Tally,
    ) -> Self {
        let Traces { batch, delay, patience, .. } = *settings;
        Self { spans, line, resource, batch, delay, patience, tally }
    }

    /// Sends until `stop`, then what is left, once more; ends then.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut grievance = Grievance::about("traces");
        let mut kept = Vec::with_capacity(self.batch);
        let mut is_over = false;
        while !is_over {
            let Some(first) = self.next(&mut stop, &mut is_over).await else { break };
            kept.push(first);
            let due = Instant::now() + self.delay;
            while !is_over && kept.len() < self.batch {
                tokio::select! {
                    biased;
                    _ = &mut stop => is_over = true,
                    span = self.spans.recv() => match span {
                        Some(span) => kept.push(span),
                        None => is_over = true,
                    },
                    () = sleep_until(due) => break,
                }
            }
            self.send(&mut kept, &mut grievance).await;
        }
        self.spans.close();
        while let Some(span) = self.spans.recv().await {
            kept.push(span);
            if kept.len() >= self.batch {
                self.send(&mut kept, &mut grievance).await;
            }
        }
        if !kept.is_empty() {
            self.send(&mut kept, &mut grievance).await;
        }
    }

    async fn next(&mut self, stop: &mut oneshot::Receiver<()>, is_over: &mut bool) -> Option<Span> {
        tokio::select! {
            biased;
            _ = stop => {
                *is_over = true;
                None
            }
            span = self.spans.recv() => span,
        }
    }

    async fn send(&self, kept: &mut Vec<Span>, grievance: &mut Grievance) {
        let count = kept.len();
        let spans = kept.drain(..).map(sent).collect();
        let scoped = ScopeSpans { scope: Some(scope()), spans, schema_url: SCHEMA.to_owned() };
        let resource = Some(self.resource.clone());
        let whole = ResourceSpans { resource, scope_spans: vec![scoped], schema_url: SCHEMA.to_owned() };
        let parcel = Parcel::Traces(ExportTraceServiceRequest { resource_spans: vec![whole] });
        match self.line.send(&parcel, self.patience).await {
            Ok(refused) => {
                let refused = usize::try_from(refused).unwrap_or(count).min(count);
                self.tally.sent(count - refused);
                self.tally.refused(refused);
                grievance.over();
            }
            Err(unsent) => {
                self.tally.dropped(count);
                grievance.told(&unsent);
            }
        }
    }
}

/// Flags of a span: its trace is kept.
const SAMPLED: u32 = 1;

fn sent(span: Span) -> Sent {
    let kind = match span.kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    let status =
        span.failure.map(|message| Status { message: message.into_owned(), code: StatusCode::Error.into() });
    Sent {
        trace_id: span.trace.0.to_vec(),
        span_id: span.id.0.to_vec(),
        trace_state: span.state.map(String::from).unwrap_or_default(),
        parent_span_id: span.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
        flags: SAMPLED,
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: span.begin,
        end_time_unix_nano: span.end,
        attributes: span.attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
        status,
        ..Sent::default()
    }
}
