//! Key sets of identity providers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| par::fuzzing::key_set(bytes));
