//! The index of a registry, and what would be mounted of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use par_pool::{
    package::Location,
    registry::{Index, choose},
};

fuzz_target!(|bytes: &[u8]| {
    let base = Location::S3 { bucket: "registry".to_owned(), key: "packages/index.json".to_owned() };
    if let Ok(index) = Index::parse(bytes, &base) {
        choose(&index.entries);
    }
});
