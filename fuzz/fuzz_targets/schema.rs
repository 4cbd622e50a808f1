//! Schemas of handlers: the first line is a schema, the rest a value to check. What fits, fits again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use par_pool::package::{
    Patience, Schema, Unfit,
    manifest::schema::{MAX_MISFITS, PatternRoom},
};

fuzz_target!(|text: &str| {
    let (source, value) = text.split_once('\n').unwrap_or((text, "null"));
    let Ok(source) = serde_json::from_str(source) else { return };
    let Ok(schema) = Schema::compile(source, &mut PatternRoom::default()) else { return };
    let brief = schema.check(value, Patience::Brief);
    if let Err(Unfit::Misfits(misfits)) = &brief {
        assert!((1..=MAX_MISFITS).contains(&misfits.len()), "{} misfits", misfits.len());
    }
    if brief.is_ok() {
        assert!(schema.check(value, Patience::Long).is_ok(), "more patience found it unfit");
    }
});
