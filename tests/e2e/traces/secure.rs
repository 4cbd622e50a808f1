//! Receivers that are reached by TLS.

use serde_json::json;

use super::{TRACE, calls, invoke, kept};
use crate::harness::{Answered, Authority, Par, eventually, par, telemetry::Collector};

/// How many spans were dropped.
async fn dropped(par: &Par) -> u64 {
    let text = par.metrics().get("/metrics").await.text();
    let name = r#"par_telemetry_total{outcome="dropped",sink="traces"} "#;
    text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn both_protocols_speak_tls_and_show_a_certificate() {
    let authority = Authority::new("telemetry");
    let client = authority.client("par");
    let path = |path: &std::path::Path| path.to_str().expect("a path of text").to_owned();
    for by in [Collector::told_by, Collector::told_by_grpc] {
        let collector = Collector::secure(&authority.server("collector"), Some(&authority)).await;
        let par = by(&collector, calls(par()))
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", path(&authority.certificate()))
            .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", path(&client.chain))
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", path(&client.key))
            .start()
            .await;
        kept(invoke(&par, "called/double", &json!({"number": 1})), TRACE).answer().await.ok();
        collector.trace(TRACE, 5).await;
        let metrics = eventually("metrics come as well", async || collector.requests("metrics").pop()).await;
        for request in [&collector.requests("traces")[0], &metrics] {
            assert_eq!(request["peer"], "par", "{request}");
        }
    }
}

#[tokio::test]
async fn a_receiver_whose_certificate_is_not_trusted_is_told_as_such_and_what_it_misses_is_counted() {
    let (known, stranger) = (Authority::new("known"), Authority::new("stranger"));
    let trusted = known.certificate();
    for (issued, why) in
        [(stranger.server("foreign"), "UnknownIssuer"), (known.expired_server("old"), "xpired")]
    {
        for by in [Collector::told_by, Collector::told_by_grpc] {
            let collector = Collector::secure(&issued, None).await;
            let par = by(&collector, calls(par()))
                .env("OTEL_EXPORTER_OTLP_CERTIFICATE", trusted.to_str().expect("a path of text"))
                .env("OTEL_METRICS_EXPORTER", "none")
                .env("OTEL_BSP_EXPORT_TIMEOUT", "2000")
                .allow("telemetry_unsent")
                .start()
                .await;
            kept(invoke(&par, "called/double", &json!({"number": 1})), TRACE).answer().await.ok();
            let line = par.wait_for_line("it is told", |line| line.event() == "telemetry_unsent").await;
            assert!(line.mentions("its certificate is not trusted") && line.mentions(why), "{}", line.text());
            assert!(dropped(&par).await > 0);
            assert!(collector.spans().is_empty());
        }
    }
}
