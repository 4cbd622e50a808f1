//! `par doctor` on hosts and configurations that are well, and on those that are not, each broken for real.

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant, SystemTime},
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{
    Authority, HttpsServer, IdentityProvider, Index, Output, Package, Receiver, Stripe, endpoint::Endpoint,
    free_ports, issuer::AUDIENCE, par, par_command, scratch, stripe::KEY, telemetry::Collector,
};

/// Variables of a runtime on this machine alone, with free ports and a new data directory.
struct Host {
    variables: Vec<(String, String)>,
    _data: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let data = scratch();
        let ports = ["PORT", "METRICS_PORT", "A2A_PORT"].into_iter().zip(free_ports());
        let variables = ports.map(|(name, port)| (name.to_owned(), port.to_string())).collect();
        let place = data.path().to_string_lossy().into_owned();
        Self { variables, _data: data }.with("HOST", "127.0.0.1").with("PAR_DATA_DIR", place)
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    async fn run(&self, words: &[&str]) -> Output {
        let mut command = par_command();
        command.arg("doctor").args(words).envs(self.variables.iter().cloned());
        Output::of(command).await
    }

    async fn examined(&self) -> Examined {
        let output = self.run(&["--json"]).await;
        Examined { told: output.json(), code: output.code }
    }
}

struct Examined {
    told: Value,
    code: i32,
}

impl Examined {
    fn checks(&self) -> &[Value] {
        self.told["checks"].as_array().expect("a list")
    }

    #[track_caller]
    fn check(&self, name: &str) -> &Value {
        let found = self.checks().iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("no check {name} in {}", self.told))
    }

    /// This check failed, says this, knows a remedy, and no other failed.
    #[track_caller]
    fn failed(&self, name: &str, said: &str) {
        let check = self.check(name);
        assert_eq!(check["verdict"], "failed", "{check}");
        assert!(check["found"].as_str().is_some_and(|found| found.contains(said)), "{said:?} in {check}");
        assert!(check["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{check}");
        let failed: Vec<_> = self.checks().iter().filter(|check| check["verdict"] == "failed").collect();
        assert_eq!((failed.len(), self.code), (1, 1), "{failed:?}");
        assert_eq!(self.told["healthy"], false);
    }
}

#[tokio::test]
async fn where_everything_is_well_every_check_is_ok() {
    let scratch = scratch();
    let (provider, stripe, receiver) =
        (IdentityProvider::start().await, Stripe::start(&[]).await, Receiver::start().await);
    let collector = Collector::start().await;
    let authority = Authority::new("doctor");
    let issued = authority.server("localhost");
    let registry =
        Index::of([&Package::with_main("a", "1.0.0", "def run(): pass\n")]).in_folder(scratch.path());
    let host = Host::new()
        .with("REGISTRY_URL", registry)
        .with("OIDC_ISSUER", provider.url())
        .with("OIDC_AUDIENCE", AUDIENCE)
        .with("TLS_CERT", issued.chain.to_string_lossy())
        .with("TLS_KEY", issued.key.to_string_lossy())
        .with("STRIPE_KEY", KEY)
        .with("STRIPE_API_URL", format!("http://127.0.0.1:{}", stripe.port))
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", collector.http))
        .with("WEBHOOK_URL", format!("http://127.0.0.1:{}/token", receiver.port))
        .with("WEBHOOK_SECRET", "a secret of letters");
    let examined = host.examined().await;
    assert_eq!((examined.code, &examined.told["healthy"]), (0, &json!(true)), "{}", examined.told);
    // What the kernel and the disk of the machine that tests offer is not for the test to say.
    for check in
        examined.checks().iter().filter(|check| check["name"] != "sandbox" && check["name"] != "memory")
    {
        let skipped = ["running par", "loaders"].iter().any(|name| check["name"] == *name);
        assert_eq!(check["verdict"], if skipped { "skipped" } else { "ok" }, "{check}");
    }
    for (name, said) in [
        ("registry", "1 packages"),
        (&*format!("issuer {}", provider.url()), "keys"),
        ("billing", "4 meters are there"),
        ("clock", "as the issuer has it"),
        ("traces", "takes them"),
        ("metrics push", "takes them"),
        ("tls", "valid until 2048"),
    ] {
        let check = examined.check(name);
        assert!(check["found"].as_str().is_some_and(|found| found.contains(said)), "{said:?} in {check}");
    }
    let told = examined.told.to_string();
    assert!(!told.contains(KEY) && !told.contains("/token"), "secrets are not shown: {told}");
    assert!(receiver.deliveries().is_empty(), "nobody is told anything");
}

