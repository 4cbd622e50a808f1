//! Archives: what is unpacked lies below its own directory, is files and directories, and within the limit.
#![no_main]

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use libfuzzer_sys::fuzz_target;
use par_pool::package::unpack::unpack;

/// Largest package; its content may be ten times as large.
const LIMIT: u64 = 4096;

fuzz_target!(|bytes: &[u8]| {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let (archive, tree) = (directory.path().join("archive"), directory.path().join("tree"));
    fs::write(&archive, bytes).expect("room for a small file");
    let unpacked = unpack(&archive, &tree, LIMIT);
    let names = fs::read_dir(&directory).expect("our own directory").count();
    assert!(names <= 2, "something lies beside the tree");
    let size = if tree.exists() { measured(&tree) } else { 0 };
    assert!(unpacked.is_err() || size <= 10 * LIMIT, "{size} bytes were unpacked");
});

/// Bytes of all files below; makes them removable.
fn measured(path: &Path) -> u64 {
    let metadata = fs::symlink_metadata(path).expect("what was just listed");
    if metadata.is_file() {
        return metadata.len();
    }
    assert!(metadata.is_dir(), "{} is neither a file nor a directory", path.display());
    fs::set_permissions(path, Permissions::from_mode(0o700)).expect("our own directory");
    let entries = fs::read_dir(path).expect("our own directory");
    entries.map(|entry| measured(&entry.expect("a readable directory").path())).sum()
}
