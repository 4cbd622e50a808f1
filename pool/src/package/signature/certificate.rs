//! Keys with what they say of themselves: packets in, keys that may or may not be relied on out.
//!
//! A self-signature is verified when it arrives and kept as the few facts that matter. Which of them counts depends
//! on the time and is decided when somebody asks: the newest that has begun and not ended.

use std::io::{Read, Write};

use pgp::{
    errors::Error,
    packet::{PublicKey, PublicSubkey, Signature, SignatureType},
    ser::Serialize,
    types::Tag,
};

use super::{
    KeyFlaw,
    key::{Binding, Key, is_weak},
};

/// Every certificate of a ring.
#[derive(Default)]
pub(super) struct Certificates {
    all: Vec<Certificate>,
    /// What the next signature belongs to.
    place: Place,
    /// Revocations that stand alone, as GnuPG makes them in advance.
    revocations: Vec<Signature>,
}

/// A primary key with its users and subkeys.
pub(super) struct Certificate {
    primary: Key<PublicKey>,
    users: Vec<User>,
    subkeys: Vec<Key<PublicSubkey>>,
}

/// A name of the key's owner, with what the owner says there.
struct User {
    tag: Tag,
    id: Name,
    bindings: Vec<Binding>,
    /// When the owner last took the name back.
    revoked: Option<u64>,
}

/// The content of a packet as it is hashed.
#[derive(PartialEq)]
struct Name(Vec<u8>);

impl Serialize for Name {
    fn to_writer<W: Write>(&self, writer: &mut W) -> Result<(), Error> {
        Ok(writer.write_all(&self.0)?)
    }

    fn write_len(&self) -> usize {
        self.0.len()
    }
}

/// Indices into the certificates.
#[derive(Default, Clone, Copy)]
enum Place {
    #[default]
    Nowhere,
    Primary(usize),
    User(usize, usize),
    Subkey(usize, usize),
}

impl Certificates {
    /// A new block begins: what comes belongs to nothing yet.
    pub(super) fn begin(&mut self) {
        self.place = Place::Nowhere;
    }

    /// A primary key; one that is known already is continued.
    pub(super) fn key(&mut self, key: PublicKey) {
        let key = Key::new(key);
        let known = self.all.iter().position(|other| other.primary.fingerprint == key.fingerprint);
        let at = known.unwrap_or_else(|| {
            self.all.push(Certificate { primary: key, users: Vec::new(), subkeys: Vec::new() });
            self.all.len() - 1
        });
        self.place = Place::Primary(at);
    }

    /// A subkey of the last primary key.
    pub(super) fn subkey(&mut self, key: PublicSubkey) {
        let Some((at, certificate)) = self.current() else { return };
        let key = Key::new(key);
        let known = certificate.subkeys.iter().position(|other| other.fingerprint == key.fingerprint);
        let index = known.unwrap_or_else(|| {
            certificate.subkeys.push(key);
            certificate.subkeys.len() - 1
        });
        self.place = Place::Subkey(at, index);
    }

    /// A name or a picture of the last primary key's owner.
    pub(super) fn user(&mut self, tag: Tag, id: &impl Serialize) {
        let Some((at, certificate)) = self.current() else { return };
        let mut name = Vec::new();
        // Writing to memory does not fail; were it to, the name would fit none of its signatures.
        id.to_writer(&mut name).ok();
        let id = Name(name);
        let known = certificate.users.iter().position(|user| user.tag == tag && user.id == id);
        let index = known.unwrap_or_else(|| {
            certificate.users.push(User { tag, id, bindings: Vec::new(), revoked: None });
            certificate.users.len() - 1
        });
        self.place = Place::User(at, index);
    }

