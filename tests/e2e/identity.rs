//! Who calls is proved by tokens of a certified OpenID provider, over its whole life: it rotates its keys, goes away,
//! and comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    IdentityProvider, Package, eventually, eventually_within,
    forge::{KeyServer, SigningKey, seconds},
    issuer::AUDIENCE,
    par, scratch,
};

/// Tells who calls it, and what of `Authorization` it got.
const MIRROR: &str = "def run(input, context):\n    return [context.caller, context.authorization]\n";
/// Longer than the shortest pause between two refreshes of one issuer's keys.
const NEXT_REFRESH: Duration = Duration::from_secs(60);

/// A package that shows what agents see of their caller.
fn mirror(name: &str, manifest: &str) -> Package {
    Package::new(name, "1.0.0", &format!("entrypoint: main:run\n{manifest}")).file("main.py", MIRROR)
}

#[tokio::test]
async fn tokens_of_every_algorithm_and_flow_say_who_calls() {
    let scratch = scratch();
    let issuer = IdentityProvider::start().await;
    let claims = json!({"tenant": "acme", "roles": ["writers", "billing"]});
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
        issuer.knows_as(json!({"id": alg, "claims": claims, "alg": alg})).await;
    }
    issuer.knows("zoe", claims).await;
    let par = issuer
        .believed_by(par())
        .source(mirror("mirror", "").apkg(scratch.path()))
        .env("LOG_LEVEL", "trace")
        .start()
        .await;
    let mut tokens = vec![("zoe", issuer.token_by_code("zoe").await, json!(["agents:call"]))];
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
        tokens.push((alg, issuer.token(alg).await, json!(["agents:call", "agents:read"])));
    }
    for (subject, token, scopes) in &tokens {
        let client = par.http.with_bearer(token);
        let caller = json!({
            "subject": subject, "tenant": "acme", "roles": ["billing", "writers"], "scopes": scopes,
        });
        // The first is verified, the second remembered.
        for _ in 0..2 {
            assert_eq!(client.invoke("mirror", &json!({})).await.ok(), json!([caller, null]));
        }
        let answer = client.envelope("mirror", &json!({"input": {}})).await.ok();
        assert_eq!(answer["output"], json!([caller, null]));
    }
    for (_, token, _) in &tokens {
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
        for line in par.lines() {
            let text = line.text();
            // Headers begin alike; what tells them apart is behind.
            let tail = &header[header.len() - 16..];
            assert!(![tail, &claims[..40], signature].iter().any(|part| text.contains(part)), "{text}");
        }
    }
}

#[tokio::test]
async fn tokens_for_others_and_of_others_are_refused() {
    let (issuer, foreign) = (IdentityProvider::start().await, IdentityProvider::start().await);
    for provider in [&issuer, &foreign] {
        provider.knows("billing", json!({})).await;
    }
    let par = issuer.believed_by(par()).agent("echo").start().await;
    let for_others = issuer.token_for("billing", "https://other.example").await;
    let (of_others, good) = (foreign.token("billing").await, issuer.token("billing").await);
    for (token, why) in [(&for_others, "audience"), (&of_others, "issuer")] {
        let answer = par.http.with_bearer(token).invoke("echo", &json!(1)).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"par\", error=\"invalid_token\"");
        let id = answer.header("x-request-id");
        let line = par.wait_for_line("its line", |line| line["request_id"] == id).await;
        assert_eq!(line["details"]["decision"], why);
    }
    assert_eq!(foreign.keys_asked().await, 0, "nobody asks an issuer that is not configured");
    let bare = par.http.invoke("echo", &json!(1)).await;
    bare.problem(401, "unauthenticated");
    assert_eq!(bare.header("www-authenticate"), "Bearer realm=\"par\"", "RFC 6750, 3.1: no error code");
    par.http.with_bearer(&good).invoke("echo", &json!(1)).await.ok();
}

