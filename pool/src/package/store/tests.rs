use std::time::{Duration, SystemTime};

use super::*;

const LARGE: u64 = 1 << 30;

fn tree(store: &Store, content: &str) -> Scratch {
    let scratch = store.scratch();
    fs::create_dir_all(scratch.path().join("tree/inner")).unwrap();
    fs::write(scratch.path().join("tree/inner/file"), content).unwrap();
    fs::set_permissions(scratch.path().join("tree/inner"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(scratch.path().join("tree"), fs::Permissions::from_mode(0o555)).unwrap();
    scratch
}

fn publish(store: &Store, number: u8, content: &str) -> Pin {
    store.publish(&tree(store, content), Digest::new([number; 32]), None).unwrap()
}

fn names(root: &Path) -> Vec<String> {
    fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Says that an entry was used so many seconds ago.
fn age(pin: &Pin, seconds: u64) {
    let marker = File::open(pin.root().with_file_name("complete")).unwrap();
    marker.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

fn there(store: &Store) -> Vec<u8> {
    (0..=9).filter(|number| store.entry(Digest::new([*number; 32])).exists()).collect()
}

#[test]
fn only_complete_entries_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), LARGE).unwrap();
    let digest = Digest::new([7; 32]);
    assert!(store.pin(digest).is_none() && store.recall(digest).is_none());
    let published = publish(&store, 7, "first").root().to_path_buf();
    assert_eq!(store.pin(digest).unwrap().root(), published);
    let second = tree(&store, "second");
    assert_eq!(store.publish(&second, digest, None).unwrap().root(), published);
    drop(second);
    assert_eq!(fs::read_to_string(published.join("inner/file")).unwrap(), "first");
    let marker = published.with_file_name("complete");
    let other = fs::read_to_string(&marker).unwrap().replace("0707", "0808");
    for (number, broken) in [digest.to_string(), String::new(), "{}".to_owned(), other].iter().enumerate() {
        fs::write(&marker, broken).unwrap();
        assert!(store.pin(digest).is_none() && store.recall(digest).is_none(), "{broken}");
        publish(&store, 7, &format!("again {number}"));
        let again = fs::read_to_string(published.join("inner/file")).unwrap();
        assert_eq!(again, format!("again {number}"));
    }
    assert!(!names(directory.path()).iter().any(|name| name.starts_with("tmp-")));
}

#[test]
fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
    let directory = tempfile::tempdir().unwrap();
    let dead = directory.path().join("tmp-00ff-3");
    fs::create_dir_all(dead.join("tree")).unwrap();
    fs::write(directory.path().join("owner-00ff"), "").unwrap();
    let living = Store::open(directory.path(), LARGE).unwrap();
    let kept = tree(&living, "x");
    let other = Store::open(directory.path(), LARGE).unwrap();
    assert!(!dead.exists() && !directory.path().join("owner-00ff").exists());
    assert!(kept.path().exists());
    drop((kept, living, other));
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

#[test]
fn a_damaged_entry_is_found_out_at_its_first_use_in_a_process() {
    type Damage = fn(&Path);
    let damages: [Damage; 5] = [
        |tree| fs::write(tree.join("inner/file"), "flipped").unwrap(),
        |tree| fs::remove_file(tree.join("inner/file")).unwrap(),
        |tree| fs::write(tree.join("inner/extra.pyc"), "").unwrap(),
        |tree| fs::set_permissions(tree.join("inner/file"), fs::Permissions::from_mode(0o755)).unwrap(),
        |tree| std::os::unix::fs::symlink("file", tree.join("inner/link")).unwrap(),
    ];
    for (number, damage) in (0..).zip(damages) {
        let directory = tempfile::tempdir().unwrap();
        let digest = Digest::new([number; 32]);
        let first = Store::open(directory.path(), LARGE).unwrap();
        let root = publish(&first, number, "whole").root().to_path_buf();
        let second = Store::open(directory.path(), LARGE).unwrap();
        assert!(second.recall(digest).is_some());
        fs::set_permissions(root.join("inner"), fs::Permissions::from_mode(0o755)).unwrap();
        damage(&root);
        assert!(first.recall(digest).is_some() && second.recall(digest).is_some(), "compared before");
        let third = Store::open(directory.path(), LARGE).unwrap();
        assert!(third.recall(digest).is_none(), "damage {number}");
        assert!(!root.exists());
        publish(&third, number, "whole");
        assert!(third.recall(digest).is_some() && first.recall(digest).is_some());
        assert_eq!(fs::read_to_string(root.join("inner/file")).unwrap(), "whole");
    }
}

#[test]
fn the_least_recently_used_goes_and_what_is_pinned_stays() {
    let directory = tempfile::tempdir().unwrap();
    let hundred = "x".repeat(100);
    let store = Store::open(directory.path(), 300).unwrap();
    let pins: Vec<Pin> = (0..6).map(|number| publish(&store, number, &hundred)).collect();
    for (pin, seconds) in pins.iter().zip([600, 500, 400, 300, 200, 100]) {
        age(pin, seconds);
    }
    // Another process that shares the store holds the oldest.
    let other = Store::open(directory.path(), LARGE).unwrap();
    let elsewhere = other.recall(Digest::new([0; 32])).unwrap();
    age(&elsewhere, 600);
    assert_eq!(there(&store), [0, 1, 2, 3, 4, 5], "a start pins what it wants back first");
    let mut pins = pins;
    let held = pins.remove(3);
    drop(pins);
    store.settle();
    assert_eq!(there(&store), [0, 3, 5]);
    drop(store.recall(Digest::new([5; 32])));
    drop((elsewhere, held));
    publish(&store, 6, &hundred);
    assert_eq!(there(&store), [3, 5, 6]);
    let more: Vec<Pin> = (7..=9).map(|number| publish(&store, number, &hundred)).collect();
    let last = publish(&store, 4, &hundred);
    assert_eq!(there(&store), [4, 7, 8, 9], "what is pinned may be more than the limit");
    drop((more, last));
    store.settle();
    assert_eq!(there(&store).len(), 3);
    assert!(!names(directory.path()).iter().any(|name| name.starts_with("tmp-")));
}

#[test]
fn what_has_no_marker_goes_first() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 150).unwrap();
    age(&publish(&store, 1, &"x".repeat(100)), 1000);
    let bare = store.entry(Digest::new([2; 32]));
    fs::create_dir_all(bare.join("tree")).unwrap();
    fs::write(bare.join("tree/file"), "x".repeat(100)).unwrap();
    fs::write(bare.join("complete"), Digest::new([2; 32]).to_string()).unwrap();
    store.settle();
    assert_eq!(there(&store), [1]);
}

#[test]
fn who_signed_is_remembered_and_a_pin_outlives_the_writing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 0).unwrap();
    let digest = Digest::new([1; 32]);
    let pin = publish(&store, 1, "x");
    let held = store.pin(digest).unwrap();
    assert_eq!(pin.signer(), None);
    let endorsed = store.endorse(pin, "AB".repeat(20)).unwrap();
    assert_eq!(endorsed.signer(), Some("AB".repeat(20).as_str()));
    drop(endorsed);
    store.settle();
    assert_eq!(store.recall(digest).unwrap().signer(), Some("AB".repeat(20).as_str()));
    drop(store.endorse(store.pin(digest).unwrap(), "C".to_owned()).unwrap());
    assert_eq!(store.pin(digest).unwrap().signer(), Some("C"), "shorter than before");
    drop(held);
    store.settle();
    assert!(store.pin(digest).is_none());
}
