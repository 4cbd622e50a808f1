//! Archives made to do harm: each is refused whole, and nothing of it is left behind.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::json;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::harness::{Entry, Par, ZipByHand, par, scratch};

/// What the runtime writes for itself meanwhile: its state, and its own code compiled.
fn is_own(path: &str) -> bool {
    path.contains("/state") || path.contains("/__pycache__")
}

/// Everything below a directory.
fn tree(root: &Path) -> BTreeSet<String> {
    let entries = walkdir::WalkDir::new(root).into_iter().filter_map(Result::ok);
    entries.map(|entry| entry.path().to_string_lossy().into_owned()).collect()
}

async fn refuse(par: &Par, what: &str, bytes: Vec<u8>) -> String {
    let scratch = scratch();
    let path = scratch.path().join("hostile.apkg");
    fs::write(&path, bytes).expect("a file");
    let before = tree(par.data_dir());
    let answer = par.operator().post("/runtime/packages/load", &json!({"path": path})).await;
    assert_eq!(answer.status, 422, "{what}: {}", answer.text());
    let problem = answer.problem(422, "package_invalid");
    assert!(
        ["unpack", "manifest"].contains(&problem["step"].as_str().unwrap_or_default()),
        "{what}: {problem}"
    );
    let after = tree(par.data_dir());
    let left: Vec<_> = after.difference(&before).filter(|path| !is_own(path)).collect();
    assert!(left.is_empty(), "{what} left {left:?}");
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1), "{what}");
    problem["detail"].as_str().unwrap_or_default().to_owned()
}

fn with(entry: Entry) -> Vec<u8> {
    ZipByHand::harmless().entry(entry).bytes()
}

async fn host() -> Par {
    par().agent("echo").allow("package_failed").start().await
}

#[tokio::test]
async fn an_archive_made_by_hand_is_fine_as_long_as_it_is_harmless() {
    let scratch = scratch();
    let path = scratch.path().join("harmless.apkg");
    fs::write(&path, ZipByHand::harmless().bytes()).expect("a file");
    let par = par().source(path).start().await;
    assert_eq!(par.http.invoke("hostile", &json!({})).await.ok(), json!("it ran"));
}

#[tokio::test]
async fn entries_that_point_outside_are_refused() {
    let par = host().await;
    let outside = par.data_dir().with_extension("outside");
    let absolute = outside.to_string_lossy().into_owned();
    let names = [
        "../evil",
        "a/../../evil",
        "a/b/../../../evil",
        "/tmp/evil",
        &absolute,
        "..\\evil",
        "a\\..\\..\\evil",
        "C:\\evil",
        "C:/evil",
        "\\\\server\\share\\evil",
        "./../evil",
        "..",
        "a/..",
        "",
    ];
    for name in names {
        refuse(&par, &format!("the name {name:?}"), with(Entry::file(name, "evil"))).await;
    }
    assert!(!outside.exists());
    assert!(!Path::new("/tmp/evil").exists());
}

#[tokio::test]
async fn names_that_are_no_honest_names_are_refused() {
    let par = host().await;
    let long = "a/".repeat(3000) + "b";
    let component = "c".repeat(300);
    for (what, name) in [
        ("a NUL", b"a\0b.py".to_vec()),
        ("a newline", b"a\nb.py".to_vec()),
        ("a path without end", long.into_bytes()),
        ("a component too long", component.into_bytes()),
    ] {
        refuse(&par, what, with(Entry::file(name, "x"))).await;
    }
}

#[tokio::test]
async fn links_and_devices_are_refused() {
    let par = host().await;
    refuse(&par, "a link to a file of the host", with(Entry::link("passwd", "/etc/passwd"))).await;
    refuse(&par, "a link upwards", with(Entry::link("up", "../.."))).await;
    let through = ZipByHand::harmless().entry(Entry::link("dir", "/tmp")).entry(Entry::file("dir/evil", "x"));
    refuse(&par, "a file through a link", through.bytes()).await;
    for (what, mode) in [
        ("a character device", 0o020_666),
        ("a block device", 0o060_666),
        ("a pipe", 0o010_666),
        ("a socket", 0o140_666),
    ] {
        refuse(&par, what, with(Entry { mode, ..Entry::file("special", "") })).await;
    }
}

