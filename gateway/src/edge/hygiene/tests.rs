use super::*;
use crate::config::HostPattern;

/// A head as the framework would hand it over, and what was on the wire.
fn head(raw: &[u8]) -> (RequestHeader, Vec<u8>) {
    let text = String::from_utf8_lossy(raw).into_owned();
    let mut lines = text.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
    request.set_version(match first.next().unwrap() {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/1.1" => Version::HTTP_11,
        _ => Version::HTTP_2,
    });
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        request.append_header(name.to_owned(), value.trim()).unwrap();
    }
    (request, raw.to_vec())
}

fn inspected(raw: &str) -> Result<(), Flaw> {
    inspected_for(raw, &Hosts::default())
}

fn inspected_for(raw: &str, hosts: &Hosts) -> Result<(), Flaw> {
    let (request, raw) = head(raw.as_bytes());
    inspect(&request, &raw, Rules { header_bytes: 1000, hosts })
}

fn at(path: &str) -> Result<(), Flaw> {
    inspected(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

#[test]
fn heads_that_are_in_order_pass() {
    for raw in [
        "GET /health HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "GET /health HTTP/1.0\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 12\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/health HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /?q=%00%2e%2e HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(inspected(raw), Ok(()), "{raw:?}");
    }
}

#[test]
fn what_two_parsers_could_read_in_two_ways_is_refused() {
    for (raw, flaw) in [
        ("GET / HTTP/1.1\r\n\r\n", Flaw::HostMissing),
        ("GET http://a/ HTTP/1.1\r\n\r\n", Flaw::HostMissing),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Flaw::HostMissing),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Flaw::HostMissing),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Flaw::HostMalformed),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Flaw::HostMalformed),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Flaw::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", Flaw::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Flaw::BareLineFeed),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            Flaw::LengthAndEncoding,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Flaw::Encoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", Flaw::Encoding),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            Flaw::Encoding,
        ),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Flaw::Encoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Flaw::Length),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", Flaw::Length),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", Flaw::Length),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Target),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Flaw::Method),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", Flaw::Method),
    ] {
        assert_eq!(inspected(raw), Err(flaw), "{raw:?}");
    }
}

#[test]
fn a_length_that_the_framework_took_away_is_found_on_the_wire() {
    let (mut request, raw) = head(
        b"POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 1\r\nTransfer-Encoding: chunked\r\nX: content-length: 1\r\n\r\n",
    );
    request.remove_header(&header::CONTENT_LENGTH);
    let rules = Rules { header_bytes: 1000, hosts: &Hosts::default() };
    assert_eq!(inspect(&request, &raw, rules), Err(Flaw::LengthAndEncoding));
}

#[test]
fn a_path_has_one_spelling_that_means_something() {
    for path in [
        "/agents/a@1.0.0/b/invoke",
        "/agents/a%401.0.0%2Fb/invoke",
        "/a/.../b",
        "/a/..b/b..",
        "/a/.hidden",
        "//a//b",
        "/a;b=c/d;..",
        "/%C3%A9",
        "/%25",
    ] {
        assert_eq!(at(path), Ok(()), "{path}");
    }
    for (path, flaw) in [
        ("/a/../b", Flaw::DotSegment),
        ("/a/..", Flaw::DotSegment),
        ("/./a", Flaw::DotSegment),
        ("/a/%2e%2e/b", Flaw::DotSegment),
        ("/a/%2E./b", Flaw::DotSegment),
        ("/a/.%2e", Flaw::DotSegment),
        ("/a%2f..%2fb", Flaw::DotSegment),
        ("/a/..%2fb", Flaw::DotSegment),
        ("/a/..;/b", Flaw::DotSegment),
        ("/a/..;x=y/b", Flaw::DotSegment),
        ("/a\\b", Flaw::PathByte),
        ("/a%5c..%5cb", Flaw::PathByte),
        ("/a%00", Flaw::PathByte),
        ("/a%0d%0aX:y", Flaw::PathByte),
        ("/a%7f", Flaw::PathByte),
        ("/a%c0%ae%c0%ae/b", Flaw::PathEncoding),
        ("/a%c0%afb", Flaw::PathEncoding),
        ("/a%e0%80%afb", Flaw::PathEncoding),
        ("/a%ff", Flaw::PathEncoding),
        ("/a%", Flaw::PathEscape),
        ("/a%2", Flaw::PathEscape),
        ("/a%zz", Flaw::PathEscape),
        ("/a%u002e", Flaw::PathEscape),
        ("/a\u{e9}", Flaw::PathByte),
    ] {
        assert_eq!(at(path), Err(flaw), "{path}");
    }
}

#[test]
fn every_size_has_a_code_of_its_own() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(LONGEST_TARGET));
    assert_eq!(inspected(&long), Err(Flaw::TargetTooLong));
    assert_eq!(Flaw::TargetTooLong.code(), Code::UriTooLong);
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(1000));
    assert_eq!(inspected(&large), Err(Flaw::HeadTooLarge));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X:\r\n".repeat(MOST_FIELDS));
    assert_eq!(inspected(&many), Err(Flaw::TooManyFields));
    for flaw in [Flaw::HeadTooLarge, Flaw::TooManyFields] {
        assert_eq!(flaw.code(), Code::HeadersTooLarge);
        assert!(flaw.refusal().close);
    }
    assert_eq!(Flaw::Method.refusal().allow, Some(METHODS));
}

#[test]
fn only_probes_are_answered_for_other_hosts() {
    let hosts = Hosts(vec![HostPattern::Exact("par.example".to_owned())]);
    let asked = |host: &str, path: &str| {
        inspected_for(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"), &hosts)
    };
    assert_eq!(asked("par.example:8000", "/agents"), Ok(()));
    assert_eq!(asked("10.0.0.1:8000", "/agents"), Err(Flaw::HostForeign));
    assert_eq!(asked("", "/agents"), Err(Flaw::HostForeign));
    for probe in PROBES {
        assert_eq!(asked("10.0.0.1:8000", probe), Ok(()));
    }
    let old = inspected_for("GET /agents HTTP/1.0\r\n\r\n", &hosts);
    assert_eq!(old, Err(Flaw::HostForeign), "no name is not one of ours");
}

#[test]
fn http_2_names_its_host_by_its_authority() {
    let hosts = Hosts(vec![HostPattern::Exact("par.example".to_owned())]);
    for (authority, wanted) in [("par.example", Ok(())), ("evil.example", Err(Flaw::HostForeign))] {
        let mut request = RequestHeader::build_no_case("GET", b"/agents", None).unwrap();
        request.set_version(Version::HTTP_2);
        request.set_uri(format!("http://{authority}/agents").parse().unwrap());
        assert_eq!(inspect(&request, b"", Rules { header_bytes: 1000, hosts: &hosts }), wanted);
    }
}
