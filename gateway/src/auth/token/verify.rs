//! The proof of a token: signature first, then every claim that decides (RFC 7519 §7.2, RFC 8725).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::crypto;
use serde_json::{Map, Value};

use super::{Algorithm, Key, Parsed, json::strict};
use crate::auth::{AuthFault, Reason};

/// The last second of the year 9999. Later ends are milliseconds by mistake, or an overflow on purpose.
const LATEST: u64 = 253_402_300_799;

/// What a token must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRules {
    /// Exactly this `iss`; `None`: any, for keys that only one issuer can have.
    pub(crate) issuer: Option<String>,
    /// One of these in `aud`. Empty: no token is meant for us.
    pub(crate) audiences: Vec<String>,
    /// The allow-list.
    pub(crate) algorithms: Vec<Algorithm>,
    /// How far clocks may be apart, for `exp`, `nbf` and `iat`.
    pub(crate) leeway: Duration,
}

/// Verifies signature and claims and returns the claims, an object in which no member stands twice.
pub(crate) fn verify(
    parsed: &Parsed<'_>,
    key: &Key,
    rules: &TokenRules,
    now: SystemTime,
) -> Result<Value, AuthFault> {
    let algorithm = parsed.algorithm();
    if !rules.algorithms.contains(&algorithm) {
        return Err(AuthFault::refused(Reason::Algorithm, format!("{algorithm} is not on the list")));
    }
    if !key.may_verify(algorithm) {
        return Err(AuthFault::refused(Reason::Algorithm, format!("the key is not for {algorithm}")));
    }
    let message = parsed.message().as_bytes();
    match crypto::verify(parsed.signature(), message, key.material(), algorithm.library()) {
        Ok(true) => {}
        Ok(false) | Err(_) => {
            return Err(AuthFault::refused(Reason::Signature, "the signature does not fit"));
        }
    }
    let Ok(Value::Object(claims)) = strict(parsed.payload()) else {
        let detail = "the claims are not an object whose members stand once";
        return Err(AuthFault::refused(Reason::Claims, detail));
    };
    issuer(&claims, rules)?;
    audience(&claims, rules)?;
    times(&claims, rules.leeway, now)?;
    Ok(Value::Object(claims))
}

/// When verified claims end: `exp`.
pub(crate) fn expiry(claims: &Value) -> Option<SystemTime> {
    seconds(claims.as_object()?, "exp").ok()?.map(|exp| UNIX_EPOCH + Duration::from_secs(exp))
}

fn issuer(claims: &Map<String, Value>, rules: &TokenRules) -> Result<(), AuthFault> {
    let Some(expected) = &rules.issuer else { return Ok(()) };
    if claims.get("iss").and_then(Value::as_str) == Some(expected) {
        return Ok(());
    }
    Err(AuthFault::refused(Reason::Issuer, "`iss` is not the issuer"))
}

/// One audience or several (RFC 7519 §4.1.3); one of them must be one of ours.
fn audience(claims: &Map<String, Value>, rules: &TokenRules) -> Result<(), AuthFault> {
    let ours = |name: &Value| name.as_str().is_some_and(|name| rules.audiences.iter().any(|our| our == name));
    let is_ours = match claims.get("aud") {
        Some(Value::Array(names)) => names.iter().all(Value::is_string) && names.iter().any(ours),
        Some(name) => ours(name),
        None => false,
    };
    if is_ours {
        return Ok(());
    }
    Err(AuthFault::refused(Reason::Audience, "`aud` names nobody of ours"))
}

fn times(claims: &Map<String, Value>, leeway: Duration, now: SystemTime) -> Result<(), AuthFault> {
    let refused = |reason, detail: &str| Err(AuthFault::refused(reason, detail));
    let (exp, nbf, iat) = (seconds(claims, "exp")?, seconds(claims, "nbf")?, seconds(claims, "iat")?);
    let Some(exp) = exp else { return refused(Reason::Claims, "`exp` is missing") };
    // A clock before 1970 knows no time, and then nothing is valid.
    let Ok(now) = now.duration_since(UNIX_EPOCH) else {
        return refused(Reason::Expired, "the clock of this host is not set");
    };
    if now >= Duration::from_secs(exp) + leeway {
        return refused(Reason::Expired, "`exp` is over");
    }
    let begins = |second: u64| Duration::from_secs(second) <= now + leeway;
    if nbf.is_some_and(|nbf| !begins(nbf)) {
        return refused(Reason::NotYet, "`nbf` is in the future");
    }
    if iat.is_some_and(|iat| !begins(iat)) {
        return refused(Reason::NotYet, "`iat` is in the future");
    }
    Ok(())
}

/// A time as seconds since 1970, fractions cut off. Texts, negative numbers and what lies behind the year
/// 9999 are no times.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, AuthFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let number = value.as_u64().or_else(|| {
        let fraction = value.as_f64()?;
        (0.0..=LATEST as f64).contains(&fraction).then_some(fraction as u64)
    });
    match number {
        Some(second) if second <= LATEST => Ok(Some(second)),
        Some(_) | None => Err(AuthFault::refused(Reason::Claims, format!("`{name}` is not a time"))),
    }
}
