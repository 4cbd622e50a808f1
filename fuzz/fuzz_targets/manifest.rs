//! `agent.yaml`: text to a checked manifest, or to faults.
#![no_main]

use libfuzzer_sys::fuzz_target;
use par_pool::package::{
    Loaders,
    manifest::{raw, variants},
};

fuzz_target!(|text: &str| {
    let Ok(node) = raw::parse(text) else { return };
    if let Err(faults) = variants::check(&node, &Loaders::default(), None) {
        assert!(!faults.is_empty(), "refused without a reason");
    }
});
