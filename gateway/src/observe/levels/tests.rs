//! Rules, names that are none, and times that are over.

use super::*;

fn rules() -> Rules {
    Rules::new(Level::INFO)
}

#[test]
fn a_target_has_a_level_of_its_own_until_it_is_taken_back() {
    let louder = rules().with(Some("par_pool::fleet"), Some(LevelFilter::DEBUG)).unwrap();
    let filter = louder.filter();
    assert!(filter.would_enable("par_pool::fleet::rollout", &Level::DEBUG));
    assert!(!filter.would_enable("par_pool::package", &Level::DEBUG));
    assert!(filter.would_enable("par::edge", &Level::INFO));
    let gateway = rules().with(Some("par"), Some(LevelFilter::DEBUG)).unwrap().filter();
    assert!(gateway.would_enable("par::edge", &Level::DEBUG));
    assert!(!gateway.would_enable("parking_lot", &Level::DEBUG));
    assert_eq!(louder.most_verbose(), LevelFilter::DEBUG);
    assert_eq!(louder.with(Some("par_pool::fleet"), None).unwrap(), rules());
    let off = rules().with(Some("access"), Some(LevelFilter::OFF)).unwrap();
    assert_eq!(
        (off.of_line(Line::Access), off.of_line(Line::AgentOutput)),
        (LevelFilter::OFF, LevelFilter::INFO)
    );
}

#[test]
fn others_never_print_whole_requests() {
    assert_eq!(
        rules().with(Some("hyper"), Some(LevelFilter::DEBUG)),
        Err(LevelError::Foreign("hyper".to_owned()))
    );
    assert!(rules().with(Some("hyper"), Some(LevelFilter::INFO)).is_ok());
    let loud = rules().with(None, Some(LevelFilter::TRACE)).unwrap();
    assert!(loud.filter().would_enable("par::app", &Level::TRACE));
    assert!(!loud.filter().would_enable("hyper::client", &Level::DEBUG));
}

#[test]
fn names_that_are_none_and_too_many_are_refused() {
    for name in ["", "a b", "par_pool:fleet", "par_pool::", "é", &"x".repeat(200)] {
        let refused = rules().with(Some(name), Some(LevelFilter::WARN));
        assert_eq!(refused, Err(LevelError::Target(name.to_owned())), "{name}");
    }
    let named = |number: usize| format!("par_{number}");
    let full = (0..MOST)
        .fold(rules(), |rules, number| rules.with(Some(&named(number)), Some(LevelFilter::WARN)).unwrap());
    assert_eq!(full.with(Some("par_more"), Some(LevelFilter::WARN)), Err(LevelError::Full));
    assert!(full.with(Some("par_1"), Some(LevelFilter::INFO)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_change_falls_back_in_its_time_unless_another_one_came() {
    let levels = Levels::new(rules(), None);
    let (minute, access) = (Duration::from_secs(60), Some("access"));
    levels.change(access, Some(LevelFilter::WARN), Some(minute)).unwrap();
    assert!(!levels.writes(Line::Access, Level::INFO) && levels.writes(Line::Access, Level::WARN));
    assert!(levels.writes(Line::AgentOutput, Level::INFO));
    tokio::time::sleep(minute / 2).await;
    levels.change(access, Some(LevelFilter::OFF), Some(minute)).unwrap();
    tokio::time::sleep(minute * 3 / 4).await;
    assert!(!levels.writes(Line::Access, Level::ERROR), "the first time is over, the second is not");
    tokio::time::sleep(minute).await;
    assert!(levels.writes(Line::Access, Level::INFO));
    assert_eq!(levels.shown().targets, BTreeMap::new());
    levels.change(None, Some(LevelFilter::DEBUG), Some(minute)).unwrap();
    levels.change(access, Some(LevelFilter::WARN), None).unwrap();
    tokio::time::sleep(minute * 2).await;
    assert_eq!(levels.shown().level, "info", "only what had a time falls back");
    assert!(!levels.writes(Line::Access, Level::INFO));
    levels.reset();
    assert!(levels.writes(Line::Access, Level::INFO));
}

#[tokio::test(start_paused = true)]
async fn another_configuration_counts_where_nobody_has_said_otherwise() {
    let levels = Levels::new(rules(), None);
    levels.configure(Rules::new(Level::WARN));
    assert_eq!((levels.shown().level, levels.shown().configured), ("warn".to_owned(), "warn".to_owned()));
    let minute = Duration::from_secs(60);
    levels.change(None, Some(LevelFilter::TRACE), Some(minute)).unwrap();
    levels.configure(Rules::new(Level::DEBUG));
    assert_eq!((levels.shown().level, levels.shown().configured), ("trace".to_owned(), "debug".to_owned()));
    tokio::time::sleep(minute * 2).await;
    assert_eq!(levels.shown().level, "debug");
}
