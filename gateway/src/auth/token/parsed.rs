//! The form of a token: a text enters, its parts leave. Nothing is proved here, and nothing is fetched
//! because of what a header says.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use super::{Algorithm, json::strict};
use crate::auth::{AuthFault, Reason};

/// Longest token. Real ones have 1 to 4 KiB, with many groups 8; what is longer is not looked at, so that
/// nobody makes us decode, hash or forward it.
pub(crate) const LONGEST_TOKEN: usize = 16 << 10;

/// Longest name of a key, in bytes; usual are 20 to 64.
pub(super) const LONGEST_KID: usize = 256;

/// Members of a header that bring keys of the sender, or ask for a treatment that we do not give (RFC 7515
/// §4.1, RFC 7797). A verifier that follows them believes the sender instead of the issuer.
const REFUSED: [&str; 7] = ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip"];

/// Kinds of tokens that may stand for a caller (RFC 7519 §5.1, RFC 9068 §2.1). Others of the same issuer,
/// such as logout tokens or proofs of possession, are signed with the same keys and mean something else.
const TYPES: [&str; 4] = ["jwt", "application/jwt", "at+jwt", "application/at+jwt"];

/// A token whose form and header are right; nothing in it is proved.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    issuer: Option<String>,
    /// Header and claims as they were signed.
    message: &'a str,
    signature: &'a str,
    payload: Vec<u8>,
}

impl<'a> Parsed<'a> {
    /// What the header names.
    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name of the key, for looking it up among known ones and nothing else.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Who says to have issued it. Not proved: good for choosing who looks at it, for nothing else.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// What was signed.
    pub(super) const fn message(&self) -> &'a str {
        self.message
    }

    /// The signature, encoded.
    pub(super) const fn signature(&self) -> &'a str {
        self.signature
    }

    /// The claims as JSON, not proved.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// The one claim that is read before the proof.
#[derive(Deserialize)]
struct Claimed {
    #[serde(default)]
    iss: Option<String>,
}

/// Takes a token apart: exactly three parts, base64url without padding, a header without anything dangerous,
/// claims that are an object. A text that is not a token of this form is [`Reason::Malformed`] and may be
/// somebody else's.
pub(crate) fn parse(token: &str) -> Result<Parsed<'_>, AuthFault> {
    let malformed = |detail: &str| AuthFault::refused(Reason::Malformed, detail);
    if token.len() > LONGEST_TOKEN {
        return Err(malformed("longer than tokens are"));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("not three parts"));
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let decoded = decode(header).ok_or_else(|| malformed("the header is not base64url"))?;
    let Ok(Value::Object(header)) = strict(&decoded) else {
        return Err(malformed("the header is not an object whose members stand once"));
    };
    let payload = decode(claims).ok_or_else(|| malformed("the claims are not base64url"))?;
    let claimed: Claimed = serde_json::from_slice(&payload)
        .map_err(|_| malformed("the claims are not an object with one issuer"))?;
    if let Some(name) = REFUSED.iter().find(|name| header.contains_key(**name)) {
        return Err(AuthFault::refused(Reason::Header, format!("`{name}` in the header")));
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= LONGEST_KID => Some(kid.clone()),
        Some(_) => return Err(AuthFault::refused(Reason::Header, "`kid` is not a short text")),
    };
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) if TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)) => {}
        Some(_) => return Err(AuthFault::refused(Reason::Header, "`typ` is not that of an access token")),
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
    let algorithm = algorithm
        .ok_or_else(|| AuthFault::refused(Reason::Algorithm, "`alg` is missing or not one of ours"))?;
    // Both parts lie in the token one behind the other, with the dot between them.
    let message = token.rsplit_once('.').map_or(token, |(message, _)| message);
    Ok(Parsed { algorithm, kid, issuer: claimed.iss, message, signature, payload })
}
