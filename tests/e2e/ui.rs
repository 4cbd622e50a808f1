//! UIs: files of a package as browsers want them, and nothing but those.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::harness::{Answer, Answered, Client, Package, Par, RawConnection, par, scratch, status_of};

/// A UI with one file of each kind.
fn package() -> Package {
    Package::new("page", "1.0.0", "ui: {path: ui}")
        .file("ui/index.html", "<title>index</title>")
        .file("ui/app.3f2a9c1b.js", "export default 1;")
        .file("ui/style.css", "body {}")
        .file("ui/style.css.br", "packed by brotli")
        .file("ui/style.css.gz", "packed by gzip")
        .file("ui/docs/index.html", "<title>docs</title>")
        .file("ui/with space.txt", "spaced")
        .file("ui/.hidden", "hidden")
        .file("ui/.well-known/agent.json", "{}")
        .file("ui/large.bin", large())
        .file("secret.txt", "secret")
}

/// Larger than what is kept in memory.
fn large() -> Vec<u8> {
    (0..5_000_000_u32).map(|at| (at % 251) as u8).collect()
}

async fn serving(package: &Package) -> Par {
    let scratch = scratch();
    par().source(package.apkg(scratch.path())).start().await
}

async fn ask(client: &Client, path: &str, lines: &[(&str, &str)]) -> Answer {
    let request = client.request(Method::GET, &format!("/agents/page/ui{path}"));
    lines.iter().fold(request, |request, (name, value)| request.header(*name, *value)).answer().await
}

const PAGE: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[tokio::test]
async fn files_come_with_what_browsers_need() {
    let par = serving(&package()).await;
    for client in [par.http.clone(), Client::http2(par.port)] {
        for (path, kind, cached, body) in [
            ("/", "text/html; charset=utf-8", "no-cache", "<title>index</title>"),
            ("/docs/", "text/html; charset=utf-8", "no-cache", "<title>docs</title>"),
            (
                "/app.3f2a9c1b.js",
                "text/javascript; charset=utf-8",
                "public, max-age=31536000, immutable",
                "export default 1;",
            ),
            ("/with%20space.txt", "text/plain; charset=utf-8", "no-cache", "spaced"),
            ("/.well-known/agent.json", "application/json; charset=utf-8", "no-cache", "{}"),
        ] {
            let answer = ask(&client, path, &[]).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, body), "{path}");
            assert_eq!(answer.header("content-type"), kind, "{path}");
            assert_eq!(answer.header("cache-control"), cached, "{path}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("referrer-policy"), "strict-origin-when-cross-origin");
            assert_eq!(answer.header("accept-ranges"), "bytes");
            assert_eq!(answer.header("x-par-agent"), "page@1.0.0");
            let head = client.request(Method::HEAD, &format!("/agents/page/ui{path}")).answer().await;
            assert_eq!((head.status, head.body.len()), (200, 0));
            for name in ["content-length", "etag", "content-type", "last-modified", "cache-control"] {
                assert!(!head.header(name).is_empty(), "{name} of {path}");
                assert_eq!(head.header(name), answer.header(name), "{name} of {path}");
            }
        }
        assert!(ask(&client, "/large.bin", &[]).await.body == large());
    }
    let line = par.wait_for_line("its access line", |line| line["bytes_out"] == 5_000_000).await;
    assert_eq!((&line["agent_id"], &line["code"]), (&json!("page@1.0.0"), &json!("ok")));
}

