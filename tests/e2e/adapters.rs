//! Whoever may prove who calls besides an OpenID provider: chosen and combined in the file.

use std::fs;

use reqwest::{Certificate, Identity, Method};
use serde_json::{Value, json};

use crate::harness::{
    Answer, Answered, Authority, Client, Issued, Output, Par, ParBuilder,
    endpoint::Endpoint,
    eventually,
    forge::{SigningKey, mac_signed, seconds, unsigned},
    par, par_command, scratch,
};

mod elsewhere;

use elsewhere::{checks, introspection, knows_tokens};

const SECRET: &str = "a shared secret of more than thirty-two bytes";
const ISSUER: &str = "https://own.example";
const AUDIENCE: &str = "par";
const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A runtime with the echo agent and these adapters.
fn guarded(adapters: Value) -> ParBuilder {
    par().production().agent("echo").env("JWT_SECRET", SECRET).setting("identity.adapters", adapters)
}

fn shared_secret() -> Value {
    json!({"type": "shared_secret", "secret": "env:JWT_SECRET", "issuer": ISSUER, "audience": AUDIENCE})
}

/// Claims of somebody, with these in the place of the usual ones.
fn claims(subject: &str, other: &Value) -> String {
    let mut claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": seconds(600)});
    for (name, value) in other.as_object().expect("members") {
        claims[name] = value.clone();
    }
    claims.to_string()
}

fn token(subject: &str, other: &Value) -> String {
    mac_signed(HS256, &claims(subject, other), SECRET.as_bytes())
}

async fn call(par: &Par, token: &str) -> Answer {
    par.http.with_bearer(token).invoke("echo", &json!(1)).await
}

/// The tenant of the access line of an answer.
async fn tenant(par: &Par, answer: &Answer) -> String {
    let id = answer.header("x-request-id").to_owned();
    let line =
        par.wait_for_line("the access line", |line| line.event() == "access" && line["request_id"] == *id);
    line.await["tenant"].as_str().unwrap_or_default().to_owned()
}

/// 401, and a challenge that says no more than it must.
#[track_caller]
fn refused(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    answer.problem(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"par\", error=\"invalid_token\"", "{what}");
}

