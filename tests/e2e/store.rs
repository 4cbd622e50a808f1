//! What is kept on disk, and what happens when the disk is full, damaged or shared.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::harness::{Fault, HttpsServer, Index, Package, Par, eventually, par, scratch};

/// Bytes that do not compress.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut noise = vec![];
    while noise.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    noise
}

/// A package of about this size, different for each name and version.
fn large(name: &str, version: &str, bytes: usize) -> Package {
    let seed = name.bytes().chain(version.bytes());
    let seed = seed.fold(1_u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    Package::saying(name, version, version).file("noise.bin", noise(seed, bytes))
}

/// All files below a directory with their sizes.
fn files(directory: &Path) -> Vec<(PathBuf, u64)> {
    let entries = walkdir::WalkDir::new(directory).into_iter().filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| Some((entry.path().to_owned(), entry.metadata().ok()?.len())))
        .collect()
}

fn size(directory: &Path) -> u64 {
    files(directory).iter().map(|(_, size)| size).sum()
}

async fn says(par: &Par, agent: &str, word: &str) {
    assert_eq!(par.http.invoke(agent, &json!({})).await.ok(), json!(word));
}

#[tokio::test]
async fn the_store_stays_within_its_limit_and_keeps_what_is_mounted() {
    let scratch = scratch();
    let cache = scratch.path().join("cache");
    let par = par()
        .production()
        .env("PACKAGE_CACHE_DIR", cache.to_string_lossy())
        .env("MAX_CACHE_SIZE_MB", "4")
        .allow("store_full")
        .setting("rollout.parked", 0)
        .setting("packages.load_roots", json!([scratch.path()]))
        .start()
        .await;
    let load = async |package: Package| {
        let body = json!({"path": package.apkg(scratch.path()), "force": true});
        par.operator().post("/runtime/packages/load", &body).await.ok();
    };
    load(large("stays", "1.0.0", 1 << 20)).await;
    for minor in 0..8 {
        load(large("turns", &format!("1.{minor}.0"), 1 << 20)).await;
        if minor > 0 {
            par.operator().delete(&format!("/runtime/packages/turns@1.{}.0", minor - 1)).await;
        }
    }
    // What still drains is in use; the next package that comes finds it evictable.
    let mut minor = 0;
    eventually("the store is within its limit", async || {
        load(Package::saying("small", &format!("1.{minor}.0"), "x")).await;
        minor += 1;
        (size(&cache) <= 4 << 20).then_some(())
    })
    .await;
    says(&par, "stays", "1.0.0").await;
    says(&par, "turns", "1.7.0").await;
    let noise = files(&cache).iter().filter(|(path, _)| path.ends_with("noise.bin")).count();
    assert!(noise >= 2, "what is mounted is kept");
}

#[tokio::test]
async fn a_damaged_entry_is_noticed_and_fetched_again() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let package = Package::saying("damaged", "1.0.0", "whole");
    let url = web.gives("/damaged.apkg", package.bytes());
    let builder = par()
        .production()
        .source(format!("{url}#sha256={}", package.sha256()))
        .env("SSL_CERT_FILE", web.authorities());
    let par = builder.start().await;
    says(&par, "damaged", "whole").await;
    let stopped = par.stop().await;
    let par = stopped.start().await;
    says(&par, "damaged", "whole").await;
    assert_eq!(web.script.asked("damaged.apkg").len(), 1, "what is whole is not fetched again");

    let places: Vec<PathBuf> = files(par.data_dir())
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| {
            path.ends_with("main.py") && fs::read_to_string(path).is_ok_and(|text| text.contains("whole"))
        })
        .collect();
    assert!(!places.is_empty(), "the store holds it");
    let stopped = par.stop().await.allow("store_damaged");
    for place in &places {
        fs::remove_file(place).expect("our own file");
        fs::write(place, "def run(input):\n    return 'evil'\n").expect("our own file");
    }
    let par = stopped.start().await;
    says(&par, "damaged", "whole").await;
    par.wait_for_line("it is said", |line| line.event() == "store_damaged").await;
    assert_eq!(web.script.asked("damaged.apkg").len(), 2);
}

