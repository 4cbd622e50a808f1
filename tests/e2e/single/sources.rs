//! Step 2: where the package comes from, how often it is tried, and what is compared.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{ID, failing, fails, line, saying};
use crate::harness::{Fault, Faults, HttpsServer, S3Server, par, scratch};

const BUCKET: &str = "packages-of-tests";

#[tokio::test]
async fn a_package_comes_from_s3_with_a_bucket_of_its_own_or_the_usual_one() {
    let s3 = S3Server::start().await;
    let package = saying("from s3");
    let url = s3.put(BUCKET, "agents/tiny.apkg", package.bytes());
    for (url, bucket) in [(url.as_str(), None), ("s3:///agents/tiny.apkg", Some(BUCKET))] {
        let builder = s3.known_to(par().single(ID, url).env("PACKAGE_SHA256", package.sha256()), s3.port);
        let builder = bucket.into_iter().fold(builder, |builder, bucket| builder.env("S3_BUCKET", bucket));
        let par = builder.start().await;
        assert_eq!(par.http.invoke(ID, &json!({})).await.ok(), json!("from s3"), "{url}");
    }
}

#[tokio::test]
async fn what_s3_refuses_or_does_not_have_is_tried_three_times_and_then_the_boot_fails() {
    let s3 = S3Server::start().await;
    let there = s3.put(BUCKET, "tiny.apkg", saying("x").bytes());
    let missing = format!("s3://{BUCKET}/nothing.apkg");
    for (url, secret, status) in [(&missing, None, "404"), (&there, Some("wrong"), "403")] {
        let proxy = Faults::before(s3.port).await;
        let builder = s3.known_to(failing(par().single(ID, url)), proxy.port);
        let builder =
            secret.into_iter().fold(builder, |builder, secret| builder.env("AWS_SECRET_ACCESS_KEY", secret));
        let mut par = builder.launch();
        assert_eq!(fails(&mut par).await, 69, "{url}");
        let asked = proxy.script.asked(".apkg");
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert!(asked.iter().all(|asked| asked.method == "GET"), "{asked:?}");
        // The chain of causes: each try, then the end.
        let tries = par.lines().iter().filter(|line| line.event() == "download_refused").count();
        assert_eq!(tries, 2, "{}", par.everything_said());
        let failed = line(&par, "boot_failed");
        assert!(failed.mentions(status) && failed["details"]["step"] == "fetch", "{}", failed.text());
        assert_eq!(failed["details"]["exit"], 69);
    }
}

#[tokio::test]
async fn errors_that_pass_are_tried_again_until_it_works() {
    let s3 = S3Server::start().await;
    let url = s3.put(BUCKET, "tiny.apkg", saying("at last").bytes());
    let proxy = Faults::before(s3.port).await;
    proxy.script.then(".apkg", [Fault::Status(503, None), Fault::Reset(10)]);
    let par = s3.known_to(par().single(ID, url), proxy.port).start().await;
    assert_eq!(par.http.invoke(ID, &json!({})).await.ok(), json!("at last"));
    assert_eq!(proxy.script.asked(".apkg").len(), 3);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_when_the_time_is_over() {
    let place = scratch();
    let server = HttpsServer::start(place.path()).await;
    let builder = failing(par().single(ID, server.stalls("/tiny.apkg")));
    let builder = builder.env("SSL_CERT_FILE", server.authorities()).env("DOWNLOAD_TIMEOUT_SECONDS", "2");
    let mut par = builder.launch();
    let begun = std::time::Instant::now();
    assert_eq!(fails(&mut par).await, 69);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert!(line(&par, "boot_failed").mentions("within 2 s"), "{}", par.everything_said());
}

#[tokio::test]
async fn https_is_a_source_and_bytes_that_are_others_than_expected_are_not_run() {
    let place = scratch();
    let server = HttpsServer::start(place.path()).await;
    let url = server.gives("/tiny.apkg", saying("secure").bytes());
    let builder = || par().single(ID, &url).env("SSL_CERT_FILE", server.authorities());
    let running = builder().start().await;
    assert_eq!(running.http.invoke(ID, &json!({})).await.ok(), json!("secure"));

    let mut failed = failing(builder()).env("PACKAGE_SHA256", saying("other").sha256()).launch();
    assert_eq!(fails(&mut failed).await, 65);
    assert!(line(&failed, "boot_failed").mentions("SHA-256"), "{}", failed.everything_said());
}

#[tokio::test]
async fn a_package_larger_than_allowed_is_not_run() {
    let s3 = S3Server::start().await;
    let digests = (0..70_000_u32).flat_map(|number| Sha256::digest(number.to_le_bytes()));
    let noise: Vec<u8> = digests.collect();
    let url = s3.put(BUCKET, "big.apkg", saying("x").file("noise", noise).bytes());
    let builder = s3.known_to(failing(par().single(ID, url)), s3.port).env("MAX_PACKAGE_SIZE_MB", "1");
    let mut par = builder.launch();
    assert_eq!(fails(&mut par).await, 65);
    assert!(line(&par, "boot_failed").mentions("larger than"), "{}", par.everything_said());
}
