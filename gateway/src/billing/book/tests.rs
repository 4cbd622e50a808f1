use super::*;

const WINDOW: Window = Window { from: 60, to: 120 };

fn event(identifier: &str) -> Event {
    Event {
        identifier: identifier.into(),
        tenant: "acme".into(),
        measure: Measure::Requests,
        window: WINDOW,
        value: 7,
    }
}

fn planned(folder: &Path) -> Book {
    let mut book = Book::open(folder).unwrap();
    book.begin(60).unwrap();
    book.plan(WINDOW, &[event("a"), event("b")], &[("acme".into(), Measure::ComputeSeconds, 5)], 7300)
        .unwrap();
    book
}

#[test]
fn a_window_is_in_the_book_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = planned(folder.path());
    assert_eq!(book.planned().unwrap(), Some((60, 120)));
    assert_eq!(book.rest("acme", Measure::ComputeSeconds).unwrap(), 5);
    // The second of these is there already: nothing of the first is left either.
    let later = Window { from: 120, to: 180 };
    assert!(book.plan(later, &[event("c"), event("a")], &[], 9000).is_err());
    assert_eq!(book.planned().unwrap(), Some((60, 120)));
    assert_eq!(book.find("c").unwrap(), None);
    drop(book);
    let book = Book::open(folder.path()).unwrap();
    assert_eq!(book.due(9000, 10).unwrap().len(), 2, "it survives its process");
}

#[test]
fn an_event_goes_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = planned(folder.path());
    assert_eq!(book.unsent().unwrap(), (2, Some(7300)));
    book.sending(&[("a", "cus_1")], 8000).unwrap();
    book.sending(&[("a", "cus_1")], 8100).unwrap();
    let sent = book.find("a").unwrap().unwrap();
    assert_eq!((sent.state, sent.tries, sent.first_sent), (State::Sending, 2, Some(8000)));
    book.postpone("a", 9000, "status 500").unwrap();
    let due = |now| book.due(now, 10).unwrap().into_iter().map(|entry| entry.event.identifier);
    assert!(due(8999).eq(["b"]) && due(9000).eq(["a", "b"]));
    assert_eq!(book.next_try().unwrap(), Some(0));
    assert_eq!(book.reopen("a").unwrap(), None, "whether it was counted is not known");
    assert!(book.end("a", State::Taken, None).unwrap());
    assert_eq!(book.taken("cus_1", Measure::Requests, WINDOW).unwrap(), 7);
    assert_eq!(book.taken("cus_1", Measure::InputTokens, WINDOW).unwrap(), 0);
    assert_eq!(book.reopen("a").unwrap(), None);
    book.end("b", State::Refused, Some("no such customer")).unwrap();
    assert_eq!(book.unsent().unwrap(), (0, None));
    assert_eq!(book.troubled(9).unwrap().len(), 1);
    assert!(!book.reject("b", "late").unwrap(), "it is none that was sent");
    assert_eq!(book.reopen("b").unwrap().as_deref(), Some("b-2"), "surely not counted: under a new name");
    assert_eq!(book.find("b-2").unwrap().unwrap().state, State::Open);
    assert_eq!(book.reopen("b").unwrap(), None);
    // Of this one nobody knows: the name is what keeps it from being counted twice.
    book.sending(&[("b-2", "cus_1")], 8200).unwrap();
    book.end("b-2", State::Refused, Some(&format!("{UNCLEAR}: 3 of 7"))).unwrap();
    assert_eq!(book.reopen("b-2").unwrap().as_deref(), Some("b-2"));
    assert_eq!(book.find("b-2").unwrap().unwrap().first_sent, Some(8200));
    book.sending(&[("b-2", "cus_1")], 8300).unwrap();
    assert!(book.reject("b-2", "late").unwrap());
    assert_eq!(book.reopen("b-2").unwrap().as_deref(), Some("b-3"));
    assert!(!book.end("x", State::Taken, None).unwrap());
    assert_eq!(book.forget(121).unwrap(), 1);
}

#[test]
fn sums_are_by_tenant_measure_and_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = planned(folder.path());
    book.sending(&[("a", "cus_1")], 8000).unwrap();
    book.end("a", State::Taken, None).unwrap();
    let sums = book.sums(Window { from: 0, to: 1000 }).unwrap();
    let told: Vec<_> = sums.iter().map(|sum| (sum.state, sum.events, sum.value)).collect();
    assert_eq!(told, [(State::Open, 1, 7), (State::Taken, 1, 7)]);
    assert_eq!(book.sums(Window { from: 0, to: 60 }).unwrap(), []);
}

#[test]
fn a_book_of_a_later_version_and_a_damaged_one_are_refused_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let book = planned(folder.path());
    book.connection.pragma_update(None, "user_version", 9).unwrap();
    drop(book);
    assert!(matches!(Book::open(folder.path()), Err(BookError::Later(9))));
    std::fs::write(folder.path().join(FILE), vec![7; 8192]).unwrap();
    assert!(matches!(Book::open(folder.path()), Err(BookError::Sqlite(_))));
    assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap().len(), 8192);
}
