//! The file alone, with a clock of its own.

use tempfile::TempDir;

use super::*;
use crate::webhooks::letter::Draft;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_000 + Duration::from_secs(seconds)
}

fn draft(id: &str, package: &str, created: u64) -> Change {
    Change::Accepted(Draft {
        id: id.to_owned(),
        package: package.to_owned(),
        event: "package.mounted",
        body: id.as_bytes().to_vec(),
        created: at(created),
    })
}

fn outbox(changes: &[Change]) -> (TempDir, Outbox) {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(folder.path()).unwrap();
    outbox.apply(changes).unwrap();
    (folder, outbox)
}

fn due(outbox: &Outbox, now: u64) -> (Vec<String>, Option<SystemTime>) {
    let due = outbox.due(at(now), DAY, 8).unwrap();
    (due.letters.into_iter().map(|letter| letter.id).collect(), due.next)
}

#[test]
fn only_the_first_letter_of_each_package_is_due() {
    let (_folder, mut outbox) =
        outbox(&[draft("a1", "a", 0), draft("a2", "a", 0), draft("b1", "b", 1), draft("b2", "b", 1)]);
    assert_eq!(due(&outbox, 0), (vec!["a1".to_owned()], Some(at(1))));
    assert_eq!(due(&outbox, 1), (vec!["a1".to_owned(), "b1".to_owned()], None));
    let letters = outbox.due(at(1), DAY, 1).unwrap().letters;
    assert_eq!(letters.len(), 1, "no more than asked for");
    let first = &letters[0];
    assert_eq!((first.body.as_slice(), first.created, first.attempts), (&b"a1"[..], at(0), 0));
    outbox.apply(&[Change::Delivered { place: first.place }]).unwrap();
    assert_eq!(due(&outbox, 1).0, ["a2", "b1"]);
    assert_eq!(outbox.pending().unwrap(), 3);
}

#[test]
fn a_postponed_letter_holds_up_its_package_until_its_time() {
    let (_folder, mut outbox) = outbox(&[draft("a1", "a", 0), draft("a2", "a", 0), draft("b1", "b", 0)]);
    let postponed = Change::Postponed { place: 1, next: at(10), error: "no".to_owned() };
    outbox.apply(&[postponed]).unwrap();
    assert_eq!(due(&outbox, 9), (vec!["b1".to_owned()], Some(at(10))));
    assert_eq!(due(&outbox, 10).0, ["b1", "a1"]);
    assert_eq!(outbox.due(at(10), DAY, 8).unwrap().letters[1].attempts, 1);
    let oldest = outbox.deliveries().unwrap().oldest.unwrap();
    assert_eq!((oldest.id.as_str(), oldest.attempts, oldest.last_error.as_deref()), ("a1", 1, Some("no")));
    assert_eq!(oldest.next_attempt, timestamp::text(at(10)));
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up() {
    let (_folder, outbox) = outbox(&[draft("a1", "a", 10 * 86_400)]);
    assert_eq!(due(&outbox, 0), (vec!["a1".to_owned()], None));
}

#[test]
fn the_latest_thousand_dead_letters_are_kept() {
    let (_folder, mut outbox) = outbox(&[]);
    let changes: Vec<Change> = (1..=1002)
        .flat_map(|place| {
            let error = format!("error {place}");
            [draft(&format!("a{place}"), "a", 0), Change::Died { place, at: at(5), error }]
        })
        .collect();
    outbox.apply(&changes).unwrap();
    let status = outbox.deliveries().unwrap();
    assert_eq!((status.pending, status.oldest, status.dead.len()), (0, None, 1000));
    assert_eq!(
        status.dead[0],
        DeadLetter {
            id: "a1002".to_owned(),
            event: "package.mounted".to_owned(),
            package: "a".to_owned(),
            created: timestamp::text(at(0)),
            died: timestamp::text(at(5)),
            attempts: 1,
            last_error: "error 1002".to_owned(),
        }
    );
    assert_eq!(status.dead[999].id, "a3");
}

#[test]
fn changes_are_made_all_or_none() {
    let (_folder, mut outbox) = outbox(&[]);
    outbox
        .connection
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON pending WHEN NEW.id = 'bad'
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .unwrap();
    outbox.apply(&[draft("good", "a", 0), draft("bad", "a", 0)]).unwrap_err();
    assert_eq!(outbox.pending().unwrap(), 0);
}

#[test]
fn letters_are_there_after_the_file_was_opened_again() {
    let (folder, outbox) = outbox(&[draft("a1", "a", 0)]);
    drop(outbox);
    assert_eq!(due(&Outbox::open(folder.path()).unwrap(), 0).0, ["a1"]);
}

#[test]
fn places_are_never_given_twice() {
    let (folder, mut first) = outbox(&[draft("a1", "a", 0)]);
    first.apply(&[Change::Delivered { place: 1 }]).unwrap();
    drop(first);
    let mut again = Outbox::open(folder.path()).unwrap();
    again.apply(&[draft("a2", "a", 0)]).unwrap();
    assert_eq!(again.due(at(0), DAY, 8).unwrap().letters[0].place, 2);
}

#[test]
fn a_damaged_file_is_put_aside_and_replaced() {
    let (folder, mut outbox) = outbox(&[]);
    let many: Vec<Change> = (0..200).map(|number| draft(&format!("a{number}"), "a", 0)).collect();
    outbox.apply(&many).unwrap();
    drop(outbox);
    let path = folder.path().join("outbox.db");
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    for byte in torn.iter_mut().skip(4096) {
        *byte = 0x5a;
    }
    for bytes in [torn, b"this was never a database, but it is long enough for a header".to_vec()] {
        fs::write(&path, &bytes).unwrap();
        let empty = Outbox::open(folder.path()).unwrap();
        assert_eq!(empty.pending().unwrap(), 0);
        drop(empty);
        assert_eq!(fs::read(folder.path().join("outbox.damaged")).unwrap(), bytes);
    }
    assert!(whole.len() > 8192, "the damage was in the tables");
}

#[test]
fn a_file_of_a_later_version_is_left_alone() {
    let (folder, outbox) = outbox(&[draft("a1", "a", 0)]);
    outbox.connection.pragma_update(None, "user_version", FORM + 1).unwrap();
    drop(outbox);
    let error = Outbox::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("later version"), "{error}");
    assert!(!folder.path().join("outbox.damaged").exists());
}
