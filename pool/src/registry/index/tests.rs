use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::package::source::{Signature, Source};

fn base() -> Location {
    Source::parse("https://h.example/registry/index.json?token=secret").unwrap().location
}

fn digest(letter: char) -> String {
    letter.to_string().repeat(64)
}

fn good(name: &str, version: &str, letter: char) -> Value {
    let url = format!("{name}-{version}.apkg");
    json!({"name": name, "version": version, "url": url, "sha256": digest(letter)})
}

fn index(packages: &[Value]) -> Index {
    let text = json!({"version": 1, "packages": packages}).to_string();
    Index::parse(text.as_bytes(), &base()).unwrap()
}

fn ids(index: &Index) -> Vec<String> {
    index.entries.iter().map(|entry| format!("{}@{}", entry.name, entry.version)).collect()
}

/// `good` with one field changed.
fn with(field: &str, value: Value) -> Value {
    let mut entry = good("billing", "1.4.0", 'a');
    entry[field] = value;
    entry
}

#[test]
fn an_entry_says_where_its_package_is_and_what_it_must_be() {
    let index = index(&[json!({
        "name": "billing-agents", "version": "1.10", "url": "b/billing-1.10.apkg", "sha256": digest('A'),
        "signature": "s3://signatures/billing.asc", "size": 10_485_760, "active": true, "lazy": true,
        "labels": {"team": ["x"]}
    })]);
    assert_eq!(index.faults, []);
    let [entry] = &index.entries[..] else { unreachable!("one entry") };
    assert_eq!((entry.name.as_str(), entry.version.as_str()), ("billing-agents", "1.10"));
    assert_eq!(entry.sha256.to_string(), digest('a'));
    assert_eq!(entry.source.sha256, Some(entry.sha256));
    assert_eq!(entry.source.to_string(), "https://h.example/registry/b/billing-1.10.apkg");
    let at = Location::S3 { bucket: "signatures".to_owned(), key: "billing.asc".to_owned() };
    assert_eq!(entry.source.signature, Some(Signature::At(at)));
    assert_eq!((entry.size, entry.active, entry.lazy), (Some(10_485_760), true, true));
}

#[test]
fn what_is_not_said_is_absent() {
    let index = index(&[with("signature", Value::Null)]);
    let entry = &index.entries[0];
    assert_eq!((entry.size, entry.active, entry.lazy), (None, false, false));
    assert_eq!(entry.source.signature, None);
}

#[test]
fn a_source_can_be_written_and_read_again() {
    let files = Location::File("/srv/a b#c/x?y/index.json".into());
    for base in [base(), Source::parse("s3:///index.json").unwrap().location, files] {
        let text = json!({"version": 1, "packages": [
            good("plain", "1.0", 'a'),
            {"name": "odd", "version": "1+x", "url": "odd é 1+x.apkg?v=3", "sha256": digest('b')},
            {"name": "web", "version": "1", "url": "https://u:p@h/x?y=1#z", "sha256": digest('c')},
            {"name": "bucket", "version": "1", "url": "s3://b/k k", "sha256": digest('d')},
        ]});
        let index = Index::parse(text.to_string().as_bytes(), &base).unwrap();
        assert_eq!(index.faults, []);
        for entry in index.entries {
            assert_eq!(Source::parse(&entry.source.given).unwrap(), entry.source);
        }
    }
}

#[test]
fn a_bad_entry_is_named_with_its_reason_and_stops_no_other() {
    let long = "x".repeat(300);
    let cases = [
        (json!(7), "the entry is not an object"),
        (json!([digest('a')]), "the entry is not an object"),
        (json!({}), "the field name is missing"),
        (with("name", json!("../etc")), "must match"),
        (with("name", json!(5)), "the field name is not a text"),
        (with("version", json!(1.4)), "the field version is not a text"),
        (with("version", json!(long)), "must match"),
        (with("sha256", Value::Null), "the field sha256 is missing"),
        (with("sha256", json!("abc")), "the field sha256: \"abc\" is not a SHA-256 digest"),
        (with("url", json!("file:///etc/passwd")), "the field url file:// is refused"),
        (with("url", json!("../x.apkg")), "the field url leaves the folder"),
        (with("url", json!("https://169.254.169.254/x?secret")), "link-local and instance metadata"),
        (with("url", json!(format!("https://h/x#sha256={}", digest('b')))), "another digest"),
        (with("signature", json!("/x.asc")), "the field signature begins with a slash"),
        (with("signature", json!(true)), "the field signature is not a text"),
        (with("size", json!(-1)), "the field size is no number"),
        (with("active", json!("yes")), "the field active is neither"),
        (with("lazy", json!(1)), "the field lazy is neither"),
    ];
    let mut packages = vec![good("first", "1", 'a')];
    packages.extend(cases.iter().map(|(entry, _)| entry.clone()));
    packages.push(good("last", "1", 'a'));
    let index = index(&packages);
    assert_eq!(ids(&index), ["first@1", "last@1"]);
    assert_eq!(index.entries[1].position, cases.len() + 1);
    assert_eq!(index.faults.len(), cases.len());
    for (fault, (position, (_, reason))) in index.faults.iter().zip((1..).zip(cases)) {
        assert_eq!(fault.position, position);
        assert!(fault.detail.contains(reason), "{} <> {reason}", fault.detail);
        assert!(!fault.to_string().contains("secret"), "{fault}");
        assert!(fault.version.as_ref().is_none_or(|version| version.len() <= 128));
    }
    assert!(index.faults[9].to_string().starts_with("entry 11 (billing@1.4.0): the field url"));
}

