//! Good archives are unpacked as they are, hostile ones are refused whole.

use std::io::Cursor;

use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

/// A zip file of names and contents; names that end with a slash are directories.
pub(crate) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        if name.ends_with('/') {
            zip.add_directory(*name, SimpleFileOptions::default()).unwrap();
        } else {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

/// An entry as hostile as wanted, written by hand.
#[derive(Clone)]
struct Raw {
    name: Vec<u8>,
    content: Vec<u8>,
    method: u16,
    flags: u16,
    mode: u32,
    size: u32,
    crc: u32,
}

impl Raw {
    fn stored(name: &str, content: &str) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            content: content.as_bytes().to_vec(),
            method: 0,
            flags: 1 << 11,
            mode: 0o100_644,
            size: content.len() as u32,
            crc: crc(content.as_bytes()),
        }
    }

    fn header(&self, central: bool, offset: u32) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(if central { *b"PK\x01\x02" } else { *b"PK\x03\x04" });
        if central {
            out.extend([20, 3]);
        }
        out.extend([20, 0]);
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0, 0, 0x21, 0x58]);
        out.extend(self.crc.to_le_bytes());
        out.extend((self.content.len() as u32).to_le_bytes());
        out.extend(self.size.to_le_bytes());
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend([0, 0]);
        if central {
            out.extend([0; 6]);
            out.extend((self.mode << 16).to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
        out.extend(&self.name);
        out
    }
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn raw(entries: &[Raw]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for entry in entries {
        central.extend(entry.header(true, out.len() as u32));
        out.extend(entry.header(false, 0));
        out.extend(&entry.content);
    }
    let start = out.len() as u32;
    out.extend(&central);
    out.extend(*b"PK\x05\x06\0\0\0\0");
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((central.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn unpacked(bytes: &[u8], max: u64) -> (Result<(), UnpackError>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.apkg");
    fs::write(&file, bytes).unwrap();
    (unpack(&file, &directory.path().join("tree"), max), directory)
}

fn refusal(bytes: &[u8]) -> String {
    unpacked(bytes, 1 << 20).0.expect_err("it was accepted").to_string()
}

/// A good entry first: a refusal must come before it is written.
fn hostile(entry: Raw) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.apkg");
    fs::write(&file, raw(&[Raw::stored("agent.yaml", "name: a"), entry])).unwrap();
    let error = unpack(&file, &directory.path().join("tree"), 1 << 20).expect_err("it was accepted");
    assert!(!directory.path().join("tree").exists(), "something was written before the refusal");
    error.to_string()
}

#[test]
fn an_archive_becomes_a_read_only_tree() {
    let mut script = Raw::stored("bin/run", "#!");
    script.mode = 0o100_755;
    let mut plain = Raw::stored("agent.yaml", "name: a");
    plain.mode = 0;
    let (outcome, directory) =
        unpacked(&raw(&[plain, script, Raw::stored("deep/er/größe.py", "x")]), 1 << 20);
    outcome.unwrap();
    let tree = directory.path().join("tree");
    let mode = |path: &str| fs::metadata(tree.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["agent.yaml", "bin/run", "deep/er/größe.py"].map(mode), [0o444, 0o555, 0o444]);
    assert_eq!(["", "bin", "deep/er"].map(mode), [0o555; 3]);
    assert_eq!(fs::read_to_string(tree.join("deep/er/größe.py")).unwrap(), "x");
    let deflated = archive(&[("src/", ""), ("src/a.py", &"y".repeat(5000)), ("agent.yaml", "")]);
    let (outcome, directory) = unpacked(&deflated, 1 << 20);
    outcome.unwrap();
    assert_eq!(fs::read_to_string(directory.path().join("tree/src/a.py")).unwrap().len(), 5000);
}

#[test]
fn an_archive_with_a_symlink_is_refused_whole() {
    for mode in [0o120_777, 0o020_666, 0o060_666, 0o010_644, 0o140_755, 0o040_755] {
        let mut entry = Raw::stored("link", "/etc/passwd");
        entry.mode = mode;
        assert!(hostile(entry).contains("neither a file nor a directory"), "{mode:o}");
    }
}

#[test]
fn an_archive_with_a_name_that_leaves_it_is_refused_whole() {
    for name in ["/etc/x", "../x", "a/../../x", "C:\\x", "c:x", "a\\..\\x", "a\0b", "a//b", "a\nb"] {
        assert!(hostile(Raw::stored(name, "x")).contains("entry"), "{name:?}");
    }
    let mut cp437 = Raw::stored("", "x");
    cp437.name = b"..\\x\x9c".to_vec();
    cp437.flags = 0;
    assert!(hostile(cp437).contains("backslash"));
}

#[test]
fn an_archive_with_names_that_collide_is_refused_whole() {
    for name in ["agent.yaml", "./agent.yaml", "AGENT.yaml", "agent.yaml/x", "agent.yaml/"] {
        let mut entry = Raw::stored(name, "");
        entry.mode = if name.ends_with('/') { 0o040_755 } else { 0o100_644 };
        hostile(entry);
    }
}

#[test]
fn an_archive_that_cannot_be_read_by_everybody_alike_is_refused_whole() {
    let mut encrypted = Raw::stored("x", "x");
    encrypted.flags |= 1;
    assert!(hostile(encrypted).contains("encrypted"));
    for method in [1, 9, 12, 14, 93, 95, 99] {
        let mut packed = Raw::stored("x", "x");
        packed.method = method;
        hostile(packed);
    }
    let mut directory = Raw::stored("x/", "content");
    directory.mode = 0o040_755;
    hostile(directory);
}

#[test]
fn damage_is_found() {
    let mut wrong = Raw::stored("x", "content");
    wrong.crc ^= 1;
    assert!(refusal(&raw(&[wrong])).contains("damaged"));
    let mut longer = Raw::stored("x", "content");
    longer.size += 1;
    assert!(refusal(&raw(&[longer])).contains("damaged"));
    let good = archive(&[("agent.yaml", "name: a"), ("x", &"0123456789".repeat(100))]);
    for end in [0, 1, 30, good.len() / 2, good.len() - 30, good.len() - 1] {
        refusal(&good[..end]);
    }
    let text = b"this is no zip file ".repeat(500);
    assert!(refusal(&text).contains("not a zip file"));
    let mut local = raw(&[Raw::stored("abc", "x")]);
    local[30] = b'z';
    assert!(refusal(&local).contains("damaged"), "the two names of an entry differ");
}

#[test]
fn no_byte_that_is_changed_makes_it_crash() {
    let good = archive(&[("agent.yaml", "name: a"), ("src/x.py", &"0123456789".repeat(20))]);
    for at in 0..good.len() {
        for bits in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= bits;
            drop(unpacked(&bytes, 1 << 20));
        }
    }
}

#[test]
fn bombs_are_refused_whole() {
    let zeros = "\0".repeat(2 << 20);
    assert!(refusal(&archive(&[("x", &zeros)])).contains("more than 200 times"));
    let words: Vec<String> =
        (0..4000_u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
    let noise = words.concat();
    let (outcome, _directory) = unpacked(&archive(&[("a", &noise), ("b", &noise)]), 5000);
    assert!(outcome.unwrap_err().to_string().contains("more than 50000 bytes"));
    let mut liar = Raw::stored("x", "");
    let deflated = archive(&[("x", &noise)]);
    let start = 30 + 1;
    let length = u32::from_le_bytes(deflated[18..22].try_into().unwrap()) as usize;
    liar.content = deflated[start..start + length].to_vec();
    liar.method = 8;
    liar.size = 100;
    liar.crc = crc(noise.as_bytes());
    assert!(unpacked(&raw(&[liar]), 1000).0.is_err(), "more than declared");
    let many: Vec<Raw> = (0..=MAX_ENTRIES).map(|n| Raw::stored(&format!("{n}"), "")).collect();
    assert!(refusal(&raw(&many)).contains("entries"));
    let deep: Vec<Raw> = (0..200).map(|n| Raw::stored(&format!("{n}{}/x", "/a".repeat(200)), "")).collect();
    assert!(refusal(&raw(&deep)).contains("entries"), "implied directories count");
    let mut shared = raw(&[Raw::stored("a", "xxxx"), Raw::stored("b", "xxxx")]);
    let central = shared.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    shared[central + 42..central + 46].fill(0);
    refusal(&shared);
}

#[test]
fn a_directory_in_zip64_form_is_refused() {
    let mut bytes = raw(&[Raw::stored("a", "x")]);
    let end = bytes.len() - 22;
    bytes.splice(end..end, b"PK\x06\x07".iter().copied().chain([0; 16]));
    assert!(refusal(&bytes).contains("entries"));
}
