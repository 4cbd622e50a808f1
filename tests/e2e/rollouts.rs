//! A newer version takes over: without losing a call, or not at all.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::harness::{
    Client, HttpsServer, Index, Package, Par, ParBuilder, Traffic, eventually, par, scratch,
};

/// In production, with an index that is looked at only when somebody asks.
fn registered(folder: &Path, packages: &[Package]) -> ParBuilder {
    let url = Index::of(packages).in_folder(folder);
    par().production().env("REGISTRY_URL", url).env("REGISTRY_POLL_INTERVAL", "1h")
}

async fn says(par: &Par, agent: &str, word: &str) {
    assert_eq!(par.http.invoke(agent, &json!({})).await.ok(), json!(word));
}

/// Reloads and returns what is told about the package.
async fn reload(par: &Par, package: &str, body: &Value) -> Value {
    let told = par.operator().post("/runtime/reload", body).await.ok();
    let packages = told["packages"].as_array().expect("packages");
    let found = packages.iter().find(|one| one["package"] == package).cloned();
    found.unwrap_or_else(|| panic!("{package} is not told about in {told}"))
}

async fn receipts(par: &Par, package: &str) -> Vec<Value> {
    let told = par.operator().get("/runtime/rollouts").await.ok();
    let all = told["rollouts"].as_array().cloned().expect("rollouts");
    all.into_iter().filter(|receipt| receipt["package"] == package).collect()
}

/// Rolls out `rounds` versions while callers call, by index and by force in turn.
async fn under_load(par: &Par, folder: &Path, clients: Vec<Client>, rounds: u32) {
    let traffic = Traffic::start(clients, "busy").await;
    for round in 1..=rounds {
        let package = Package::saying("busy", &format!("1.{round}.0"), &format!("round {round}"));
        if round % 2 == 0 {
            let body = json!({"path": package.apkg(folder), "force": true});
            par.operator().post("/runtime/packages/load", &body).await.ok();
        } else {
            Index::of([&package]).in_folder(folder);
            assert_eq!(reload(par, "busy", &json!({})).await["outcome"], "updated", "round {round}");
        }
        traffic.goes_on().await;
    }
    for seen in traffic.all_answered().await {
        let last = seen.last().expect("calls");
        assert_eq!(last.text, format!("\"round {rounds}\""));
        let mut generations: Vec<u64> = seen.iter().map(|one| one.generation).collect();
        generations.dedup();
        assert_eq!(generations.len() as u32, rounds + 1, "each generation serves once: {generations:?}");
        for one in &seen {
            assert!(one.generation > 0, "{one:?}");
        }
    }
}

#[tokio::test]
async fn rollouts_under_load_lose_no_call_of_keep_alive_clients() {
    let folder = scratch();
    let par = registered(folder.path(), &[Package::saying("busy", "1.0.0", "round 0")])
        .setting("packages.load_roots", json!([folder.path()]))
        .start()
        .await;
    let clients = (0..4).map(|_| Client::new(par.port)).collect();
    under_load(&par, folder.path(), clients, 6).await;
}

#[tokio::test]
async fn rollouts_under_load_lose_no_call_of_http2_clients() {
    let folder = scratch();
    let par = registered(folder.path(), &[Package::saying("busy", "1.0.0", "round 0")])
        .setting("packages.load_roots", json!([folder.path()]))
        .start()
        .await;
    let one = Client::http2(par.port);
    // Two connections, one of them shared by three callers.
    let clients = vec![one.clone(), one.clone(), one, Client::http2(par.port)];
    under_load(&par, folder.path(), clients, 4).await;
}

#[tokio::test]
async fn a_call_that_runs_while_its_version_is_replaced_is_finished_by_it() {
    let folder = scratch();
    let slow = |version: &str| {
        let code = format!(
            "import time\n\n\ndef run(input):\n    print('began')\n    time.sleep(input.get('seconds', 0))\n    return '{version}'\n"
        );
        Package::with_main("slow", version, &code)
    };
    let par = registered(folder.path(), &[slow("1.0.0")]).start().await;
    let http = par.http.clone();
    let call = tokio::spawn(async move { http.invoke("slow", &json!({"seconds": 3})).await });
    par.wait_for_line("the call runs", |line| line.event() == "agent_output" && line.mentions("began")).await;
    Index::of([&slow("2.0.0")]).in_folder(folder.path());
    assert_eq!(reload(&par, "slow", &json!({})).await["outcome"], "updated");
    let now = par.http.invoke("slow", &json!({})).await;
    assert_eq!(now.ok(), json!("2.0.0"), "new calls do not wait for the old one");
    let (new, old) = (now.header("x-par-generation").to_owned(), call.await.expect("the task"));
    assert_eq!(old.ok(), json!("1.0.0"));
    assert_ne!(old.header("x-par-generation"), new);
}

