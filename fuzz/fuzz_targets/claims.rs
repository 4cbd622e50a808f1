//! Claims behind a signature that fits.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| par::fuzzing::claims(bytes));
