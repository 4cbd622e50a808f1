//! One key and what its owner said of it.

use pgp::{
    crypto::hash::HashAlgorithm,
    packet::Signature,
    ser::Serialize as _,
    types::{Duration, EcdsaPublicParams, KeyDetails, KeyVersion, PublicParams},
};

use super::{KeyFlaw, SKEW};

/// Shortest RSA modulus: NIST disallowed shorter ones in 2014.
const RSA_BITS: u16 = 2048;

/// A primary key or a subkey.
pub(super) struct Key<K> {
    pub(super) public: K,
    pub(super) fingerprint: String,
    pub(super) id: String,
    pub(super) made: u64,
    /// What is wrong with it by its nature.
    weakness: Option<KeyFlaw>,
    pub(super) revoked: bool,
    pub(super) bindings: Vec<Binding>,
}

/// What one self-signature says. Times are seconds since 1970.
pub(super) struct Binding {
    pub(super) made: u64,
    ends: Option<u64>,
    key_ends: Option<u64>,
    pub(super) signs: bool,
}

impl Binding {
    /// `None` if it says nothing that can be relied on: no time, or a hash that others can meet.
    pub(super) fn of(signature: &Signature, key_made: u64) -> Option<Self> {
        let made = u64::from(signature.created()?.as_secs());
        signature.hash_alg().filter(|hash| !is_weak(*hash))?;
        Some(Self {
            made,
            ends: end(made, signature.signature_expiration_time()),
            key_ends: end(key_made, signature.key_expiration_time()),
            signs: signature.key_flags().sign(),
        })
    }

    pub(super) fn newest<'a>(of: impl Iterator<Item = &'a Self>, now: u64) -> Option<&'a Self> {
        of.filter(|binding| binding.made <= now + SKEW && binding.ends.is_none_or(|ends| ends > now))
            .max_by_key(|binding| binding.made)
    }
}

impl<K: KeyDetails> Key<K> {
    pub(super) fn new(public: K) -> Self {
        Self {
            fingerprint: hex::encode_upper(public.fingerprint()),
            id: hex::encode_upper(public.legacy_key_id()),
            made: u64::from(public.created_at().as_secs()),
            weakness: weakness(&public),
            revoked: false,
            bindings: Vec::new(),
            public,
        }
    }

    pub(super) fn flaw(&self, binding: Option<&Binding>, now: u64) -> Option<KeyFlaw> {
        if self.revoked {
            return Some(KeyFlaw::Revoked);
        }
        if let Some(weakness) = &self.weakness {
            return Some(weakness.clone());
        }
        let Some(binding) = binding else { return Some(KeyFlaw::Unbound) };
        binding.key_ends.is_some_and(|ends| ends <= now).then_some(KeyFlaw::Expired)
    }
}

/// The time at which something of a length ends; a length of zero is none.
pub(super) fn end(from: u64, length: Option<Duration>) -> Option<u64> {
    length.map(Duration::as_secs).filter(|seconds| *seconds > 0).map(|seconds| from + u64::from(seconds))
}

/// Everything but the SHA-2 and SHA-3 families: collisions of MD5 and SHA-1 have been shown, RIPEMD-160 is as short.
pub(super) fn is_weak(hash: HashAlgorithm) -> bool {
    use HashAlgorithm as H;
    !matches!(hash, H::Sha224 | H::Sha256 | H::Sha384 | H::Sha512 | H::Sha3_256 | H::Sha3_512)
}

/// What no self-signature can cure.
fn weakness(key: &impl KeyDetails) -> Option<KeyFlaw> {
    let kind = |name: &str| Some(KeyFlaw::Kind(name.to_owned()));
    if !matches!(key.version(), KeyVersion::V4 | KeyVersion::V6) {
        return kind("an old version of OpenPGP");
    }
    match key.public_params() {
        PublicParams::RSA(rsa) => {
            // The modulus stands first, led by its length in bits.
            let bytes = rsa.to_bytes().unwrap_or_default();
            let bits = bytes.first_chunk().map_or(0, |two| u16::from_be_bytes(*two));
            (bits < RSA_BITS).then_some(KeyFlaw::ShortRsa { bits })
        }
        PublicParams::ECDSA(EcdsaPublicParams::Unsupported { .. }) => kind("an unknown curve"),
        PublicParams::ECDSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => None,
        PublicParams::DSA(_) => kind("DSA"),
        PublicParams::Elgamal(_) => kind("Elgamal"),
        PublicParams::ECDH(_) | PublicParams::X25519(_) | PublicParams::X448(_) => {
            Some(KeyFlaw::NotForSigning)
        }
        PublicParams::Unknown { .. } => kind("an unknown algorithm"),
    }
}
