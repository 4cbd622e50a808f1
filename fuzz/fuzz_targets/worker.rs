//! What a worker sends, in pieces as a socket delivers them: the pieces make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use par_pool::process::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let Some((&step, rest)) = bytes.split_first() else { return };
    let whole = fuzzing::answers(rest, rest.len().max(1));
    assert_eq!(whole, fuzzing::answers(rest, usize::from(step) + 1), "the pieces made a difference");
});