#[tokio::test]
async fn a_token_ends_when_it_says_even_if_it_is_remembered() {
    let issuer = IdentityProvider::start().await;
    issuer.knows_as(json!({"id": "brief", "claims": {}, "ttl": 4})).await;
    let par = issuer.believed_by(par()).setting("identity.leeway", "0s").agent("echo").start().await;
    // Keys are known from here on, so that the next token is verified at once.
    par.http.with_bearer(&issuer.token("brief").await).invoke("echo", &json!(1)).await.ok();
    let token = issuer.token("brief").await;
    let begin = seconds(0);
    let client = par.http.with_bearer(&token);
    client.invoke("echo", &json!(1)).await.ok();
    let ended = eventually("it ends", async || {
        let answer = client.invoke("echo", &json!(1)).await;
        (answer.status != 200).then_some(answer)
    });
    ended.await.problem(401, "unauthenticated");
    let lasted = seconds(0) - begin;
    assert!((3..=6).contains(&lasted), "{lasted} s");
}

#[tokio::test]
async fn keys_rotate_without_a_failed_call() {
    let issuer = Arc::new(IdentityProvider::start().await);
    for id in 0..4 {
        issuer.knows(&format!("caller-{id}"), json!({})).await;
    }
    let par = issuer.believed_by(par()).agent("echo").start().await;
    let stop = Arc::<AtomicBool>::default();
    let calls = Arc::<AtomicUsize>::default();
    // Every call with a token of its own: whoever calls right after the rotation brings a key that is not known yet.
    let callers = (0..4).map(|id| {
        let (issuer, stop, calls, http) =
            (Arc::clone(&issuer), Arc::clone(&stop), Arc::clone(&calls), par.http.clone());
        tokio::spawn(async move {
            let mut failed = vec![];
            while !stop.load(Ordering::Relaxed) {
                let token = issuer.token(&format!("caller-{id}")).await;
                let answer = http.with_bearer(&token).invoke("echo", &json!(1)).await;
                if answer.status != 200 {
                    failed.push(answer.text());
                }
                calls.fetch_add(1, Ordering::Relaxed);
            }
            failed
        })
    });
    let callers: Vec<_> = callers.collect();
    let more = async || {
        let enough = calls.load(Ordering::Relaxed) + 40;
        eventually("more calls", async || (calls.load(Ordering::Relaxed) >= enough).then_some(())).await;
    };
    more().await;
    let earlier = issuer.token("caller-0").await;
    let before = issuer.keys_asked().await;
    issuer.rotates().await;
    more().await;
    par.http.with_bearer(&earlier).invoke("echo", &json!(1)).await.ok();
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert_eq!(caller.await.expect("a caller that did not panic"), [""; 0]);
    }
    assert_eq!(issuer.keys_asked().await, before + 1, "one look for all who waited");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_does_not_reach_the_issuer() {
    let issuer = IdentityProvider::start().await;
    issuer.knows("billing", json!({})).await;
    let par = issuer.believed_by(par()).agent("echo").start().await;
    let client = par.http.with_bearer(&issuer.token("billing").await);
    client.invoke("echo", &json!(1)).await.ok();
    let key = SigningKey::new("of nobody");
    let claims = json!({"iss": issuer.url(), "aud": AUDIENCE, "sub": "mallory", "exp": seconds(600)});
    let before = issuer.keys_asked().await;
    let floods = (0..8).map(|flood| {
        let header = |call| json!({"alg": "RS256", "kid": format!("{flood}-{call}")}).to_string();
        let tokens: Vec<_> = (0..40).map(|call| key.signed(&header(call), &claims.to_string())).collect();
        let http = par.http.clone();
        tokio::spawn(async move {
            for token in tokens {
                http.with_bearer(&token).invoke("echo", &json!(1)).await.problem(401, "unauthenticated");
            }
        })
    });
    for flood in floods.collect::<Vec<_>>() {
        flood.await.expect("a flood that did not panic");
        client.invoke("echo", &json!(1)).await.ok();
    }
    let asked = issuer.keys_asked().await - before;
    assert!(asked <= 2, "320 unknown keys made {asked} requests");
}

