//! Loading by name and by upload.

use super::*;

#[tokio::test]
async fn a_package_is_loaded_from_an_address() {
    let bench = bench(false);
    let digest = "ab".repeat(32);
    let (status, body) =
        bench.load(json!({"url": "https://a.example/x.apkg", "sha256": digest, "force": true})).await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({"status": "success", "package_id": "echo@1.0.0", "agents": ["echo@1.0.0/say"], "created": true})
    );
    let loads = bench.fleet.loads.lock();
    let (given, options) = loads.first().unwrap();
    assert_eq!((given.as_str(), options.force, options.remember), ("https://a.example/x.apkg", true, true));
    assert_eq!(options.sha256.unwrap().to_string(), digest);
}

#[tokio::test]
async fn each_failure_of_a_load_has_its_code() {
    let bench = bench(false);
    let url = |name: &str| json!({"url": format!("https://a.example/{name}.apkg")});
    for (body, status, code, step) in [
        (url("conflict"), 409, "conflict", Value::Null),
        (url("full"), 422, "package_invalid", json!("mount")),
        (url("stopping"), 503, "stopping", Value::Null),
        (url("broken"), 422, "package_invalid", json!("unpack")),
        (json!({}), 400, "bad_request", Value::Null),
        (json!({"path": "/a", "url": "https://b/c"}), 400, "bad_request", Value::Null),
        (json!({"path": 5}), 400, "bad_request", Value::Null),
        (json!({"path": ""}), 400, "bad_request", Value::Null),
        (json!({"url": "/etc/passwd"}), 400, "bad_request", Value::Null),
        (json!({"url": "http://a.example/x"}), 400, "bad_request", Value::Null),
        (json!({"url": "https://a.example/x", "sha256": "zz"}), 400, "bad_request", Value::Null),
        (json!({"url": "https://a.example/x", "unknown": 1}), 400, "bad_request", Value::Null),
    ] {
        let (answered, answer) = bench.load(body.clone()).await;
        assert_eq!(
            (answered, &answer["code"], &answer["step"]),
            (status, &json!(code), &step),
            "{body} {answer}"
        );
        assert!(!answer.to_string().contains("/secret"));
    }
    let (status, answer) = bench.ask(Role::Operator, "POST", "/runtime/packages/load", "{").await;
    assert_eq!((status.as_u16(), &answer["code"]), (400, &json!("bad_json")));
    let big = format!("\"{}\"", "x".repeat(70_000));
    assert_eq!(bench.ask(Role::Operator, "POST", "/runtime/packages/load", &big).await.0.as_u16(), 413);
    let mut request = Request::post("/runtime/packages/load")
        .header("content-type", "text/plain")
        .body(Body::from("{}"))
        .unwrap();
    Role::Operator.stamp(request.headers_mut());
    assert_eq!(bench.send(request).await.status().as_u16(), 415);
}

#[tokio::test]
async fn paths_are_read_below_the_load_roots_only() {
    let bench = bench(false);
    let root = bench.root.path();
    std::fs::write(root.join("packages/in.apkg"), "").unwrap();
    std::fs::write(root.join("out.apkg"), "").unwrap();
    std::os::unix::fs::symlink(root.join("out.apkg"), root.join("packages/link.apkg")).unwrap();
    let at = |name: &str| root.join(name).display().to_string();
    for (path, wanted) in [
        (at("packages/in.apkg"), 200),
        (at("packages/../packages/in.apkg"), 200),
        (at("packages/missing.apkg"), 200),
        (at("packages/../out.apkg"), 403),
        (at("packages/missing/../../out.apkg"), 403),
        (at("packages/link.apkg"), 403),
        (at("out.apkg"), 403),
        (at("packages-beside/x.apkg"), 403),
        ("/etc/passwd".to_owned(), 403),
        ("relative.apkg".to_owned(), 403),
        (format!("file://{}", at("out.apkg")), 403),
    ] {
        assert_eq!(bench.load(json!({"path": path})).await.0, wanted, "{path}");
    }
    assert_eq!(bench.load(json!({"url": format!("file://{}", at("out.apkg"))})).await.0, 403);
    assert_eq!(bench.load(json!({"url": format!("file://{}", at("packages/in.apkg"))})).await.0, 200);
    let dev = super::bench(true);
    assert_eq!(dev.load(json!({"path": at("out.apkg")})).await.0, 200);
}

fn form(fields: &[(&str, &[u8])]) -> Request<Body> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head =
            format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xyz--\r\n");
    let mut request = Request::post("/runtime/packages/upload")
        .header("content-type", "multipart/form-data; boundary=xyz")
        .body(Body::from(body))
        .unwrap();
    Role::Operator.stamp(request.headers_mut());
    request
}

fn leftovers(root: &Path) -> usize {
    std::fs::read_dir(root.join("data/incoming")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn an_upload_is_streamed_to_a_file_that_does_not_stay() {
    let bench = bench(false);
    let bytes = vec![7; 900_000];
    let response = bench.send(form(&[("force", b"true"), ("file", &bytes), ("signature", b"-----")])).await;
    assert_eq!(response.status().as_u16(), 200);
    {
        let uploads = bench.fleet.uploads.lock();
        let (path, received) = uploads.first().unwrap();
        assert!(path.starts_with(bench.root.path().join("data/incoming")));
        assert_eq!(received, &bytes);
    }
    assert_eq!(leftovers(bench.root.path()), 0);
    for (fields, wanted) in [
        (&[("file", &b"broken"[..])][..], 422),
        (&[("file", b"conflict")], 409),
        (&[("file", &vec![0; (1 << 20) + 1])], 413),
        (&[("file", b"x"), ("sha256", b"zz")], 400),
        (&[("file", b"x"), ("force", b"maybe")], 400),
        (&[("file", b"x"), ("file", b"y")], 400),
        (&[("file", b"x"), ("other", b"y")], 400),
        (&[("sha256", &vec![b'a'; 70_000])], 413),
        (&[], 400),
    ] {
        assert_eq!(bench.send(form(fields)).await.status().as_u16(), wanted);
        assert_eq!(leftovers(bench.root.path()), 0);
    }
}

#[tokio::test]
async fn an_upload_of_another_form_or_size_is_refused_before_it_is_read() {
    let bench = bench(false);
    let mut request = form(&[]);
    request.headers_mut().insert(header::CONTENT_LENGTH, "99999999".parse().unwrap());
    assert_eq!(bench.send(request).await.status().as_u16(), 413);
    let mut request = form(&[]);
    request.headers_mut().insert(header::CONTENT_TYPE, "application/zip".parse().unwrap());
    assert_eq!(bench.send(request).await.status().as_u16(), 415);
    let mut request = form(&[]);
    request.headers_mut().insert(header::CONTENT_TYPE, "multipart/form-data".parse().unwrap());
    assert_eq!(bench.send(request).await.status().as_u16(), 400);
    let mut request = form(&[("file", b"x")]);
    *request.body_mut() = Body::from("--xyz\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ncut");
    assert_eq!(bench.send(request).await.status().as_u16(), 400);
    assert_eq!(leftovers(bench.root.path()), 0);
}
