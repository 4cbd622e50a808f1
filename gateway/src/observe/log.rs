//! `tracing` events and `log` records to lines of the sink.
//!
//! `tracing::info!(event = "ready", packages = 3, "all sources are mounted")` becomes one line whose `details` hold
//! `message`, the other fields, and those of the spans around it.

use std::{fmt, io, sync::Arc};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    reload,
};

use super::{
    levels::{Levels, Rules},
    line::{self, Identity},
    recent::RecentLines,
    sink::LogSink,
    text::TextForm,
};
use crate::config::{Log, LogFormat};

/// The log of this process.
#[derive(Clone)]
pub(crate) struct Logging {
    /// Where lines go; the access log writes here directly.
    pub(crate) sink: LogSink,
    /// The last lines.
    pub(crate) recent: Arc<RecentLines>,
    /// What every line says about the process.
    pub(crate) identity: Arc<Identity>,
    /// Which lines are written.
    pub(crate) levels: Levels,
}

/// Starts logging to stdout, for the whole process and once.
pub(crate) fn start(settings: &Log) -> io::Result<Logging> {
    let recent = Arc::new(RecentLines::new(settings.recent_lines));
    let form = match settings.format {
        LogFormat::Json => None,
        LogFormat::Text => Some(TextForm::of_stdout()),
    };
    let sink = LogSink::start(Box::new(io::stdout()), form, Arc::clone(&recent))?;
    let identity =
        Arc::new(Identity::new(settings.agent_app_id.as_deref(), settings.deployment_id.as_deref()));
    let rules = Rules::new(settings.level);
    let (filter, handle) = reload::Layer::new(rules.filter());
    let logging = Logging { sink, recent, identity, levels: Levels::new(rules, Some(handle)) };
    let subscriber = tracing_subscriber::registry().with(logging.layer().with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    // Without a ceiling, every trace record of pingora would be built only to be thrown away.
    tracing_log::LogTracer::builder()
        .with_max_level(tracing_log::AsLog::as_log(&settings.level).to_level_filter())
        .init()
        .map_err(io::Error::other)?;
    Ok(logging)
}

impl Logging {
    fn layer(&self) -> LineLayer {
        LineLayer { sink: self.sink.clone(), identity: Arc::clone(&self.identity) }
    }
}

struct LineLayer {
    sink: LogSink,
    identity: Arc<Identity>,
}

/// The fields of a span, as the JSON members that its events get.
struct SpanMembers(Vec<u8>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LineLayer {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut members = Vec::new();
        attributes.record(&mut Members { out: &mut members });
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanMembers(members));
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanMembers(members)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Members { out: members });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut name = EventName::default();
        event.record(&mut name);
        // The fields are written before the lock is taken: a value's Display may take its time, or log.
        let mut details = Vec::with_capacity(256);
        event.record(&mut Members { out: &mut details });
        if name.0.is_none() {
            line::key(&mut details, "target");
            line::string(&mut details, metadata.target());
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanMembers(members)) = span.extensions().get() {
                details.extend_from_slice(members);
            }
        }
        self.sink.line(|out| {
            self.identity.open(out, level_text(*metadata.level()), name.0.as_deref().unwrap_or("log"));
            line::key(out, "details");
            out.push(b'{');
            out.extend_from_slice(details.get(1..).unwrap_or_default());
            out.extend_from_slice(b"}}");
        });
    }
}

