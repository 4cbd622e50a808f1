//! Bodies in every cut; what is wrong with them.

use std::fs;

use futures_util::stream::iter;
use proptest::prelude::*;
use tokio::runtime::Handle;

use super::*;

fn limits() -> Limits {
    let second = std::time::Duration::from_secs(1);
    Limits {
        request_timeout: second,
        max_concurrent: 1,
        body_bytes: 1000,
        body_timeout: second,
        body_rate: 0,
        header_bytes: 1,
        forms: Forms { bytes: 1 << 20, file_bytes: 500, field_bytes: 100, parts: 5 },
    }
}

fn part(head: &str, body: &[u8]) -> Vec<u8> {
    [b"--B\r\nContent-Disposition: form-data; ", head.as_bytes(), b"\r\n\r\n", body, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat().as_slice(), b"--B--\r\n"].concat()
}

/// The input and the content of every file, or the refusal.
fn read(body: &[u8], cuts: &[usize]) -> Result<(String, Vec<Vec<u8>>), Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let package = tempfile::tempdir().unwrap();
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([body.len()]) {
        pieces.push(Ok(Bytes::copy_from_slice(&body[from..cut])));
        from = cut;
    }
    runtime.block_on(async {
        let limits = limits();
        let spool = Spool::new(package.path(), Handle::current()).unwrap();
        let reader = Reader { limits: &limits, spool, draft: Draft::default(), held: 0, parts: 0, files: 0 };
        let Reader { draft, spool, .. } = reader.read(iter(pieces), "B".to_owned()).await?;
        let places = draft.places();
        let attached = spool.finish().await.unwrap();
        let files = places.iter().flat_map(|(_, files)| files);
        let files = files.map(|file| fs::read(attached.directory().join(&**file)).unwrap()).collect();
        Ok((String::from_utf8(draft.input()?.to_vec()).unwrap(), files))
    })
}

fn example() -> Vec<u8> {
    form(&[
        part("name=\"input\"\r\nContent-Type: application/json", b"{\"a\": 1.0}"),
        part("name=\"title\"", "größe".as_bytes()),
        part("name=\"doc\"; filename=\"a b.pdf\"\r\nContent-Type: application/pdf", b"\r\n--\r\n-B\r\n--"),
        part("name=\"pic\"; filename=\"\"\r\nContent-Type: application/octet-stream", b""),
        part("name=\"empty\"; filename=\"e\"", b""),
    ])
}

const INPUT: &str = concat!(
    r#"{"a":1.0,"title":"größe","doc":{"name":"a b.pdf","content_type":"application/pdf","size":12},"#,
    r#""empty":{"name":"e","content_type":"application/octet-stream","size":0}}"#
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_form_is_the_same_however_it_is_cut(mut cuts in prop::collection::vec(0..500_usize, 0..20)) {
        let body = example();
        cuts.retain(|cut| *cut <= body.len());
        cuts.sort_unstable();
        let (input, files) = read(&body, &cuts).unwrap();
        prop_assert_eq!(input, INPUT);
        prop_assert_eq!(files, vec![b"\r\n--\r\n-B\r\n--".to_vec(), Vec::new()]);
    }

    #[test]
    fn no_beginning_of_a_form_is_one(end in 0..500_usize) {
        let body = example();
        // Behind the last boundary and its two dashes nothing is needed.
        let end = end % (body.len() - 2);
        prop_assert_eq!(read(&body[..end], &[]).unwrap_err().code, Code::BadRequest);
    }
}

#[test]
fn what_is_no_form_is_refused() {
    for body in [
        b"".to_vec(),
        b"{}".to_vec(),
        b"--C\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--C--\r\n".to_vec(),
        b"--B\r\n\r\n1\r\n--B--\r\n".to_vec(),
        form(&[part("name=\"\"", b"")]),
        form(&[part("filename=\"x\"", b"")]),
        form(&[part("name=\"a\x00b\"", b"")]),
        form(&[part("name=\"a\"; filename=\"x\x00.txt\"", b"")]),
        form(&[part("name=\"a\"", b"\xff\xfe")]),
        form(&[part(&format!("name=\"{}\"", "x".repeat(300)), b"")]),
        form(&[part(&format!("name=\"a\"; filename=\"{}\"", "x".repeat(10 << 10)), b"x")]),
        form(&[part(&format!("name=\"a\"\r\n{}", "x: y\r\n".repeat(40)), b"")]),
    ] {
        let refusal = read(&body, &[]).unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest, "{}: {body:?}", refusal.detail);
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let file = |size| part("name=\"f\"; filename=\"f\"", &vec![0; size]);
    let text = |size: usize| part("name=\"t\"", "x".repeat(size).as_bytes());
    let input = |size: usize| part("name=\"input\"", " ".repeat(size).as_bytes());
    for (parts, fits) in [
        (vec![file(500); 5], true),
        (vec![file(501)], false),
        (vec![file(1); 6], false),
        (vec![text(100)], true),
        (vec![text(101)], false),
        (vec![input(1000)], true),
        (vec![input(1001)], false),
        (vec![input(950), text(50)], true),
        (vec![input(950), text(51)], false),
        (vec![text(0); 10_000], false),
    ] {
        // In one piece, as large as it is.
        let read = read(&form(&parts), &[]);
        let wanted = if fits { Ok(()) } else { Err(Code::TooLarge) };
        let got = read.map(|_| ()).map_err(|refusal| refusal.code);
        assert_eq!(got, wanted, "{} parts, the first of {} bytes", parts.len(), parts[0].len());
    }
}

#[test]
fn a_head_without_an_end_is_not_collected() {
    let body = [b"--B\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    let cuts: Vec<usize> = (1..1024).map(|n| n << 10).collect();
    let refusal = read(&body, &cuts).unwrap_err();
    assert!(refusal.detail.contains("16384"), "{}", refusal.detail);
    let refusal = read(&vec![b'x'; 1 << 20], &cuts).unwrap_err();
    assert!(refusal.detail.contains("16384"), "{}", refusal.detail);
}

#[test]
fn a_boundary_has_a_sensible_length() {
    assert!(boundary("application/json").is_none());
    assert_eq!(boundary("Multipart/Form-Data; boundary=\"a b\"").unwrap().unwrap(), "a b");
    for wrong in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary"] {
        assert_eq!(boundary(wrong).unwrap().unwrap_err().code, Code::BadRequest, "{wrong}");
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    assert!(boundary(&long).unwrap().is_err());
}
