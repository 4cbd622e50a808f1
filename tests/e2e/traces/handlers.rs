//! What handlers add to their traces: by `context.span`, and by OpenTelemetry's own SDK.

use reqwest::Method;
use serde_json::json;

use super::{TRACE, invoke, kept, within};
use crate::harness::{
    Answered, Package, Streamed, par, scratch,
    telemetry::{Collector, named},
};

const CODE: &str = "
import asyncio
from pixell_runtime import context as contexts, runtime

def plain(*, word, context):
    with context.span('outer', {'word': word, 'numbers': [1, 2.5]}) as outer:
        with contexts.span('inner') as inner:
            inner.set('deep', True)
        runtime.call('spanned/later', word=word)
    return outer.traceparent

async def later(*, word, context):
    async def one(number):
        with context.span(f'task {number}'):
            await asyncio.sleep(0.01)
    with context.span('all'):
        await asyncio.gather(one(1), one(2))

def fails(*, word, context):
    with context.span('risky'):
        raise KeyError(word)

def items(*, word, context):
    with context.span('writing'):
        for letter in word:
            with context.span('letter'):
                yield letter

def many(*, word, context):
    for number in range(1000):
        with context.span('x' * 1000, {'long': 'y' * 100_000}):
            pass
";

fn package() -> Package {
    let names = ["plain", "later", "fails", "items", "many"];
    let export = |name: &&str| format!("  - {{id: {name}, handler: 'main:{name}'}}\n");
    let exports: String = names.iter().map(export).collect();
    Package::new("spanned", "1.0.0", &format!("exports:\n{exports}")).file("main.py", CODE)
}

#[tokio::test]
async fn handlers_add_spans_in_plain_and_in_async_code() {
    let (collector, scratch) = (Collector::start().await, scratch());
    let par = collector.told_by(par()).source(package().directory(scratch.path())).start().await;
    let asked = kept(invoke(&par, "spanned/plain", &json!({"word": "w"})), TRACE);
    let told = asked.answer().await.ok();
    let spans = collector.trace(TRACE, 13).await;
    let server = named(&spans, "POST /agents/{id}/invoke");
    let worker = within(&spans, within(&spans, server, "invoke_agent plain"), "worker");
    let outer = within(&spans, worker, "outer");
    assert_eq!(told, json!(format!("00-{TRACE}-{}-01", outer.text("id"))));
    assert_eq!(outer.0["attributes"], json!({"word": "w", "numbers": [1, 2.5]}));
    assert_eq!(within(&spans, outer, "inner").0["attributes"], json!({"deep": true}));
    let called = within(&spans, outer, "invoke_agent later");
    let all = within(&spans, within(&spans, called, "worker"), "all");
    within(&spans, all, "task 1");
    within(&spans, all, "task 2");
}

#[tokio::test]
async fn spans_tell_what_was_raised_and_those_of_generators_when_they_end() {
    let (collector, scratch) = (Collector::start().await, scratch());
    let par = collector.told_by(par()).source(package().directory(scratch.path())).start().await;
    let asked = kept(invoke(&par, "spanned/fails", &json!({"word": "w"})), TRACE);
    asked.answer().await.problem(500, "agent_error");
    let spans = collector.trace(TRACE, 6).await;
    let risky = named(&spans, "risky");
    assert_eq!((risky.attribute("error.type"), risky.text("message")), (&json!("KeyError"), "'w'"));
    assert_eq!(named(&spans, "POST /agents/{id}/invoke").0["failed"], true);
    let other = "3af7651916cd43dd8448eb211c80319c";
    let streamed = kept(par.http.request(Method::POST, "/agents/spanned/items/invoke"), other);
    let streamed = streamed.header("accept", "application/x-ndjson").json(&json!({"word": "abc"}));
    assert_eq!(Streamed::open(streamed).await.items().await, [json!("a"), json!("b"), json!("c")]);
    let spans = collector.trace(other, 9).await;
    let writing = within(&spans, named(&spans, "worker"), "writing");
    assert_eq!(spans.iter().filter(|span| span.text("name") == "letter" && span.is_in(writing)).count(), 3);
}

#[tokio::test]
async fn a_handler_adds_no_more_than_it_may() {
    let (collector, scratch) = (Collector::start().await, scratch());
    let par = collector.told_by(par()).source(package().directory(scratch.path())).start().await;
    kept(invoke(&par, "spanned/many", &json!({"word": "w"})), TRACE).answer().await.ok();
    let spans = collector.trace(TRACE, 6).await;
    let added: Vec<_> = spans.iter().filter(|span| span.text("name").starts_with('x')).collect();
    assert!((1..=128).contains(&added.len()), "{}", added.len());
    assert!(added.iter().all(|span| span.text("name").len() == 256));
    assert!(added.iter().all(|span| span.attribute("long").as_str().is_some_and(|text| text.len() == 4096)));
}

const OWN: &str = "
import os
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

provider = None

def run(*, word, context):
    global provider
    if provider is None:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=os.environ['RECEIVER'])))
    carrier = {'traceparent': context.traceparent, 'tracestate': context.tracestate or ''}
    parent = TraceContextTextMapPropagator().extract(carrier)
    with provider.get_tracer('agent').start_as_current_span('of the SDK', context=parent) as span:
        span.set_attribute('word', word)
    return word
";

#[tokio::test]
async fn spans_of_the_official_sdk_lie_in_the_same_trace() {
    let (collector, scratch) = (Collector::start().await, scratch());
    let manifest = format!(
        "exports:\n  - {{id: run, handler: 'main:run'}}\nenvironment:\n  RECEIVER: http://127.0.0.1:{}/v1/traces\n",
        collector.http
    );
    let requirements = "opentelemetry-sdk==1.45.2\nopentelemetry-exporter-otlp-proto-http==1.45.2\n";
    let package = Package::new("own-sdk", "1.0.0", &manifest)
        .file("main.py", OWN)
        .file("requirements.txt", requirements);
    let par = collector.told_by(par()).source(package.directory(scratch.path())).start().await;
    let asked = kept(invoke(&par, "own-sdk", &json!({"word": "w"})), TRACE).header("tracestate", "vendor=1");
    asked.answer().await.ok();
    let spans = collector.trace(TRACE, 6).await;
    let own = within(&spans, named(&spans, "worker"), "of the SDK");
    assert_eq!((own.text("state"), own.attribute("word")), ("vendor=1", &json!("w")));
}