/// A level as lines show it.
pub(crate) fn level_text(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

/// Finds the field `event`.
#[derive(Default)]
struct EventName(Option<String>);

impl Visit for EventName {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "event" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

/// Appends fields as JSON members, each after a comma.
struct Members<'a> {
    out: &'a mut Vec<u8>,
}

impl Members<'_> {
    /// Opens a member, unless the field is told elsewhere: the event's name, and what the `log` bridge adds.
    fn open(&mut self, field: &Field) -> bool {
        let wanted = field.name() != "event" && !field.name().starts_with("log.");
        if wanted {
            line::key(self.out, field.name());
        }
        wanted
    }

    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.open(field) {
            // Writing to a vector does not fail.
            drop(io::Write::write_fmt(self.out, value));
        }
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, format_args!("{value}"));
        } else {
            self.plain(field, format_args!("null"));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.open(field) {
            line::string(self.out, value);
        }
    }

    /// An error with everything that caused it.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        if !self.open(field) {
            return;
        }
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        line::string(self.out, &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.open(field) {
            line::display(self.out, format_args!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::{super::recent::Filter, *};

    fn logged(level: Level, work: impl FnOnce()) -> Vec<Value> {
        let recent = Arc::new(RecentLines::new(100));
        let sink = LogSink::start(Box::new(io::sink()), None, Arc::clone(&recent)).unwrap();
        let (identity, rules) = (Arc::new(Identity::new(None, Some("d"))), Rules::new(level));
        let filter = rules.filter();
        let logging = Logging { sink, recent, identity, levels: Levels::new(rules, None) };
        let subscriber = tracing_subscriber::registry().with(logging.layer().with_filter(filter));
        tracing::subscriber::with_default(subscriber, work);
        assert!(logging.sink.flush(Duration::from_secs(10)));
        let lines = logging.recent.lines(&Filter::default());
        lines.iter().map(|line| serde_json::from_str(line.get()).unwrap()).collect()
    }

    #[test]
    fn an_event_is_one_line_of_the_contract() {
        let lines = logged(Level::INFO, || {
            let error = io::Error::other("broken \"pipe\"");
            tracing::info!(
                event = "download",
                bytes = 3_u64,
                ratio = f64::NAN,
                ok = true,
                error = &error as &dyn std::error::Error,
                source = %"x\ny",
                "got {}",
                "it"
            );
        });
        let line = lines.first().unwrap();
        let names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["ts", "level", "event", "agentAppId", "deploymentId", "details"]);
        assert_eq!(
            (&line["level"], &line["event"], &line["deploymentId"]),
            (&"info".into(), &"download".into(), &"d".into())
        );
        assert_eq!(
            line["details"],
            serde_json::json!({
                "message": "got it", "bytes": 3, "ratio": null, "ok": true, "error": "broken \"pipe\"", "source": "x\ny"
            })
        );
    }

    #[test]
    fn spans_tell_their_fields_and_events_without_a_name_their_target() {
        let lines = logged(Level::INFO, || {
            let _span = tracing::info_span!("rollout", package = "echo@1.0.0", step = tracing::field::Empty)
                .entered();
            tracing::Span::current().record("step", "probe");
            tracing::warn!("odd");
        });
        let line = lines.first().unwrap();
        assert_eq!(line["event"], "log");
        let details = &line["details"];
        assert_eq!((&details["package"], &details["step"]), (&"echo@1.0.0".into(), &"probe".into()));
        assert_eq!(details["target"], module_path!());
    }

    #[test]
    fn levels_filter_and_noisy_crates_are_quiet_unless_debugging() {
        let noise = || {
            tracing::debug!("hidden");
            tracing::warn!(target: "pingora_proxy::proxy_h1", "client went away");
            tracing::error!(target: "pingora_core", "cannot bind");
            tracing::info!(target: "hyper::proto", "hidden");
            tracing::error!(target: "rustls_platform_verifier::verification", "told by whoever has asked");
            tracing::debug!(target: "pingora_proxy", "Request header: …, never shown");
            tracing::trace!(target: "aws_sigv4", "canonical request: …, never shown");
            tracing::info!("shown");
        };
        assert_eq!(logged(Level::INFO, noise).len(), 2);
        assert_eq!(logged(Level::ERROR, noise).len(), 1);
        assert_eq!(logged(Level::TRACE, noise).len(), 6);
    }
}
