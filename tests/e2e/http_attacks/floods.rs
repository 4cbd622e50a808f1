//! Frames of HTTP/2 that ask for work and bring none.

use super::{PATIENCE, Target};
use crate::harness::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RESET, SETTINGS, frame, post, preface,
};

#[tokio::test]
async fn floods_of_http_2_end_their_connection_and_cost_no_agent() {
    let target = Target::start(&[]).await;
    let head = post("/agents/witness/invoke");
    let stream = |number: u32| number * 2 + 1;
    let reset = |number: u32| {
        let begun = frame(HEADERS, END_HEADERS, stream(number), &head);
        [begun, frame(RESET, 0, stream(number), &[0, 0, 0, 8])].concat()
    };
    let many = |count: u32, one: &dyn Fn(u32) -> Vec<u8>| (0..count).flat_map(one).collect::<Vec<u8>>();
    for (name, bytes) in [
        ("rapid reset", many(5_000, &reset)),
        (
            "CONTINUATION",
            [
                frame(HEADERS, 0, 1, &head),
                many(20_000, &|_| frame(CONTINUATION, 0, 1, &[0x40, 1, b'a', 1, b'b'])),
            ]
            .concat(),
        ),
        (
            "empty CONTINUATION",
            [frame(HEADERS, 0, 1, &head), many(100_000, &|_| frame(CONTINUATION, 0, 1, &[]))].concat(),
        ),
        ("PING", many(60_000, &|_| frame(PING, 0, 0, &[7; 8]))),
        ("SETTINGS", many(60_000, &|_| frame(SETTINGS, 0, 0, &[]))),
        ("PRIORITY", many(60_000, &|number| frame(2, 0, stream(number % 1000), &[0, 0, 0, 0, 16]))),
        ("WINDOW_UPDATE", many(60_000, &|_| frame(8, 0, 0, &[0, 0, 0, 1]))),
        ("unknown frames", many(60_000, &|_| frame(0x42, 0, 0, b"x"))),
        (
            "empty DATA",
            [
                frame(HEADERS, END_HEADERS, 1, &post("/agents/echo/invoke")),
                many(60_000, &|_| frame(DATA, 0, 1, &[])),
            ]
            .concat(),
        ),
        (
            "frames beyond their size",
            [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &vec![0; 100_000]].concat(),
        ),
        ("a head that decompresses without end", {
            // One long value put into the dynamic table, then named again and again.
            let value = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'b'; 4_000]].concat();
            let bomb = [head.clone(), value, vec![0xbe; 12_000]].concat();
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)
        }),
    ] {
        let mut connection = target.send(&preface()).await;
        let half = bytes.len() / 2;
        connection.send(&bytes[..half]).await;
        connection.send(&bytes[half..]).await;
        if name != "a head that decompresses without end" {
            assert!(connection.closed_within(PATIENCE).await, "{name}: the connection stays open");
        }
        target.answers(name).await;
    }
    let alarms: Vec<String> =
        target.par.lines().iter().filter(|line| line.is_alarm()).map(crate::harness::Line::text).collect();
    assert!(alarms.is_empty(), "{alarms:?}");
    target.nobody_was_called().await;
}
