//! The codec: what decodes encodes to the same bytes.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use par_proto::frames::{Decoder, JournalImage, encode};

fuzz_target!(|bytes: &[u8]| {
    let mut buffer = BytesMut::from(bytes);
    let mut decoder = Decoder::default();
    let mut again = BytesMut::new();
    while let Ok(Some(frame)) = decoder.next(&mut buffer) {
        encode(&mut again, frame.header, &frame.meta, &frame.payload);
    }
    assert_eq!(again, bytes[..again.len()], "what was read is not what was written");
    assert!(JournalImage::parse(bytes).frames.len() <= bytes.len());
});
