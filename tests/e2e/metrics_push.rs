//! Metrics that are pushed: by OTLP with exemplars, to the daemon of StatsD, to DogStatsD by UDP and by a Unix socket.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answered, Package, Par, eventually, par, scratch,
    telemetry::{Collector, Packets, StatsdDaemon},
};

async fn calls(par: &Par, count: usize) {
    for number in 0..count {
        par.http.invoke("echo", &json!({"number": number})).await.ok();
    }
}

#[tokio::test]
async fn otlp_gets_what_prometheus_gets_and_exemplars_name_the_trace() {
    for by in [Collector::told_by, Collector::told_by_grpc] {
        let collector = Collector::start().await;
        let par = by(&collector, par()).agent("echo").start().await;
        calls(&par, 3).await;
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let request = par.http.request(Method::POST, "/agents/echo/invoke").json(&json!({}));
        request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01")).answer().await.ok();
        let of_echo = |point: &Value| point["attributes"]["agent"] == "echo@1.0.0/echo";
        let counted = move |point: &Value| of_echo(point) && point["value"].as_f64() == Some(4.0);
        let requests = collector.metric("par_requests_total", counted).await;
        assert_eq!((&requests["kind"], &requests["cumulative"]), (&json!("sum"), &json!(true)));
        let rounds = || {
            let rounds = collector.requests("metrics");
            let seconds = rounds
                .iter()
                .filter_map(|round| round["metrics"]["par_request_seconds"]["points"].as_array());
            seconds.flatten().cloned().collect::<Vec<_>>()
        };
        let named = |point: &Value| {
            let exemplars = point["exemplars"].as_array().cloned().unwrap_or_default();
            exemplars.iter().any(|one| one["trace"] == trace && one["value"].as_f64() > Some(0.0))
        };
        let point = eventually("an exemplar", async || rounds().into_iter().find(named)).await;
        let sizes: Vec<u64> =
            point["buckets"].as_array().expect("counts").iter().filter_map(Value::as_u64).collect();
        assert_eq!(sizes.iter().sum::<u64>(), point["count"].as_u64().expect("a count"));
        assert_eq!(sizes.len(), point["bounds"].as_array().expect("bounds").len() + 1);
        let depth = collector.metric("par_queue_depth", |point| point["value"].as_f64() == Some(0.0)).await;
        assert_eq!(depth["kind"], "gauge");
        let seconds = collector.metric("par_request_seconds", of_echo).await;
        assert_eq!(seconds["unit"], "s");
        drop(par);
    }
}

#[tokio::test]
async fn the_daemon_of_statsd_adds_up_what_was_counted() {
    let daemon = StatsdDaemon::start().await;
    let sink = json!([{"type": "statsd", "address": format!("127.0.0.1:{}", daemon.port), "prefix": "prod.", "interval": "1s"}]);
    let par = par().agent("echo").setting("metrics.sinks", sink).start().await;
    calls(&par, 7).await;
    let name = "prod.par_requests_total.echo_1_0_0_echo.ok.1_0_0";
    let counted = async |wanted: f64| {
        eventually(name, async || Some(daemon.sum(name)).filter(|sum| (sum - wanted).abs() < 0.01)).await;
    };
    counted(7.0).await;
    calls(&par, 5).await;
    counted(12.0).await;
    let rounds = daemon.rounds();
    let gauge = |name: &str| rounds.iter().rev().find_map(|round| round["gauges"][name].as_f64());
    assert!(gauge("prod.par_request_seconds.echo_1_0_0_echo.1_0_0.p99").is_some_and(|seconds| seconds > 0.0));
    assert!(
        gauge("prod.par_workers.echo_1_0_0.idle").is_some()
            || gauge("prod.par_build_info.0_1_0") == Some(1.0)
    );
    assert!(daemon.bad_lines().abs() < 0.01, "every line can be read");
    par.stop().await;
    counted(12.0).await;
}

#[tokio::test]
async fn dogstatsd_gets_tags_by_udp_and_by_a_unix_socket() {
    let folder = scratch();
    let path = folder.path().join("dsd.socket");
    let (udp, port) = Packets::udp();
    let unix = Packets::unix(&path);
    let sinks = json!([
        {"type": "dogstatsd", "address": format!("127.0.0.1:{port}"), "tags": {"env": "test", "team": "agents"}, "interval": "1s",
         "packet_bytes": 512},
        {"type": "dogstatsd", "address": path, "interval": "1s"},
    ]);
    let par = par().agent("echo").setting("metrics.sinks", sinks).start().await;
    calls(&par, 3).await;
    let wanted =
        |line: &str| line.starts_with("par_requests_total:3|c|#") && line.contains("agent:echo@1.0.0/echo");
    let (_udp, lines, largest) = udp.until(wanted).await;
    assert!(largest <= 512, "{largest}");
    assert!(lines.iter().all(|line| line.contains("env:test,team:agents")), "{lines:#?}");
    let (_unix, lines, largest) = unix.until(wanted).await;
    assert!(largest > 512, "more lines in a packet: {largest}");
    assert!(lines.iter().any(|line| line.starts_with("par_request_seconds.p95:")), "{lines:#?}");
    // Before the receivers, or what it still sends would find nobody.
    drop(par);
}

#[tokio::test]
async fn names_that_would_be_one_are_told_at_the_start_and_kept_apart() {
    let folder = scratch();
    let daemon = StatsdDaemon::start().await;
    let package = |name: &str| {
        Package::with_main(name, "1.0.0", "def run(input):\n    return input\n").directory(folder.path())
    };
    let par = par()
        .source(package("a.b"))
        .source(package("a_b"))
        .env("PAR_METRICS_SINKS", format!("statsd://127.0.0.1:{}", daemon.port))
        .allow("metric_names_collide")
        .start()
        .await;
    let told = par.wait_for_line("the collision", |line| line.event() == "metric_names_collide").await;
    assert!(told.mentions("a_b_1_0_0"), "{}", told.text());
}

#[tokio::test]
async fn a_sink_that_is_away_holds_up_nobody_and_gets_all_when_it_is_there() {
    let folder = scratch();
    let path = folder.path().join("dsd.socket");
    let sink = json!([{"type": "dogstatsd", "address": path, "interval": "1s"}]);
    let par = par().agent("echo").setting("metrics.sinks", sink).allow("telemetry_unsent").start().await;
    par.wait_for_line("that it is away", |line| line.event() == "telemetry_unsent").await;
    calls(&par, 4).await;
    let late = Packets::unix(&path);
    late.until(|line| line.starts_with("par_requests_total:4|c|#")).await;
    par.wait_for_line("that it is there", |line| line.event() == "telemetry_sent").await;
}
