//! Attacks on tokens: every one is refused before anything is looked up, for its own reason, and leaves no trace of the
//! token in the log.

mod table;

use reqwest::{Method, header::AUTHORIZATION};
use serde_json::{Value, json};

use crate::harness::{
    Answer, Answered, Package, Par, eventually,
    forge::{KeyServer, SigningKey},
    issuer::AUDIENCE,
    par, scratch,
};
use table::Attack;

/// Says how often it was called.
const COUNTING: &str = "calls = 0\ndef run(input):\n    global calls\n    calls += 1\n    return calls\n";

/// What all attacks need.
struct Scene {
    issuer: KeyServer,
    key: SigningKey,
    /// Publishes the attacker's key under the name of ours.
    attacker: KeyServer,
    attackers_key: SigningKey,
    par: Par,
}

impl Scene {
    async fn set() -> Self {
        let (key, attackers_key) = (SigningKey::new("k1"), SigningKey::new("k1"));
        let issuer = KeyServer::start(&[&key]).await;
        let attacker = KeyServer::start(&[&attackers_key]).await;
        let scratch = scratch();
        let package = Package::new("counting", "1.0.0", "entrypoint: main:run\nworkers: {min: 1, max: 1}")
            .file("main.py", COUNTING);
        // At the most talkative level: not even there may a token appear.
        let par = trusting(&issuer).source(package.apkg(scratch.path())).env("LOG_LEVEL", "trace");
        let par = par.start().await;
        Self { issuer, key, attacker, attackers_key, par }
    }

    /// A header with these members beside or instead of the right ones.
    fn header(&self, members: &Value) -> String {
        with(self.key.header(), members)
    }

    /// Claims with these members beside or instead of the right ones; `null` takes one away.
    fn claims(&self, members: &Value) -> String {
        with(self.issuer.claims(), members)
    }

    /// A token that only differs from a good one in these claims.
    fn claiming(&self, members: &Value) -> String {
        self.key.signed(&self.header(&json!({})), &self.claims(members))
    }

    /// A token that only differs from a good one in these members of its header.
    fn heading(&self, members: &Value) -> String {
        self.key.signed(&self.header(members), &self.claims(&json!({})))
    }

    fn good(&self) -> String {
        self.claiming(&json!({}))
    }

    async fn call(&self, authorization: &str) -> Answer {
        let request = self.par.http.request(Method::POST, "/agents/counting/invoke").json(&json!({}));
        request.header(AUTHORIZATION, authorization).answer().await
    }

    /// How often the agent was called before this call.
    async fn calls(&self) -> u64 {
        self.call(&format!("Bearer {}", self.good())).await.ok().as_u64().expect("a number") - 1
    }

    /// What the log says was decided about an answered request.
    async fn decision(&self, answer: &Answer) -> String {
        let line = self.par.wait_for_line("its access line", |line| {
            line.event() == "access" && line["request_id"] == answer.header("x-request-id")
        });
        line.await["details"]["decision"].as_str().unwrap_or_default().to_owned()
    }

    /// No part of these is in anything that was said, at any level.
    fn leaves_no_trace<'a>(&self, sent: impl IntoIterator<Item = &'a str>) {
        let said = self.par.everything_said();
        for part in sent.into_iter().flat_map(|sent| sent.split(['.', ' '])) {
            let found = part.get(..16).and_then(|begin| said.find(begin));
            assert_eq!(found.map(|at| &said[at.saturating_sub(200)..at + 16]), None, "a part of a token");
        }
    }
}

/// A `par` that believes this issuer.
fn trusting(issuer: &KeyServer) -> crate::harness::ParBuilder {
    par().production().env("OIDC_ISSUER", issuer.url()).env("OIDC_AUDIENCE", AUDIENCE)
}

fn with(mut base: Value, members: &Value) -> String {
    for (name, value) in members.as_object().expect("an object") {
        base[name] = value.clone();
    }
    let members = base.as_object_mut().expect("an object");
    members.retain(|_, value| !value.is_null());
    base.to_string()
}