#[tokio::test]
async fn who_has_a_file_is_told_so_and_a_part_is_sent_as_one() {
    let par = serving(&package()).await;
    let whole = ask(&par.http, "/large.bin", &[]).await;
    let (tag, date) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
    for line in [("if-none-match", tag.as_str()), ("if-modified-since", date.as_str())] {
        let answer = ask(&par.http, "/large.bin", &[line]).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{line:?}");
        assert_eq!(answer.header("etag"), tag);
    }
    assert_eq!(ask(&par.http, "/large.bin", &[("if-none-match", "\"other\"")]).await.status, 200);
    for (range, from, to) in [
        ("bytes=0-9", 0, 10),
        ("bytes=1000000-1999999", 1_000_000, 2_000_000),
        ("bytes=4999990-", 4_999_990, 5_000_000),
        ("bytes=-7", 4_999_993, 5_000_000),
    ] {
        for lines in [&[("range", range)][..], &[("range", range), ("if-range", tag.as_str())]] {
            let part = ask(&par.http, "/large.bin", lines).await;
            assert_eq!(part.status, 206, "{range}");
            assert_eq!(part.header("content-range"), format!("bytes {from}-{}/5000000", to - 1));
            assert!(part.body == large()[from..to], "{range}");
        }
        let changed = ask(&par.http, "/large.bin", &[("range", range), ("if-range", "\"other\"")]).await;
        assert_eq!((changed.status, changed.body.len()), (200, 5_000_000));
    }
    let beyond = ask(&par.http, "/large.bin", &[("range", "bytes=5000000-")]).await;
    beyond.problem(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), "bytes */5000000");
    assert_eq!(ask(&par.http, "/large.bin", &[("range", "bytes=0-1,4-5")]).await.status, 200);
}

#[tokio::test]
async fn packed_forms_go_to_who_takes_them() {
    let par = serving(&package()).await;
    let mut tags = std::collections::BTreeSet::new();
    for (accepted, coding, body) in [
        ("gzip, deflate, br", "br", "packed by brotli"),
        ("gzip", "gzip", "packed by gzip"),
        ("br;q=0, gzip", "gzip", "packed by gzip"),
        ("identity", "", "body {}"),
    ] {
        let answer = ask(&par.http, "/style.css", &[("accept-encoding", accepted)]).await;
        assert_eq!((answer.header("content-encoding"), answer.text().as_str()), (coding, body), "{accepted}");
        assert_eq!(answer.header("vary"), "Accept-Encoding");
        assert_eq!(answer.header("content-type"), "text/css; charset=utf-8");
        tags.insert(answer.header("etag").to_owned());
    }
    assert_eq!(tags.len(), 3, "each form has a tag of its own");
}

