use super::*;
use crate::config::LogFormat;

mod supply;

fn environment<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
    std::iter::once(("HOME", "/home/me")).chain(variables).collect()
}

pub(super) fn config<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Config {
    check(&Flags::default(), &environment(variables)).unwrap()
}

pub(super) fn faults(flags: &Flags, variables: &[(&str, &str)]) -> Vec<String> {
    let faults = check(flags, &environment(variables.iter().copied())).unwrap_err();
    faults.0.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_given_is_a_working_configuration() {
    let config = config([]);
    assert_eq!(config.http.to_string(), "0.0.0.0:8000");
    assert_eq!(config.metrics.to_string(), "0.0.0.0:9090");
    assert_eq!(config.socket, Path::new("/home/me/.local/state/par/par.sock"));
    assert_eq!(config.packages.cache_dir, Path::new("/home/me/.local/state/par/packages"));
    assert!(config.sources.is_empty() && config.pool.pass_env.is_empty());
    assert!(config.warnings.is_empty() && config.is_public());
}

#[test]
fn every_variable_of_the_contract_has_its_effect() {
    let config = config([
        ("HOST", "127.0.0.1"),
        ("PORT", "1"),
        ("METRICS_HOST", "::1"),
        ("METRICS_PORT", "2"),
        ("PAR_DATA_DIR", "/data"),
        ("PACKAGE_CACHE_DIR", "/cache"),
        ("PAR_SOCKET", "/run/par.sock"),
        ("MAX_CACHE_SIZE_MB", "7"),
        ("MAX_PACKAGES", "8"),
        ("MAX_PACKAGE_SIZE_MB", "9"),
        ("DOWNLOAD_TIMEOUT_SECONDS", "10"),
        ("INSTALL_TIMEOUT_SECONDS", "11"),
        ("REQUEST_TIMEOUT_SECONDS", "0.5"),
        ("MAX_CONCURRENT_INVOCATIONS", "12"),
        ("SHUTDOWN_DELAY_SEC", "0"),
        ("GRACEFUL_SHUTDOWN_TIMEOUT_SEC", "13"),
        ("WHEELHOUSE_DIR", "/tmp"),
        ("PAR_OPERATOR_TOKEN", "t0ken"),
        ("PAR_PASS_ENV", "HOM*, SECRET"),
        ("PACKAGES_URLS", "https://a.example/x.apkg, /b.apkg,"),
        ("LOG_LEVEL", "DEBUG"),
        ("LOG_FORMAT", "text"),
        ("DEPLOYMENT_ID", "d-1"),
        ("VERIFY_SIGNATURES", "auto"),
    ]);
    assert_eq!(config.http.to_string(), "127.0.0.1:1");
    assert_eq!(config.metrics.to_string(), "[::1]:2");
    assert_eq!(
        (config.data_dir.as_path(), config.socket.as_path()),
        (Path::new("/data"), Path::new("/run/par.sock"))
    );
    let packages = &config.packages;
    assert_eq!((packages.max_cache_bytes, packages.max_packages), (7 << 20, 8));
    assert_eq!((packages.max_package_bytes, packages.cache_dir.as_path()), (9 << 20, Path::new("/cache")));
    assert_eq!((packages.download_timeout.as_secs(), packages.install_timeout.as_secs()), (10, 11));
    assert_eq!((config.limits.request_timeout.as_millis(), config.limits.max_concurrent), (500, 12));
    assert_eq!((config.shutdown.delay.as_secs(), config.shutdown.grace.as_secs()), (0, 13));
    assert_eq!(config.operator_token.as_ref().map(Secret::reveal), Some("t0ken"));
    assert_eq!(config.pool.pass_env.keys().collect::<Vec<_>>(), ["HOME"]);
    let sources: Vec<_> = config.sources.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["https://a.example/x.apkg", "/b.apkg"]);
    assert_eq!((config.log.level, config.log.format), (tracing::Level::DEBUG, LogFormat::Text));
    assert_eq!(config.log.deployment_id.as_deref(), Some("d-1"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(!format!("{config:?}").contains("t0ken"));
}

#[test]
fn all_faults_are_told_at_once_with_their_names() {
    let flags = Flags { settings: vec![(&raw::HOST, "example.org".to_owned())], ..Flags::default() };
    let faults = faults(
        &flags,
        &[
            ("PORT", "0"),
            ("METRICS_PORT", "x"),
            ("MAX_PACKAGES", ""),
            ("VERIFY_SIGNATURES", "maybe"),
            ("TRUSTED_KEYS", "/nowhere.asc,/nowhere.gpg"),
            ("RUNTIME_MODE", "duble"),
            ("PACKAGES_URLS", "ftp://x/y"),
            ("WHEELHOUSE_DIR", "/nowhere"),
        ],
    );
    for wanted in [
        "VERIFY_SIGNATURES (environment): \"maybe\" is not one of auto, require, off",
        "TRUSTED_KEYS (environment): /nowhere.asc cannot be read: No such file or directory (os error 2)",
        "TRUSTED_KEYS (environment): /nowhere.gpg cannot be read: No such file or directory (os error 2)",
        "RUNTIME_MODE (environment): \"duble\" is not one of single, host",
        "--host (command line): \"example.org\" is not an IP address or localhost",
        "PORT (environment): \"0\" is not a port between 1 and 65535",
        "METRICS_PORT (environment): \"x\" is not a port between 1 and 65535",
        "MAX_PACKAGES (environment): \"\" is not a whole number of at least 1",
        "WHEELHOUSE_DIR (environment): /nowhere is not a directory",
    ] {
        assert!(faults.iter().any(|fault| fault == wanted), "{wanted} is missing in {faults:#?}");
    }
    assert!(faults.iter().any(|fault| fault.starts_with("PACKAGES_URLS (environment): ")), "{faults:#?}");
    assert_eq!(faults.len(), 10, "{faults:#?}");
}

#[test]
fn ports_are_distinct() {
    let flags = Flags::default();
    assert_eq!(
        faults(&flags, &[("PORT", "9090")]),
        ["PORT (environment): METRICS_PORT and PORT are both 9090; ports must be distinct"]
    );
    assert_eq!(
        faults(&flags, &[("A2A_PORT", "8000")]),
        ["A2A_PORT (environment): A2A_PORT and PORT are both 8000; ports must be distinct"]
    );
}

#[test]
fn dev_is_on_loopback_and_readable() {
    let dev = Flags { dev: true, ..Flags::default() };
    let config = check(&dev, &environment([])).unwrap();
    assert_eq!(config.http.to_string(), "127.0.0.1:8000");
    assert_eq!(config.metrics.to_string(), "127.0.0.1:9090");
    assert_eq!(config.a2a.to_string(), "127.0.0.1:50051");
    assert_eq!(config.log.format, LogFormat::Text);
    assert!(!config.is_public());
    assert_eq!(
        faults(&dev, &[("HOST", "0.0.0.0"), ("METRICS_HOST", "127.0.0.1")]),
        ["HOST (environment): --dev serves on loopback only, not on 0.0.0.0"]
    );
}

#[test]
fn the_state_directory_is_found_without_being_named() {
    for (variables, wanted) in [
        (&[("PAR_DATA_DIR", "/d"), ("XDG_STATE_HOME", "/x")][..], "/d"),
        (&[("XDG_STATE_HOME", "/x")], "/x/par"),
        (&[("XDG_STATE_HOME", "relative")], "/home/me/.local/state/par"),
        (&[("HOME", "")], "/var/lib/par"),
    ] {
        assert_eq!(config(variables.iter().copied()).data_dir, Path::new(wanted), "{variables:?}");
    }
}

#[test]
fn a_socket_that_the_kernel_would_refuse_is_refused_first() {
    let long = format!("/{}", "x".repeat(107));
    let faults = faults(&Flags::default(), &[("PAR_SOCKET", &long)]);
    assert!(faults.iter().any(|fault| fault.contains("has 108 bytes")), "{faults:?}");
}

#[test]
fn the_socket_is_found_although_the_rest_is_wrong() {
    let broken = environment([("PORT", "x"), ("OIDC_ISSUER", "y"), ("PAR_SOCKET", "/s")]);
    assert_eq!(socket(&Flags::default(), &broken).unwrap(), Path::new("/s"));
}

#[test]
fn arguments_come_before_the_variable() {
    let root = tempfile::tempdir().unwrap();
    for name in ["b.apkg", "a.apkg", "c.txt"] {
        std::fs::write(root.path().join(name), "").unwrap();
    }
    let flags = Flags { sources: vec![root.path().display().to_string()], ..Flags::default() };
    let config = check(&flags, &environment([("PACKAGES_URLS", "/z.apkg")])).unwrap();
    let names: Vec<_> =
        config.sources.iter().map(|s| s.to_string().rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["a.apkg", "b.apkg", "z.apkg"]);
}

#[test]
fn the_operator_token_of_the_file_is_kept_in_a_file_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let token = root.path().join("token");
    let file = root.path().join("par.yaml");
    std::fs::write(&token, "abc\n").unwrap();
    std::fs::write(&file, format!("operator_token_file: {}\n", token.display())).unwrap();
    let flags = Flags { file: Some(file), ..Flags::default() };
    let config = check(&flags, &environment([])).unwrap();
    assert_eq!(config.operator_token.as_ref().map(Secret::reveal), Some("abc"));
    std::fs::remove_file(&token).unwrap();
    assert_eq!(faults(&flags, &[]).len(), 1);
    assert_eq!(faults(&Flags::default(), &[("PAR_OPERATOR_TOKEN", "a b")]).len(), 1);
}

/// What the example file says is what happens without it.
#[test]
fn the_example_file_documents_every_key_with_its_default() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/par.yaml"));
    let text = std::fs::read_to_string(path).unwrap();
    let flags = Flags { file: Some(path.to_owned()), ..Flags::default() };
    let mut from_file = check(&flags, &environment([])).unwrap();
    // The file itself is kept from agents, and is the one difference.
    assert_eq!(std::mem::take(&mut from_file.sandbox.hidden).len(), 1);
    assert_eq!(format!("{from_file:?}"), format!("{:?}", config([])));

    let tree: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    for setting in raw::ALL {
        let found = setting.key.split('.').try_fold(&tree, |node, part| node.get(part));
        assert!(found.is_some(), "{} is missing in conf/par.yaml", setting.key);
        for name in [setting.variable, setting.flag].into_iter().flatten() {
            assert!(text.contains(name), "{name} is missing in conf/par.yaml");
        }
    }
}
