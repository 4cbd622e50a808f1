//! Bodies of gRPC: one meaning, however they come, and no word that is not in them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| par::fuzzing::grpc(bytes));
