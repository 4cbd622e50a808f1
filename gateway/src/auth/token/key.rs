//! One key, and what it may verify: that is a property of the key, never of what a token asks for.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde_json::{Map, Value};

use super::{Algorithm, parsed::LONGEST_KID, provider};

/// Shortest RSA modulus (NIST SP 800-131A); the longest is ring's, above which a verification takes
/// milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Shortest secret (RFC 7518 §3.2 for SHA-256). A shorter one can be found by trying, from one token.
const SECRET_BYTES: usize = 32;

/// A key that verifies tokens.
pub(crate) struct Key {
    kid: Option<Box<str>>,
    kind: Kind,
    /// The one algorithm that whoever published the key wants it used for.
    only: Option<Algorithm>,
    material: DecodingKey,
    life: Arc<()>,
}

/// What a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
    Secret,
}

impl Kind {
    /// Whether such keys are made for the algorithm.
    const fn fits(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => matches!(self, Self::Rsa),
            Algorithm::ES256 => matches!(self, Self::P256),
            Algorithm::ES384 => matches!(self, Self::P384),
            Algorithm::EdDSA => matches!(self, Self::Ed25519),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => matches!(self, Self::Secret),
        }
    }
}

/// Whether a key is still in use; what was proved with it may be remembered only as long. Ends when the last
/// set that holds the key is dropped.
#[derive(Debug, Clone)]
pub(crate) struct KeyLife(Weak<()>);

impl KeyLife {
    /// Whether the key is still in use.
    pub(crate) fn goes_on(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Key {
    /// A shared secret of at least 32 bytes: verifies HS256, HS384, HS512 and nothing else.
    pub(crate) fn secret(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < SECRET_BYTES {
            return Err(format!("must have at least {SECRET_BYTES} bytes"));
        }
        Ok(Self::new(None, Kind::Secret, None, DecodingKey::from_secret(secret)))
    }

    /// A public key of a set (RFC 7517). `None`: it is not for signatures, or of a kind that we do not know.
    pub(super) fn public(jwk: &Map<String, Value>) -> Result<Option<Self>, String> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let is_for_signatures = jwk.get("use").is_none_or(|usage| usage == "sig")
            && jwk.get("key_ops").is_none_or(|operations| {
                operations.as_array().is_some_and(|all| all.iter().any(|operation| operation == "verify"))
            });
        let only = match jwk.get("alg") {
            None => None,
            Some(name) => match name.as_str().and_then(|name| name.parse::<Algorithm>().ok()) {
                Some(algorithm) => Some(algorithm),
                None => return Ok(None),
            },
        };
        let kind = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => Kind::Rsa,
            (Some("EC"), Some("P-256")) => Kind::P256,
            (Some("EC"), Some("P-384")) => Kind::P384,
            (Some("OKP"), Some("Ed25519")) => Kind::Ed25519,
            (_, _) => return Ok(None),
        };
        if !is_for_signatures || only.is_some_and(|algorithm| !kind.fits(algorithm)) {
            return Ok(None);
        }
        let name = match jwk.get("kid") {
            None => None,
            Some(Value::String(name)) if name.len() <= LONGEST_KID => Some(name.as_str().into()),
            Some(_) => return Err("`kid` is not a short text".to_owned()),
        };
        if jwk.contains_key("d") {
            return Err("it is a private key".to_owned());
        }
        let number = |name: &str| {
            let decoded = text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            decoded.ok_or_else(|| format!("`{name}` is missing or not base64url"))
        };
        let material = match kind {
            Kind::Rsa => rsa(&number("n")?, &number("e")?)?,
            Kind::P256 => point(&number("x")?, &number("y")?, 32)?,
            Kind::P384 => point(&number("x")?, &number("y")?, 48)?,
            Kind::Ed25519 | Kind::Secret => match number("x")? {
                x if x.len() == 32 => DecodingKey::from_ed_der(&x),
                _ => return Err("`x` does not have 32 bytes".to_owned()),
            },
        };
        Ok(Some(Self::new(name, kind, only, material)))
    }

    fn new(name: Option<Box<str>>, kind: Kind, only: Option<Algorithm>, material: DecodingKey) -> Self {
        provider::install();
        Self { kid: name, kind, only, material, life: Arc::new(()) }
    }

    /// Its name.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether it may verify signatures of the algorithm.
    pub(crate) fn may_verify(&self, algorithm: Algorithm) -> bool {
        self.kind.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// The key itself, for the library.
    pub(super) const fn material(&self) -> &DecodingKey {
        &self.material
    }

    /// To be remembered with what it proved.
    pub(crate) fn life(&self) -> KeyLife {
        KeyLife(Arc::downgrade(&self.life))
    }

    /// Whether both are the same key for the same use.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same_material = match (self.material.kind(), other.material.kind()) {
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e },
            ) => n == other_n && e == other_e,
            (DecodingKeyKind::SecretOrDer(bytes), DecodingKeyKind::SecretOrDer(other)) => bytes == other,
            (DecodingKeyKind::RsaModulusExponent { .. }, DecodingKeyKind::SecretOrDer(_))
            | (DecodingKeyKind::SecretOrDer(_), DecodingKeyKind::RsaModulusExponent { .. }) => false,
        };
        self.kid == other.kid && self.kind == other.kind && self.only == other.only && same_material
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("kind", &self.kind)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Result<DecodingKey, String> {
    let (n, e) = (without_zeros(n), without_zeros(e));
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
        return Err(format!("an RSA key of {bits} bits; {least} to {most} are taken"));
    }
    // An even modulus or exponent and 1 are no RSA; more than 33 bits are not taken by ring.
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !odd(n) || !odd(e) || e == [1] || e.len() > 5 {
        return Err("not an RSA key".to_owned());
    }
    Ok(DecodingKey::from_rsa_raw_components(n, e))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// An uncompressed point (SEC 1 §2.3.3). Whether it lies on the curve is looked at by every verification.
fn point(x: &[u8], y: &[u8], bytes: usize) -> Result<DecodingKey, String> {
    if x.len() != bytes || y.len() != bytes {
        return Err(format!("`x` and `y` do not have {bytes} bytes"));
    }
    Ok(DecodingKey::from_ec_der(&[&[4], x, y].concat()))
}
