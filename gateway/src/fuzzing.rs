//! What reads strangers' bytes at the door, as functions of the bytes: for the targets of `fuzz/`, and only there.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use ring::hmac;

use crate::{
    a2a::{Asked, Inbox, Library, health_check, reflect, timeout, wanted},
    auth::{
        Standing,
        claims::{ClaimPath, ClaimPaths},
        operator::{bearer, is_loopback_host},
        token::{Algorithm, Key, KeySet, TokenRules, expiry, parse, verify},
    },
    edge,
};

/// Signs what [`claims`] gets.
const SECRET: &[u8] = b"a secret that is long enough for HMAC";

/// The header that a token comes in, and its parts.
///
/// # Panics
/// When a token names more than it holds.
pub fn token(text: &str) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(header::AUTHORIZATION, value);
    }
    let token = bearer(&headers).unwrap_or(text);
    if let Ok(parsed) = parse(token) {
        assert!(parsed.kid().is_none_or(|kid| kid.len() < token.len()), "a name out of nothing");
    }
    is_loopback_host(text);
}

/// Claims as an issuer would sign them.
///
/// # Panics
/// When somebody without a name is believed, or for ever.
pub fn claims(bytes: &[u8]) {
    let message = format!("{}.{}", base64_url(br#"{"alg":"HS256","typ":"JWT"}"#), base64_url(bytes));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    let token = format!("{message}.{}", base64_url(signature.as_ref()));
    let (Ok(parsed), Ok(key)) = (parse(&token), Key::secret(SECRET)) else { return };
    let rules = TokenRules {
        issuer: None,
        audiences: vec!["par".to_owned()],
        algorithms: vec![Algorithm::HS256],
        leeway: Duration::from_secs(60),
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let Ok(claims) = verify(&parsed, &key, &rules, now) else { return };
    assert!(expiry(&claims).is_some_and(|end| end + rules.leeway > now), "believed beyond its end");
    if let Ok(caller) = ClaimPaths::default().caller(&claims, &Standing::default()) {
        assert!(!caller.subject.is_empty(), "somebody without a name");
        assert!(caller.header().is_some(), "a caller that no header can carry");
    }
}

/// A set of public keys; the name of a claim.
pub fn key_set(bytes: &[u8]) {
    drop(KeySet::parse(bytes));
    if let Some(path) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<ClaimPath>().ok()) {
        drop(path.to_string());
    }
}

/// The head of a request.
pub fn head(bytes: &[u8]) {
    edge::fuzzing::head(bytes);
}

/// The body of a gRPC request, and what its messages, its path and its time may be.
///
/// # Panics
/// When a body is read otherwise if it comes in pieces, or more is read out of it than is in it.
pub fn grpc(bytes: &[u8]) {
    const LIMIT: usize = 4096;
    let (whole, parted) = (messages(&[bytes], LIMIT), messages(&bytes.chunks(3).collect::<Vec<_>>(), LIMIT));
    assert_eq!(whole, parted, "a body has one meaning, however it comes");
    for message in whole.0.iter().map(Vec::as_slice).chain([bytes]) {
        if let Ok(asked) = Asked::read(message) {
            assert!(asked.request_id.len() <= message.len(), "an id out of nothing");
        }
        drop(health_check(message));
        drop(reflect(message, Library::own()));
        // What a package says of its own services is a stranger's word, too.
        let library = Library::of_package([message.to_vec()].into_iter(), &["example.own.Own".to_owned()]);
        drop(reflect(message, &library));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        timeout(text);
        if let Some(called) = wanted(text) {
            assert!(text.contains(called.service) && text.contains(called.method), "a name out of nothing");
        }
    }
}

/// The messages of a body, and whether it ends as it may.
fn messages(pieces: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut inbox, mut found) = (Inbox::new(limit), Vec::new());
    for piece in pieces {
        inbox.push(piece);
        loop {
            match inbox.next() {
                Ok(Some(message)) => found.push(message.to_vec()),
                Ok(None) => break,
                Err(_) => return (found, false),
            }
        }
    }
    (found, inbox.is_between())
}

fn base64_url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
