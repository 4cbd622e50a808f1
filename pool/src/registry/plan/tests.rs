use proptest::prelude::*;

use super::*;
use crate::package::source::Source;

/// `name@version`, `+` behind it for active, `~` for lazy; the digest follows from all before the marks.
fn entry(position: usize, text: &str) -> Entry {
    let id = text.trim_end_matches(['+', '~']);
    let (name, version) = id.split_once('@').unwrap();
    let sum = id.bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let sha256 = Digest::new([sum; 32]);
    let source = Source { sha256: Some(sha256), ..Source::parse("https://h/x").unwrap() };
    Entry {
        position,
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        sha256,
        source,
        size: None,
        active: text.contains('+'),
        lazy: text.contains('~'),
    }
}

fn entries(texts: &[&str]) -> Vec<Entry> {
    texts.iter().enumerate().map(|(position, text)| entry(position, text)).collect()
}

fn chosen(texts: &[&str]) -> BTreeMap<PackageName, Entry> {
    choose(&entries(texts)).wanted
}

fn known(texts: &[&str]) -> BTreeMap<PackageName, Known> {
    chosen(texts).iter().map(|(name, entry)| (name.clone(), Known::from(entry))).collect()
}

fn ids<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<String> {
    entries.into_iter().map(|entry| format!("{}@{}", entry.name, entry.version)).collect()
}

fn names(names: &[PackageName]) -> Vec<&str> {
    names.iter().map(PackageName::as_str).collect()
}

fn fault(name: &str, version: Option<&str>) -> EntryFault {
    let version = version.map(str::to_owned);
    EntryFault { position: 9, name: Some(name.to_owned()), version, detail: "bad".to_owned() }
}

#[test]
fn the_highest_version_serves_unless_another_is_active() {
    let choice =
        choose(&entries(&["a@1.9", "a@1.10", "b@2.0", "b@1.0+", "c@nightly", "c@0.1", "d@1-rc1", "d@1"]));
    assert_eq!(ids(choice.wanted.values()), ["a@1.10", "b@1.0", "c@0.1", "d@1"]);
    assert_eq!(choice.faults, []);
}

#[test]
fn of_two_active_versions_the_higher_serves_and_the_other_is_named() {
    let choice = choose(&entries(&["a@1.2+", "a@3", "a@1.3+", "a@1.1+"]));
    assert_eq!(ids(choice.wanted.values()), ["a@1.3"]);
    let told: Vec<String> = choice.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "entry 1 (a@1.2): version 1.3 is active too and is higher: it serves",
            "entry 4 (a@1.1): version 1.3 is active too and is higher: it serves",
        ]
    );
}

#[test]
fn the_order_of_an_index_does_not_decide_between_equal_versions() {
    assert_eq!(ids(chosen(&["a@1.10", "a@1.10.0"]).values()), ["a@1.10.0"]);
    assert_eq!(ids(chosen(&["a@1.10.0", "a@1.10"]).values()), ["a@1.10.0"]);
}

#[test]
fn an_unchanged_index_asks_for_nothing() {
    let texts = ["a@1", "b@1~", "c@2+"];
    let plan = plan(&known(&texts), &chosen(&texts), &[], false);
    assert_eq!(plan, Plan { known: known(&texts), ..Plan::default() });
}

#[test]
fn what_is_new_or_changed_is_brought_in_the_order_of_the_index() {
    let before = known(&["a@1", "b@1", "c@1~", "d@1"]);
    let wanted = chosen(&["z@1", "c@1", "a@2", "b@1", "d@1~"]);
    let plan = plan(&before, &wanted, &[], false);
    assert_eq!(ids(&plan.bring), ["z@1", "c@1", "a@2"]);
    assert_eq!(names(&plan.leave), Vec::<&str>::new());
    assert_eq!(plan.known, known(&["z@1", "c@1", "a@2", "b@1", "d@1~"]));
}

#[test]
fn other_bytes_of_the_same_version_are_brought() {
    let mut before = known(&["a@1"]);
    for known in before.values_mut() {
        known.sha256 = Digest::new([0; 32]);
    }
    assert_eq!(ids(&plan(&before, &chosen(&["a@1"]), &[], false).bring), ["a@1"]);
}

#[test]
fn force_brings_everything() {
    let texts = ["b@1", "a@1"];
    assert_eq!(ids(&plan(&known(&texts), &chosen(&texts), &[], true).bring), ["b@1", "a@1"]);
}

