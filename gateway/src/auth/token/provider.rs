//! ring behind `jsonwebtoken`: the same cryptography as under our TLS, and no second one in the binary.
//!
//! Only verifying is offered. Everything else that the library may ask a provider for answers with an error.

use std::sync::Once;

use jsonwebtoken::{
    DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Verifier},
};
use ring::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
        UnparsedPublicKey, VerificationAlgorithm,
    },
};

use super::Algorithm;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: sign_nothing,
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(not_offered()),
        rsa_pub_components_from_public_key: |_| Err(not_offered()),
        ec_pub_components_from_private_key: |_, _| Err(not_offered()),
        ed_pub_components_from_private_key: |_, _| Err(not_offered()),
        compute_digest: |_, _| Err(not_offered()),
    },
};

/// Gives the library its cryptography; the first call of the process counts. Without it the library would
/// panic, so that no key can be made before.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    // Nobody else installs one; if somebody had, that would verify just the same.
    INSTALLED.call_once(|| {
        PROVIDER.install_default().ok();
    });
}

fn not_offered() -> Error {
    ErrorKind::Provider("not offered here".to_owned()).into()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library's signature")]
fn sign_nothing(_: &jsonwebtoken::Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(not_offered())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library's signature")]
fn verifier(algorithm: &jsonwebtoken::Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let ours = Algorithm::ALL.iter().find(|ours| ours.library() == *algorithm);
    let algorithm = *ours.ok_or(ErrorKind::UnsupportedAlgorithm)?;
    // The library's own rule, which its callers of `crypto::verify` do not apply: no key crosses families.
    if key.family() != algorithm.library().family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Ring { algorithm, key: key.clone() }))
}

/// One verification.
struct Ring {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        self.algorithm.library()
    }
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match self.algorithm {
            Algorithm::RS256 => self.rsa(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Algorithm::RS384 => self.rsa(&RSA_PKCS1_2048_8192_SHA384, message, signature),
            Algorithm::RS512 => self.rsa(&RSA_PKCS1_2048_8192_SHA512, message, signature),
            Algorithm::PS256 => self.rsa(&RSA_PSS_2048_8192_SHA256, message, signature),
            Algorithm::PS384 => self.rsa(&RSA_PSS_2048_8192_SHA384, message, signature),
            Algorithm::PS512 => self.rsa(&RSA_PSS_2048_8192_SHA512, message, signature),
            Algorithm::ES256 => self.curve(&ECDSA_P256_SHA256_FIXED, message, signature),
            Algorithm::ES384 => self.curve(&ECDSA_P384_SHA384_FIXED, message, signature),
            Algorithm::EdDSA => self.curve(&ED25519, message, signature),
            Algorithm::HS256 => self.secret(hmac::HMAC_SHA256, message, signature),
            Algorithm::HS384 => self.secret(hmac::HMAC_SHA384, message, signature),
            Algorithm::HS512 => self.secret(hmac::HMAC_SHA512, message, signature),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

type Verified = Result<(), ring::error::Unspecified>;

impl Ring {
    fn rsa(&self, parameters: &RsaParameters, message: &[u8], signature: &[u8]) -> Verified {
        match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            DecodingKeyKind::SecretOrDer(_) => Err(ring::error::Unspecified),
        }
    }

    fn curve(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Verified {
        let point = self.key.try_get_as_bytes().map_err(|_| ring::error::Unspecified)?;
        UnparsedPublicKey::new(algorithm, point).verify(message, signature)
    }

    fn secret(&self, algorithm: hmac::Algorithm, message: &[u8], signature: &[u8]) -> Verified {
        let secret = self.key.try_get_as_bytes().map_err(|_| ring::error::Unspecified)?;
        hmac::verify(&hmac::Key::new(algorithm, secret), message, signature)
    }
}
