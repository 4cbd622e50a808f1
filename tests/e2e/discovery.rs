//! An index that is read, polled, asked for, and sometimes wrong.

use serde_json::{Value, json};

use crate::harness::{
    Asked, Faults, HttpsServer, Index, Package, Par, ParBuilder, S3Server, eventually, par, scratch,
};

/// In production, with an index that is looked at every second.
fn polling(index: &str) -> ParBuilder {
    par().production().env("REGISTRY_URL", index).env("REGISTRY_POLL_INTERVAL", "1")
}

/// In production, with an index that is looked at only when somebody asks.
fn waiting(index: &str) -> ParBuilder {
    par().production().env("REGISTRY_URL", index).env("REGISTRY_POLL_INTERVAL", "1h")
}

async fn says(par: &Par, agent: &str, word: &str) {
    assert_eq!(par.http.invoke(agent, &json!({})).await.ok(), json!(word));
}

async fn will_say(par: &Par, agent: &str, word: &str) {
    eventually(&format!("{agent} says {word}"), async || {
        let answer = par.http.invoke(agent, &json!({})).await;
        (answer.status == 200 && answer.json() == word).then_some(())
    })
    .await;
}

/// `POST /runtime/reload`: what it tells about each package.
async fn reload(par: &Par, body: &Value) -> Value {
    par.operator().post("/runtime/reload", body).await.ok()
}

fn outcome<'a>(told: &'a Value, package: &str) -> &'a Value {
    let packages = told["packages"].as_array().expect("packages");
    packages
        .iter()
        .find(|one| one["package"] == package)
        .unwrap_or_else(|| panic!("{package} is not told about in {told}"))
}

fn conditional(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.header("if-none-match").is_some() && asked.status == 304).count()
}

#[tokio::test]
async fn a_new_version_in_an_index_in_a_folder_goes_live_by_itself() {
    let folder = scratch();
    let (one, two) = (Package::saying("polled", "1.0.0", "one"), Package::saying("polled", "1.1.0", "two"));
    let index = Index::of([&one]).in_folder(folder.path());
    for url in [index.clone(), format!("file://{index}")] {
        Index::of([&one]).in_folder(folder.path());
        let par = polling(&url).start().await;
        says(&par, "polled", "one").await;
        Index::of([&one, &two]).in_folder(folder.path());
        will_say(&par, "polled", "two").await;
        assert_eq!(par.http.get("/agents/polled").await.ok()["version"], "1.1.0");
    }
}

#[tokio::test]
async fn a_new_version_in_an_index_on_the_web_goes_live_and_unchanged_polls_cost_nothing() {
    let scratch = scratch();
    let web = HttpsServer::start(scratch.path()).await;
    let (one, two) = (Package::saying("polled", "1.0.0", "one"), Package::saying("polled", "1.1.0", "two"));
    let url = Index::of([&one]).on_web(&web);
    let par = polling(&url).env("SSL_CERT_FILE", web.authorities()).start().await;
    says(&par, "polled", "one").await;
    eventually("polls that find nothing new", async || {
        (conditional(&web.script.asked("index.json")) >= 2).then_some(())
    })
    .await;
    assert_eq!(web.script.asked(".apkg").len(), 1, "unchanged polls fetch no package");
    Index::of([&one, &two]).on_web(&web);
    will_say(&par, "polled", "two").await;
    assert_eq!(web.script.asked("polled-1.1.0.apkg").len(), 1);
    assert_eq!(web.script.asked("polled-1.0.0.apkg").len(), 1);
}

#[tokio::test]
async fn a_new_version_in_an_index_in_s3_goes_live_and_unchanged_polls_cost_nothing() {
    let s3 = S3Server::start().await;
    let proxy = Faults::before(s3.port).await;
    let (one, two) = (Package::saying("polled", "1.0.0", "one"), Package::saying("polled", "1.1.0", "two"));
    let url = Index::of([&one]).in_bucket(&s3);
    let par = s3.known_to(polling(&url), proxy.port).start().await;
    says(&par, "polled", "one").await;
    eventually("polls that find nothing new", async || {
        (conditional(&proxy.script.asked("index.json")) >= 2).then_some(())
    })
    .await;
    Index::of([&one, &two]).in_bucket(&s3);
    will_say(&par, "polled", "two").await;
    let asked = proxy.script.asked("");
    assert!(
        asked.iter().all(|asked| asked.method == "GET" && !asked.path.contains("list-type")),
        "{asked:?}"
    );
    assert_eq!(proxy.script.asked(".apkg").len(), 2, "one fetch a version");
}