#[test]
fn what_is_gone_leaves_unless_it_is_more_than_half_of_several() {
    type Names = &'static [&'static str];
    let cases: [(Names, Names, Names, bool); 7] = [
        (&["a@1"], &[], &["a"], false),
        (&["a@1", "b@1"], &["b@1"], &["a"], false),
        (&["a@1", "b@1"], &[], &[], true),
        (&["a@1", "b@1"], &["c@1", "d@1", "e@1"], &[], true),
        (&["a@1", "b@1", "c@1"], &["c@1"], &[], true),
        (&["a@1", "b@1", "c@1", "d@1"], &["c@1", "d@1"], &["a", "b"], false),
        (&["a@1", "b@1", "c@1", "d@1"], &["d@1"], &[], true),
    ];
    for (before, now, leave, held) in cases {
        let plan = plan(&known(before), &chosen(now), &[], false);
        assert_eq!(names(&plan.leave), leave, "{before:?} to {now:?}");
        assert_eq!(plan.held.is_some(), held, "{before:?} to {now:?}");
    }
}

#[test]
fn what_is_held_stays_held_until_force() {
    let first = plan(&known(&["a@1", "b@1", "c@1"]), &chosen(&["c@2"]), &[], false);
    assert_eq!(
        first.held.as_deref(),
        Some("2 of 3 packages are gone from the index at once; nothing is unmounted without force")
    );
    assert_eq!(ids(&first.bring), ["c@2"]);
    let second = plan(&first.known, &chosen(&["c@2"]), &[], false);
    assert_eq!((second.held, second.bring), (first.held, Vec::new()));
    let forced = plan(&second.known, &chosen(&["c@2"]), &[], true);
    assert_eq!((names(&forced.leave), forced.held), (vec!["a", "b"], None));
    assert_eq!(forced.known, known(&["c@2"]));
}

#[test]
fn a_name_that_only_a_faulty_entry_mentions_is_not_gone() {
    let before = known(&["a@1", "b@1"]);
    for force in [false, true] {
        let faults = [fault("a", Some("2")), fault("x", None)];
        let plan = plan(&before, &chosen(&["b@1"]), &faults, force);
        assert_eq!(names(&plan.leave), Vec::<&str>::new());
        assert_eq!(plan.known, before);
    }
}

#[test]
fn a_version_whose_entry_became_faulty_is_not_replaced_by_a_lower_one() {
    let before = known(&["a@1.1"]);
    for version in [Some("1.1"), None] {
        let kept = plan(&before, &chosen(&["a@1.0"]), &[fault("a", version)], false);
        assert_eq!((ids(&kept.bring), kept.known), (Vec::new(), before.clone()));
    }
    let cases = [("a@1.0+", Some("1.1")), ("a@1.2", Some("1.1")), ("a@1.0", Some("1.2"))];
    for (wanted, faulty) in cases {
        let plan = plan(&before, &chosen(&[wanted]), &[fault("a", faulty)], false);
        assert_eq!(ids(&plan.bring), [wanted.trim_end_matches('+')], "{wanted} with {faulty:?} faulty");
    }
}

#[test]
fn what_is_known_can_be_written_down() {
    let before = known(&["a@1.1", "b@2~"]);
    let text = serde_json::to_string(&before).unwrap();
    assert_eq!(serde_json::from_str::<BTreeMap<PackageName, Known>>(&text).unwrap(), before);
}

proptest! {
    #[test]
    fn every_name_is_accounted_for_and_a_plan_is_done_once(
        before in prop::collection::btree_map("[a-f]", 1_u8..4, 0..6),
        now in prop::collection::btree_map("[a-f]", 1_u8..4, 0..6),
        force: bool,
    ) {
        let texts = |map: &BTreeMap<String, u8>| -> Vec<String> {
            map.iter().map(|(name, version)| format!("{name}@{version}")).collect()
        };
        let (before, now) = (texts(&before), texts(&now));
        let before = known(&before.iter().map(String::as_str).collect::<Vec<_>>());
        let wanted = chosen(&now.iter().map(String::as_str).collect::<Vec<_>>());
        let first = plan(&before, &wanted, &[], force);
        for name in before.keys().chain(wanted.keys()) {
            prop_assert!(first.known.contains_key(name) != first.leave.contains(name));
        }
        prop_assert!(force || before.len() < 2 || first.leave.len() * 2 <= before.len());
        let second = plan(&first.known, &wanted, &[], false);
        prop_assert_eq!(second.bring, Vec::new());
        prop_assert_eq!(second.leave.is_empty() || first.held.is_some(), true);
    }
}
