//! Where packages come from, who signed them, how they replace each other and who is told.

use par_pool::package::{Location, SignaturePolicy};

use super::*;

/// A public key that GnuPG made: Ed25519, for signing, without an end.
const KEY: &str = include_str!("key.asc");

/// A key in a file that lives as long as the directory.
fn key(directory: &tempfile::TempDir) -> String {
    let file = directory.path().join("key.asc");
    std::fs::write(&file, KEY).unwrap();
    file.display().to_string()
}

#[test]
fn the_supply_of_packages_has_its_variables() {
    let config = config([
        ("REGISTRY_URL", "s3://bucket/index.json"),
        ("REGISTRY_POLL_INTERVAL", "5"),
        ("REGISTRY_WEBHOOK_SECRET", " 0ld,n3w  n3xt "),
        ("S3_BUCKET", "own-packages"),
        ("AWS_REGION", "eu-central-1"),
        ("S3_ENDPOINT_URL", "http://127.0.0.1:9000"),
        ("WEBHOOK_URL", "https://hooks.example/t0ken"),
        ("WEBHOOK_SECRET", "whsec_AAECAw== pl4in"),
    ]);
    let registry = config.registry.as_ref().unwrap();
    assert_eq!(registry.location.to_string(), "s3://bucket/index.json");
    assert_eq!(registry.poll_interval, Duration::from_secs(5));
    let revealed = |secrets: &[Secret]| secrets.iter().map(|s| s.reveal().to_owned()).collect::<Vec<_>>();
    assert_eq!(revealed(&config.registry_secrets), ["0ld", "n3w", "n3xt"]);
    let s3 = &config.packages.s3;
    assert_eq!((s3.bucket.as_str(), s3.region.as_deref()), ("own-packages", Some("eu-central-1")));
    assert_eq!(s3.endpoint.as_ref().unwrap().as_str(), "http://127.0.0.1:9000/");
    let webhooks = config.webhooks.as_ref().unwrap();
    assert_eq!(webhooks.url.as_str(), "https://hooks.example/t0ken");
    assert_eq!(revealed(&webhooks.secrets), ["whsec_AAECAw==", "pl4in"]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let shown = format!("{config:?}");
    for secret in ["0ld", "n3w", "n3xt", "AAECAw", "pl4in", "t0ken"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[test]
fn nothing_given_is_no_registry_no_webhooks_and_careful_rollouts() {
    let config = config([
        ("REGISTRY_URL", ""),
        ("REGISTRY_WEBHOOK_SECRET", " "),
        ("S3_BUCKET", ""),
        ("AWS_REGION", ""),
        ("S3_ENDPOINT_URL", ""),
        ("WEBHOOK_URL", ""),
        ("WEBHOOK_SECRET", ""),
        ("VERIFY_SIGNATURES", ""),
        ("TRUSTED_KEYS", ""),
    ]);
    assert!(config.registry.is_none() && config.registry_secrets.is_empty() && config.webhooks.is_none());
    let s3 = &config.packages.s3;
    assert_eq!((s3.bucket.as_str(), s3.region.as_deref()), ("pixell-agent-packages", Some("us-east-2")));
    assert!(s3.endpoint.is_none());
    assert!(matches!(config.packages.signatures, SignaturePolicy::NotNeeded));
    let rollout = &config.rollout;
    assert_eq!((rollout.rollback_ttl, rollout.parked), (Duration::from_hours(1), 2));
    assert_eq!(
        (rollout.drain_timeout, rollout.bake_window),
        (Duration::from_mins(10), Duration::from_mins(1))
    );
    assert_eq!((rollout.bake_min_calls, rollout.bake_p99_ratio), (20, None));
    assert!((rollout.bake_error_points - 5.0).abs() < f64::EPSILON);
    assert_eq!(config.packages.download_idle_timeout, Duration::from_secs(15));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn what_has_no_variable_is_in_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "packages: {lazy: [/a.apkg, s3:///b.apkg], download_idle_timeout: 3s}\n\
        registry: {webhook_secret: [one, two]}\n\
        rollout: {rollback_ttl: 0, parked: 0, drain_timeout: 5s, bake_window: 0, bake_min_calls: 3,\n\
        \x20 bake_error_points: 0.5, bake_p99_ratio: 2}\n\
        webhooks: {url: 'http://localhost:1/x', secret: [a, b]}\n";
    std::fs::write(file.path(), text).unwrap();
    let flags = Flags { file: Some(file.path().to_owned()), ..Flags::default() };
    let config = check(&flags, &environment([])).unwrap();
    let lazy: Vec<_> = config.lazy.iter().map(ToString::to_string).collect();
    assert_eq!(lazy, ["/a.apkg", "s3:///b.apkg"]);
    assert_eq!(config.packages.download_idle_timeout, Duration::from_secs(3));
    assert_eq!((config.registry_secrets.len(), config.webhooks.unwrap().secrets.len()), (2, 2));
    let rollout = config.rollout;
    assert_eq!(
        (rollout.rollback_ttl, rollout.bake_window, rollout.parked),
        (Duration::ZERO, Duration::ZERO, 0)
    );
    assert_eq!((rollout.drain_timeout, rollout.bake_min_calls), (Duration::from_secs(5), 3));
    assert_eq!(rollout.bake_p99_ratio, Some(2.0));
    assert!((rollout.bake_error_points - 0.5).abs() < f64::EPSILON);
}

#[test]
fn an_index_is_a_file_or_an_address_that_may_be_asked() {
    let here = tempfile::tempdir().unwrap();
    let location = |text: &str| config([("REGISTRY_URL", text)]).registry.unwrap().location;
    let file = here.path().join("index.json").display().to_string();
    for text in [file.clone(), format!("file://{file}")] {
        assert_eq!(location(&text), Location::File(file.clone().into()));
    }
    assert!(matches!(location("index.json"), Location::File(path) if path.is_absolute()));
    assert!(matches!(location("http://127.0.0.1:1/i"), Location::Https(_)));
    assert!(matches!(location("s3:///index.json"), Location::S3 { bucket, .. } if bucket.is_empty()));
    let digested = format!("{file}#sha256={}", "ab".repeat(32));
    for text in [
        here.path().to_str().unwrap(),
        "http://u:t0ken@registry.example/index.json?t0ken",
        "https://169.254.169.254/index.json",
        "ftp://t0ken",
        "s3://bucket",
        &digested,
    ] {
        let faults = faults(&Flags::default(), &[("REGISTRY_URL", text)]);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(faults[0].starts_with("REGISTRY_URL (environment): "), "{faults:?}");
        assert!(!faults[0].contains("t0ken"), "{faults:?}");
    }
}

#[test]
fn what_is_wrong_with_the_supply_is_told_at_once_and_without_secrets() {
    let faults = faults(
        &Flags::default(),
        &[
            ("REGISTRY_POLL_INTERVAL", "0.5"),
            ("S3_BUCKET", "a b"),
            ("AWS_REGION", "us east"),
            ("S3_ENDPOINT_URL", "http://s3.example/t0ken"),
            ("WEBHOOK_URL", "http://hooks.example/t0ken"),
            ("WEBHOOK_SECRET", "g00d whsec_t0ken!"),
        ],
    );
    for wanted in [
        "REGISTRY_POLL_INTERVAL (environment): \"0.5\" must be at least 1s",
        "S3_BUCKET (environment): \"a b\" is not the name of a bucket",
        "AWS_REGION (environment): \"us east\" is not a region like us-east-2",
        "S3_ENDPOINT_URL (environment): must be an https:// address, or http:// on loopback",
        "WEBHOOK_URL (environment): must be an https:// address, or http:// on loopback",
        "WEBHOOK_SECRET (environment): secret 2 begins with whsec_ but does not go on in base64",
    ] {
        assert!(faults.iter().any(|fault| fault == wanted), "{wanted} is missing in {faults:#?}");
    }
    assert_eq!(faults.len(), 6, "{faults:#?}");
}

#[test]
fn letters_are_signed_or_not_sent() {
    let faults = faults(&Flags::default(), &[("WEBHOOK_URL", "https://hooks.example/")]);
    let wanted =
        "WEBHOOK_SECRET (environment): is needed: WEBHOOK_URL is set, and its letters must be signed";
    assert_eq!(faults, [wanted]);
    let alone = config([("WEBHOOK_SECRET", "s")]);
    assert_eq!(alone.warnings, ["WEBHOOK_SECRET has no effect: WEBHOOK_URL is not set"]);
}

#[test]
fn signatures_are_required_as_soon_as_keys_are_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let file = key(&directory);
    let policy = |wanted: &str, keys: &str| {
        let config = config([("VERIFY_SIGNATURES", wanted), ("TRUSTED_KEYS", keys)]);
        (config.packages.signatures, config.warnings)
    };
    for (wanted, keys, required) in [("auto", "", false), ("auto", &file, true), ("require", &file, true)] {
        let (signatures, warnings) = policy(wanted, keys);
        assert_eq!(matches!(signatures, SignaturePolicy::Required(_)), required, "{wanted} {keys}");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    let (signatures, warnings) = policy("off", &file);
    assert!(matches!(signatures, SignaturePolicy::NotNeeded));
    assert_eq!(
        warnings,
        ["TRUSTED_KEYS has no effect: VERIFY_SIGNATURES is off, unsigned packages are accepted"]
    );
    assert_eq!(
        faults(&Flags::default(), &[("VERIFY_SIGNATURES", "require")]),
        [
            "VERIFY_SIGNATURES (environment): require needs trusted keys, and TRUSTED_KEYS (packages.trusted_keys) \
          names none"
        ]
    );
}

#[test]
fn every_file_of_keys_that_cannot_be_used_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let good = key(&directory);
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "no key").unwrap();
    let cut = directory.path().join("cut.asc");
    std::fs::write(&cut, &KEY[..KEY.len() / 2]).unwrap();
    let keys = format!("{good}, {}, {}, /nowhere", text.display(), cut.display());
    let faults = faults(&Flags::default(), &[("TRUSTED_KEYS", &keys)]);
    assert_eq!(faults.len(), 3, "{faults:#?}");
    for (fault, wanted) in faults.iter().zip([
        format!("TRUSTED_KEYS (environment): {} holds no OpenPGP public key", text.display()),
        format!("TRUSTED_KEYS (environment): {} is not a file of OpenPGP public keys", cut.display()),
        "TRUSTED_KEYS (environment): /nowhere cannot be read".to_owned(),
    ]) {
        assert!(fault.starts_with(&wanted), "{wanted} is missing in {faults:#?}");
    }
}

#[test]
fn whom_to_trust_is_found_although_the_rest_is_wrong_and_not_guessed() {
    let directory = tempfile::tempdir().unwrap();
    let file = key(&directory);
    let asked =
        |variables: &[(&str, &str)]| signatures(&Flags::default(), &environment(variables.iter().copied()));
    let trusted = asked(&[("PORT", "x"), ("OIDC_ISSUER", "y"), ("TRUSTED_KEYS", &file)]).unwrap();
    assert!(matches!(trusted, SignaturePolicy::Required(_)));
    assert!(asked(&[("TRUSTED_KEYS", "/nowhere")]).is_err());
    assert!(asked(&[("PAR_CONFIG", "/nowhere.yaml")]).is_err());
}
