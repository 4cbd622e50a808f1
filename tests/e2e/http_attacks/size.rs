//! Heads and bodies that are too large, or never end.

use super::{CALL, PATIENCE, Target};

#[tokio::test]
async fn what_is_too_large_is_refused_by_name_before_it_is_kept() {
    let target = Target::start(&[("limits.header_bytes", "32KiB"), ("limits.body_bytes", "64KiB")]).await;
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let long = |length: usize| "a".repeat(length);
    for (name, bytes, statuses) in [
        ("a path", get(&format!("/{}", long(17 << 10)), ""), &[414][..]),
        ("a query", get(&format!("/health?{}", long(17 << 10)), ""), &[414]),
        ("a path beyond all measure", get(&format!("/{}", long(5 << 20)), ""), &[414]),
        ("one header", get("/health", &format!("X: {}\r\n", long(33 << 10))), &[431]),
        ("one header beyond all measure", get("/health", &format!("X: {}\r\n", long(5 << 20))), &[431]),
        ("all headers together", get("/health", &format!("X: {}\r\n", long(1 << 10)).repeat(40)), &[431]),
        ("too many headers", get("/health", &"X: y\r\n".repeat(129)), &[431]),
        ("far too many headers", get("/health", &"X: y\r\n".repeat(1000)), &[431, 400]),
        ("a name", get("/health", &format!("{}: y\r\n", long(40 << 10))), &[431]),
        ("a body that says so", format!("{CALL}Content-Length: 99999999\r\n\r\n"), &[413]),
        (
            "a body in chunks",
            format!(
                "{CALL}Transfer-Encoding: chunked\r\n\r\n{}",
                "1000\r\n".to_owned() + &(long(4096) + "\r\n1000\r\n").repeat(40)
            ),
            &[413],
        ),
    ] {
        target.refused(name, bytes.as_bytes(), statuses).await;
    }
    let head = format!("{CALL}X: {}\r\nContent-Length: 1\r\n\r\n7", long(30 << 10));
    target.answered("just under the limit", head.as_bytes(), &[200]).await;
}

#[tokio::test]
async fn who_is_refused_can_read_why_though_it_has_not_been_heard_out() {
    let target = Target::start(&[("limits.body_bytes", "64KiB")]).await;
    for (name, bytes) in [
        ("a body", format!("{CALL}Content-Length: 200000\r\n\r\n{}", "7".repeat(200_000))),
        ("behind a head that is none", format!("nonsense\r\n\r\n{}", "7".repeat(200_000))),
        ("behind a head that is refused", format!("GET / HTTP/1.1\r\n\r\n{}", "7".repeat(200_000))),
    ] {
        let mut connection = target.send(bytes.as_bytes()).await;
        assert!(connection.closed_in_order(PATIENCE).await, "{name}: it is reset");
    }
    target.answers("long words").await;
}