    /// A signature on what came last. Those of others than the key's owner say nothing here.
    pub(super) fn signature(&mut self, signature: Signature) {
        match self.place {
            Place::Nowhere if signature.typ() == Some(SignatureType::KeyRevocation) => {
                self.revocations.push(signature);
            }
            Place::Nowhere => {}
            Place::Primary(at) => {
                if let Some(certificate) = self.all.get_mut(at) {
                    certificate.on_primary(&signature);
                }
            }
            Place::User(at, index) => {
                if let Some(certificate) = self.all.get_mut(at) {
                    certificate.on_user(index, &signature);
                }
            }
            Place::Subkey(at, index) => {
                if let Some(certificate) = self.all.get_mut(at) {
                    certificate.on_subkey(index, &signature);
                }
            }
        }
    }

    /// All files are read: revocations that stood alone find their keys.
    pub(super) fn settle(&mut self) {
        self.place = Place::Nowhere;
        for revocation in std::mem::take(&mut self.revocations) {
            for certificate in &mut self.all {
                certificate.on_primary(&revocation);
            }
        }
    }

    /// Every key that could have signed something.
    pub(super) fn signers(&self) -> impl Iterator<Item = Signer<'_>> {
        self.all.iter().flat_map(|certificate| {
            let primary = &certificate.primary;
            let subkeys = certificate.subkeys.iter().map(move |key| Signer::Subkey(certificate, key));
            std::iter::once(Signer::Primary(certificate, primary)).chain(subkeys)
        })
    }

    /// Certificates of which no key proves anything now.
    pub(super) fn unfit(&self, now: u64) -> Vec<String> {
        let mut sentences = Vec::new();
        for certificate in &self.all {
            let signers = self.signers().filter(|signer| std::ptr::eq(signer.certificate(), certificate));
            let flaws: Vec<_> = signers.map(|signer| signer.flaw(now)).collect();
            if flaws.iter().any(Option::is_none) {
                continue;
            }
            // A key that only certifies is usual; what is wrong with those that should sign is the news.
            let told = flaws.iter().flatten().find(|(_, flaw)| *flaw != KeyFlaw::NotForSigning);
            if let Some((key, flaw)) = told.or_else(|| flaws.iter().flatten().next()) {
                sentences.push(format!("signatures of the trusted key {key} are refused: it {flaw}"));
            }
        }
        sentences
    }

    fn current(&mut self) -> Option<(usize, &mut Certificate)> {
        let at = match self.place {
            Place::Nowhere => return None,
            Place::Primary(at) | Place::User(at, _) | Place::Subkey(at, _) => at,
        };
        self.all.get_mut(at).map(|certificate| (at, certificate))
    }
}

impl Certificate {
    fn on_primary(&mut self, signature: &Signature) {
        let key = &mut self.primary;
        match signature.typ() {
            // A revocation counts whatever its hash is: to forge one gains nothing but a refusal.
            Some(SignatureType::KeyRevocation) => {
                key.revoked |= signature.verify_key(&key.public).is_ok();
            }
            Some(SignatureType::Key) => {
                // Some say nothing about the key's use, for example only who else may revoke it.
                let tells = signature.key_flags().sign()
                    || signature.key_flags().certify()
                    || signature.key_expiration_time().is_some();
                if let Some(binding) = Binding::of(signature, key.made).filter(|_| tells)
                    && signature.verify_key(&key.public).is_ok()
                {
                    key.bindings.push(binding);
                }
            }
            _ => {}
        }
    }

    fn on_user(&mut self, index: usize, signature: &Signature) {
        let key = &self.primary;
        let Some(user) = self.users.get_mut(index) else { return };
        let holds = signature.verify_certification(&key.public, user.tag, &user.id).is_ok();
        match signature.typ() {
            Some(SignatureType::CertRevocation) if holds => {
                let made = signature.created().map_or(u64::MAX, |made| u64::from(made.as_secs()));
                user.revoked = user.revoked.max(Some(made));
            }
            Some(
                SignatureType::CertGeneric
                | SignatureType::CertPersona
                | SignatureType::CertCasual
                | SignatureType::CertPositive,
            ) if holds => user.bindings.extend(Binding::of(signature, key.made)),
            _ => {}
        }
    }