#[tokio::test]
async fn without_its_issuer_known_keys_go_on_and_unknown_ones_wait() {
    let issuer = IdentityProvider::start().await;
    issuer.knows("billing", json!({})).await;
    let par = issuer.believed_by(par()).agent("echo").allow("issuer_unreachable").start().await;
    let known = par.http.with_bearer(&issuer.token("billing").await);
    known.invoke("echo", &json!(1)).await.ok();
    let unseen = par.http.with_bearer(&issuer.token("billing").await);
    issuer.rotates().await;
    let of_new_keys = par.http.with_bearer(&issuer.token("billing").await);
    issuer.goes_away().await;

    for client in [&known, &unseen, &known] {
        client.invoke("echo", &json!(1)).await.ok();
    }
    let answer = of_new_keys.invoke("echo", &json!(1)).await;
    assert!(matches!(answer.status, 401 | 503), "{}", answer.text());
    par.wait_for_line("the warning", |line| line.event() == "issuer_unreachable").await;

    issuer.comes_back().await;
    eventually_within(NEXT_REFRESH, "the new keys are known", async || {
        (of_new_keys.invoke("echo", &json!(1)).await.status == 200).then_some(())
    })
    .await;
    known.invoke("echo", &json!(1)).await.ok();
    let warned =
        par.lines().iter().filter(|line| line.event() == "issuer_unreachable" && line.is_alarm()).count();
    assert_eq!(warned, 1, "once for the whole time");
}