#[tokio::test]
async fn two_runtimes_share_one_store() {
    let scratch = scratch();
    let cache = scratch.path().join("cache");
    let packages: Vec<Package> = (0..4).map(|at| large(&format!("shared-{at}"), "1.0.0", 500_000)).collect();
    let mut builders = [0, 1].map(|_| par().production().env("PACKAGE_CACHE_DIR", cache.to_string_lossy()));
    for package in &packages {
        let path = package.apkg(scratch.path());
        builders = builders
            .map(|builder| builder.env("MAX_CACHE_SIZE_MB", "1").allow("store_full").source(path.clone()));
    }
    let [first, second] = builders;
    let (first, second) = tokio::join!(first.start(), second.start());
    for at in 0..4 {
        for par in [&first, &second] {
            says(par, &format!("shared-{at}"), "1.0.0").await;
        }
    }
    let second = second.restart().await;
    for at in 0..4 {
        says(&first, &format!("shared-{at}"), "1.0.0").await;
        says(&second, &format!("shared-{at}"), "1.0.0").await;
    }
}

#[tokio::test]
async fn a_fetch_that_was_killed_leaves_nothing_that_is_taken_for_whole() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let package = large("killed", "1.0.0", 500_000);
    let url = web.gives("/killed.apkg", package.bytes());
    web.script.then("killed.apkg", [Fault::Stall(200_000)]);
    let builder = par()
        .production()
        .source(format!("{url}#sha256={}", package.sha256()))
        .env("SSL_CERT_FILE", web.authorities());
    let mut par = builder.clone().launch();
    eventually("the fetch has begun", async || (!web.script.asked("killed.apkg").is_empty()).then_some(()))
        .await;
    par.kill();
    par.exit().await;
    drop(par);
    let par = builder.start().await;
    says(&par, "killed", "1.0.0").await;
    let left = files(par.data_dir()).iter().filter(|(path, _)| path.ends_with("noise.bin")).count();
    assert_eq!(left, 1, "nothing of the first try is left");
}

#[tokio::test]
async fn a_full_disk_is_said_clearly_and_what_runs_goes_on() {
    let scratch = scratch();
    let cache = scratch.path().join("cache");
    fs::create_dir(&cache).expect("a directory");
    let web = HttpsServer::start(scratch.path()).await;
    let url = web.gives("/huge.apkg", large("huge", "1.0.0", 12 << 20).bytes());
    // Small on the way, large on the disk: a block of noise, again and again.
    let block = large("block", "1.0.0", 8 << 10);
    let wide = web.gives("/wide.apkg", block.file("wide.bin", noise(1, 8 << 10).repeat(1536)).bytes());
    let index = scratch.path().join("registry");
    fs::create_dir(&index).expect("a directory");
    let registry = Index::of([&Package::saying("small", "1.0.0", "one")]).in_folder(&index);
    let par = par()
        .production()
        .disk(&cache, 8)
        .env("PACKAGE_CACHE_DIR", cache.to_string_lossy())
        .env("SSL_CERT_FILE", web.authorities())
        .env("REGISTRY_URL", registry)
        .allow("package_failed")
        .start()
        .await;
    says(&par, "small", "one").await;
    let inside = PathBuf::from(format!("/proc/{}/root", par.process().pid))
        .join(cache.strip_prefix("/").expect("an absolute path"));
    let before = files(&inside);
    assert!(!before.is_empty(), "the store lies on the small disk");
    for url in [url, wide] {
        let refused = par.operator().post("/runtime/packages/load", &json!({"url": url})).await;
        assert!((400..600).contains(&refused.status), "{}", refused.text());
        assert!(refused.text().contains("space"), "the reason is clear: {}", refused.text());
        says(&par, "small", "one").await;
    }
    eventually("nothing half-written is left", async || (files(&inside) == before).then_some(())).await;
    Index::of([&Package::saying("small", "2.0.0", "two")]).in_folder(&index);
    par.operator().post_empty("/runtime/reload").await.ok();
    says(&par, "small", "two").await;
}
