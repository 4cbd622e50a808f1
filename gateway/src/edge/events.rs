//! Items as server-sent events (WHATWG HTML §9.2) and as lines of JSON. Pure: items in, bytes out.

use bytes::{BufMut, BytesMut};

/// A comment: keeps what is between from closing a connection on which nothing happens.
pub(super) const HEARTBEAT: &[u8] = b": \n\n";

/// One item, which is JSON on one line, under its number.
pub(super) fn event(out: &mut BytesMut, number: u64, item: &[u8]) {
    out.reserve(item.len() + 40);
    out.put_slice(b"id: ");
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
    out.put_slice(b"\ndata: ");
    out.put_slice(item);
    out.put_slice(b"\n\n");
}

/// The last event of a stream, by its name, with JSON on one line.
pub(super) fn last(out: &mut BytesMut, name: &str, data: &[u8]) {
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\ndata: ");
    out.put_slice(data);
    out.put_slice(b"\n\n");
}

/// One item as a line.
pub(super) fn line(out: &mut BytesMut, item: &[u8]) {
    out.reserve(item.len() + 1);
    out.put_slice(item);
    out.put_slice(b"\n");
}

/// A problem as the last line.
pub(super) fn failed_line(out: &mut BytesMut, problem: &[u8]) {
    out.put_slice(b"{\"$error\":");
    out.put_slice(problem);
    out.put_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_events_reads_as_the_standard_says() {
        let mut out = BytesMut::new();
        event(&mut out, 0, br#"{"a":1}"#);
        out.put_slice(HEARTBEAT);
        last(&mut out, "done", br#"{"items":1}"#);
        assert_eq!(out, "id: 0\ndata: {\"a\":1}\n\n: \n\nevent: done\ndata: {\"items\":1}\n\n".as_bytes());
    }

    #[test]
    fn lines_are_items_and_a_failure_is_the_last_one() {
        let mut out = BytesMut::new();
        line(&mut out, b"1");
        failed_line(&mut out, br#"{"code":"agent_error"}"#);
        assert_eq!(out, "1\n{\"$error\":{\"code\":\"agent_error\"}}\n".as_bytes());
    }
}
