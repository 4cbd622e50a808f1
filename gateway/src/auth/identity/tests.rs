//! What is remembered, for how long, and in which order authenticators are asked.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use prometheus::Registry;
use serde_json::json;

use super::*;
use crate::auth::{
    ClientCertificate, Standing,
    token::{Algorithm, KeySet, signer::Signer},
};

/// Answers what it is told to, and counts.
#[derive(Debug)]
struct Scripted {
    answer: Mutex<Result<Option<Proof>, AuthFault>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answer: Result<Option<Proof>, AuthFault>) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(answer), asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

#[async_trait]
impl Authenticator for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn authenticate(&self, _: &Evidence<'_>) -> Result<Option<Proof>, AuthFault> {
        self.asked.fetch_add(1, SeqCst);
        self.answer.lock().clone()
    }
}

type Answer = Result<Option<Proof>, AuthFault>;

fn named(subject: &str) -> Arc<Caller> {
    Arc::new(Caller::new(subject, None, Vec::new(), Vec::new(), &Standing::default()))
}

/// A proof that is remembered for so many seconds.
#[expect(clippy::unnecessary_wraps, reason = "it stands beside refusals in tables")]
fn proof(subject: &str, seconds: u64) -> Answer {
    let until = SystemTime::now() + Duration::from_secs(seconds);
    Ok(Some(Proof { caller: named(subject), remember_until: Some(until), key: None }))
}

#[expect(clippy::unnecessary_wraps, reason = "it stands beside refusals in tables")]
const fn nothing() -> Answer {
    Ok(None)
}

fn refused(reason: Reason) -> Answer {
    Err(AuthFault::refused(reason, "because"))
}

fn unavailable() -> Answer {
    Err(AuthFault::Unavailable { authenticator: "it".to_owned(), detail: "down".to_owned() })
}

fn identity(chain: &[&Arc<Scripted>], cached: usize) -> Identity {
    let chain = chain.iter().map(|one| Arc::clone(one) as Arc<dyn Authenticator>).collect();
    Identity::new(chain, cached, AuthMetrics::register(&Registry::new()).unwrap())
}

