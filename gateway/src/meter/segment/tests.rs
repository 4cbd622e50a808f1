use std::collections::BTreeSet;

use super::{
    super::{
        record::Usage,
        scan::{Found, Scan},
    },
    *,
};

fn call(id: &str) -> Record<'_> {
    Record::Call(Usage { request_id: id, tenant: "t", agent: "a/b", version: "1", ..Usage::NOTHING })
}

fn ids(bytes: &[u8]) -> Vec<String> {
    let id = |found| match found {
        Found::Record { record: Record::Call(usage), .. } => usage.request_id.to_owned(),
        Found::Record { .. } | Found::Gap { .. } => format!("{found:?}"),
    };
    Scan::new(bytes, 0).map(id).collect()
}

#[test]
fn what_is_appended_is_in_the_file_at_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let segment = Segment::prepare(folder.path(), 7, 64 << 10).unwrap();
    for id in ["one", "two"] {
        segment.append(&call(id)).unwrap();
    }
    let (bytes, names) = read(folder.path(), 7, 0).unwrap();
    assert_eq!(ids(&bytes), ["one", "two"]);
    assert_eq!(names, Outcome::names());
    let (copied, is_over) = segment.published(HEAD);
    assert_eq!((ids(&copied), is_over), (vec!["one".to_owned(), "two".to_owned()], false));
    assert_eq!(numbers(folder.path()).unwrap(), [7]);
    trim(folder.path(), 7, segment.used()).unwrap();
    assert_eq!(ids(&read(folder.path(), 7, 0).unwrap().0), ["one", "two"]);
}

/// Kilobytes of the mapping that are in this process's memory, by proc_pid_smaps(5).
fn resident(segment: &Segment) -> usize {
    let start = format!("{:x}-", segment.map.start as usize);
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut ours = maps.lines().skip_while(|line| !line.starts_with(&start));
    let rss = ours.find_map(|line| line.strip_prefix("Rss:")).unwrap();
    rss.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_is_taken_ahead_of_who_appends_and_not_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let segment = Segment::prepare(folder.path(), 1, 1 << 20).unwrap();
    assert_eq!(resident(&segment), 0);
    assert_eq!(segment.populate_ahead(60 << 10), 0);
    assert_eq!(resident(&segment), 60, "what was asked for");
    assert_eq!(segment.populate_ahead(60 << 10), 0);
    assert_eq!(resident(&segment), 60, "nothing was appended");
    segment.append(&call("one")).unwrap();
    assert_eq!(segment.populate_ahead(60 << 10), 0);
    assert_eq!(resident(&segment), 64, "a page more as soon as it is begun");
    assert_eq!(segment.populate_ahead(2 << 20), (1 << 20) + segment.used(), "the rest is the next one's");
    assert_eq!(resident(&segment), (1 << 10) - (HEAD >> 10));
    while segment.append(&call("more")).is_ok() {}
    assert_eq!(segment.populate_ahead(8 << 10), 8 << 10, "it has no more to take");
}

/// Page faults of this thread, by proc_pid_stat(5).
fn faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(7).unwrap().parse().unwrap()
}

#[test]
fn who_appends_after_a_sync_does_not_pay_for_a_page() {
    // Not in memory alone: there nothing is ever brought to a disk.
    let folder = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let segment = Segment::prepare(folder.path(), 1, 1 << 20).unwrap();
    segment.append(&call("first")).unwrap();
    segment.sync().unwrap();
    segment.populate_ahead(64 << 10);
    faults();
    let before = faults();
    for _ in 0..100 {
        segment.append(&call("more")).unwrap();
    }
    assert_eq!(faults() - before, 0);
}

#[test]
fn threads_that_append_at_once_lose_nothing_and_the_end_is_marked_once() {
    let folder = tempfile::tempdir().unwrap();
    let segment = Segment::prepare(folder.path(), 1, 256 << 10).unwrap();
    let written: BTreeSet<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let segment = &segment;
                scope.spawn(move || {
                    let ids = (0..).map(|n| format!("{thread}-{n}"));
                    ids.take_while(|id| segment.append(&call(id)).is_ok()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (bytes, is_over) = segment.published(HEAD);
    assert!(is_over && written.len() > 1000);
    assert_eq!(ids(&bytes).into_iter().collect::<BTreeSet<_>>(), written);
    let (bytes, _) = read(folder.path(), 1, 0).unwrap();
    assert_eq!(ids(&bytes).len(), written.len());
}

#[test]
fn a_file_of_another_kind_is_no_segment() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(path(folder.path(), 1), vec![0; 9000]).unwrap();
    assert!(read(folder.path(), 1, 0).is_err());
    assert!(Segment::prepare(folder.path(), 1, 64 << 10).is_err(), "what is there is never overwritten");
    fs::write(folder.path().join("x.txt"), "").unwrap();
    assert_eq!(numbers(folder.path()).unwrap(), [1]);
}
