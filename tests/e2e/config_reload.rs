//! SIGHUP: the configuration is read again, and what has changed takes effect at once or not at all.

use std::{fs, path::Path};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Answered, Line, Par, ParBuilder, forge::mac_signed, forge::seconds, par, scratch};

/// A runtime with the echo agent and this file of settings.
fn configured(file: &Path, settings: &Value) -> ParBuilder {
    write(file, settings);
    par().production().agent("echo").env("PAR_CONFIG", file.to_string_lossy())
}

fn write(file: &Path, settings: &Value) {
    fs::write(file, settings.to_string()).expect("a file");
}

/// What the log says about the next signal.
async fn hang_up(par: &Par) -> Line {
    let tells = |line: &Line| matches!(line.event(), "config_reloaded" | "config_not_reloaded");
    let before = par.lines().iter().filter(|line| tells(line)).count();
    par.process().signal(Signal::HUP);
    crate::harness::eventually("the signal is answered", async || {
        par.lines().into_iter().filter(|line| tells(line)).nth(before)
    })
    .await
}

async fn echo(par: &Par, token: &str) -> u16 {
    let call = par.http.request(Method::POST, "/agents/echo/invoke").bearer_auth(token);
    call.json(&json!(1)).answer().await.status
}

#[tokio::test]
async fn limits_and_levels_change_at_once_and_what_was_used_goes_on_to_count() {
    let folder = scratch();
    let file = folder.path().join("par.yaml");
    let settings =
        |calls: u64, level: &str| json!({"limits": {"tenant_daily_calls": calls}, "log": {"level": level}});
    let par = configured(&file, &settings(2, "info")).start().await;
    for status in [200, 200, 429] {
        assert_eq!(echo(&par, "").await, status);
    }
    write(&file, &settings(3, "debug"));
    let told = hang_up(&par).await;
    assert_eq!(told.event(), "config_reloaded", "{}", told.text());
    assert!(told.mentions("limits.tenant_daily_calls") && told.mentions("log.level"), "{}", told.text());
    for status in [200, 429] {
        assert_eq!(echo(&par, "").await, status, "two before, one since");
    }
    let levels = par.operator().get("/runtime/logs/level").await.ok();
    assert_eq!((&levels["level"], &levels["configured"]), (&json!("debug"), &json!("debug")));
    // Nothing is limited any more, and then again.
    write(&file, &json!({}));
    assert_eq!(hang_up(&par).await.event(), "config_reloaded");
    assert_eq!(echo(&par, "").await, 200);
    write(&file, &settings(4, "info"));
    assert_eq!(hang_up(&par).await.event(), "config_reloaded");
    for status in [200, 429] {
        assert_eq!(echo(&par, "").await, status, "what nobody counted does not count");
    }
    let told = hang_up(&par).await;
    assert_eq!((told.event(), told.mentions("changed\":\"[]")), ("config_reloaded", true), "{}", told.text());
}

#[tokio::test]
async fn a_secret_in_a_file_is_replaced_under_load_without_a_wrong_answer() {
    let folder = scratch();
    let (file, secret) = (folder.path().join("par.yaml"), folder.path().join("secret"));
    let [first, second] =
        ["the first secret, of more than thirty-two bytes", "another secret, of more than thirty-two bytes"];
    let token = |secret: &str| {
        let claims = json!({"iss": "https://own.example", "aud": "par", "sub": "ann", "exp": seconds(600)});
        mac_signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), secret.as_bytes())
    };
    let adapter = json!({"type": "shared_secret", "secret": format!("file:{}", secret.display()), "issuer": "https://own.example", "audience": "par"});
    let settings = json!({"identity": {"adapters": [adapter]}});
    fs::write(&secret, first).expect("a file");
    let par = configured(&file, &settings).start().await;
    assert_eq!((echo(&par, &token(first)).await, echo(&par, &token(second)).await), (200, 401));

    // Both count while one replaces the other; nobody who holds either meets a gap.
    let both = json!({"type": "shared_secret", "secret": [format!("file:{}", secret.display()), second], "issuer": "https://own.example", "audience": "par"});
    write(&file, &json!({"identity": {"adapters": [both]}}));
    let (http, held) = (par.http.clone(), token(first));
    let load = tokio::spawn(async move {
        let client = http.with_bearer(&held);
        for call in 0..400 {
            assert_eq!(client.invoke("echo", &json!(1)).await.status, 200, "call {call}");
        }
    });
    let told = hang_up(&par).await;
    assert_eq!(told.event(), "config_reloaded");
    assert!(told.mentions("identity.adapters") && !told.mentions(second), "{}", told.text());
    load.await.expect("no call failed");
    assert_eq!((echo(&par, &token(first)).await, echo(&par, &token(second)).await), (200, 200));

    // What the reference leads to is what counts: the file of settings stays as it is.
    fs::write(&secret, second).expect("a file");
    assert_eq!(hang_up(&par).await.event(), "config_reloaded");
    assert_eq!((echo(&par, &token(first)).await, echo(&par, &token(second)).await), (401, 200));
}

#[tokio::test]
async fn one_fault_or_one_key_for_a_restart_keeps_everything_as_it_was() {
    let folder = scratch();
    let file = folder.path().join("par.yaml");
    let par = configured(&file, &json!({"limits": {"tenant_daily_calls": 1}}))
        .allow("config_not_reloaded")
        .start()
        .await;
    assert_eq!(echo(&par, "").await, 200);
    let more = |other: Value| {
        let mut settings = json!({"limits": {"tenant_daily_calls": 9}, "log": {"level": "debug"}});
        for (key, value) in other.as_object().expect("members") {
            settings[key] = value.clone();
        }
        settings.to_string()
    };
    let issuer = json!({"issuer": "https://own.example", "audience": "par"});
    for (text, words) in [
        (
            more(json!({"server": {"threads": 3}, "rollout": {"parked": 1}})),
            &["rollout.parked", "server.threads"][..],
        ),
        (more(json!({"identity": issuer})), &["identity.audience", "identity.issuer"]),
        (
            more(json!({"log": {"level": "loud"}, "limits": {"tenant_rate": "fast"}})),
            &["log.level", "limits.tenant_rate"],
        ),
        (more(json!({"webhooks": {"url": "file:/nowhere/at/all"}})), &["webhooks.url", "cannot be read"]),
        ("limits: [".to_owned(), &["par.yaml"]),
    ] {
        fs::write(&file, &text).expect("a file");
        let told = hang_up(&par).await;
        assert_eq!(told.event(), "config_not_reloaded", "{text}");
        assert!(words.iter().all(|word| told.mentions(word)), "{words:?}: {}", told.text());
        assert_eq!(echo(&par, "").await, 429, "{text}");
        assert_eq!(par.operator().get("/runtime/logs/level").await.ok()["level"], "info", "{text}");
    }
    fs::remove_file(&file).expect("a file");
    assert_eq!(hang_up(&par).await.event(), "config_not_reloaded");
    fs::write(&file, more(json!({}))).expect("a file");
    assert_eq!(hang_up(&par).await.event(), "config_reloaded");
    assert_eq!(echo(&par, "").await, 200);
}