#[tokio::test]
async fn an_issuer_that_is_away_at_the_start_is_waited_for() {
    let issuer = IdentityProvider::start().await;
    issuer.knows("billing", json!({})).await;
    let token = issuer.token("billing").await;
    issuer.goes_away().await;
    let par = issuer.believed_by(par()).agent("echo").allow("issuer_unreachable").start().await;
    let client = par.http.with_bearer(&token);
    let answer = client.invoke("echo", &json!(1)).await;
    answer.problem(503, "identity_unavailable");
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    par.http.invoke("echo", &json!(1)).await.problem(401, "unauthenticated");
    assert_eq!(par.http.get("/health").await.status, 200, "a probe needs no issuer");
    issuer.comes_back().await;
    eventually_within(NEXT_REFRESH, "it is found by itself", async || {
        (client.invoke("echo", &json!(1)).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn several_issuers_stand_side_by_side_each_for_its_own_audience() {
    let scratch = scratch();
    let (first, second) = (IdentityProvider::start().await, IdentityProvider::start().await);
    for provider in [&first, &second] {
        provider.knows("billing", json!({"tenant": provider.url()})).await;
    }
    let key = SigningKey::new("k");
    let third = KeyServer::start(&[&key]).await;
    let trees = json!([
        {"issuer": second.url(), "audience": "https://second.example"},
        {"issuer": third.url(), "audience": AUDIENCE, "jwks_uri": format!("{}/keys", third.url())},
    ]);
    let par = first
        .believed_by(par())
        .source(mirror("mirror", "").apkg(scratch.path()))
        .setting("identity.issuers", trees)
        .start()
        .await;
    let by_hand = key.signed(&key.header().to_string(), &third.claims().to_string());
    for (token, tenant) in [
        (first.token("billing").await, first.url()),
        (second.token_for("billing", "https://second.example").await, second.url()),
        (by_hand, "somebody".to_owned()),
    ] {
        let told = par.http.with_bearer(&token).invoke("mirror", &json!({})).await.ok();
        assert_eq!(told[0]["tenant"], tenant.as_str());
    }
    for token in [second.token("billing").await, first.token_for("billing", "https://second.example").await] {
        par.http.with_bearer(&token).invoke("mirror", &json!({})).await.problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn claims_of_the_common_providers_are_understood() {
    let scratch = scratch();
    let issuer = IdentityProvider::start().await;
    let usual = issuer.believed_by(par()).source(mirror("mirror", "").apkg(scratch.path()));
    let par = usual.start().await;
    let namespace = "https://agents.example/roles";
    for (name, claims, tenant, roles) in [
        ("keycloak", json!({"realm_access": {"roles": ["b", "a"]}}), "keycloak", json!(["a", "b"])),
        ("cognito", json!({"cognito:groups": ["admins"], "tenant_id": "t1"}), "t1", json!(["admins"])),
        ("entra", json!({"roles": ["Task.Write"], "tid": "t2"}), "t2", json!(["Task.Write"])),
        ("auth0", json!({namespace: ["editor"], "org_id": "org_1"}), "org_1", json!([])),
        ("okta", json!({"groups": ["everyone"], "roles": ["x"]}), "okta", json!(["everyone", "x"])),
    ] {
        issuer.knows(name, claims).await;
        let told = par.http.with_bearer(&issuer.token(name).await).invoke("mirror", &json!({})).await.ok();
        assert_eq!((&told[0]["tenant"], &told[0]["roles"]), (&json!(tenant), &roles), "{name}");
    }
    let configured = par
        .stop()
        .await
        .setting("identity.role_claims", json!([format!("[\"{namespace}\"]"), "realm_access.roles"]))
        .setting("identity.tenant_claims", json!(["client_id"]));
    let par = configured.start().await;
    for (name, roles) in [("auth0", json!(["editor"])), ("keycloak", json!(["a", "b"])), ("entra", json!([]))]
    {
        let told = par.http.with_bearer(&issuer.token(name).await).invoke("mirror", &json!({})).await.ok();
        assert_eq!((&told[0]["tenant"], &told[0]["roles"]), (&json!(name), &roles), "{name}");
    }
}

#[tokio::test]
async fn every_decision_is_one_line_that_names_the_tenant_and_hides_the_subject() {
    let issuer = IdentityProvider::start().await;
    issuer.knows("with-a-tenant", json!({"tenant": "acme"})).await;
    issuer.knows("without-one", json!({})).await;
    let par = issuer.believed_by(par()).agent("echo").start().await;
    let line_of = async |id: &str| {
        par.wait_for_line("its line", |line| line.event() == "access" && line["request_id"] == id).await
    };
    let mut subjects = vec![];
    for (name, tenant) in [("with-a-tenant", "acme"), ("without-one", "without-one")] {
        let answer = par.http.with_bearer(&issuer.token(name).await).invoke("echo", &json!(1)).await;
        answer.ok();
        let line = line_of(answer.header("x-request-id")).await;
        assert_eq!(line["tenant"], tenant);
        assert_eq!(line["details"]["decision"], "allowed");
        let subject = line["details"]["subject"].as_str().expect("a text").to_owned();
        assert!(subject.len() >= 8 && !subject.contains(name), "{subject}");
        subjects.push(subject);
    }
    assert_ne!(subjects[0], subjects[1]);
    let answer = par.http.invoke("echo", &json!(1)).await;
    answer.problem(401, "unauthenticated");
    let line = line_of(answer.header("x-request-id")).await;
    assert_eq!((&line["tenant"], &line["details"]["decision"]), (&Value::Null, &json!("missing")));
    assert!(line["details"]["subject"].is_null(), "{}", line.text());
    for line in par.lines() {
        assert!(!line.text().contains("\"with-a-tenant"), "a subject that is no tenant: {}", line.text());
    }
    let counted = par.metrics().get("/metrics").await.text();
    for outcome in ["ok", "missing"] {
        let series = format!("par_auth_total{{outcome=\"{outcome}\"}} ");
        assert!(counted.contains(&series) && !counted.contains(&format!("{series}0\n")), "{series}");
    }
}

#[tokio::test]
async fn authorization_reaches_only_agents_that_ask_for_it() {
    let issuer = IdentityProvider::start().await;
    issuer.knows("billing", json!({})).await;
    let scratch = scratch();
    let par = issuer
        .believed_by(par())
        .source(mirror("plain", "").apkg(scratch.path()))
        .source(mirror("asks", "forward_authorization: true").apkg(scratch.path()))
        .start()
        .await;
    let token = issuer.token("billing").await;
    let client = par.http.with_bearer(&token);
    assert_eq!(client.invoke("plain", &json!({})).await.ok()[1], Value::Null);
    assert_eq!(client.invoke("asks", &json!({})).await.ok()[1], format!("Bearer {token}"));
    let forged = json!({"input": {}, "context": {"authorization": "forged"}});
    let told = client.envelope("asks", &forged).await.ok();
    assert_eq!(told["output"][1], format!("Bearer {token}"));
}