#[tokio::test]
async fn a_page_of_its_own_gets_the_page_and_an_unknown_api_is_unknown() {
    let par = serving(&package()).await;
    for path in ["/settings", "/users/42", "/docs/deep"] {
        let answer = ask(&par.http, path, &[PAGE]).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "<title>index</title>"), "{path}");
        assert_eq!(answer.header("cache-control"), "no-cache");
        ask(&par.http, path, &[("accept", "application/json")]).await.problem(404, "not_found");
    }
    for path in ["/api/unknown", "/api", "/missing.js", "/missing.png"] {
        ask(&par.http, path, &[PAGE]).await.problem(404, "not_found");
    }
    for (path, place) in [("", "./ui/"), ("/docs", "./docs/"), ("/docs?x=1", "./docs/?x=1")] {
        let answer = ask(&par.http, path, &[]).await;
        assert_eq!((answer.status, answer.header("location")), (301, place), "{path:?}");
    }
    let config = json!({"apiBase": "/agents/page/api"});
    assert_eq!(ask(&par.http, "/ui-config.json", &[]).await.ok(), config);
    assert_eq!(par.http.get("/agents/page/ui-config.json").await.ok(), config);
    let posted = par.http.post_empty("/agents/page/ui/").await;
    posted.problem(405, "method_not_allowed");
    assert_eq!(posted.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn nothing_but_the_ui_can_be_reached() {
    let par = serving(&package()).await;
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/docs/../../secret.txt",
        "/.hidden",
        "/%2ehidden",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/docs/..%5c..%5csecret.txt",
        "/secret.txt%00.html",
    ] {
        let mut raw = RawConnection::open(par.port).await;
        raw.send(format!("GET /agents/page/ui{path} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n")).await;
        let answer = raw.read(std::time::Duration::from_secs(2)).await;
        assert!(matches!(status_of(&answer), 400 | 404), "{path}: {answer}");
        for word in ["secret\n", "hidden\n", "root:"] {
            assert!(!answer.contains(word), "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_ui_is_found_where_builders_put_it_and_below_its_base_path() {
    let scratch = scratch();
    let packed = Package::new("packed", "1.0.0", "ui: {path: web/dist, basePath: /app}")
        .file("dist/ui/index.html", "<title>packed</title>");
    let bare = Package::new("bare", "1.0.0", "ui: {path: ui}").file("ui/style.css", "body {}");
    let par = par().source(packed.apkg(scratch.path())).source(bare.apkg(scratch.path())).start().await;
    for path in ["/agents/packed/ui/", "/agents/packed/ui/app/", "/agents/packed/app/ui/"] {
        assert_eq!(par.http.get(path).await.text(), "<title>packed</title>", "{path}");
    }
    assert_eq!(par.http.get("/agents/bare/ui/style.css").await.text(), "body {}");
    let page = par.http.request(Method::GET, "/agents/bare/ui/").header(PAGE.0, PAGE.1);
    page.answer().await.problem(404, "not_found");
}

#[tokio::test]
async fn another_version_has_other_files() {
    let scratch = scratch();
    let version = |version: &str, word: &str| {
        Package::new("page", version, "ui: {path: ui}").file("ui/index.html", word).apkg(scratch.path())
    };
    let par = par().source(version("1.0.0", "one")).start().await;
    let first = ask(&par.http, "/", &[]).await;
    par.operator().post("/runtime/packages/load", &json!({"path": version("1.1.0", "two")})).await.ok();
    let second = ask(&par.http, "/", &[("if-none-match", first.header("etag"))]).await;
    assert_eq!((second.status, second.text().as_str()), (200, "two"));
    assert_eq!(second.header("x-par-version"), "1.1.0");
    assert_eq!(par.http.get("/agents/page@1.0.0/ui/").await.text(), "one", "parked, and named");
}

/// Asks for `/bundle.js` on a connection that holds little; the request has this id.
async fn little(par: &Par, id: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a small buffer");
    let mut connection = socket.connect(([127, 0, 0, 1], par.port).into()).await.expect("a connection");
    let request = format!(
        "GET /agents/page/ui/bundle.js HTTP/1.1\r\nHost: x\r\nX-Request-ID: {id}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.expect("it is asked");
    connection
}

#[tokio::test]
async fn a_slow_reader_gets_a_whole_file_and_who_takes_nothing_is_let_go() {
    let file: Vec<u8> = (0..4_000_000_u32).map(|at| (at % 249) as u8).collect();
    let folder = scratch();
    let package = package().file("ui/bundle.js", file.clone()).apkg(folder.path());
    let par = par().source(package).setting("server.idle_timeout", "2s").start().await;
    let mut none = little(&par, "takes-nothing").await;
    let mut slow = little(&par, "takes-its-time").await;
    let mut got = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    // Four seconds, twice as long as a silence may last.
    loop {
        let read = slow.read(&mut piece).await.expect("it goes on");
        if read == 0 {
            break;
        }
        got.extend_from_slice(&piece[..read]);
        tokio::time::sleep(Duration::from_micros(read as u64)).await;
    }
    assert!(got.ends_with(&file), "{} bytes came", got.len());
    par.wait_for_line("it was let go", |line| {
        line["event"] == "access" && line["request_id"] == "takes-nothing"
    })
    .await;
    let mut rest = Vec::new();
    // A reset is an end as well.
    none.read_to_end(&mut rest).await.ok();
    assert!(rest.len() < file.len(), "{} bytes came", rest.len());
}
