//! Bearer tokens and the header they come in.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| par::fuzzing::token(text));
