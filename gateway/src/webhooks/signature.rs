//! Proof of where a letter comes from. Pure: secrets, id, time and body enter, the `webhook-signature` header leaves.
//!
//! Standard Webhooks, "Signature scheme": `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`, one for
//! every secret, separated by spaces. A receiver takes a letter if one of them holds, so that a secret can be replaced
//! while both are configured.

use std::fmt;

use base64::{
    Engine as _,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Secret;

/// What marks a secret that is written in base64.
const PREFIX: &str = "whsec_";

/// Secrets are copied by hand, and their padding is what gets lost.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why no letter could be signed. Secrets are named by their place: their text must not be seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretError {
    /// Nothing to sign with.
    #[error("webhooks need at least one secret")]
    None,
    /// Anybody could sign with it.
    #[error("webhook secret {0} is empty")]
    Empty(usize),
    /// `whsec_` and something else than base64.
    #[error("webhook secret {0} begins with whsec_ but does not go on in base64")]
    NotBase64(usize),
}

/// Signs with every configured secret.
#[derive(Clone)]
pub(super) struct Signer {
    keys: Vec<Hmac<Sha256>>,
}

/// The keys of secrets: `whsec_` and base64, or any other text, which is taken as it is.
pub(crate) fn keys(secrets: &[Secret]) -> Result<Vec<Hmac<Sha256>>, SecretError> {
    let keys = secrets.iter().zip(1..).map(|(secret, place)| {
        let key = match secret.reveal().strip_prefix(PREFIX) {
            Some(coded) => LENIENT.decode(coded.trim()).map_err(|_| SecretError::NotBase64(place))?,
            None => secret.reveal().as_bytes().to_vec(),
        };
        if key.is_empty() {
            return Err(SecretError::Empty(place));
        }
        // HMAC takes keys of any length.
        Hmac::new_from_slice(&key).map_err(|_| SecretError::Empty(place))
    });
    keys.collect()
}

impl Signer {
    /// Reads the secrets, at least one.
    pub(super) fn new(secrets: &[Secret]) -> Result<Self, SecretError> {
        if secrets.is_empty() {
            return Err(SecretError::None);
        }
        Ok(Self { keys: keys(secrets)? })
    }

    /// The header's value; `timestamp` is the time of the attempt in seconds since 1970.
    pub(super) fn header(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signatures = self.keys.iter().map(|key| {
            let code = key.clone().chain_update(format!("{id}.{timestamp}.")).chain_update(body).finalize();
            format!("v1,{}", STANDARD.encode(code.into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secrets: &[&str]) -> Result<Signer, SecretError> {
        Signer::new(&secrets.iter().map(|text| Secret::new(*text)).collect::<Vec<_>>())
    }

    #[test]
    fn the_example_of_standard_webhooks_is_signed_as_published() {
        let signer = signer(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).unwrap();
        let header = signer.header("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(header, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_plain_secret_is_its_own_key_and_padding_may_be_missing() {
        let key = STANDARD.encode("plain text");
        let same = [format!("{PREFIX}{key}"), format!("{PREFIX}{}", key.trim_end_matches('='))];
        let plain = signer(&["plain text"]).unwrap().header("msg_1", 1, b"{}");
        for coded in same {
            assert_eq!(signer(&[&coded]).unwrap().header("msg_1", 1, b"{}"), plain);
        }
    }

    #[test]
    fn each_secret_signs_in_its_order() {
        let (old, new) = (signer(&["old"]).unwrap(), signer(&["new"]).unwrap());
        let both = signer(&["new", "old"]).unwrap().header("msg_1", 7, b"x");
        assert_eq!(both, format!("{} {}", new.header("msg_1", 7, b"x"), old.header("msg_1", 7, b"x")));
    }

    #[test]
    fn id_time_and_body_are_all_signed() {
        let signer = signer(&["secret"]).unwrap();
        let header = signer.header("msg_1", 7, b"x");
        for other in [
            signer.header("msg_2", 7, b"x"),
            signer.header("msg_1", 8, b"x"),
            signer.header("msg_1", 7, b"y"),
        ] {
            assert_ne!(other, header);
        }
    }

    #[test]
    fn unusable_secrets_are_named_by_place_and_never_shown() {
        for (secrets, wanted) in [
            (&[][..], SecretError::None),
            (&["fine", ""], SecretError::Empty(2)),
            (&["whsec_"], SecretError::Empty(1)),
            (&["fine", "whsec_hunter2!"], SecretError::NotBase64(2)),
        ] {
            let error = signer(secrets).unwrap_err();
            assert_eq!(error, wanted);
            assert!(!error.to_string().contains("hunter2"));
        }
        assert_eq!(format!("{:?}", signer(&["hunter2"]).unwrap()), "Signer(1 keys)");
    }
}
