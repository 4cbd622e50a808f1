//! Calls that a worker has not answered, by their ids.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// Call ids are counters: they need no hashing.
#[derive(Default)]
pub(crate) struct CallIdHasher(u64);

impl Hasher for CallIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Calls by their ids.
pub(super) type Pending<T> = HashMap<u64, T, BuildHasherDefault<CallIdHasher>>;
