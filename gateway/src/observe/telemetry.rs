//! What is sent by itself: traces and metrics, each by a task of the background. The start and the end of all of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use prometheus::Registry;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    adapters::{self, Adapter, Gather, Statsd},
    delivery::Deliveries,
    otlp::{Batches, Exemplars, Line, OtlpPush, resource},
    trace::Tracer,
};
use crate::config::telemetry::{Dialect, Telemetry as Settings};

/// Everything that sends by itself.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    /// Keeps traces; none: nobody receives them.
    pub(crate) tracer: Option<Arc<Tracer>>,
    exemplars: Arc<Exemplars>,
    deliveries: Option<Deliveries>,
    senders: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Telemetry {
    /// Starts to send traces, on the runtime of this thread. Without receivers nothing is started.
    pub(crate) fn start(settings: &Settings, registry: &Registry, instance: &str) -> anyhow::Result<Self> {
        if settings.traces.is_none() && settings.metrics.is_none() && settings.sinks.is_empty() {
            return Ok(Self::default());
        }
        let deliveries = Deliveries::register(registry)?;
        let exemplars = Arc::<Exemplars>::default();
        let (mut tracer, mut senders) = (None, Vec::new());
        if let Some(traces) = &settings.traces {
            let (outbox, spans) = mpsc::channel(traces.queue);
            let tally = deliveries.to("traces");
            let of_metrics = settings.metrics.as_ref().map(|_| Arc::clone(&exemplars));
            tracer = Some(Tracer::new(traces.sampler, outbox, tally.clone(), of_metrics)?);
            let line = Line::new(&traces.receiver).context("traces by OTLP")?;
            let batches = Batches::new(traces, spans, line, resource(&settings.resource, instance), tally);
            let (stop, stopped) = oneshot::channel();
            senders.push((stop, tokio::spawn(batches.run(stopped))));
        }
        Ok(Self { tracer, exemplars, deliveries: Some(deliveries), senders })
    }

    /// Starts to push metrics: `gather` gives what there is.
    pub(crate) fn push(
        &mut self,
        settings: &Settings,
        gather: &Gather,
        instance: &str,
    ) -> anyhow::Result<()> {
        let Some(deliveries) = &self.deliveries else { return Ok(()) };
        let mut all: Vec<Box<dyn Adapter>> = Vec::new();
        if let Some(metrics) = &settings.metrics {
            let line = Line::new(&metrics.receiver).context("metrics by OTLP")?;
            let (resource, exemplars) = (resource(&settings.resource, instance), Arc::clone(&self.exemplars));
            all.push(Box::new(OtlpPush::new(metrics, line, resource, exemplars, deliveries.to("otlp"))));
        }
        for sink in &settings.sinks {
            all.push(match sink.dialect {
                Dialect::Statsd | Dialect::Dogstatsd => {
                    Box::new(Statsd::new(sink.clone(), deliveries.to(sink.dialect.text())))
                }
            });
        }
        for adapter in all {
            let (stop, stopped) = oneshot::channel();
            self.senders.push((stop, tokio::spawn(adapters::run(adapter, Arc::clone(gather), stopped))));
        }
        Ok(())
    }

    /// Sends what is left, for so long at most.
    pub(crate) async fn stop(self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (stops, tasks): (Vec<_>, Vec<_>) = self.senders.into_iter().unzip();
        for stop in stops {
            // One that has ended already needs not be told.
            stop.send(()).ok();
        }
        for task in tasks {
            // What is not through by then is lost with the process.
            drop(tokio::time::timeout_at(deadline.into(), task).await);
        }
    }
}
