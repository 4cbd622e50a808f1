use std::time::Duration;

use crate::config::{Config, Environment, Flags};

fn environment<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
    std::iter::once(("HOME", "/home/me")).chain(variables).collect()
}

const NEEDED: [(&str, &str); 2] = [("AGENT_APP_ID", "app-1"), ("PACKAGE_URL", "s3://bucket/a.apkg")];

fn config<'a>(more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Config {
    Config::load(&Flags::default(), &environment(NEEDED.into_iter().chain(more))).unwrap()
}

fn faults(variables: &[(&str, &str)]) -> Vec<String> {
    let loaded = Config::load(&Flags::default(), &environment(variables.iter().copied()));
    loaded.unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn the_two_that_are_needed_are_enough() {
    let config = config([]);
    let single = config.single.as_ref().unwrap();
    assert_eq!(single.agent_app_id, "app-1");
    assert_eq!(single.base_path.to_string(), "/agents/app-1");
    assert_eq!((single.root_routes, single.multiplexed), (false, true));
    let ports = [config.http, config.a2a, single.ui, config.metrics].map(|address| address.to_string());
    assert_eq!(ports, ["0.0.0.0:8080", "0.0.0.0:50051", "0.0.0.0:3000", "0.0.0.0:9090"]);
    assert_eq!((single.boot_budget, single.boot_failures), (Duration::from_secs(5), 0));
    assert_eq!(config.log.agent_app_id.as_deref(), Some("app-1"));
    assert_eq!(config.sources.iter().map(ToString::to_string).collect::<Vec<_>>(), ["s3://bucket/a.apkg"]);
    assert_eq!(config.packages.s3.bucket, "pixell-agent-packages");
    assert_eq!(config.packages.s3.region.as_deref(), Some("us-east-2"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn every_variable_of_single_mode_has_its_effect() {
    let digest = "AB".repeat(32);
    let config = config([
        ("DEPLOYMENT_ID", "d-7"),
        ("PACKAGE_SHA256", digest.as_str()),
        ("BASE_PATH", "//x//y/"),
        ("ROOT_ROUTES", "yes"),
        ("MULTIPLEXED", "off"),
        ("REST_PORT", "1"),
        ("A2A_PORT", "2"),
        ("UI_PORT", "3"),
        ("METRICS_PORT", "65535"),
        ("BOOT_BUDGET_MS", "250"),
        ("BOOT_FAILURE_COUNT", "4"),
    ]);
    let single = config.single.as_ref().unwrap();
    assert_eq!(config.log.deployment_id.as_deref(), Some("d-7"));
    assert_eq!(config.sources[0].sha256.unwrap().to_string(), digest.to_lowercase());
    assert_eq!(single.base_path.to_string(), "/x/y");
    assert_eq!((single.root_routes, single.multiplexed), (true, false));
    let ports = [config.http, config.a2a, single.ui, config.metrics].map(|address| address.port());
    assert_eq!(ports, [1, 2, 3, 65535]);
    assert_eq!((single.boot_budget, single.boot_failures), (Duration::from_millis(250), 4));
    for (text, wanted) in [("true", true), ("1", true), ("on", true), ("false", false), ("0", false)] {
        let config = self::config([("MULTIPLEXED", text)]);
        assert_eq!(config.single.unwrap().multiplexed, wanted, "{text}");
    }
}

#[test]
fn an_empty_base_path_counts_as_not_given_and_the_root_is_one() {
    for (text, wanted) in [("", "/agents/app-1"), ("/", "/"), ("/agents/app-1/", "/agents/app-1")] {
        assert_eq!(config([("BASE_PATH", text)]).single.unwrap().base_path.to_string(), wanted, "{text:?}");
    }
}

#[test]
fn any_of_three_makes_it_single_mode_and_nothing_is_made_up() {
    let id = "AGENT_APP_ID (environment): is required in single mode: the identity of this agent";
    let url = "PACKAGE_URL (environment): is required in single mode: the package to run";
    assert_eq!(faults(&[("RUNTIME_MODE", "Single")]), [url, id]);
    assert_eq!(faults(&[("AGENT_APP_ID", "x")]), [url]);
    assert_eq!(faults(&[("PACKAGE_URL", "/x.apkg"), ("DEPLOYMENT_ID", "d")]), [id]);
    let empty = faults(&[("AGENT_APP_ID", ""), ("PACKAGE_URL", " ")]);
    assert_eq!(empty.len(), 2, "{empty:?}");
    assert!(empty.iter().all(|fault| fault.contains("is empty")), "{empty:?}");
    assert!(
        Config::load(&Flags::default(), &environment([("RUNTIME_MODE", "host")])).unwrap().single.is_none()
    );
}

#[test]
fn all_faults_of_single_mode_are_told_at_once() {
    let faults = faults(&[
        ("AGENT_APP_ID", "-x/y"),
        ("PACKAGE_URL", "ftp://x/y"),
        ("PACKAGE_SHA256", "12"),
        ("BASE_PATH", "/a/../b"),
        ("ROOT_ROUTES", "maybe"),
        ("MULTIPLEXED", "2"),
        ("REST_PORT", "0"),
        ("A2A_PORT", "x"),
        ("UI_PORT", "65536"),
        ("METRICS_PORT", "-1"),
        ("BOOT_BUDGET_MS", "soon"),
        ("BOOT_FAILURE_COUNT", "many"),
    ]);
    let names: Vec<_> = faults.iter().filter_map(|fault| fault.split(' ').next()).collect();
    for name in [
        "AGENT_APP_ID",
        "PACKAGE_URL",
        "PACKAGE_SHA256",
        "BASE_PATH",
        "ROOT_ROUTES",
        "MULTIPLEXED",
        "REST_PORT",
        "A2A_PORT",
        "UI_PORT",
        "METRICS_PORT",
        "BOOT_BUDGET_MS",
        "BOOT_FAILURE_COUNT",
    ] {
        assert!(names.contains(&name), "{name} is missing in {faults:#?}");
    }
    assert_eq!(faults.len(), 12, "{faults:#?}");
}

#[test]
fn ports_are_distinct_and_each_mode_reads_only_its_own() {
    let clash = |more: &[(&str, &str)]| faults(&[&NEEDED, more].concat());
    assert_eq!(
        clash(&[("UI_PORT", "8080")]),
        ["UI_PORT (environment): UI_PORT and REST_PORT are both 8080; ports must be distinct"]
    );
    assert_eq!(
        clash(&[("REST_PORT", "9090")]),
        ["REST_PORT (environment): METRICS_PORT and REST_PORT are both 9090; ports must be distinct"]
    );
    assert_eq!(clash(&[("A2A_PORT", "3000")]).len(), 1);
    assert_eq!(config([("PORT", "nonsense")]).http.port(), 8080);
    let host = [("REST_PORT", "nonsense"), ("UI_PORT", "0"), ("PORT", "1")];
    let host = Config::load(&Flags::default(), &environment(host)).unwrap();
    assert_eq!((host.http.port(), host.single), (1, None));
}

#[test]
fn one_package_is_served_and_what_names_more_is_told() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a.apkg", "b.apkg"] {
        std::fs::write(root.path().join(name), "").unwrap();
    }
    let url = root.path().display().to_string();
    let told = faults(&[("AGENT_APP_ID", "x"), ("PACKAGE_URL", url.as_str())]);
    assert!(told[0].contains("a directory of 2 packages"), "{told:?}");
    let flags = Flags { sources: vec!["/other.apkg".to_owned()], ..Flags::default() };
    let told = Config::load(&flags, &environment(NEEDED)).unwrap_err().to_string();
    assert!(told.starts_with("SOURCE (command line): single mode serves the package"), "{told}");
    let config = config([("PACKAGES_URLS", "/z.apkg"), ("REGISTRY_URL", "https://x.example/index.json")]);
    assert_eq!((config.sources.len(), config.registry.is_some()), (1, false));
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    let named = format!("/x.apkg#sha256={}", "ab".repeat(32));
    let other = "cd".repeat(32);
    let variables =
        [("AGENT_APP_ID", "x"), ("PACKAGE_URL", named.as_str()), ("PACKAGE_SHA256", other.as_str())];
    assert_eq!(faults(&variables).len(), 1);
}

#[test]
fn agents_of_single_mode_get_all_but_what_is_ours() {
    let config = config([
        ("OPENAI_API_KEY", "theirs"),
        ("AWS_SECRET_ACCESS_KEY", "ours"),
        ("AWS_REGION", "eu-west-1"),
        ("PAR_OPERATOR_TOKEN", "t0ken"),
        ("COPY_OF_TOKEN", "t0ken"),
        ("PATH", "/bin"),
        ("PYTHONPATH", "/elsewhere"),
        ("LD_PRELOAD", "x.so"),
        ("A2A_PORT", "6000"),
    ]);
    let passed: Vec<_> = config.pool.pass_env.keys().map(String::as_str).collect();
    assert_eq!(passed, ["A2A_PORT", "AGENT_APP_ID", "AWS_REGION", "OPENAI_API_KEY"]);
    let named = self::config([("PAR_PASS_ENV", "HOM*"), ("OPENAI_API_KEY", "x")]);
    assert_eq!(named.pool.pass_env.keys().collect::<Vec<_>>(), ["HOME"]);
    let none = self::config([("PAR_PASS_ENV", ""), ("OPENAI_API_KEY", "x")]);
    assert!(none.pool.pass_env.is_empty());
}
