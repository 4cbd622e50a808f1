//! What a template says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| par_pool::process::fuzzing::said(bytes));