/// Shows a token, and perhaps a certificate.
async fn show(
    identity: &Identity,
    token: Option<&str>,
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<Caller>, AuthFault> {
    let evidence = Evidence {
        token,
        certificate,
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        method: &http::Method::POST,
        path: "/",
        headers: &http::HeaderMap::new(),
        request_id: "r",
    };
    identity.identify(&evidence).await
}

/// Who a token is, or why nobody: as the metric says it.
async fn outcome(identity: &Identity, token: Option<&str>) -> String {
    match show(identity, token, None).await {
        Ok(caller) => caller.subject.to_string(),
        Err(AuthFault::Refused { reason, .. }) => reason.text().to_owned(),
        Err(AuthFault::Unavailable { .. }) => "unavailable".to_owned(),
    }
}

#[tokio::test]
async fn a_proved_token_is_not_looked_at_again() {
    let one = Scripted::new(proof("s", 60));
    let identity = identity(&[&one], 100);
    assert!(identity.recall("t").is_none());
    for _ in 0..3 {
        assert_eq!(outcome(&identity, Some("t")).await, "s");
    }
    assert_eq!(identity.recall("t"), Some(named("s")));
    assert_eq!(one.asked(), 1);
    assert!(
        identity.recall("T").is_none() && identity.recall("t ").is_none() && identity.recall("").is_none()
    );
    let counted = |outcome| identity.metrics.counted(outcome);
    assert_eq!((counted(Outcome::Proved), counted(Outcome::Cached)), (1, 3));
}

#[tokio::test]
async fn a_remembered_proof_ends_with_its_time() {
    let one = Scripted::new(proof("s", 0));
    let identity = identity(&[&one], 100);
    assert_eq!(outcome(&identity, Some("t")).await, "s");
    assert!(identity.recall("t").is_none());
    let print = identity.hash.of("t");
    let until = SystemTime::now() - Duration::from_secs(1);
    identity.proved.insert(print, Proved { caller: named("s"), until, key: None });
    assert!(identity.recall("t").is_none());
    assert_eq!(identity.proved.len(), 0);
    *one.answer.lock() = Ok(Some(Proof { caller: named("s"), remember_until: None, key: None }));
    assert_eq!(outcome(&identity, Some("t")).await, "s");
    assert!(identity.recall("t").is_none(), "it did not want to be remembered");
}

#[tokio::test]
async fn a_remembered_proof_ends_with_its_key() {
    let signer = Signer::new(Algorithm::EdDSA, "k");
    let keys = KeySet::parse(json!({"keys": [signer.jwk()]}).to_string().as_bytes()).unwrap();
    let life = keys.find(Some("k"), Algorithm::EdDSA).unwrap().life();
    let until = Some(SystemTime::now() + Duration::from_secs(60));
    let one = Scripted::new(Ok(Some(Proof { caller: named("s"), remember_until: until, key: Some(life) })));
    let identity = identity(&[&one], 100);
    assert_eq!(outcome(&identity, Some("t")).await, "s");
    assert!(identity.recall("t").is_some());
    drop(keys);
    *one.answer.lock() = refused(Reason::UnknownKey);
    assert!(identity.recall("t").is_none());
    assert_eq!(outcome(&identity, Some("t")).await, "unknown_key");
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let one = Scripted::new(proof("s", 60));
    let identity = identity(&[&one], 64);
    for number in 0..1000 {
        assert_eq!(outcome(&identity, Some(&number.to_string())).await, "s");
    }
    assert!(identity.proved.len() <= 128, "{}", identity.proved.len());
    *one.answer.lock() = refused(Reason::Signature);
    for number in 0..10 * REFUSED {
        assert_eq!(outcome(&identity, Some(&format!("bad {number}"))).await, "signature");
    }
    assert!(identity.refused.len() <= REFUSED, "{}", identity.refused.len());
}

#[tokio::test]
async fn a_flood_of_one_bad_token_costs_one_check() {
    for reason in Reason::ALL {
        let one = Scripted::new(refused(*reason));
        let identity = identity(&[&one], 100);
        for _ in 0..5 {
            assert_eq!(outcome(&identity, Some("bad")).await, reason.text());
        }
        let wanted = if lies_in_the_token(*reason) { 1 } else { 5 };
        assert_eq!(one.asked(), wanted, "{reason}");
        assert_eq!(identity.metrics.counted(Outcome::Refused(*reason)), 5);
        *one.answer.lock() = proof("s", 60);
        assert_eq!(outcome(&identity, Some("other")).await, "s");
    }
    let one = Scripted::new(unavailable());
    let identity = identity(&[&one], 100);
    for _ in 0..5 {
        assert_eq!(outcome(&identity, Some("t")).await, "unavailable");
    }
    assert_eq!(one.asked(), 5, "what does not answer may answer the next time");
    *one.answer.lock() = proof("s", 60);
    assert_eq!(outcome(&identity, Some("t")).await, "s");
}

#[tokio::test]
async fn a_refusal_is_forgiven_after_a_while() {
    let one = Scripted::new(refused(Reason::Signature));
    let identity = identity(&[&one], 100);
    assert_eq!(outcome(&identity, Some("t")).await, "signature");
    let print = identity.hash.of("t");
    let mut remembered = identity.refused.get(&print).unwrap();
    assert!(remembered.until <= Instant::now() + REFUSED_FOR);
    remembered.until = Instant::now();
    identity.refused.insert(print, remembered);
    *one.answer.lock() = proof("s", 60);
    assert_eq!(outcome(&identity, Some("t")).await, "s");
}

#[tokio::test]
async fn the_first_that_knows_decides_and_silence_lets_nobody_in() {
    let token = Signer::new(Algorithm::EdDSA, "k").sign(&json!({"iss": "https://nobody.example"}));
    let token = token.as_str();
    for (answers, token, wanted, asked) in [
        (vec![], None, "missing", vec![]),
        (vec![], Some("opaque"), "malformed", vec![]),
        (vec![], Some(token), "issuer", vec![]),
        (vec![nothing(), nothing()], None, "missing", vec![1, 1]),
        (vec![nothing(), nothing()], Some("opaque"), "malformed", vec![1, 1]),
        (vec![nothing(), nothing()], Some(token), "issuer", vec![1, 1]),
        (vec![nothing(), proof("b", 9), proof("c", 9)], Some("opaque"), "b", vec![1, 1, 0]),
        (vec![proof("a", 9), proof("b", 9)], Some(token), "a", vec![1, 0]),
        (vec![refused(Reason::Expired), proof("b", 9)], Some(token), "expired", vec![1, 0]),
        (vec![unavailable(), proof("b", 9)], Some(token), "b", vec![1, 1]),
        (vec![unavailable(), nothing()], Some(token), "unavailable", vec![1, 1]),
        (vec![unavailable(), refused(Reason::Inactive)], Some(token), "unavailable", vec![1, 1]),
        (vec![nothing(), unavailable()], Some("opaque"), "unavailable", vec![1, 1]),
        (vec![nothing(), proof("anonymous", 9)], None, "anonymous", vec![1, 1]),
    ] {
        let chain: Vec<_> = answers.into_iter().map(Scripted::new).collect();
        let identity = identity(&chain.iter().collect::<Vec<_>>(), 100);
        assert_eq!(outcome(&identity, token).await, wanted);
        assert_eq!(chain.iter().map(|one| one.asked()).collect::<Vec<_>>(), asked, "{wanted}");
        if token.is_none() {
            assert_eq!(
                identity.proved.len() + identity.refused.len(),
                0,
                "nothing shown, nothing remembered"
            );
        }
    }
}

#[tokio::test]
async fn a_token_that_is_too_long_is_not_even_hashed() {
    let one = Scripted::new(proof("s", 60));
    let identity = identity(&[&one], 100);
    let long = "x".repeat(1 << 20);
    assert_eq!(outcome(&identity, Some(&long)).await, "malformed");
    assert!(identity.recall(&long).is_none());
    assert_eq!((one.asked(), identity.refused.len()), (0, 0));
}

#[tokio::test]
async fn a_bad_token_does_not_take_a_good_certificate_away() {
    let certificate = ClientCertificate {
        subject: "CN=x".to_owned(),
        common_name: Some("x".to_owned()),
        alternatives: Vec::new(),
        fingerprint: "00".to_owned(),
        not_after: SystemTime::now(),
    };
    let one = Scripted::new(refused(Reason::Signature));
    let identity = identity(&[&one], 100);
    assert!(show(&identity, Some("t"), None).await.is_err());
    *one.answer.lock() = Ok(Some(Proof { caller: named("x"), remember_until: None, key: None }));
    assert_eq!(show(&identity, Some("t"), Some(&certificate)).await, Ok(named("x")));
    assert_eq!(outcome(&identity, Some("t")).await, "signature", "the holder of the certificate was meant");
}

#[test]
fn a_hash_is_of_the_token_and_of_this_process() {
    let (one, two) = (Hash::new(), Hash::new());
    assert_eq!(one.of("t"), one.of("t"));
    assert_ne!(one.of("t"), one.of("T"));
    assert_ne!(one.of("t"), two.of("t"));
    assert_ne!(one.of(""), [0; 32]);
    assert_eq!(format!("{one:?}"), "Hash(…)");
}

/// With `--release -- --nocapture` it tells the figure; here it is bounded for slow and busy machines.
#[tokio::test]
async fn a_remembered_token_costs_little() {
    const TIMES: u32 = 20_000;
    let one = Scripted::new(proof("s", 600));
    let identity = identity(&[&one], 10_000);
    let tokens: Vec<_> = (0..1000).map(|number| format!("{number:04}{}", "x".repeat(1020))).collect();
    for token in &tokens {
        assert_eq!(outcome(&identity, Some(token)).await, "s");
    }
    let mut rounds: Vec<_> = (0..5)
        .map(|_| {
            let start = Instant::now();
            for token in tokens.iter().cycle().take(TIMES as usize) {
                assert!(std::hint::black_box(identity.recall(std::hint::black_box(token))).is_some());
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    eprintln!("remembered token of 1 KiB: {:.2} us", rounds[2]);
    assert!(rounds[0] < 20.0, "{rounds:?}");
}