#[tokio::test]
async fn a_shared_secret_lets_in_who_can_sign_with_it_and_nobody_else() {
    let par = guarded(json!([shared_secret()])).start().await;
    let ann = token("ann", &json!({"tenant": "acme"}));
    let answer = call(&par, &ann).await;
    assert_eq!(answer.ok(), json!(1));
    assert_eq!(tenant(&par, &answer).await, "acme");
    assert_eq!(tenant(&par, &call(&par, &token("ann", &json!({}))).await).await, "ann");

    let nothing = par.http.invoke("echo", &json!(1)).await;
    nothing.problem(401, "unauthenticated");
    assert_eq!(nothing.header("www-authenticate"), "Bearer realm=\"par\"");
    let everything = claims("ann", &json!({}));
    for (what, token) in [
        ("another secret", mac_signed(HS256, &everything, b"another secret of more than thirty-two bytes")),
        ("no signature", unsigned(r#"{"alg":"none"}"#, &everything)),
        ("another algorithm", mac_signed(r#"{"alg":"HS512"}"#, &everything, SECRET.as_bytes())),
        ("another audience", token("ann", &json!({"aud": "other"}))),
        ("another issuer", token("ann", &json!({"iss": "https://other.example"}))),
        ("over", token("ann", &json!({"exp": seconds(-600)}))),
        ("not yet", token("ann", &json!({"nbf": seconds(600)}))),
        ("nobody", token("", &json!({}))),
        ("opaque", "opaque".to_owned()),
        ("the operator's", par.operator_token()),
    ] {
        refused(&call(&par, &token).await, what);
    }
    for (role, packages, reload) in [("x", 403, 403), ("par-viewer", 200, 403), ("par-operator", 200, 200)] {
        let client = par.http.with_bearer(&token("ann", &json!({"roles": [role]})));
        assert_eq!(client.get("/runtime/packages").await.status, packages, "{role}");
        assert_eq!(client.post_empty("/runtime/reload").await.status, reload, "{role}");
    }
    assert_eq!(par.http.get("/health").await.status, 200);
    let said = par.everything_said();
    assert!(!said.contains(SECRET) && !said.contains(ann.rsplit('.').next().expect("a signature")));
}

#[tokio::test]
async fn a_file_of_keys_is_followed_while_it_changes() {
    let home = scratch();
    let (first, second) = (SigningKey::new("first"), SigningKey::new("second"));
    let file = home.path().join("keys.json");
    // As editors and orchestrators do it: a new file takes the place of the old one.
    let publish = |keys: &[&SigningKey]| {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        let beside = home.path().join("new");
        fs::write(&beside, json!({"keys": keys}).to_string()).expect("a file");
        fs::rename(beside, &file).expect("its place");
    };
    publish(&[&first]);
    let adapter = json!({"type": "jwks_file", "path": file, "issuer": ISSUER, "audience": AUDIENCE});
    let par = guarded(json!([adapter])).allow("keys_unreadable").start().await;
    let signed =
        |key: &SigningKey, subject: &str| key.signed(&key.header().to_string(), &claims(subject, &json!({})));
    let ann = signed(&first, "ann");
    let fits = async |key: &SigningKey, status: u16| {
        eventually("the keys are those of the file", async || {
            let fresh = signed(key, &format!("ann {}", seconds(0)));
            (call(&par, &fresh).await.status == status).then_some(())
        })
        .await;
    };
    assert_eq!(call(&par, &ann).await.ok(), json!(1));
    refused(&call(&par, &signed(&second, "ann")).await, "an unknown key");

    publish(&[&first, &second]);
    fits(&second, 200).await;
    assert_eq!(call(&par, &ann).await.ok(), json!(1));

    fs::write(&file, "{ not whole").expect("a file");
    par.wait_for_line("the broken file is told", |line| line.event() == "keys_unreadable").await;
    assert_eq!(call(&par, &signed(&first, "bob")).await.ok(), json!(1));
    assert_eq!(call(&par, &ann).await.ok(), json!(1));

    publish(&[&second]);
    fits(&first, 401).await;
    refused(&call(&par, &ann).await, "it was let in before, but its key is gone");
}

/// A client that shows a certificate, or none.
fn secured(par: &Par, authority: &Authority, shown: Option<&Issued>) -> Client {
    let trusted = fs::read(authority.certificate()).expect("a file");
    let trusted = Certificate::from_pem(&trusted).expect("a certificate");
    Client::secured(par.port, |builder| {
        let builder = builder.tls_certs_only([trusted]);
        match shown {
            Some(issued) => {
                builder.identity(Identity::from_pem(issued.whole().as_bytes()).expect("an identity"))
            }
            None => builder,
        }
    })
}

#[tokio::test]
async fn a_client_certificate_names_its_caller() {
    let (authority, foreign) = (Authority::new("the right one"), Authority::new("another one"));
    let server = authority.server("server");
    let mtls = json!({
        "type": "mtls", "subject": "cn", "tenant": "machines",
        "roles": {"robot": ["par-viewer"]}, "default_roles": [],
    });
    let par = guarded(json!([shared_secret(), mtls]))
        .env("TLS_CERT", server.chain.display().to_string())
        .env("TLS_KEY", server.key.display().to_string())
        .setting("tls.client_ca", authority.certificate().display().to_string())
        .setting("tls.client_auth", "optional")
        .start()
        .await;
    let (robot, other) = (authority.client("robot"), authority.client("other"));
    let with_robot = secured(&par, &authority, Some(&robot));
    let answer = with_robot.invoke("echo", &json!(1)).await;
    assert_eq!(answer.ok(), json!(1));
    assert_eq!(tenant(&par, &answer).await, "machines");
    assert_eq!(with_robot.get("/runtime/packages").await.status, 200);
    let with_other = secured(&par, &authority, Some(&other));
    assert_eq!(with_other.invoke("echo", &json!(1)).await.ok(), json!(1));
    with_other.get("/runtime/packages").await.problem(403, "forbidden");

    let without = secured(&par, &authority, None);
    without.invoke("echo", &json!(1)).await.problem(401, "unauthenticated");
    let stranger = foreign.client("robot");
    let stranger = secured(&par, &authority, Some(&stranger)).request(Method::GET, "/agents");
    assert!(stranger.try_answer().await.is_err(), "a foreign certificate ends the handshake");

    let answer = with_robot.with_bearer(&token("ann", &json!({}))).invoke("echo", &json!(1)).await;
    assert_eq!(tenant(&par, &answer).await, "ann", "a token says more than a certificate");
    refused(
        &with_robot.with_bearer("wrong").invoke("echo", &json!(1)).await,
        "a wrong token is not made good",
    );
}

#[tokio::test]
async fn one_file_combines_them_and_each_takes_what_is_its_own() {
    let home = scratch();
    let key = SigningKey::new("k");
    let file = home.path().join("keys.json");
    fs::write(&file, json!({"keys": [key.jwk()]}).to_string()).expect("a file");
    let endpoint = Endpoint::start(knows_tokens).await;
    let check = Endpoint::start(checks).await;
    let adapters = json!([
        {"type": "jwks_file", "path": file, "issuer": "https://file.example", "audience": AUDIENCE},
        shared_secret(),
        introspection(&endpoint.url()),
        {"type": "http_check", "url": check.url(), "headers": ["cookie"], "anonymous": true},
    ]);
    let par = guarded(adapters).env("CLIENT_SECRET", "hunter2-of-par").start().await;
    let of_file = claims("filed", &json!({"iss": "https://file.example"}));
    for (token, wanted) in [
        (key.signed(&key.header().to_string(), &of_file), "filed"),
        (token("shared", &json!({})), "shared"),
        ("good-asked".to_owned(), "asked"),
    ] {
        let answer = call(&par, &token).await;
        assert_eq!(answer.ok(), json!(1), "{wanted}");
        assert_eq!(tenant(&par, &answer).await, wanted);
    }
    assert_eq!((endpoint.questions().len(), check.questions().len()), (1, 0));
    let request = par.http.request(Method::POST, "/agents/echo/invoke").header("cookie", "session=right");
    assert_eq!(request.json(&json!(1)).answer().await.ok(), json!(1));
    let forged = mac_signed(r#"{"alg":"HS256","kid":"k"}"#, &of_file, key.public_pem.as_bytes());
    let refusal = call(&par, &forged).await;
    refused(&refusal, "a public key is no secret");
    assert_eq!(endpoint.questions().len(), 1, "who claims to be the file's is nobody else's");
}

#[tokio::test]
async fn faults_of_identity_are_told_all_at_once_with_their_places() {
    let home = scratch();
    let file = home.path().join("par.yaml");
    let text = "identity:
  issuer: https://id.example
  issuers: [{issuer: http://far.example, audience: par}, {issuer: https://a.example, audeince: par}]
  adapters:
    - {type: shared_secret, secret: hunter2, audience: par}
    - {type: introspection, url: https://id.example/i, client_id: par}
    - {type: mtls}
    - {type: magic}
";
    fs::write(&file, text).expect("a file");
    let mut command = par_command();
    command.arg("check").arg("-c").arg(&file);
    let checked = Output::of(command).await;
    assert_eq!(checked.code, 64, "{checked:?}");
    for name in [
        "identity.audience",
        "identity.issuers[0].issuer",
        "identity.issuers[1].audience",
        "identity.issuers[1].audeince",
        "identity.adapters[0].secret",
        "identity.adapters[1].client_secret",
        "identity.adapters[2].type",
        "identity.adapters[3].type",
    ] {
        let told = format!("{}{}", checked.stdout, checked.stderr);
        assert!(told.contains(&format!("{name} ")), "{name} is not told in {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let mut command = par_command();
    command.arg("serve").env("OIDC_ISSUER", "https://id.example");
    let started = Output::of(command).await;
    assert_eq!(started.code, 64, "{started:?}");
}

#[tokio::test]
async fn in_dev_identity_is_off_and_a_warning_says_so() {
    let par = par()
        .agent("echo")
        .env("JWT_SECRET", SECRET)
        .setting("identity.adapters", json!([shared_secret()]))
        .allow("configuration")
        .start()
        .await;
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
    assert!(par.lines().iter().any(|line| line.mentions("identity is configured and off")));
}
