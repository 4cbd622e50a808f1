//! An issuer's signing side, for tests: makes real keys and signs whatever it is asked to.

use std::{
    fmt, fs,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
        RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};
use serde_json::{Value, json};

use super::{Algorithm, Key, KeySet};

/// Signs with one key and one algorithm.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: String,
    pair: Pair,
}

enum Pair {
    Rsa { pair: Box<RsaKeyPair>, der: Vec<u8> },
    Curve(&'static str, EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} {})", self.algorithm, self.kid)
    }
}

/// What a token's parts look like.
pub(crate) fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

impl Signer {
    /// A new key.
    pub(crate) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let curve = |name, algorithm: &'static EcdsaSigningAlgorithm| {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &SystemRandom::new()).unwrap();
            Pair::Curve(name, pair)
        };
        let pair = match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => rsa(generated()),
            Algorithm::ES256 => curve("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => curve("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::EdDSA => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
                Pair::Edwards(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
            }
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Pair::Secret(vec![7; 64]),
        };
        Self { algorithm, kid: kid.to_owned(), pair }
    }

    /// Signs with a secret that somebody thinks is one.
    pub(crate) fn with_secret(algorithm: Algorithm, kid: &str, secret: &[u8]) -> Self {
        Self { algorithm, kid: kid.to_owned(), pair: Pair::Secret(secret.to_vec()) }
    }

    /// The same key with another algorithm.
    pub(crate) fn signing(&self, algorithm: Algorithm) -> Self {
        let Pair::Rsa { der, .. } = &self.pair else { panic!("only RSA keys have several") };
        Self { algorithm, kid: self.kid.clone(), pair: rsa(der.clone()) }
    }

    /// The public key as the issuer publishes it.
    pub(crate) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa { pair, .. } => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                let (n, e) = (encoded(public.n), encoded(public.e));
                json!({"kty": "RSA", "use": "sig", "kid": self.kid, "n": n, "e": e})
            }
            Pair::Curve(name, pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": name, "kid": self.kid, "x": encoded(x), "y": encoded(y)})
            }
            Pair::Edwards(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encoded(pair.public_key())})
            }
            Pair::Secret(secret) => json!({"kty": "oct", "kid": self.kid, "k": encoded(secret)}),
        }
    }

    /// The key that verifies its tokens, found as a token finds it.
    pub(crate) fn key(&self) -> std::sync::Arc<Key> {
        if let Pair::Secret(secret) = &self.pair {
            return Key::secret(secret).unwrap().into();
        }
        let set = KeySet::parse(&key_set(&[self])).unwrap();
        set.find(Some(&self.kid), self.algorithm).unwrap().clone()
    }

    /// The RSA public key as files have it: PKCS #1 DER, SPKI DER, PEM.
    pub(crate) fn public_files(&self) -> [Vec<u8>; 3] {
        let Pair::Rsa { pair, der } = &self.pair else { panic!("only for RSA") };
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), der).unwrap();
        let form = |form| {
            openssl(&[
                "pkey",
                "-inform",
                "DER",
                "-in",
                file.path().to_str().unwrap(),
                "-pubout",
                "-outform",
                form,
            ])
        };
        [pair.public().as_ref().to_vec(), form("DER"), form("PEM")]
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm.text(), "typ": "JWT", "kid": self.kid});
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// A token with this header and these claims, whatever they are.
    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.signature(message.as_bytes());
        format!("{message}.{}", encoded(signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let hmac = |algorithm, secret: &[u8]| {
            hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
        };
        match (&self.pair, self.algorithm) {
            (Pair::Secret(secret), Algorithm::HS384) => hmac(hmac::HMAC_SHA384, secret),
            (Pair::Secret(secret), Algorithm::HS512) => hmac(hmac::HMAC_SHA512, secret),
            (Pair::Secret(secret), _) => hmac(hmac::HMAC_SHA256, secret),
            (Pair::Curve(_, pair), _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            (Pair::Edwards(pair), _) => pair.sign(message).as_ref().to_vec(),
            (Pair::Rsa { pair, .. }, algorithm) => {
                let padding: &'static dyn RsaEncoding = match algorithm {
                    Algorithm::RS384 => &RSA_PKCS1_SHA384,
                    Algorithm::RS512 => &RSA_PKCS1_SHA512,
                    Algorithm::PS256 => &RSA_PSS_SHA256,
                    Algorithm::PS384 => &RSA_PSS_SHA384,
                    Algorithm::PS512 => &RSA_PSS_SHA512,
                    Algorithm::RS256
                    | Algorithm::ES256
                    | Algorithm::ES384
                    | Algorithm::EdDSA
                    | Algorithm::HS256
                    | Algorithm::HS384
                    | Algorithm::HS512 => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// The key set that an issuer with these keys publishes.
pub(crate) fn key_set(signers: &[&Signer]) -> Vec<u8> {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string().into_bytes()
}

/// ring does not make RSA keys.
fn generated() -> Vec<u8> {
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"])
}

/// From PKCS #8 or PKCS #1: versions of openssl differ.
fn rsa(der: Vec<u8>) -> Pair {
    let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).unwrap();
    Pair::Rsa { pair: Box::new(pair), der }
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).stderr(Stdio::null()).output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "openssl {arguments:?}");
    output.stdout
}