#[tokio::test]
async fn two_entries_for_one_file_are_refused() {
    let par = host().await;
    refuse(&par, "the same name twice", with(Entry::file("main.py", "evil = 1\n"))).await;
    refuse(&par, "two manifests", with(Entry::file("agent.yaml", "name: other\nversion: '1'\n"))).await;
    let both = ZipByHand::harmless().entry(Entry::file("thing", "x")).entry(Entry::file("thing/inside", "x"));
    refuse(&par, "a file that is a directory too", both.bytes()).await;
    let dotted = with(Entry::file("./main.py", "evil = 1\n"));
    refuse(&par, "the same file by another name", dotted).await;
}

#[tokio::test]
async fn headers_that_contradict_each_other_are_refused() {
    let par = host().await;
    let two_faced = Entry { local_name: Some(b"evil.py".to_vec()), ..Entry::file("good.py", "x") };
    refuse(&par, "another name in the local header", with(two_faced)).await;
    refuse(&par, "a wrong checksum", with(Entry { crc: Some(7), ..Entry::file("x.py", "x") })).await;
    refuse(&par, "a size that is a lie", with(Entry { size: Some(5000), ..Entry::file("x.py", "x") })).await;
    refuse(&par, "an encrypted entry", with(Entry { flags: 1, ..Entry::file("x.py", "x") })).await;
}

#[tokio::test]
async fn bytes_that_are_no_archive_are_refused() {
    let par = host().await;
    let good = ZipByHand::harmless().bytes();
    refuse(&par, "nothing", vec![]).await;
    refuse(&par, "a text", b"this is no archive".to_vec()).await;
    refuse(&par, "the first half", good[..good.len() / 2].to_vec()).await;
    refuse(&par, "the end alone", good[good.len() - 22..].to_vec()).await;
    refuse(&par, "an empty archive", ZipByHand::default().bytes()).await;
    refuse(&par, "a tar.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()).await;
}

#[tokio::test]
async fn a_manifest_that_is_not_at_the_root_is_named_as_missing() {
    let par = host().await;
    let nested = ZipByHand::default()
        .entry(Entry::file("package/agent.yaml", "name: n\nversion: '1'\nentrypoint: m:f\n"));
    let detail = refuse(&par, "a nested manifest", nested.bytes()).await;
    assert!(detail.contains("agent.yaml"), "{detail}");
}

#[tokio::test]
async fn bombs_are_refused_before_they_fill_the_disk() {
    let par = par().agent("echo").env("MAX_PACKAGE_SIZE_MB", "4").allow("package_failed").start().await;
    let manifest = ("agent.yaml".to_owned(), b"name: bomb\nversion: '1'\nentrypoint: main:run\n".to_vec());
    let bomb = |files: &mut dyn Iterator<Item = (String, Vec<u8>)>| {
        let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut zip = ZipWriter::new(std::io::Cursor::new(vec![]));
        for (name, content) in std::iter::once(manifest.clone()).chain(files) {
            zip.start_file(name, deflated).expect("an entry");
            std::io::Write::write_all(&mut zip, &content).expect("its content");
        }
        zip.finish().expect("an archive").into_inner()
    };
    let one = bomb(&mut std::iter::once(("zeros".to_owned(), vec![0; 64 << 20])));
    let parts = bomb(&mut (0..48).map(|number| (format!("{number}"), vec![0; 1 << 20])));
    let crowd = bomb(&mut (0..20_001).map(|number| (format!("{number}"), vec![])));
    assert!(one.len() < 1 << 20 && parts.len() < 1 << 20 && crowd.len() < 4 << 20, "small outside");
    refuse(&par, "one file without end", one).await;
    refuse(&par, "small files that are too much together", parts).await;
    refuse(&par, "files without end", crowd).await;
}

#[tokio::test]
async fn modes_of_an_archive_give_no_rights() {
    let scratch = scratch();
    let path = scratch.path().join("modes.apkg");
    let script = Entry { mode: 0o106_777, ..Entry::file("tool.sh", "#!/bin/sh\n") };
    fs::write(&path, with(script)).expect("a file");
    let par = par().source(path).start().await;
    assert_eq!(par.http.invoke("hostile", &json!({})).await.ok(), json!("it ran"));
    let tools = walkdir::WalkDir::new(par.data_dir()).into_iter().filter_map(Result::ok);
    let modes: Vec<u32> = tools
        .filter(|entry| entry.file_name() == "tool.sh")
        .map(|entry| {
            std::os::unix::fs::PermissionsExt::mode(&entry.metadata().expect("metadata").permissions())
        })
        .collect();
    assert!(!modes.is_empty() && modes.iter().all(|mode| mode & 0o7022 == 0), "{modes:?}");
}
