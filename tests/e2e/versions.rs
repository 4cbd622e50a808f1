//! Several versions of a package, side by side.

use serde_json::{Value, json};

use crate::harness::{Index, Package, Par, par, scratch};

fn package(version: &str) -> Package {
    let manifest = "exports: [{id: work, handler: 'main:work'}, {id: rest, handler: 'main:rest'}]";
    let code = format!(
        "def work(input):\n    return 'work {version}'\n\n\ndef rest(input):\n    return 'rest {version}'\n"
    );
    Package::new("sided", version, manifest).file("main.py", code)
}

async fn says(par: &Par, agent: &str, word: &str) {
    assert_eq!(par.http.invoke(agent, &json!({})).await.ok(), json!(word), "{agent}");
}

async fn reload(par: &Par) {
    let told: Value = par.operator().post_empty("/runtime/reload").await.ok();
    assert_eq!(told["status"], "success", "{told}");
}

#[tokio::test]
async fn longer_ids_reach_active_and_parked_generations() {
    let folder = scratch();
    let url = Index::of([&package("1.0.0")]).in_folder(folder.path());
    let par = par().production().env("REGISTRY_URL", url).env("REGISTRY_POLL_INTERVAL", "1h").start().await;
    for version in ["1.1.0", "1.2.0"] {
        Index::of([&package(version)]).in_folder(folder.path());
        reload(&par).await;
    }
    for bare in ["work", "sided/work", "sided%2Fwork"] {
        says(&par, bare, "work 1.2.0").await;
    }
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        says(&par, &format!("work@{version}"), &format!("work {version}")).await;
        says(&par, &format!("rest%40{version}"), &format!("rest {version}")).await;
        says(&par, &format!("sided@{version}/work"), &format!("work {version}")).await;
        says(&par, &format!("sided%40{version}%2Frest"), &format!("rest {version}")).await;
        let answer = par.http.invoke(&format!("sided@{version}/work"), &json!({})).await;
        assert_eq!(answer.header("x-par-version"), version);
    }
    for unknown in ["work@9.9.9", "sided@9.9.9/work", "nobody@1.0.0"] {
        par.http.invoke(unknown, &json!({})).await.problem(404, "agent_not_found");
    }
    let listed = par.http.get("/agents").await.ok();
    let works: Vec<&Value> = listed["agents"]
        .as_array()
        .expect("agents")
        .iter()
        .filter(|one| one["id"].to_string().contains("/work"))
        .collect();
    assert!(works.iter().any(|one| one["id"] == "sided@1.2.0/work"), "{listed}");
}

#[tokio::test]
async fn a_version_by_name_is_the_same_generation_as_before_the_rollout() {
    let folder = scratch();
    let url = Index::of([&package("1.0.0")]).in_folder(folder.path());
    let par = par().production().env("REGISTRY_URL", url).env("REGISTRY_POLL_INTERVAL", "1h").start().await;
    let generation =
        async |agent: &str| par.http.invoke(agent, &json!({})).await.header("x-par-generation").to_owned();
    let first = generation("work").await;
    Index::of([&package("2.0.0")]).in_folder(folder.path());
    reload(&par).await;
    assert_ne!(generation("work").await, first);
    assert_eq!(generation("work@1.0.0").await, first);
    assert_eq!(generation("work@2.0.0").await, generation("work").await);
}

#[tokio::test]
async fn a_disabled_agent_is_disabled_in_all_versions_to_come() {
    let folder = scratch();
    let url = Index::of([&package("1.0.0")]).in_folder(folder.path());
    let par = par().production().env("REGISTRY_URL", url).env("REGISTRY_POLL_INTERVAL", "1h").start().await;
    par.operator().post("/runtime/agents/work/enable", &json!({"enabled": false})).await.ok();
    Index::of([&package("2.0.0")]).in_folder(folder.path());
    reload(&par).await;
    par.http.invoke("work", &json!({})).await.problem(503, "agent_disabled");
    says(&par, "rest", "rest 2.0.0").await;
    let par = par.restart().await;
    par.http.invoke("work", &json!({})).await.problem(503, "agent_disabled");
    par.operator().post("/runtime/agents/work/enable", &json!({"enabled": true})).await.ok();
    Index::of([&package("3.0.0")]).in_folder(folder.path());
    reload(&par).await;
    says(&par, "work", "work 3.0.0").await;
}
