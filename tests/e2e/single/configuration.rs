//! Step 0: what is written in the environment, and what is refused before anything begins.

use std::{net::TcpListener, process::Command};

use serde_json::json;

use super::{ID, saying, serving};
use crate::harness::{Output, par_command, scratch};

fn serve(variables: &[(&str, &str)]) -> Command {
    let mut command = par_command();
    command.arg("serve").env("HOST", "127.0.0.1").env("PAR_DATA_DIR", scratch().path());
    command.envs(variables.iter().copied());
    command
}

async fn refused(variables: &[(&str, &str)]) -> String {
    let output = Output::of(serve(variables)).await;
    assert_eq!(output.code, 64, "{variables:?}: {output:?}");
    assert!(!output.stdout.contains("config_read"), "nothing has begun: {output:?}");
    output.stderr
}

#[tokio::test]
async fn the_identity_and_the_package_are_needed_and_never_made_up() {
    let told = refused(&[("RUNTIME_MODE", "single"), ("DEPLOYMENT_ID", "d-1"), ("HOSTNAME", "box")]).await;
    for name in ["AGENT_APP_ID", "PACKAGE_URL", "is required"] {
        assert!(told.contains(name), "{name} in {told}");
    }
    let told = refused(&[("PACKAGE_URL", "/tmp/x.apkg"), ("AGENT_APP_ID", "")]).await;
    assert!(told.contains("AGENT_APP_ID") && !told.contains("PACKAGE_URL ("), "{told}");
    let told = refused(&[("AGENT_APP_ID", "x")]).await;
    assert!(told.contains("PACKAGE_URL") && !told.contains("AGENT_APP_ID ("), "{told}");
}

#[tokio::test]
async fn all_faults_are_told_at_once_and_the_process_ends_with_64() {
    let faults = [
        ("AGENT_APP_ID", "no spaces"),
        ("PACKAGE_URL", "ftp://x/y.apkg"),
        ("PACKAGE_SHA256", "abc"),
        ("BASE_PATH", "/a/../b"),
        ("REST_PORT", "0"),
        ("A2A_PORT", "random"),
        ("UI_PORT", "65536"),
        ("ROOT_ROUTES", "perhaps"),
        ("BOOT_BUDGET_MS", "soon"),
    ];
    let told = refused(&faults).await;
    for (name, _) in faults {
        assert!(told.contains(&format!("{name} (environment)")), "{name} in {told}");
    }
}

#[tokio::test]
async fn ports_are_numbers_from_1_to_65535_and_distinct() {
    let needed = [("AGENT_APP_ID", ID), ("PACKAGE_URL", "/tmp/x.apkg")];
    for (name, value) in [
        ("REST_PORT", "0"),
        ("REST_PORT", "http"),
        ("A2A_PORT", "-1"),
        ("UI_PORT", "70000"),
        ("UI_PORT", "50051"),
        ("A2A_PORT", "8080"),
    ] {
        let told = refused(&[&needed[..], &[(name, value)]].concat()).await;
        assert!(told.contains(name) && told.contains(value), "{name}={value}: {told}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_start_and_no_other_is_chosen() {
    for name in ["REST_PORT", "A2A_PORT", "UI_PORT"] {
        let place = scratch();
        let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = taken.local_addr().expect("it is bound").port().to_string();
        let mut par = serving(&saying("x"), place.path()).env(name, &port).allow("start_failed").launch();
        let status = par.exit().await;
        assert_eq!(status.code(), Some(70), "{name}: {status}");
        let told = par.everything_said();
        assert!(told.contains(&port) && told.contains("in use"), "{name}: {told}");
        assert!(!told.contains("\"download\""), "{name}: nothing was fetched: {told}");
    }
}

#[tokio::test]
async fn the_path_of_the_agent_is_normalised() {
    let place = scratch();
    let word = json!("yes");
    for (base, path) in [(None, "/agents/app-7f3a"), (Some("//team//agent//"), "/team/agent")] {
        let builder = serving(&saying("yes"), place.path());
        let builder = base.into_iter().fold(builder, |builder, base| builder.env("BASE_PATH", base));
        let par = builder.start().await;
        let ready = super::line(&par, "ready");
        assert_eq!(ready["details"]["base_path"], path);
        // The identity works in all routes of agents whatever the base path is.
        assert_eq!(par.http.invoke(ID, &json!({})).await.ok(), word, "{path}");
        assert_eq!(par.http.invoke("tiny", &json!({})).await.ok(), word, "{path}");
    }
}
