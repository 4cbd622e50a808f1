//! How issuers are asked for their keys: over TLS of their own authorities, and as often as they say.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    HttpsServer, eventually_within,
    forge::{KeyServer, SigningKey, seconds},
    issuer::AUDIENCE,
    par, scratch,
};

/// Longer than the shortest time for which keys are kept, and far shorter than the usual one.
const BRIEFLY: Duration = Duration::from_secs(90);

#[tokio::test]
async fn an_issuer_behind_an_authority_of_its_own_is_believed_only_where_that_is_named() {
    let folder = scratch();
    let (server, key) = (HttpsServer::start(folder.path()).await, SigningKey::new("k"));
    let issuer = server.url("");
    let discovery = json!({"issuer": issuer, "jwks_uri": server.url("/keys")});
    server.gives("/.well-known/openid-configuration", discovery.to_string().into_bytes());
    server.gives("/keys", json!({"keys": [key.jwk()]}).to_string().into_bytes());
    let claims = json!({"iss": issuer, "aud": AUDIENCE, "sub": "somebody", "exp": seconds(600)});
    let token = key.signed(&key.header().to_string(), &claims.to_string());
    let believing = || {
        // The verifier says it as well, by a word of its own.
        let builder = par().production().agent("echo").allow("issuer_unreachable").allow("log");
        builder.env("OIDC_ISSUER", &issuer).env("OIDC_AUDIENCE", AUDIENCE)
    };

    let plain = believing().start().await;
    let answer = plain.http.with_bearer(&token).invoke("echo", &json!(1)).await;
    answer.problem(503, "identity_unavailable");
    plain
        .wait_for_line("why", |line| line.event() == "issuer_unreachable" && line.mentions("certificate"))
        .await;
    assert_eq!(server.asked(), 0, "nothing is said to a server that nobody vouches for");

    let named = believing().setting("identity.ca", server.authorities()).start().await;
    eventually_within(BRIEFLY, "its keys are known", async || {
        let answer = named.http.with_bearer(&token).invoke("echo", &json!(1)).await;
        (answer.status == 200).then_some(())
    })
    .await;
    named.http.invoke("echo", &json!(1)).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn keys_are_asked_for_as_often_as_their_issuer_says() {
    let key = SigningKey::new("k");
    let (brief, long) = (KeyServer::start(&[&key]).await, KeyServer::start(&[&key]).await);
    brief.caches("public, max-age=60");
    long.caches("public, max-age=86400");
    let tree = |server: &KeyServer| json!({"issuer": server.url(), "audience": AUDIENCE});
    let par = par()
        .production()
        .agent("echo")
        .setting("identity.issuers", json!([tree(&brief), tree(&long)]))
        .start()
        .await;
    for server in [&brief, &long] {
        let token = key.signed(&key.header().to_string(), &server.claims().to_string());
        par.http.with_bearer(&token).invoke("echo", &json!(1)).await.ok();
    }
    let asked = |server: &KeyServer| server.asked().iter().filter(|path| *path == "/keys").count();
    let first = (asked(&brief), asked(&long));
    eventually_within(BRIEFLY, "the keys of the brief one are asked for again", async || {
        (asked(&brief) > first.0).then_some(())
    })
    .await;
    assert_eq!(asked(&long), first.1, "the other one has said that it need not be asked");
}