#[tokio::test]
async fn every_answer_of_an_agent_names_its_generation() {
    let par = par().production().agent("faulty").agent("rules").agent("echo").start().await;
    let generation = |answer: &crate::harness::Answer| {
        answer.header("x-par-generation").parse::<u64>().unwrap_or_else(|_| panic!("{}", answer.text()))
    };
    let fine = par.http.invoke("echo", &json!(1)).await;
    let enveloped = par.http.envelope("echo", &json!({"input": 1})).await;
    assert_eq!(generation(&fine), generation(&enveloped));
    let failed = par.http.invoke("raises", &json!({})).await;
    assert_eq!(failed.status, 500, "{}", failed.text());
    assert_ne!(generation(&failed), generation(&fine));
}

#[tokio::test]
async fn a_version_that_fails_at_any_step_leaves_the_former_serving() {
    let folder = scratch();
    let name = |step: &str| format!("fails-at-{step}");
    let steps = ["verify", "unpack", "manifest", "environment", "template", "probe"];
    let old: Vec<Package> = steps.map(|step| Package::saying(&name(step), "1.0.0", "blue")).to_vec();
    let par = registered(folder.path(), &old).allow("package_failed").start().await;

    let green = |step: &str, manifest: &str, code: &str| {
        Package::new(&name(step), "2.0.0", &format!("entrypoint: main:run\n{manifest}")).file("main.py", code)
    };
    let run = "def run(input):\n    return 'green'\n";
    let index = Index::of(&old)
        .with(&green("verify", "", run), json!({"sha256": "0".repeat(64)}))
        .with(&green("manifest", "runtime_version: '>=99'", run), json!({}))
        .with(
            &green("environment", "", run).file("requirements.txt", "nowhere @ file:///nowhere/at/all\n"),
            json!({}),
        )
        .with(&green("template", "", "raise RuntimeError('not today')\n"), json!({}))
        .with(
            &green("probe", "healthcheck: {export: default, input: {}, expect: {ok: true}}", run),
            json!({}),
        );
    let broken = green("unpack", "", run);
    let text = b"this is no archive".to_vec();
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&text));
    let index = index.with(&broken, json!({"sha256": digest})).file(&broken.file_name(), text);
    index.in_folder(folder.path());
    let before = par.operator().get("/runtime/packages").await.ok();
    for step in steps {
        let told = reload(&par, &name(step), &json!({"package": name(step)})).await;
        assert_eq!((&told["outcome"], &told["step"]), (&json!("failed"), &json!(step)), "{told}");
        says(&par, &name(step), "blue").await;
        let failures = par.operator().get("/runtime/packages").await.ok()["failed"].clone();
        let failure = failures.as_array().expect("failures").iter().find(|one| one["name"] == name(step));
        let failure = failure.unwrap_or_else(|| panic!("{step} is not told about in {failures}"));
        assert_eq!((&failure["step"], &failure["version"]), (&json!(step), &json!("2.0.0")), "{failure}");
        let receipt = receipts(&par, &name(step)).await.into_iter().find(|one| one["outcome"] == "failed");
        assert!(
            receipt.is_some_and(|one| one["reason"].as_str().is_some_and(|text| !text.is_empty())),
            "{step}"
        );
    }
    let after = par.operator().get("/runtime/packages").await.ok();
    let generations = |told: &Value| -> Vec<(Value, Value)> {
        let packages = told["packages"].as_array().expect("packages");
        packages.iter().map(|one| (one["id"].clone(), one["generation"].clone())).collect()
    };
    assert_eq!(generations(&before), generations(&after), "blue was not touched");
    assert!(
        par.metrics().get("/metrics").await.text().contains("par_rollouts_total"),
        "a metric counts them"
    );
}