    fn on_subkey(&mut self, index: usize, signature: &Signature) {
        let primary = &self.primary.public;
        let Some(key) = self.subkeys.get_mut(index) else { return };
        if signature.verify_subkey_binding(primary, &key.public).is_err() {
            return;
        }
        match signature.typ() {
            Some(SignatureType::SubkeyRevocation) => key.revoked = true,
            Some(SignatureType::SubkeyBinding) => {
                // The subkey must agree to sign for this primary key, else a stranger's key could be claimed.
                let agrees = signature.embedded_signature().is_some_and(|back| {
                    back.hash_alg().is_some_and(|hash| !is_weak(hash))
                        && back.verify_primary_key_binding(&key.public, primary).is_ok()
                });
                let binding = Binding::of(signature, key.made).filter(|binding| agrees || !binding.signs);
                key.bindings.extend(binding);
            }
            _ => {}
        }
    }

    /// Everything that the owner says about the primary key and has not taken back.
    fn said_of_primary(&self) -> impl Iterator<Item = &Binding> {
        let of_users = self.users.iter().flat_map(|user| {
            user.bindings.iter().filter(|binding| user.revoked.is_none_or(|revoked| binding.made > revoked))
        });
        self.primary.bindings.iter().chain(of_users)
    }
}

/// One key of a certificate.
pub(super) enum Signer<'a> {
    Primary(&'a Certificate, &'a Key<PublicKey>),
    Subkey(&'a Certificate, &'a Key<PublicSubkey>),
}

impl Signer<'_> {
    pub(super) fn fingerprint(&self) -> &str {
        match self {
            Self::Primary(_, key) => &key.fingerprint,
            Self::Subkey(_, key) => &key.fingerprint,
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::Primary(_, key) => &key.id,
            Self::Subkey(_, key) => &key.id,
        }
    }

    /// Whether a signature says that this key made it.
    pub(super) fn is_named_by(&self, signature: &Signature) -> bool {
        let fingerprints = signature.issuer_fingerprint();
        if fingerprints.is_empty() {
            return signature.issuer_key_id().iter().any(|id| hex::encode_upper(id) == self.id());
        }
        fingerprints.iter().any(|fingerprint| hex::encode_upper(fingerprint) == self.fingerprint())
    }

    pub(super) fn verify(&self, signature: &Signature, bytes: impl Read) -> Result<(), Error> {
        match self {
            Self::Primary(_, key) => signature.verify(&key.public, bytes),
            Self::Subkey(_, key) => signature.verify(&key.public, bytes),
        }
    }

    /// What is wrong with this key at a time, or with the primary key that answers for it, and which of them it is.
    pub(super) fn flaw(&self, now: u64) -> Option<(String, KeyFlaw)> {
        let certificate = self.certificate();
        let primary = &certificate.primary;
        let said = Binding::newest(certificate.said_of_primary(), now);
        let of_primary = primary.flaw(said, now);
        match self {
            Self::Primary(_, key) => {
                let signs = said.is_some_and(|said| said.signs);
                let flaw = of_primary.or_else(|| (!signs).then_some(KeyFlaw::NotForSigning))?;
                Some((key.id.clone(), flaw))
            }
            Self::Subkey(_, key) => {
                if let Some(flaw) = of_primary {
                    return Some((format!("{} (the primary key of {})", primary.id, key.id), flaw));
                }
                let said = Binding::newest(key.bindings.iter(), now);
                let signs = said.is_some_and(|said| said.signs);
                let flaw = key.flaw(said, now).or_else(|| (!signs).then_some(KeyFlaw::NotForSigning))?;
                Some((key.id.clone(), flaw))
            }
        }
    }

    /// What was wrong with this key at the time of a signature, by what is known now.
    pub(super) fn flaw_at(&self, made: u64) -> Option<(String, KeyFlaw)> {
        let (id, key_made) = match self {
            Self::Primary(_, key) => (&key.id, key.made),
            Self::Subkey(_, key) => (&key.id, key.made),
        };
        (made < key_made).then(|| (id.clone(), KeyFlaw::TooYoung))
    }

    fn certificate(&self) -> &Certificate {
        match self {
            Self::Primary(certificate, _) | Self::Subkey(certificate, _) => certificate,
        }
    }
}
