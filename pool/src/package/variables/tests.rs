use super::*;

fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(layers: [&[(&str, &str)]; 4]) -> (Result<Map, VariableError>, Vec<String>) {
    let [passed, dotenv, manifest, deploy] = layers.map(map);
    let mut warnings = Vec::new();
    let resolved = Layers { layers: [&passed, &dotenv, &manifest, &deploy] }.resolve(&mut warnings);
    (resolved, warnings)
}

#[test]
fn references_see_what_the_contract_says() {
    for (value, resolved) in [
        ("plain $X $$ {}", "plain $X $$ {}"),
        ("${P}-${D}-${M}-${Y}", "passed-dotenv-manifest-deploy"),
        ("${NONE:-default}", "default"),
        ("${NONE:-${D:-x}}!", "dotenv!"),
        ("${NONE:-${NONE2:-a}b}c", "abc"),
        ("${EMPTY:-full}", "full"),
        ("${EMPTY}", ""),
        ("${D:-}", "dotenv"),
        ("${V:-own}", "own"),
        ("${D", "${D"),
        ("${LITERAL}", "${D}"),
        ("http://${D}:${PORT:-80}/x", "http://dotenv:80/x"),
    ] {
        let (map, warnings) = resolve([
            &[("P", "passed"), ("EMPTY", "")],
            &[("D", "dotenv"), ("LITERAL", "${D}")],
            &[("M", "manifest"), ("V", value)],
            &[("Y", "deploy")],
        ]);
        assert_eq!(map.unwrap().get("V").unwrap(), resolved, "{value}");
        assert_eq!(warnings, Vec::<String>::new(), "{value}");
    }
}

#[test]
fn stronger_layers_win_and_a_name_in_its_own_value_means_the_weaker_ones() {
    let (map, warnings) = resolve([
        &[("A", "1"), ("PORT", "9")],
        &[("A", "2"), ("B", "2")],
        &[("A", "3${A}"), ("PORT", "${PORT:-80}"), ("HOST", "${HOST:-h}")],
        &[("A", "4${A}"), ("PORT", "${PORT:-80}")],
    ]);
    let map = map.unwrap();
    assert_eq!([&map["A"], &map["B"], &map["PORT"], &map["HOST"]], ["432", "2", "9", "h"]);
    assert!(warnings.is_empty());
}

#[test]
fn circles_and_bombs_are_refused_and_unset_names_are_warned_about() {
    let (circle, _) = resolve([&[], &[], &[("A", "${B}"), ("B", "${C:-x}"), ("C", "${A}")], &[]]);
    assert!(matches!(circle, Err(VariableError::Cycle(_))));
    let pairs: Vec<(String, String)> =
        (0..30).map(|n| (format!("V{n}"), format!("${{V{}}}${{V{}}}", n + 1, n + 1))).collect();
    let mut pairs: Vec<(&str, &str)> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    pairs.push(("V30", "xxxxxxxxxxxxxxxx"));
    assert!(matches!(resolve([&[], &[], &pairs, &[]]).0, Err(VariableError::TooLong(_))));
    let deep = "${X:-".repeat(10_000) + &"}".repeat(10_000);
    assert!(matches!(resolve([&[], &[], &[("A", &deep)], &[]]).0, Err(VariableError::TooLong(_))));
    let (map, warnings) = resolve([&[], &[], &[("A", "x${HOME}y")], &[]]);
    assert_eq!(map.unwrap()["A"], "xy");
    assert_eq!(warnings.len(), 1);
}

#[test]
fn dotenv_files_are_read_as_written() {
    let text = "\u{feff}# comment\nA=1\n export B = 'two words' \nC=\"x#y\" # c\nD=a#b # c\nE=\nF=\"open\n=x\nnonsense\n1A=x\nG='a'b'\nURL=https://h/?a=b\r\n";
    let mut warnings = Vec::new();
    let map = dotenv(text, &mut warnings);
    let expected = [
        ("A", "1"),
        ("B", "two words"),
        ("C", "x#y"),
        ("D", "a#b"),
        ("E", ""),
        ("F", "\"open"),
        ("G", "'a'b'"),
        ("URL", "https://h/?a=b"),
    ];
    assert_eq!(map, super::tests::map(&expected));
    assert_eq!(warnings.len(), 3, "{warnings:?}");
}

#[test]
fn a_worker_gets_a_cleared_base_and_the_packages_files() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(".env"), "KEY=env\nSECRET=s").unwrap();
    fs::write(root.path().join("deploy.json"), r#"{"environment":{"N":1,"T":true,"L":[],"KEY":"${KEY}+"}}"#)
        .unwrap();
    let (passed, manifest) = (map(&[("PATH", "/passed")]), map(&[("M", "${N}")]));
    let origins = Origins {
        root: root.path(),
        virtual_env: Some(Path::new("/venv")),
        passed: &passed,
        manifest: &manifest,
    };
    let mut warnings = Vec::new();
    let map = assemble(&origins, &mut warnings).unwrap();
    for (name, value) in [
        ("KEY", "env+"),
        ("SECRET", "s"),
        ("N", "1"),
        ("T", "true"),
        ("M", "1"),
        ("PATH", "/passed"),
        ("VIRTUAL_ENV", "/venv"),
    ] {
        assert_eq!(map[name], value, "{name}");
    }
    assert!(!map.contains_key("CARGO_MANIFEST_DIR"));
    assert_eq!(warnings, ["deploy.json: environment.L is ignored"]);
    fs::write(root.path().join("deploy.json"), "{").unwrap();
    let mut warnings = Vec::new();
    assert_eq!(assemble(&origins, &mut warnings).unwrap()["KEY"], "env");
    let expected = [
        "deploy.json is not valid JSON and ignored",
        "the environment variable M refers to N, which is not set",
    ];
    assert_eq!(warnings, expected);
}