#[test]
fn a_field_that_is_given_twice_is_a_fault_of_its_entry() {
    let twice = format!(r#"{{"name":"a","name":"b","version":"1","url":"x","sha256":"{}"}}"#, digest('a'));
    let text = format!(r#"{{"version":1,"packages":[{twice},{}]}}"#, good("b", "1", 'a'));
    let index = Index::parse(text.as_bytes(), &base()).unwrap();
    assert_eq!(ids(&index), ["b@1"]);
    assert_eq!(index.faults[0].detail.split(" at ").next(), Some("duplicate field `name`"));
}

#[test]
fn a_repeated_entry_stands_once_and_contradicting_ones_do_not_stand() {
    let mut again = good("same", "1", 'a');
    again["url"] = json!("elsewhere.apkg");
    let index = index(&[
        good("other", "1", 'a'),
        good("same", "1", 'a'),
        good("torn", "1", 'a'),
        again,
        good("torn", "2", 'b'),
        good("torn", "1", 'b'),
        good("torn", "1", 'a'),
    ]);
    assert_eq!(ids(&index), ["other@1", "same@1", "torn@2"]);
    assert!(index.entries[1].source.given.contains("same-1.apkg"));
    let faults: Vec<(usize, &str)> =
        index.faults.iter().map(|fault| (fault.position, fault.name.as_deref().unwrap())).collect();
    assert_eq!(faults, [(2, "torn"), (5, "torn"), (6, "torn")]);
    assert!(index.faults.iter().all(|fault| fault.detail.contains("different digests")));
}

#[test]
fn what_is_no_index_is_refused_whole() {
    let cases: [(&[u8], &str); 13] = [
        (b"", "not valid JSON"),
        (b"<html>", "not valid JSON (line 1, column 1)"),
        (b"{\"version\":1,\"packages\":[}", "not valid JSON"),
        (b"{\"version\":1,\"packages\":[]} x", "not valid JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[1,[]]", "not of the form"),
        (b"{}", "not of the form"),
        (b"{\"packages\":[]}", "not of the form"),
        (b"{\"version\":1}", "not of the form"),
        (b"{\"version\":1,\"packages\":{}}", "not of the form"),
        (b"{\"version\":1,\"version\":1,\"packages\":[]}", "not of the form"),
        (b"{\"version\":2,\"packages\":[]}", "version 2"),
        (b"{\"version\":\"1\",\"packages\":[]}", "version \"1\""),
    ];
    for (bytes, reason) in cases {
        let error = Index::parse(bytes, &base()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error} <> {reason}");
    }
}

#[test]
fn a_mark_at_the_beginning_and_an_empty_list_are_no_fault() {
    let index = Index::parse("\u{feff}{\"packages\": [], \"version\": 1}\n".as_bytes(), &base()).unwrap();
    assert_eq!(index, Index::default());
}

#[test]
fn an_index_over_its_limits_is_refused_before_it_costs_anything() {
    let large = vec![b' '; LARGEST + 1];
    assert!(matches!(Index::parse(&large, &base()), Err(IndexError::TooLarge(size)) if size == LARGEST + 1));
    let many = format!("{{\"version\":1,\"packages\":[0{}]}}", ",0".repeat(MOST_ENTRIES));
    assert!(matches!(Index::parse(many.as_bytes(), &base()), Err(IndexError::Entries)));
}

#[test]
fn what_is_nested_too_deep_is_refused_whole_and_costs_no_stack() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let parse = |value: &str| {
        let odd = format!("{{\"x\":{value},\"name\":{value}}}");
        let text = format!("{{\"version\":1,\"packages\":[{odd},{}]}}", good("a", "1", 'a'));
        Index::parse(text.as_bytes(), &base())
    };
    for levels in [DEEPEST - 2, 1_000_000] {
        assert!(matches!(parse(&nested(levels)), Err(IndexError::Depth)));
    }
    let text = serde_json::to_string(&"\"\\[".repeat(100)).unwrap();
    for value in [nested(DEEPEST - 3), text] {
        assert_eq!(ids(&parse(&value).unwrap()), ["a@1"], "{value}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_an_index_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(Index::parse(&bytes, &base()));
    }

    #[test]
    fn an_index_with_a_few_bytes_changed_is_an_index_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let entries = [good("a", "1", 'a'), good("b", "2", 'b'), with("signature", json!("s"))];
        let mut bytes = json!({"version": 1, "packages": entries}).to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(index) = Index::parse(&bytes, &base()) {
            for entry in index.entries {
                prop_assert_eq!(entry.source.sha256, Some(entry.sha256));
                prop_assert!(Source::parse(&entry.source.given).is_ok());
            }
        }
    }

    #[test]
    fn any_text_as_a_place_gives_a_source_that_reads_back_or_a_fault(
        url in r"(\PC|[a-z/:.#%?]|s3://|https://){0,16}",
    ) {
        let index = index(&[with("url", json!(url))]);
        prop_assert_eq!(index.entries.len() + index.faults.len(), 1);
        for entry in index.entries {
            let again = Source::parse(&entry.source.given);
            prop_assert_eq!(again.map(|again| again.location), Ok(entry.source.location));
        }
    }
}
