//! Rotation, outages and floods, against a server that counts.

use std::time::{Instant, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::{Value, json};

use self::server::Server;
use super::*;
use crate::auth::token::signer::{Signer, key_set};

mod outage;
mod server;

/// Fast enough to wait for, and slow enough that two questions are told apart.
const PACE: Pace = Pace {
    between: Duration::from_secs(600),
    between_first: Duration::from_millis(20),
    unknown: Duration::from_secs(600),
    patience: Duration::from_secs(5),
    again: Duration::from_millis(20),
    ahead: 0.8,
};

fn issuer_of(server: &Server, pace: Pace) -> Issuer {
    issuer_at(&server.issuer, pace)
}

fn issuer_at(issuer: &str, pace: Pace) -> Issuer {
    drop(rustls::crypto::ring::default_provider().install_default());
    let settings = IssuerSettings {
        issuer: issuer.to_owned(),
        audiences: vec!["par".to_owned()],
        algorithms: Algorithm::ASYMMETRIC.to_vec(),
        leeway: Duration::from_secs(60),
        claims: ClaimPaths::default(),
        standing: Standing::default(),
        jwks_uri: None,
        ca: None,
    };
    Issuer::paced(settings, pace).unwrap()
}

fn claims(issuer: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({"iss": issuer, "aud": "par", "sub": "s", "exp": now + 300, "iat": now})
}

/// Shows a token: the subject, or why not.
async fn show(issuer: &Issuer, token: &str) -> String {
    match prove(issuer, token).await {
        Ok(Some(proof)) => proof.caller.subject.to_string(),
        Ok(None) => "not mine".to_owned(),
        Err(AuthFault::Refused { reason, .. }) => reason.text().to_owned(),
        Err(AuthFault::Unavailable { .. }) => "unavailable".to_owned(),
    }
}

async fn prove(issuer: &Issuer, token: &str) -> Result<Option<Proof>, AuthFault> {
    let evidence = Evidence {
        token: Some(token),
        certificate: None,
        address: None,
        method: &http::Method::GET,
        path: "/",
        headers: &http::HeaderMap::new(),
        request_id: "r",
    };
    issuer.authenticate(&evidence).await
}

/// A signer of the name, its tokens for the server, and the key set with it alone.
struct Party {
    signer: Signer,
    token: String,
}

impl Party {
    fn new(kid: &str, issuer: &str) -> Self {
        let signer = Signer::new(Algorithm::EdDSA, kid);
        let token = signer.sign(&claims(issuer));
        Self { signer, token }
    }

    fn keys(&self) -> Vec<u8> {
        key_set(&[&self.signer])
    }
}

async fn served(kid: &str) -> (Server, Party) {
    let server = Server::start(Vec::new()).await;
    let party = Party::new(kid, &server.issuer);
    server.publish(party.keys());
    (server, party)
}

#[tokio::test]
async fn the_first_token_finds_keys_by_discovery() {
    let (server, party) = served("k1").await;
    let issuer = issuer_of(&server, PACE);
    for _ in 0..3 {
        assert_eq!(show(&issuer, &party.token).await, "s");
    }
    assert_eq!((server.discoveries(), server.key_sets()), (1, 1));
    let proof = prove(&issuer, &party.token).await.unwrap().unwrap();
    let exp = claims(&server.issuer)["exp"].as_u64().unwrap();
    let until = proof.remember_until.unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(until.abs_diff(exp) < 10 && proof.key.unwrap().goes_on());
}

#[tokio::test]
async fn tokens_of_others_are_passed_on_and_cause_nothing() {
    let (server, party) = served("k1").await;
    let issuer = issuer_of(&server, PACE);
    assert_eq!(show(&issuer, &party.token).await, "s");
    let other = Party::new("k2", "https://other.example");
    let slash = Party::new("k2", &format!("{}/", server.issuer));
    let secret = Signer::with_secret(Algorithm::HS256, "k2", &party.keys()).sign(&claims(&server.issuer));
    for (token, wanted) in [
        (other.token.as_str(), "not mine"),
        (&slash.token, "not mine"),
        ("opaque", "not mine"),
        ("a.b.c", "not mine"),
        (&secret, "algorithm"),
        (&party.signer.sign_text(r#"{"alg":"none"}"#, "{}"), "algorithm"),
        (&party.signer.sign_text(r#"{"alg":"EdDSA","jku":"x"}"#, "{}"), "header"),
    ] {
        assert_eq!(show(&issuer, token).await, wanted, "{token}");
    }
    assert_eq!((server.discoveries(), server.key_sets()), (1, 1));
}

#[tokio::test]
async fn a_rotation_fails_no_request() {
    let (server, old) = served("k1").await;
    let issuer = issuer_of(&server, PACE);
    assert_eq!(show(&issuer, &old.token).await, "s");
    let new = Party::new("k2", &server.issuer);
    server.publish(key_set(&[&old.signer, &new.signer]));
    let shown = join_all((0..50).map(|number| {
        let token = if number % 2 == 0 { &new.token } else { &old.token };
        show(&issuer, token)
    }));
    assert!(shown.await.iter().all(|who| who == "s"));
    assert_eq!(server.key_sets(), 2, "all of them waited for one question");
}

#[tokio::test]
async fn a_question_that_was_asked_before_the_rotation_is_not_its_answer() {
    let (server, old) = served("k1").await;
    let issuer = issuer_of(&server, Pace { between: Duration::ZERO, ..PACE });
    assert_eq!(show(&issuer, &old.token).await, "s");
    server.open(false);
    let (stranger, new) = (Party::new("k9", &server.issuer), Party::new("k2", &server.issuer));
    let (unknown, found, ()) =
        tokio::join!(show(&issuer, &stranger.token), show_after(&server, &issuer, &new), async {
            server.asked(2).await;
            server.publish(new.keys());
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.open(true);
        });
    assert_eq!((unknown.as_str(), found.as_str()), ("unknown_key", "s"));
    assert_eq!(server.key_sets(), 3);
}

/// Shows a token as soon as the second question is on its way.
async fn show_after(server: &Server, issuer: &Issuer, party: &Party) -> String {
    server.asked(2).await;
    show(issuer, &party.token).await
}

#[tokio::test]
async fn a_key_that_was_taken_back_proves_nothing_more() {
    let (server, old) = served("k1").await;
    let issuer = issuer_of(&server, PACE);
    let remembered = prove(&issuer, &old.token).await.unwrap().unwrap().key.unwrap();
    let new = Party::new("k2", &server.issuer);
    server.publish(new.keys());
    assert_eq!(show(&issuer, &new.token).await, "s");
    assert!(!remembered.goes_on(), "what it proved is forgotten");
    assert_eq!(show(&issuer, &old.token).await, "unknown_key");
}

#[tokio::test]
async fn keys_that_stay_keep_what_they_proved() {
    let (server, old) = served("k1").await;
    let issuer = issuer_of(&server, PACE);
    let remembered = prove(&issuer, &old.token).await.unwrap().unwrap().key.unwrap();
    let new = Party::new("k2", &server.issuer);
    server.publish(key_set(&[&new.signer, &old.signer]));
    assert_eq!(show(&issuer, &new.token).await, "s");
    assert!(remembered.goes_on());
}

#[tokio::test]
async fn a_cold_start_of_many_asks_once() {
    let (server, party) = served("k1").await;
    server.open(false);
    let issuer = issuer_of(&server, PACE);
    let (shown, ()) = tokio::join!(join_all((0..200).map(|_| show(&issuer, &party.token))), async {
        server.asked(1).await;
        server.open(true);
    });
    assert!(shown.iter().all(|who| who == "s"));
    assert_eq!((server.discoveries(), server.key_sets()), (1, 1));
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_question_of_others() {
    let (server, party) = served("k1").await;
    server.open(false);
    let issuer = issuer_of(&server, PACE);
    {
        let left = show(&issuer, &party.token);
        let cut = tokio::time::timeout(Duration::from_millis(50), left).await;
        assert!(cut.is_err());
    }
    server.asked(1).await;
    server.open(true);
    assert_eq!(show(&issuer, &party.token).await, "s");
    assert_eq!(server.key_sets(), 1);
}

#[tokio::test]
async fn made_up_names_of_keys_cause_one_question_in_a_pause() {
    let (server, party) = served("k1").await;
    let issuer = issuer_of(&server, PACE);
    assert_eq!(show(&issuer, &party.token).await, "s");
    let made_up = |number: usize| Party::new(&format!("k{number}x"), &server.issuer).token;
    let strangers: Vec<_> = (0..300).map(made_up).collect();
    let at_once = join_all(strangers.iter().map(|token| show(&issuer, token))).await;
    assert!(at_once.iter().all(|outcome| outcome == "unknown_key"));
    for number in 300..600 {
        assert_eq!(show(&issuer, &made_up(number)).await, "unknown_key");
    }
    assert_eq!(server.key_sets(), 2, "the first keys, and one question for all of them");
    assert_eq!(show(&issuer, &party.token).await, "s");
}

#[tokio::test]
async fn a_name_that_is_not_found_is_not_asked_about_again() {
    let (server, party) = served("k1").await;
    let issuer = issuer_of(&server, Pace { between: Duration::ZERO, ..PACE });
    assert_eq!(show(&issuer, &party.token).await, "s");
    let stranger = Party::new("k9", &server.issuer);
    for _ in 0..20 {
        assert_eq!(show(&issuer, &stranger.token).await, "unknown_key");
    }
    assert_eq!(server.key_sets(), 2);
}

#[tokio::test]
async fn who_comes_shortly_before_the_next_question_waits_for_it() {
    let (server, old) = served("k1").await;
    let issuer = issuer_of(&server, Pace { between: Duration::from_millis(400), ..PACE });
    assert_eq!(show(&issuer, &old.token).await, "s");
    assert_eq!(show(&issuer, &Party::new("k9", &server.issuer).token).await, "unknown_key");
    let new = Party::new("k2", &server.issuer);
    server.publish(new.keys());
    assert_eq!(show(&issuer, &new.token).await, "s");
    assert_eq!(server.key_sets(), 3);
}

#[tokio::test]
async fn keys_are_refreshed_by_the_clock_of_their_headers() {
    let (server, old) = served("k1").await;
    server.script.lock().headers = "cache-control: max-age=5000\r\n".to_owned();
    // Half a second of five thousand; without the header it would be 60 ms.
    let issuer = issuer_of(&server, Pace { ahead: 1e-4, ..PACE });
    assert_eq!(show(&issuer, &old.token).await, "s");
    let (start, new) = (Instant::now(), Party::new("k2", &server.issuer));
    server.publish(new.keys());
    assert_eq!(show(&issuer, &old.token).await, "s");
    server.asked(2).await;
    assert!(start.elapsed() > Duration::from_millis(250), "{:?}", start.elapsed());
    while show(&issuer, &new.token).await != "s" {}
    assert_eq!(show(&issuer, &old.token).await, "unknown_key", "no request was needed for that");
}

#[tokio::test]
async fn an_issuer_that_is_dropped_asks_no_more() {
    let (server, party) = served("k1").await;
    server.script.lock().status = "500 Internal Server Error";
    let issuer = issuer_of(&server, Pace { again: Duration::from_millis(1), ..PACE });
    assert_eq!(show(&issuer, &party.token).await, "unavailable");
    let keeper = Arc::downgrade(&issuer.keeper);
    drop(issuer);
    let start = Instant::now();
    while keeper.strong_count() > 0 {
        assert!(start.elapsed() < Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
}

#[test]
fn an_issuer_that_was_made_without_a_runtime_wakes_with_its_first_token() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outer = tokio::runtime::Runtime::new().unwrap();
    let (server, party) = outer.block_on(served("k1"));
    let issuer = issuer_of(&server, PACE);
    assert_eq!(runtime().block_on(show(&issuer, &party.token)), "s");
    let new = Party::new("k2", &server.issuer);
    server.publish(new.keys());
    // The runtime that it woke on has ended; another one goes on.
    assert_eq!(runtime().block_on(show(&issuer, &new.token)), "s");
}

#[test]
fn authorities_that_cannot_be_read_are_told() {
    drop(rustls::crypto::ring::default_provider().install_default());
    assert!(Web::new(Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).is_err());
    assert!(Web::new(None).is_ok());
}
