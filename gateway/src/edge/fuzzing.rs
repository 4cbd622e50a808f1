//! Heads of requests as functions of their bytes: for the targets of `fuzz/`, and only there.

use http::Version;
use pingora_http::RequestHeader;

use super::hygiene::{Rules, inspect};
use crate::{
    config::Hosts,
    route::{Layout, Target, route},
};

/// Looks at a head and routes it.
///
/// # Panics
/// When a head passes whose path means something else to others.
pub(crate) fn head(bytes: &[u8]) {
    let Some(request) = request(bytes) else { return };
    let hosts = Hosts::default();
    if inspect(&request, bytes, Rules { header_bytes: 1 << 16, hosts: &hosts }).is_err() {
        return;
    }
    let id = match route(&Layout::Host, &request.method, request.uri.path(), |id| id.len() % 2 == 0) {
        Target::Invoke(id) | Target::Envelope(id) => id,
        Target::Rest(place) | Target::Ui(place) | Target::A2a(place) => {
            assert!(request.uri.path().ends_with(place.rest), "{place:?} is not of this path");
            place.id
        }
        Target::Control { .. } | Target::Nothing => return,
    };
    let twisted = |segment: &str| matches!(segment, "." | "..");
    assert!(!id.split('/').any(twisted), "{id:?} leads elsewhere");
    assert!(!id.contains(['\\', '\0', '\r', '\n']), "{id:?} has a byte that ends it for others");
}

/// A head as the framework's parser would hand it over; `None` for what is no HTTP.
fn request(bytes: &[u8]) -> Option<RequestHeader> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut first = lines.next()?.split(|byte| *byte == b' ');
    let (method, target, version) = (first.next()?, first.next()?, first.next()?);
    let mut request = RequestHeader::build(std::str::from_utf8(method).ok()?, target, None).ok()?;
    request.set_version(match version {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        _ => Version::HTTP_2,
    });
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        let name = std::str::from_utf8(name).ok()?.to_owned();
        let value = value.get(1..)?.trim_ascii();
        request.append_header(name, value).ok()?;
    }
    Some(request)
}