#[tokio::test]
async fn every_attack_on_tokens_is_refused_for_its_own_reason() {
    let scene = Scene::set().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        scene.call(&format!("{scheme} {}", scene.good())).await.ok();
    }
    let before = scene.calls().await;
    let asked = scene.issuer.asked().len();
    let mut wrong = vec![];
    let attacks = table::all(&scene);
    for Attack { name, authorization, why } in &attacks {
        let answer = scene.call(authorization).await;
        let told = (answer.status, scene.decision(&answer).await);
        if told != (401, (*why).to_owned()) {
            wrong.push(format!("{name}: {told:?} instead of {why}"));
            continue;
        }
        let problem = answer.problem(401, "unauthenticated");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{name}: {problem}");
        assert!(!problem["detail"].as_str().expect("a text").contains(why), "{name}: {problem}");
    }
    scene.leaves_no_trace(attacks.iter().map(|attack| attack.authorization.as_str()));
    assert!(wrong.is_empty(), "{} attacks:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(scene.calls().await, before + 1, "the agent heard of none of them");
    assert_eq!(scene.attacker.asked(), [""; 0], "nobody was asked because a token said so");
    let more = scene.issuer.asked().len() - asked;
    assert!(more <= 2, "unknown keys made {more} requests to the issuer");
}

#[tokio::test]
async fn a_token_comes_in_one_header_and_nowhere_else() {
    let scene = Scene::set().await;
    let (good, other) = (scene.good(), scene.claiming(&json!({"sub": "somebody else"})));
    let before = scene.calls().await;
    let forged = scene.attackers_key.signed(&scene.header(&json!({})), &scene.claims(&json!({})));
    for (first, second) in [(&good, &good), (&good, &other), (&good, &forged), (&forged, &good)] {
        let request = scene.par.http.request(Method::POST, "/agents/counting/invoke").json(&json!({}));
        let request = request.header(AUTHORIZATION, format!("Bearer {first}"));
        let answer = request.header(AUTHORIZATION, format!("Bearer {second}")).answer().await;
        answer.problem(401, "unauthenticated");
        assert_eq!(scene.decision(&answer).await, "ambiguous");
    }
    for (path, body) in [
        (format!("/agents/counting/invoke?access_token={good}"), json!({})),
        (format!("/agents/counting/invoke?token={good}&authorization=Bearer%20{good}"), json!({})),
        ("/agents/counting/invoke".to_owned(), json!({"access_token": good})),
        ("/runtime/agents/counting/invoke".to_owned(), json!({"input": {}, "access_token": good})),
    ] {
        let answer = scene.par.http.post(&path, &body).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(scene.decision(&answer).await, "missing");
    }
    for name in ["cookie", "x-authorization", "proxy-authorization", "x-par-caller", "x-par-role"] {
        let request = scene.par.http.request(Method::POST, "/agents/counting/invoke").json(&json!({}));
        for value in [format!("Bearer {good}"), format!("access_token={good}"), "operator".to_owned()] {
            let request = request.try_clone().expect("a body in memory").header(name, value);
            request.answer().await.problem(401, "unauthenticated");
        }
    }
    let huge = scene.claiming(&json!({"filler": "x".repeat(1 << 20)}));
    let request = scene.par.http.request(Method::POST, "/agents/counting/invoke").json(&json!({}));
    // Whoever still sends when the answer comes may only see that the connection is closed.
    if let Ok(answer) = request.header(AUTHORIZATION, format!("Bearer {huge}")).try_answer().await {
        assert!(matches!(answer.status, 400 | 401 | 431), "{}", answer.status);
    }
    scene.leaves_no_trace([&good, &forged, &huge].map(String::as_str));
    assert_eq!(scene.calls().await, before + 1, "the agent heard of none of them");
}

#[tokio::test]
async fn a_token_of_a_removed_key_is_not_good_any_more_not_even_one_that_was() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
    let issuer = KeyServer::start(&[&old]).await;
    let par = trusting(&issuer).agent("echo").start().await;
    let signed = |key: &SigningKey, sub: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = json!(sub);
        par.http.with_bearer(&key.signed(&key.header().to_string(), &claims.to_string()))
    };
    let known = signed(&old, "who came before");
    known.invoke("echo", &json!(1)).await.ok();
    issuer.publishes(&[&new]);
    // A key that nobody knows yet makes `par` look, and then it knows what is gone.
    eventually("the new key is known", async || {
        (signed(&new, "who comes now").invoke("echo", &json!(1)).await.status == 200).then_some(())
    })
    .await;
    for client in [known, signed(&old, "who comes too late")] {
        client.invoke("echo", &json!(1)).await.problem(401, "unauthenticated");
    }
}