#[tokio::test]
async fn people_get_a_line_for_each_check_and_the_remedy_below_it() {
    let host = Host::new().with("REGISTRY_URL", "http://127.0.0.1:1/index.json");
    let output = host.run(&[]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(output.stderr, "par: one check failed\n");
    let lines: Vec<&str> = output.stdout.lines().collect();
    let failed = lines.iter().position(|line| line.starts_with("failed   registry ")).expect("its line");
    assert!(lines[failed].contains("could not be reached"), "{output:?}");
    assert!(lines[failed + 1].trim_start().starts_with("→ look whether REGISTRY_URL"), "{output:?}");
    assert!(lines.last().is_some_and(|last| last.contains("1 failed")), "{output:?}");
    assert!(!output.stdout.contains('\x1b'), "a pipe gets no colours");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_who_holds_it() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let examined = Host::new().with("PORT", port).examined().await;
    examined.failed("port of HTTP", &format!("(process {})", std::process::id()));
}

#[tokio::test]
async fn a_par_that_runs_holds_its_ports_by_right() {
    let par = par().production().start().await;
    let host = Host::new()
        .with("PORT", par.port.to_string())
        .with("METRICS_PORT", par.metrics_port.to_string())
        .with("A2A_PORT", par.grpc_port.to_string())
        .with("PAR_DATA_DIR", par.data_dir().to_string_lossy());
    let examined = host.examined().await;
    assert_eq!(examined.code, 0, "{}", examined.told);
    let pid = par.process().pid.to_string();
    for name in ["running par", "port of HTTP", "port of metrics", "port of gRPC"] {
        let check = examined.check(name);
        assert_eq!(check["verdict"], "ok", "{check}");
        assert!(check["found"].as_str().is_some_and(|found| found.contains(&pid)), "{check}");
    }
}

#[tokio::test]
async fn a_host_without_python_is_told_so() {
    let empty = scratch();
    let path = empty.path().to_string_lossy().into_owned();
    let examined = Host::new().with("PATH", path).examined().await;
    let python = examined.check("python");
    assert_eq!((&python["verdict"], examined.code), (&json!("failed"), 1), "{python}");
    assert!(python["remedy"].as_str().is_some_and(|remedy| remedy.contains("Python 3.11")), "{python}");
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_told() {
    // Not even root can make something there.
    let examined = Host::new().with("PAR_DATA_DIR", "/proc/par").examined().await;
    examined.failed("data directory", "/proc cannot be written");
}

#[tokio::test]
async fn a_registry_that_is_away_or_wrong_is_told() {
    let closed = format!("http://127.0.0.1:{}/index.json", free_ports()[0]);
    Host::new().with("REGISTRY_URL", closed).examined().await.failed("registry", "could not be reached");
    let scratch = scratch();
    let server = HttpsServer::start(scratch.path()).await;
    let host = |url: String| {
        Host::new().with("REGISTRY_URL", url).with("SSL_CERT_FILE", server.authorities().to_owned())
    };
    let missing = host(server.fails("/gone/index.json", 404)).examined().await;
    missing.failed("registry", "404");
    let page = host(server.gives("/page/index.json", b"<html>".to_vec())).examined().await;
    page.failed("registry", "index");
    let bucket = Host::new()
        .with("REGISTRY_URL", "s3://packages/index.json")
        .with("S3_ENDPOINT_URL", format!("http://127.0.0.1:{}", free_ports()[0]))
        .with("AWS_ACCESS_KEY_ID", "nobody")
        .with("AWS_SECRET_ACCESS_KEY", "nothing");
    bucket.examined().await.failed("registry", "s3://packages/index.json");
}

#[tokio::test]
async fn a_clock_that_differs_from_the_registrys_is_told() {
    let ahead = |seconds: u64| {
        let then = SystemTime::now() + Duration::from_secs(seconds);
        let date = httpdate(then);
        (StatusCode::OK, vec![("date", date)], json!({"version": 1, "packages": []}))
    };
    let server = Endpoint::start(move |_| ahead(3600)).await;
    let host = Host::new().with("REGISTRY_URL", server.url());
    host.examined().await.failed("clock", "s behind the registry; 300 s are allowed");
    server.judges(move |_| ahead(40));
    let examined = host.examined().await;
    assert_eq!((&examined.check("clock")["verdict"], examined.code), (&json!("warning"), 0));
    server.judges(move |_| ahead(0));
    assert_eq!(host.examined().await.check("clock")["verdict"], "ok");
}

/// As `Date` has it; `date` of this machine knows how.
fn httpdate(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let mut command = std::process::Command::new("date");
    command.env("LC_ALL", "C").args(["-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S GMT"]);
    let output = command.output().expect("date is installed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_told() {
    let authority = Authority::new("doctor");
    let issued = authority.expired_server("localhost");
    let host = Host::new()
        .with("TLS_CERT", issued.chain.to_string_lossy())
        .with("TLS_KEY", issued.key.to_string_lossy());
    host.examined().await.failed("tls", "has expired: 2021-01-01");
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_told_and_the_host_is_looked_at_nevertheless() {
    let examined = Host::new().with("PORT", "0").with("LOG_LEVEL", "loud").examined().await;
    examined.failed("configuration", "PORT (environment)");
    examined.failed("configuration", "LOG_LEVEL (environment)");
    assert_eq!(examined.check("kernel")["verdict"], "ok");
    assert_eq!(examined.check("python")["verdict"], "ok");
    assert_eq!(examined.check("the rest")["verdict"], "skipped");
}

#[tokio::test]
async fn others_who_refuse_or_are_away_are_told_each_with_its_reason() {
    let away = format!("http://127.0.0.1:{}", free_ports()[0]);
    let issuer = Host::new().with("OIDC_ISSUER", &*away).with("OIDC_AUDIENCE", "par").examined().await;
    issuer.failed(&format!("issuer {away}"), "could not be reached");
    let stripe = Stripe::start(&[]).await;
    let billing = Host::new()
        .with("STRIPE_KEY", "sk_test_wrong")
        .with("STRIPE_API_URL", format!("http://127.0.0.1:{}", stripe.port));
    let billing = billing.examined().await;
    billing.failed("billing", "the billing side does not answer");
    assert!(!billing.told.to_string().contains("sk_test_wrong"));
    let letters = Host::new().with("WEBHOOK_URL", &*away).with("WEBHOOK_SECRET", "a secret of letters");
    letters.examined().await.failed("webhooks", "refused");
    let traces = Host::new().with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{away}/v1/traces"));
    traces.examined().await.failed("traces", &away);
}

#[tokio::test]
async fn whoever_does_not_answer_holds_up_nobody_for_long() {
    // It accepts, and never says a word.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let place = format!("http://{}", silent.local_addr().expect("it is bound"));
    let host = Host::new()
        .with("REGISTRY_URL", format!("{place}/index.json"))
        .with("OIDC_ISSUER", &*place)
        .with("OIDC_AUDIENCE", "par")
        .with("STRIPE_KEY", KEY)
        .with("STRIPE_API_URL", &*place)
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &*place);
    let begin = Instant::now();
    let examined = host.examined().await;
    for name in ["registry", "billing", "traces", "metrics push"] {
        assert_eq!(examined.check(name)["verdict"], "failed", "{}", examined.told);
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "one after the other they would take longer");
    drop(silent);
}

#[tokio::test]
async fn loaders_are_asked_for_their_version() {
    let home = scratch();
    let old = home.path().join("node");
    fs::write(&old, "#!/bin/sh\necho v18.20.4\n").expect("a file");
    fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let file = home.path().join("par.yaml");
    fs::write(&file, json!({"loaders": {"node18": {"node": old}}}).to_string()).expect("a file");
    let examined = Host::new().with("PAR_CONFIG", file.to_string_lossy()).examined().await;
    examined.failed("loader node18", "v18.20.4");
}