#[tokio::test]
async fn a_version_that_failed_is_tried_again_only_for_other_bytes_or_by_force() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let marks = scratch.path().join("marks");
    fs::write(&marks, "").expect("a file");
    let failing = |note: &str| {
        let code = format!(
            "with open({:?}, 'a') as marks:\n    marks.write('x')\nraise RuntimeError('{note}')\n",
            marks.to_string_lossy()
        );
        Package::writing("stubborn", "2.0.0", &code, &marks)
    };
    let tries = || fs::read_to_string(&marks).unwrap_or_default().len();
    let one = Package::saying("stubborn", "1.0.0", "one");
    let url = Index::of([&one]).on_web(&web);
    let par = par()
        .production()
        .env("REGISTRY_URL", url)
        .env("REGISTRY_POLL_INTERVAL", "1")
        .env("SSL_CERT_FILE", web.authorities())
        .allow("package_failed")
        .start()
        .await;
    Index::of([&one, &failing("first")]).on_web(&web);
    eventually("it was tried", async || (tries() > 0).then_some(())).await;
    let failed = || async { par.failure("stubborn").await };
    eventually("it failed", async || failed().await).await;
    let (before, polls) = (tries(), web.script.asked("index.json").len());
    eventually("more polls", async || (web.script.asked("index.json").len() >= polls + 3).then_some(()))
        .await;
    reload(&par, "stubborn", &json!({})).await;
    assert_eq!(tries(), before, "neither a poll nor a reload tries it again");
    assert_eq!(web.script.asked("stubborn-2.0.0").len(), 1);
    reload(&par, "stubborn", &json!({"force": true})).await;
    assert!(tries() > before, "force does");
    let before = tries();
    Index::of([&one, &failing("second")]).on_web(&web);
    eventually("other bytes are tried", async || (tries() > before).then_some(())).await;
    says(&par, "stubborn", "one").await;
    Index::of([&one, &Package::saying("stubborn", "2.0.0", "two")]).on_web(&web);
    eventually("bytes that work go live", async || {
        let answer = par.http.invoke("stubborn", &json!({})).await;
        (answer.ok() == "two").then_some(())
    })
    .await;
    assert!(failed().await.is_none(), "what works is no failure any more");
}

