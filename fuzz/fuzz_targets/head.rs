//! Heads of requests: what passes has one meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| par::fuzzing::head(bytes));
