//! Packages from afar, over lines that break.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Fault, Faults, HttpsServer, Index, Package, Par, ParBuilder, S3Server, par, scratch};

/// A package of about this many bytes that do not compress.
fn large(name: &str, bytes: usize) -> Package {
    let mut noise = vec![];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    while noise.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    Package::saying(name, "1.0.0", name).file("noise.bin", noise)
}

async fn serves(par: &Par, names: &[&str]) {
    for name in names {
        assert_eq!(par.http.invoke(name, &json!({})).await.ok(), json!(name));
    }
}

/// A bucket behind a line that breaks on demand.
struct Bucket {
    s3: S3Server,
    line: Faults,
}

impl Bucket {
    async fn start() -> Self {
        let s3 = S3Server::start().await;
        let line = Faults::before(s3.port).await;
        Self { s3, line }
    }

    /// Stores a package; returns its address with its digest.
    fn put(&self, package: &Package) -> String {
        let url = self.s3.put("packages", &package.file_name(), package.bytes());
        format!("{url}#sha256={}", package.sha256())
    }

    fn par(&self) -> ParBuilder {
        self.s3.known_to(par().production(), self.line.port)
    }

    fn asked(&self, words: &str) -> usize {
        self.line.script.asked(words).len()
    }
}

#[tokio::test]
async fn s3_is_a_source_and_only_objects_are_got_from_it() {
    let bucket = Bucket::start().await;
    let [named, usual] = ["named", "usual"].map(|name| Package::saying(name, "1.0.0", name));
    let named = bucket.put(&named);
    bucket.s3.put("the-usual-bucket", "deep/usual.apkg", usual.bytes());
    let sources = format!("{named}, s3:///deep/usual.apkg#sha256={}", usual.sha256());
    let par = bucket.par().env("PACKAGES_URLS", sources).env("S3_BUCKET", "the-usual-bucket").start().await;
    serves(&par, &["named", "usual"]).await;
    for asked in bucket.line.script.asked("") {
        assert_eq!(asked.method, "GET", "{asked:?}");
        assert!(asked.path.contains(".apkg"), "{asked:?}");
        assert!(
            asked.header("authorization").is_some_and(|text| text.starts_with("AWS4-HMAC-SHA256")),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn what_is_transient_is_tried_again_and_what_was_got_is_kept() {
    let bucket = Bucket::start().await;
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let names = ["reset", "truncated", "busy", "throttled", "mixed"];
    let faults = |name: &str| match name {
        "reset" => vec![Fault::Reset(100_000)],
        "truncated" => vec![Fault::Truncate(100_000)],
        "busy" => vec![Fault::Status(503, None)],
        "throttled" => vec![Fault::Status(429, Some(1))],
        _ => vec![Fault::Status(500, None), Fault::Reset(50_000), Fault::Truncate(50_000)],
    };
    let mut builder = bucket.par().env("SSL_CERT_FILE", web.authorities());
    for name in names {
        let far = large(&format!("s3-{name}"), 300_000);
        builder = builder.source(bucket.put(&far));
        bucket.line.script.then(&far.file_name(), faults(name));
        let near = large(&format!("web-{name}"), 300_000);
        builder = builder.source(web.gives(&format!("/{}", near.file_name()), near.bytes()));
        web.script.then(&near.file_name(), faults(name));
    }
    let par = builder.start().await;
    for name in names {
        serves(&par, &[&format!("s3-{name}"), &format!("web-{name}")]).await;
        let tries = faults(name).len() + 1;
        for (script, file) in
            [(&bucket.line.script, format!("s3-{name}-")), (&web.script, format!("web-{name}-"))]
        {
            let asked = script.asked(&file);
            let asked: Vec<_> = asked.into_iter().filter(|one| one.path.contains(".apkg")).collect();
            assert_eq!(asked.len(), tries, "{file}: {asked:?}");
            if matches!(name, "reset" | "truncated") {
                let from = asked[1].from();
                assert!(from.is_some_and(|from| from > 0 && from <= 100_000), "resumed: {file}: {asked:?}");
                assert_eq!(asked[1].status, 206, "{asked:?}");
            }
        }
    }
    let throttled = web.script.asked("web-throttled");
    assert!(throttled[1].at - throttled[0].at >= Duration::from_millis(900), "it said when to come again");
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_resumed_is_fetched_whole() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let (before, after) = (large("changing", 300_000), large("changing", 400_000));
    let url = web.gives("/changing.apkg", before.bytes());
    web.script.then("changing.apkg", [Fault::Stall(100_000)]);
    let par = par()
        .source(format!("{url}#sha256={}", after.sha256()))
        .env("SSL_CERT_FILE", web.authorities())
        .setting("packages.download_idle_timeout", "1s")
        .launch();
    crate::harness::eventually("the first half was sent", async || {
        (web.script.asked("changing.apkg").len() == 1).then_some(())
    })
    .await;
    web.gives("/changing.apkg", after.bytes());
    par.wait_for_line("ready", |line| line.event() == "ready").await;
    serves(&par, &["changing"]).await;
}

#[tokio::test]
async fn what_will_not_change_is_not_tried_again() {
    let bucket = Bucket::start().await;
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let wrong = Package::saying("wrong-bytes", "1.0.0", "never");
    let flipped = bucket.put(&wrong);
    bucket.line.script.always("wrong-bytes", Fault::Flip(20));
    bucket.s3.put("packages", "forbidden.apkg", "x");
    bucket.line.script.always("forbidden.apkg", Fault::Status(403, None));
    let par = bucket
        .par()
        .source("s3://packages/missing.apkg")
        .source("s3://packages/forbidden.apkg")
        .source(flipped)
        .source(web.fails("/web-missing.apkg", 404))
        .source(web.fails("/web-forbidden.apkg", 403))
        .source(format!("{}#sha256={}", web.gives("/web-wrong.apkg", wrong.bytes()), "0".repeat(64)))
        .agent("echo")
        .env("SSL_CERT_FILE", web.authorities())
        .allow("package_failed")
        .start()
        .await;
    for (name, step) in [
        ("packages/missing", "fetch"),
        ("packages/forbidden", "fetch"),
        ("wrong-bytes", "verify"),
        ("web-missing", "fetch"),
        ("web-forbidden", "fetch"),
        ("web-wrong", "verify"),
    ] {
        let failure = par.failure(name).await.unwrap_or_else(|| panic!("{name} is listed"));
        assert_eq!(failure["step"], step, "{failure}");
    }
    for words in ["missing.apkg", "forbidden.apkg", "wrong-bytes"] {
        assert_eq!(bucket.asked(words), 1, "{words}");
    }
    for path in ["/web-missing.apkg", "/web-forbidden.apkg", "/web-wrong.apkg"] {
        assert_eq!(web.script.asked(path).len(), 1, "{path}");
    }
    let detail = |failure: serde_json::Value| failure["detail"].to_string();
    assert!(detail(par.failure("packages/missing").await.expect("listed")).contains("404"));
    assert!(detail(par.failure("packages/forbidden").await.expect("listed")).contains("403"));
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn without_credentials_s3_says_where_they_are_looked_for() {
    let bucket = Bucket::start().await;
    let source = bucket.put(&Package::saying("locked", "1.0.0", "x"));
    let home = scratch();
    let par = par()
        .production()
        .env("S3_ENDPOINT_URL", format!("http://127.0.0.1:{}", bucket.line.port))
        .env("HOME", home.path().to_string_lossy())
        .source(source)
        .agent("echo")
        .allow("package_failed")
        .start()
        .await;
    let failure = par.failure("locked").await.expect("it is listed");
    assert_eq!(failure["step"], "fetch", "{failure}");
    assert!(failure["detail"].to_string().to_lowercase().contains("credential"), "{failure}");
    assert_eq!(bucket.asked(""), 0, "nothing was asked without a signature");
}

#[tokio::test]
async fn a_download_that_never_ends_is_cut_at_its_limits() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let idle = Package::saying("idle", "1.0.0", "idle");
    let url = web.gives("/idle.apkg", idle.bytes());
    web.script.then("idle.apkg", [Fault::Stall(100)]);
    let begun = Instant::now();
    let par = par()
        .production()
        .source(web.floods("/flood.apkg"))
        .source(web.trickles("/trickle.apkg"))
        .source(url)
        .agent("echo")
        .env("SSL_CERT_FILE", web.authorities())
        .env("MAX_PACKAGE_SIZE_MB", "1")
        .env("DOWNLOAD_TIMEOUT_SECONDS", "4")
        .setting("packages.download_idle_timeout", "1s")
        .allow("package_failed")
        .start()
        .await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    serves(&par, &["idle"]).await;
    let flood = par.failure("flood").await.expect("it is listed");
    assert!(flood["step"] == "fetch" && flood["detail"].to_string().contains('1'), "{flood}");
    assert_eq!(web.script.asked("/flood.apkg").len(), 1, "too large stays too large");
    let trickle = par.failure("trickle").await.expect("it is listed");
    assert_eq!(trickle["step"], "fetch", "{trickle}");
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}

#[tokio::test]
async fn the_same_bytes_wanted_by_many_are_fetched_once() {
    let bucket = Bucket::start().await;
    let package = large("shared", 2_000_000);
    let url = bucket.s3.put("packages", "shared.apkg", package.bytes());
    let par = bucket.par().start().await;
    let loads = (0..4).map(|_| {
        let (operator, body) = (par.operator(), json!({"url": url, "sha256": package.sha256()}));
        tokio::spawn(async move { operator.post("/runtime/packages/load", &body).await.ok() })
    });
    let mut created = 0;
    for load in loads.collect::<Vec<_>>() {
        created += usize::from(load.await.expect("the task")["created"] == true);
    }
    assert_eq!((created, bucket.asked("shared.apkg")), (1, 1));
    serves(&par, &["shared"]).await;
    par.wait_for_line("the progress of a large download", |line| line.event() == "download_progress").await;
}

#[tokio::test]
async fn packages_are_fetched_side_by_side() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let quick = Package::saying("quick", "1.0.0", "quick");
    let url = Index::of([&Package::saying("a-slow-one", "1.0.0", "x"), &quick]).on_web(&web);
    web.script.always("a-slow-one", Fault::Stall(10));
    let par = par()
        .production()
        .env("REGISTRY_URL", url)
        .env("SSL_CERT_FILE", web.authorities())
        .allow("*")
        .launch();
    crate::harness::eventually("the quick one does not wait for the slow one", async || {
        let answer =
            par.http.request(reqwest::Method::POST, "/agents/quick/invoke").json(&json!({})).send().await;
        (answer.ok()?.status() == 200).then_some(())
    })
    .await;
}