#[tokio::test]
async fn bytes_that_are_not_what_the_index_says_are_not_fetched_at_every_poll() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let one = Package::saying("steady", "1.0.0", "one");
    let url = Index::of([&one]).on_web(&web);
    let par = par()
        .production()
        .env("REGISTRY_URL", url)
        .env("REGISTRY_POLL_INTERVAL", "1")
        .env("SSL_CERT_FILE", web.authorities())
        .allow("package_failed")
        .start()
        .await;
    let two = Package::saying("steady", "2.0.0", "two");
    Index::of([&one]).with(&two, json!({"sha256": "0".repeat(64)})).on_web(&web);
    eventually("it failed", async || par.failure("steady-2.0.0").await).await;
    // Another entry makes the index a new one; what failed in it has not changed.
    for version in ["1.0.0", "1.1.0"] {
        let other = Package::saying("other", version, version);
        Index::of([&one, &other]).with(&two, json!({"sha256": "0".repeat(64)})).on_web(&web);
        eventually("the other one is live", async || {
            let answer = par.http.invoke("other", &json!({})).await;
            (answer.status == 200 && answer.json() == version).then_some(())
        })
        .await;
    }
    assert_eq!(web.script.asked("steady-2.0.0.apkg").len(), 1);
    says(&par, "steady", "one").await;
    Index::of([&one, &two]).on_web(&web);
    eventually("the right digest is tried", async || {
        (par.http.invoke("steady", &json!({})).await.ok() == "two").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_receipt_tells_steps_calls_and_the_outcome() {
    let folder = scratch();
    let builder = registered(folder.path(), &[Package::saying("told", "1.0.0", "one")]);
    let par = builder.setting("rollout.bake_window", "2s").start().await;
    for _ in 0..5 {
        says(&par, "told", "one").await;
    }
    Index::of([&Package::saying("told", "1.1.0", "two")]).in_folder(folder.path());
    assert_eq!(reload(&par, "told", &json!({})).await["outcome"], "updated");
    for _ in 0..3 {
        says(&par, "told", "two").await;
    }
    let receipt = eventually("the bake window is over", async || {
        let all = receipts(&par, "told").await;
        let receipt = all.into_iter().find(|one| one["to"].to_string().contains("1.1.0"))?;
        receipt["calls"]["after"].is_object().then_some(receipt)
    })
    .await;
    assert_eq!(receipt["outcome"], "live", "{receipt}");
    assert!(receipt["from"].to_string().contains("1.0.0"), "{receipt}");
    assert!(receipt["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{receipt}");
    assert!(receipt["generation"].as_u64().is_some_and(|number| number > 0), "{receipt}");
    assert!(receipt["started"].as_f64().is_some_and(|since_1970| since_1970 > 1.7e9), "{receipt}");
    for step in ["fetch", "verify", "unpack", "environment", "template", "probe"] {
        assert!(receipt["steps"][step].is_number(), "{step}: {receipt}");
    }
    let calls = &receipt["calls"];
    assert_eq!((&calls["before"]["calls"], &calls["after"]["calls"]), (&json!(5), &json!(3)), "{receipt}");
    for side in ["before", "after"] {
        assert_eq!(calls[side]["failed"], 0, "{receipt}");
        for quantile in ["p50_ms", "p99_ms"] {
            assert!(calls[side][quantile].is_number(), "{quantile} {side}: {receipt}");
        }
    }
    let id = receipt["id"].as_str().expect("an id");
    assert_eq!(par.operator().get(&format!("/runtime/rollouts/{id}")).await.ok(), receipt);
    let par = par.restart().await;
    assert_eq!(
        par.operator().get(&format!("/runtime/rollouts/{id}")).await.ok(),
        receipt,
        "kept over a restart"
    );
    par.operator().get("/runtime/rollouts/0-no-such-rollout").await.problem(404, "not_found");
}

/// Its import waits until the other one's import has begun.
fn meeting(name: &str, other: &str, place: &Path) -> Package {
    let code = format!(
        "import os, time\nopen(os.path.join({place:?}, '{name}'), 'w').close()\n\
         end = time.time() + 20\n\
         while not os.path.exists(os.path.join({place:?}, '{other}')):\n    \
         assert time.time() < end, 'nobody came'\n    time.sleep(0.01)\n\n\n\
         def run(input):\n    return '{name}'\n",
        place = place.to_string_lossy()
    );
    Package::writing(name, "2.0.0", &code, place)
}

#[tokio::test]
async fn rollouts_of_different_packages_run_side_by_side() {
    let folder = scratch();
    let old = ["one", "two"].map(|name| Package::saying(name, "1.0.0", "old"));
    let par = registered(folder.path(), &old).start().await;
    Index::of([&meeting("one", "two", folder.path()), &meeting("two", "one", folder.path())])
        .in_folder(folder.path());
    for name in ["one", "two"] {
        par.operator().post("/runtime/reload?wait=false", &json!({"package": name})).await;
    }
    for name in ["one", "two"] {
        eventually("both met", async || (par.http.invoke(name, &json!({})).await.ok() == name).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn the_newest_wanted_version_wins_over_those_in_the_queue() {
    let folder = scratch();
    let gate = folder.path().join("gate");
    let begun = folder.path().join("begun");
    let waiting = Package::writing(
        "queued",
        "2.0.0",
        &format!(
            "import os, time\nopen({:?}, 'w').close()\nwhile not os.path.exists({:?}):\n    time.sleep(0.01)\n\n\n\
             def run(input):\n    return '2.0.0'\n",
            begun.to_string_lossy(),
            gate.to_string_lossy()
        ),
        folder.path(),
    );
    let par = registered(folder.path(), &[Package::saying("queued", "1.0.0", "1.0.0")]).start().await;
    let order = async |package: &Package| {
        Index::of([package]).in_folder(folder.path());
        let answer = par.operator().post_empty("/runtime/reload?wait=false").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    };
    order(&waiting).await;
    eventually("the first rollout is in its import", async || begun.exists().then_some(())).await;
    for version in ["3.0.0", "4.0.0"] {
        order(&Package::saying("queued", version, version)).await;
        says(&par, "queued", "1.0.0").await;
    }
    eventually("the newest is in the queue", async || {
        let mut lines = par.lines().into_iter();
        lines.any(|line| line.event() == "extract" && line.mentions("queued@4.0.0")).then_some(())
    })
    .await;
    fs::write(&gate, "").expect("a file");
    eventually("the newest serves", async || {
        (par.http.invoke("queued", &json!({})).await.ok() == "4.0.0").then_some(())
    })
    .await;
    let skipped = receipts(&par, "queued").await.into_iter().filter(|one| one["to"]["id"] == "queued@3.0.0");
    for receipt in skipped {
        let (outcome, generation) = (&receipt["outcome"], &receipt["generation"]);
        assert_eq!((outcome, generation), (&json!("superseded"), &json!(0)), "the one in between: {receipt}");
    }
}
