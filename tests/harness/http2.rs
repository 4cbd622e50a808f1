//! Frames of HTTP/2 by hand (RFC 9113 §4.1, RFC 7541), for sequences that no client sends.

/// DATA.
pub(crate) const DATA: u8 = 0;
/// HEADERS.
pub(crate) const HEADERS: u8 = 1;
/// RST_STREAM.
pub(crate) const RESET: u8 = 3;
/// SETTINGS.
pub(crate) const SETTINGS: u8 = 4;
/// PING.
pub(crate) const PING: u8 = 6;
/// CONTINUATION.
pub(crate) const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 1;
/// Flag of HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// What a connection begins with: the preface and empty settings.
pub(crate) fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The compressed head of a `POST` of JSON, without Huffman codes and without the dynamic table.
pub(crate) fn post(path: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        assert!(length < 127, "longer texts have longer lengths");
        [&[length], text.as_bytes()].concat()
    };
    // :method POST, :scheme http, :path, :authority, content-type
    [&[0x83, 0x86, 0x04][..], &text(path), &[0x01], &text("x"), &[0x0f, 0x10], &text("application/json")]
        .concat()
}
