//! The command line from words to exit codes; the management commands against the real routes on a socket.

use std::{cell::RefCell, path::Path};

use super::*;

struct Ran {
    code: ExitCode,
    out: String,
    err: String,
    served: Option<Config>,
}

fn par(words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let environment = std::iter::once(("HOME", "/home/me")).chain(variables.iter().copied()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let served = RefCell::new(None);
    let serve = |config| {
        *served.borrow_mut() = Some(config);
        ExitCode::from(42)
    };
    let words = std::iter::once("par").chain(words.iter().copied()).map(OsString::from);
    let code = dispatch(words, &environment, serve, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code, out: text(out), err: text(err), served: served.into_inner() }
}

fn is(code: ExitCode, number: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(number))
}

#[test]
fn the_definitions_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn serve_gets_what_was_said_over_what_the_environment_says() {
    let words =
        ["serve", "/a.apkg", "--host", "127.0.0.1", "--port", "1", "--metrics-port", "2", "--data-dir", "/d"];
    let ran = par(&words, &[("PORT", "3"), ("PACKAGES_URLS", "/b.apkg"), ("METRICS_HOST", "::1")]);
    let config = ran.served.unwrap();
    assert!(is(ran.code, 42));
    assert_eq!(
        (config.http.to_string(), config.metrics.to_string()),
        ("127.0.0.1:1".into(), "[::1]:2".into())
    );
    assert_eq!(config.sources.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/a.apkg", "/b.apkg"]);
    assert_eq!(config.socket, Path::new("/d/par.sock"));
    assert!(par(&["serve", "--dev"], &[]).served.unwrap().dev);
}

#[test]
fn a_wrong_configuration_does_not_serve_and_tells_every_fault() {
    let ran = par(&["serve", "--port", "0", "--tls", "sometimes"], &[("METRICS_PORT", "-1")]);
    assert!(is(ran.code, 64) && ran.served.is_none() && ran.out.is_empty());
    insta::assert_snapshot!(ran.err, @r#"
    par: 3 faults in the configuration
      --port (command line): "0" is not a port between 1 and 65535
      METRICS_PORT (environment): "-1" is not a port between 1 and 65535
      --tls (command line): "sometimes" is not one of auto, self-signed, off
    "#);
    assert!(is(par(&["serve", "--port", "-1"], &[]).code, 64));
    assert!(is(par(&["serve", "--tls"], &[]).code, 64));
}

#[test]
fn check_tells_what_would_be_served() {
    let ran = par(&["check"], &[("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
    assert!(is(ran.code, 0) && ran.err.is_empty());
    assert!(ran.out.contains("http       0.0.0.0:8000\n"), "{}", ran.out);
    assert!(ran.out.contains("warning    identity is off"), "{}", ran.out);
    assert!(ran.out.contains("warning    WEBHOOK_SECRET has no effect"), "{}", ran.out);
    let ran = par(&["check", "-c", "/nowhere/par.yaml"], &[("OIDC_ISSUER", "x")]);
    assert!(is(ran.code, 64) && ran.out.is_empty());
    assert!(ran.err.contains("3 faults") && ran.err.contains("-c (/nowhere/par.yaml): "), "{}", ran.err);
}

#[test]
fn words_that_mean_nothing_are_a_configuration_fault_and_help_is_none() {
    for words in
        [&["dance"][..], &["serve", "--prot", "1"], &[], &["load"], &["usage", "--by"], &["rollback"]]
    {
        let ran = par(words, &[]);
        assert!(is(ran.code, 64) && ran.out.is_empty() && !ran.err.is_empty(), "{words:?}");
    }
    for words in [&["--help"][..], &["serve", "--help"], &["--version"], &["help", "logs"]] {
        let ran = par(words, &[]);
        assert!(is(ran.code, 0) && !ran.out.is_empty() && ran.err.is_empty(), "{words:?}");
    }
    assert!(par(&["--version"], &[]).out.contains(env!("CARGO_PKG_VERSION")));
    assert!(par(&["serve", "--help"], &[]).out.contains("--tls <MODE>"));
}

#[test]
fn completions_are_written_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = par(&["completions", shell], &[]);
        assert!(is(ran.code, 0) && ran.out.contains("inspect"), "{shell}");
    }
}

#[test]
fn every_command_shows_how_it_is_used_and_every_example_is_understood() {
    fn examples(command: &clap::Command, all: &mut Vec<String>) {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            examples(below, all);
        }
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let own: Vec<_> = text.lines().filter(|line| line.starts_with("  ")).map(str::to_owned).collect();
        assert!(!own.is_empty(), "{} has no examples", command.get_name());
        all.extend(own);
    }
    let mut all = Vec::new();
    examples(&Arguments::command(), &mut all);
    for example in all {
        // As a shell would read them: variables before, what is said to people or other programs behind.
        let words = example.split_whitespace().skip_while(|word| word.contains('='));
        let words = words.take_while(|word| !["#", ">", "|"].contains(word));
        let words: Vec<_> = words.map(|word| word.trim_matches('\'')).collect();
        assert_eq!(words.first(), Some(&"par"), "{example}");
        let understood = Arguments::try_parse_from(words);
        assert!(understood.is_ok(), "{example}: {}", understood.unwrap_err());
    }
}

#[test]
fn the_reference_of_the_configuration_is_the_one_that_the_code_makes() {
    let made = par(&["config", "reference"], &[]);
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md"));
    assert!(is(made.code, 0) && made.err.is_empty());
    assert!(kept.unwrap() == made.out, "docs/configuration.md is stale: run `make docs`");
}

#[test]
fn a_par_that_does_not_run_is_said_so() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().display().to_string();
    for words in [&["packages"][..], &["agents"], &["logs"], &["enable", "x"], &["unload", "x@1"]] {
        let ran = par(words, &[("PAR_DATA_DIR", &data), ("PORT", "wrong")]);
        assert!(is(ran.code, 69), "{words:?} {}", ran.err);
        assert_eq!(ran.err, format!("par: no par answers at {data}/par.sock\n"));
    }
}
mod with_routes;

/// Needs the street, not the pool.
mod of_packages {
    use super::*;

    fn package(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(root.path().join(name), text).unwrap();
        }
        root
    }

    #[test]
    fn inspect_shows_what_is_understood_and_runs_nothing() {
        let manifest = "name: echo\nversion: 1.0.0\ndescription: Says it\nexports:\n  - id: say\n    handler: main:say\n";
        let root = package(&[
            ("agent.yaml", manifest),
            ("main.py", "raise SystemExit('executed')\n"),
            ("requirements.txt", "# tools\nhttpx==1 # why\n\n"),
        ]);
        let path = root.path().display().to_string();
        let ran = par(&["inspect", &path], &[]);
        assert!(is(ran.code, 0), "{}", ran.err);
        for wanted in [
            "echo@1.0.0\n",
            "signature     none\n",
            "runtime       python\n",
            "requirements  httpx==1\n",
            "echo@1.0.0/say  main:say",
        ] {
            assert!(ran.out.contains(wanted), "{wanted:?} in {}", ran.out);
        }
        let ran = par(&["inspect", "--json", &path], &[]);
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(
            (&found["id"], &found["agents"][0]["id"]),
            (&"echo@1.0.0".into(), &"echo@1.0.0/say".into())
        );
        assert_eq!(found["environment"]["files"][0], "requirements.txt");
        assert_eq!(found["digest"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn inspect_tells_of_a_signature_and_refuses_what_is_not_signed_where_it_must_be() {
        let root = tempfile::tempdir().unwrap();
        let archive = root.path().join("echo.apkg");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&archive).unwrap());
        for (name, text) in
            [("agent.yaml", "name: echo\nversion: 1.0.0\nentrypoint: main:say\n"), ("main.py", "")]
        {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            std::io::Write::write_all(&mut zip, text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        let path = archive.display().to_string();
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/check/tests/key.asc");
        let ran = par(&["inspect", &path], &[]);
        assert!(ran.out.contains("signature     none\n"), "{}{}", ran.out, ran.err);
        let ran = par(&["inspect", &path], &[("TRUSTED_KEYS", keys)]);
        assert!(is(ran.code, 65) && ran.err.contains("is not signed"), "{}", ran.err);
        std::fs::write(root.path().join("echo.apkg.asc"), "garbage").unwrap();
        let ran = par(&["inspect", &path, "--json"], &[]);
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(found["signature"]["state"], "unusable");
        let ran = par(&["inspect", &path], &[("TRUSTED_KEYS", keys)]);
        assert!(is(ran.code, 65) && ran.out.is_empty(), "{}", ran.err);
        // Trust is not guessed where the configuration is wrong about it.
        assert!(is(par(&["inspect", &path], &[("VERIFY_SIGNATURES", "require")]).code, 64));
        assert!(is(par(&["inspect", &path], &[("PORT", "0")]).code, 0));
    }

    #[test]
    fn inspect_tells_a_refused_package_from_one_that_cannot_be_had() {
        let root = package(&[("agent.yaml", "name: Not Valid\nversion: 1.0.0\n")]);
        let ran = par(&["inspect", &root.path().display().to_string()], &[]);
        assert!(is(ran.code, 65), "{}", ran.err);
        assert!(ran.out.is_empty() && ran.err.starts_with("par: manifest: "), "{}", ran.err);
        let ran = par(&["inspect", "/nowhere.apkg"], &[]);
        assert!(is(ran.code, 69) && ran.out.is_empty(), "{}", ran.err);
        assert!(is(par(&["inspect", "ftp://x/y"], &[]).code, 64));
    }
}
