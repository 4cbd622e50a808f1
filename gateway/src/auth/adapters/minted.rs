//! Tokens and keys that tests of adapters make.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as CODED};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::auth::token::{Algorithm, TokenRules};

/// The audience of all of them.
pub(super) const AUDIENCE: &str = "par";

/// Claims of somebody, good for ten minutes.
pub(super) fn claims(issuer: &str, subject: &str) -> Value {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_mins(10);
    json!({"iss": issuer, "sub": subject, "aud": AUDIENCE, "exp": end.as_secs()})
}

/// What such tokens must say.
pub(super) fn rules(issuer: Option<&str>, algorithms: &[Algorithm]) -> TokenRules {
    TokenRules {
        issuer: issuer.map(str::to_owned),
        audiences: vec![AUDIENCE.to_owned()],
        algorithms: algorithms.to_vec(),
        leeway: Duration::ZERO,
    }
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", CODED.encode(header.to_string()), CODED.encode(claims.to_string()));
    let signature = CODED.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// A token that is signed with a secret.
pub(super) fn with_secret(secret: &str, algorithm: Algorithm, claims: &Value) -> String {
    let kind = if algorithm == Algorithm::HS512 { hmac::HMAC_SHA512 } else { hmac::HMAC_SHA256 };
    let key = hmac::Key::new(kind, secret.as_bytes());
    let header = json!({"alg": algorithm.text(), "typ": "JWT"});
    signed(&header, claims, |text| hmac::sign(&key, text).as_ref().to_vec())
}

/// A key pair with a name.
pub(super) struct Minted {
    pair: Ed25519KeyPair,
    kid: &'static str,
}

impl Minted {
    pub(super) fn new(kid: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { pair: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap(), kid }
    }

    fn public(&self) -> Value {
        let x = CODED.encode(self.pair.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x})
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "kid": self.kid});
        signed(&header, claims, |text| self.pair.sign(text).as_ref().to_vec())
    }
}

/// A file of these keys.
pub(super) fn jwks(keys: &[&Minted]) -> String {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()}).to_string()
}
