//! Sessions, as people see and end them.

use super::*;

#[tokio::test]
async fn sessions_are_listed_for_viewers() {
    let bench = bench(false);
    let (status, body) = bench.ask(Role::Viewer, "GET", "/runtime/sessions", "").await;
    assert_eq!((status, body), (StatusCode::OK, json!({"sessions": []})));
    let (status, _) = bench.ask(Role::Caller, "GET", "/runtime/sessions", "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_operator_ends_a_session_by_its_id_and_its_package_where_that_is_not_enough() {
    let bench = bench(false);
    for (path, wanted, code) in [
        ("once", 200, None),
        ("a%2Fb%25", 200, None),
        ("twice?package=a", 200, None),
        ("twice", 409, Some("conflict")),
        ("never", 404, Some("session_not_found")),
        ("%ff", 404, Some("session_not_found")),
        ("once?pakage=a", 400, Some("bad_request")),
    ] {
        let (status, body) =
            bench.ask(Role::Operator, "DELETE", &format!("/runtime/sessions/{path}"), "").await;
        assert_eq!(status.as_u16(), wanted, "{path}: {body}");
        match code {
            Some(code) => assert_eq!(body["code"], code, "{path}"),
            None => assert_eq!(body["status"], "success", "{path}"),
        }
    }
    let (status, _) = bench.ask(Role::Viewer, "DELETE", "/runtime/sessions/once", "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
