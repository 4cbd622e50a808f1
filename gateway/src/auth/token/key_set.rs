//! Keys by name: a JSON Web Key Set (RFC 7517) enters, the keys that we may use leave.

use std::sync::Arc;

use serde_json::Value;

use super::{Algorithm, Key, json::strict};

/// Longest set. That of a large provider has 20 KiB.
const LONGEST_SET: usize = 1 << 20;

/// Most keys of a set; providers have 2 to 10. Every cold token looks through them.
const MOST_KEYS: usize = 256;

/// The keys of one issuer.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Arc<Key>>,
}

impl KeySet {
    /// Reads a JWKS. Keys of unknown kinds, for other uses, too weak or broken are left out; a set in which
    /// that leaves none is an error, an empty one is not: everything was taken back. Secrets are never taken
    /// from a set.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LONGEST_SET {
            return Err(format!("more than {} KiB", LONGEST_SET >> 10));
        }
        let set = strict(bytes).map_err(|error| format!("not a key set: {error}"))?;
        let Some(written) = set.get("keys").and_then(Value::as_array) else {
            return Err("not a key set: `keys` is missing".to_owned());
        };
        if written.len() > MOST_KEYS {
            return Err(format!("{} keys; at most {MOST_KEYS} are taken", written.len()));
        }
        let mut keys = Vec::new();
        let mut first_fault = None;
        for jwk in written {
            let read = jwk.as_object().map_or_else(|| Err("not an object".to_owned()), Key::public);
            match read {
                Ok(Some(key)) => keys.push(Arc::new(key)),
                Ok(None) => {}
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        if keys.is_empty() && !written.is_empty() {
            let fault =
                first_fault.unwrap_or_else(|| "none is for signatures and of a known kind".to_owned());
            return Err(format!("none of {} keys can be used: {fault}", written.len()));
        }
        Ok(Self { keys })
    }

    /// Takes the place of `previous`: keys that are in both live on, so that what they proved stays
    /// remembered. When `previous` is dropped, whatever the others proved is forgotten.
    pub(crate) fn replacing(mut self, previous: &Self) -> Self {
        for key in &mut self.keys {
            if let Some(same) = previous.keys.iter().find(|old| old.is(key)) {
                *key = Arc::clone(same);
            }
        }
        self
    }

    /// The key of that name that may verify the algorithm. Without a name: the one key that may, if there is
    /// only one; a token does not get to be tried against all of them.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Arc<Key>> {
        let mut fitting = self.keys.iter().filter(|key| key.may_verify(algorithm));
        match kid {
            Some(kid) => fitting.find(|key| key.kid() == Some(kid)),
            None => match (fitting.next(), fitting.next()) {
                (Some(key), None) => Some(key),
                (_, _) => None,
            },
        }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether both hold the same keys.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.len() == other.len() && self.keys.iter().all(|key| other.keys.iter().any(|old| old.is(key)))
    }
}