#[tokio::test]
async fn a_reload_tells_an_outcome_for_every_package() {
    let folder = scratch();
    let old = |name: &str| Package::saying(name, "1.0.0", "old");
    let (stays, grows, leaves) = (old("stays"), old("grows"), old("leaves"));
    let breaks = old("breaks");
    let url = Index::of([&stays, &grows, &leaves, &breaks]).in_folder(folder.path());
    let par = waiting(&url).allow("package_failed").start().await;
    let told = reload(&par, &json!({})).await;
    assert_eq!(told["status"], "success", "{told}");
    for name in ["stays", "grows", "leaves", "breaks"] {
        assert_eq!(outcome(&told, name)["outcome"], "unchanged", "{told}");
    }

    let newer = Package::saying("grows", "2.0.0", "new");
    let comes = Package::saying("comes", "1.0.0", "new");
    let broken = Package::with_main("breaks", "2.0.0", "import not_installed_anywhere\n");
    Index::of([&stays, &grows, &newer, &comes, &breaks, &broken]).in_folder(folder.path());
    let told = reload(&par, &json!({})).await;
    assert_eq!(told["status"], "partial", "{told}");
    for (name, expected) in [
        ("stays", "unchanged"),
        ("grows", "updated"),
        ("comes", "mounted"),
        ("leaves", "unmounted"),
        ("breaks", "failed"),
    ] {
        assert_eq!(outcome(&told, name)["outcome"], expected, "{told}");
    }
    assert_eq!(outcome(&told, "grows")["version"], "2.0.0", "{told}");
    let failure = outcome(&told, "breaks");
    assert_eq!(
        (&failure["step"], &failure["code"]),
        (&json!("template"), &json!("package_invalid")),
        "{told}"
    );
    assert!(failure["detail"].to_string().contains("not_installed_anywhere"), "{told}");
    says(&par, "grows", "new").await;
    says(&par, "comes", "new").await;
    says(&par, "breaks", "old").await;
    par.http.invoke("leaves", &json!({})).await.problem(404, "agent_not_found");
}

#[tokio::test]
async fn a_reload_of_one_package_leaves_the_others_alone_and_need_not_be_waited_for() {
    let folder = scratch();
    let of = |version: &str| {
        let packages = ["one", "two"].map(|name| Package::saying(name, version, version));
        Index::of(&packages).in_folder(folder.path())
    };
    let par = waiting(&of("1.0.0")).start().await;
    of("2.0.0");
    let told = reload(&par, &json!({"package": "one"})).await;
    assert_eq!(outcome(&told, "one")["outcome"], "updated", "{told}");
    says(&par, "two", "1.0.0").await;
    let answer = par.operator().post_empty("/runtime/reload?wait=false").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    will_say(&par, "two", "2.0.0").await;
    of("3.0.0");
    let output = par.cli(&["reload"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("one") && output.stdout.contains("updated"), "{output:?}");
    says(&par, "one", "3.0.0").await;
    let unknown = par.operator().post("/runtime/reload", &json!({"package": "nobody"})).await;
    unknown.problem(404, "package_not_found");
    for body in [json!([]), json!({"package": 5}), json!({"force": "maybe"})] {
        let refused = par.operator().post("/runtime/reload", &body).await;
        assert!(matches!(refused.status, 400 | 422), "{body}: {}", refused.text());
    }
}

#[tokio::test]
async fn of_several_versions_the_active_one_serves_else_the_highest() {
    let folder = scratch();
    let versions = ["1.9.0", "1.10.0", "1.2.0"].map(|version| Package::saying("many", version, version));
    let url = Index::of(&versions).in_folder(folder.path());
    let par = waiting(&url).start().await;
    says(&par, "many", "1.10.0").await;
    let chosen = json!({"active": true});
    let [high, higher, low] = &versions;
    Index::default().with(high, chosen).with(higher, json!({})).with(low, json!({})).in_folder(folder.path());
    assert_eq!(outcome(&reload(&par, &json!({})).await, "many")["outcome"], "updated");
    says(&par, "many", "1.9.0").await;
}

#[tokio::test]
async fn an_indexed_package_that_was_deleted_returns_and_the_answer_says_so() {
    let folder = scratch();
    let package = Package::saying("indexed", "1.0.0", "back again");
    let url = Index::of([&package]).in_folder(folder.path());
    let par = waiting(&url).start().await;
    let answer = par.operator().delete("/runtime/packages/indexed@1.0.0").await;
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    assert!(answer.text().contains("poll") || answer.text().contains("index"), "{}", answer.text());
    par.http.invoke("indexed", &json!({})).await.problem(404, "agent_not_found");
    assert_eq!(outcome(&reload(&par, &json!({})).await, "indexed")["outcome"], "mounted");
    says(&par, "indexed", "back again").await;
}
