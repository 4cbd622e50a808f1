use super::*;

fn of(yaml: &str) -> Raw {
    let mut raw = Raw::default();
    raw.take(String::new(), serde_yaml::from_str(yaml).unwrap(), &Origin::File("par.yaml".into()));
    raw
}

#[test]
fn every_unknown_key_is_told_at_once() {
    let raw = of("port: 1\nserver: {hots: x, port: 9}\nnothing: {a: 1}\n");
    let faults: Vec<_> = raw.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "port (par.yaml): there is no such key; did you mean server.port?",
            "server.hots (par.yaml): there is no such key",
            "nothing (par.yaml): there is no such key",
        ]
    );
    assert_eq!(raw.get(&PORT).unwrap().0, Written::One("9".to_owned()));
}

#[test]
fn flags_beat_variables_beat_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "server: {port: 1, host: \"::1\"}\nmetrics: {port: 3}\nlog:\n").unwrap();
    let flags = Flags {
        settings: vec![(&PORT, "5".to_owned())],
        file: Some(file.path().to_owned()),
        ..Flags::default()
    };
    let environment = [("PORT", "4"), ("METRICS_PORT", "6")].into_iter().collect();
    let raw = Raw::gather(&flags, &environment);
    assert!(raw.faults.is_empty());
    let origin = |setting| raw.get(setting).unwrap().clone();
    assert_eq!(origin(&PORT), (Written::One("5".to_owned()), Origin::Flag));
    assert_eq!(origin(&METRICS_PORT), (Written::One("6".to_owned()), Origin::Environment));
    assert_eq!(origin(&HOST).1, Origin::File(file.path().to_owned()));
}

#[test]
fn a_file_that_cannot_be_understood_is_one_fault() {
    assert_eq!(of("[1]").faults.len(), 1);
    assert_eq!(of("server: 5").faults.len(), 1);
    assert_eq!(of("server: {port: {a: 1}}").faults.len(), 1);
    assert!(of("server:").faults.is_empty());
    let flags = Flags { file: Some("/nowhere/par.yaml".into()), ..Flags::default() };
    assert_eq!(Raw::gather(&flags, &Environment::default()).faults.len(), 1);
}

#[test]
fn no_name_is_used_twice() {
    let mut names: Vec<_> = ALL.iter().flat_map(|s| [Some(s.key), s.variable, s.flag]).flatten().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
