use std::time::Duration;

use super::super::check;
use crate::{
    auth::token::Algorithm,
    config::{
        Config, Environment, Flags, Secret,
        identity::{AdapterSettings, CertificateName, IdentitySettings},
    },
};

/// A public key of RFC 7517, appendix A.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

struct Story(tempfile::TempDir);

impl Story {
    fn begin() -> Self {
        let story = Self(tempfile::tempdir().unwrap());
        let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        for (name, text) in [
            ("keys.json", KEYS),
            ("secret", "a secret of thirty-two bytes in a file\n"),
            ("ca.pem", &certificate.cert.pem()),
            ("empty.pem", "nothing\n"),
        ] {
            std::fs::write(story.0.path().join(name), text).unwrap();
        }
        story
    }

    /// `DIR` is the directory of the story, `FILE` in faults the file itself.
    fn checked(&self, yaml: &str, dev: bool, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let directory = self.0.path().display().to_string();
        let file = self.0.path().join("par.yaml");
        std::fs::write(&file, yaml.replace("DIR", &directory)).unwrap();
        let name = file.display().to_string();
        let flags = Flags { file: Some(file), dev, ..Flags::default() };
        let environment: Environment = variables.iter().copied().chain([("HOME", "/home/me")]).collect();
        let told = |text: String| text.replace(&name, "FILE").replace(&directory, "DIR");
        check(&flags, &environment)
            .map_err(|faults| faults.0.iter().map(|one| told(one.to_string())).collect())
    }

    fn identity(&self, yaml: &str, variables: &[(&str, &str)]) -> IdentitySettings {
        self.checked(yaml, false, variables).unwrap().identity.unwrap()
    }

    fn faults(&self, yaml: &str, variables: &[(&str, &str)]) -> Vec<String> {
        self.checked(yaml, false, variables).unwrap_err()
    }
}

#[test]
fn an_issuer_and_its_audience_turn_identity_on() {
    let story = Story::begin();
    assert!(story.checked("", false, &[]).unwrap().identity.is_none());
    assert!(
        story.checked("", false, &[("OIDC_ISSUER", " "), ("OIDC_AUDIENCE", "")]).unwrap().identity.is_none()
    );

    let variables = [("OIDC_ISSUER", "https://id.example/"), ("OIDC_AUDIENCE", "par, second")];
    let identity = story.identity("", &variables);
    let issuer = &identity.issuers[0];
    assert_eq!(
        (issuer.issuer.as_str(), issuer.audiences.join(" ")),
        ("https://id.example/", "par second".to_owned())
    );
    assert_eq!(issuer.algorithms, Algorithm::ASYMMETRIC);
    assert_eq!((issuer.leeway, identity.cached_tokens), (Duration::from_mins(1), 10_000));
    assert_eq!(identity.standing, crate::auth::Standing::default());

    let config = story.checked("", true, &variables).unwrap();
    assert!(config.identity.is_none());
    assert!(config.warnings.iter().any(|warning| warning.starts_with("identity is configured and off")));
    let config = story.checked("", false, &[("OIDC_AUDIENCE", "par")]).unwrap();
    assert!(config.identity.is_none() && config.warnings.len() == 1, "{:?}", config.warnings);
}

#[test]
fn an_issuer_without_an_audience_or_without_tls_ends_the_start() {
    let story = Story::begin();
    let audience = "OIDC_AUDIENCE (environment): is needed: OIDC_ISSUER is set";
    let address = "OIDC_ISSUER (environment): must be an https:// address, or http:// on loopback";
    for (issuer, wanted) in [
        ("https://id.example", audience),
        ("http://127.0.0.1:9/x", audience),
        ("http://localhost:9", audience),
        ("http://id.example", address),
        ("ftp://id.example", address),
        ("id.example", address),
    ] {
        assert!(story.faults("", &[("OIDC_ISSUER", issuer)]).contains(&wanted.to_owned()), "{issuer}");
    }
    for issuer in ["https://u:t0ken@id.example", "https://id.example?t0ken", "https://169.254.169.254/t0ken"]
    {
        let faults = story.faults("", &[("OIDC_ISSUER", issuer), ("OIDC_AUDIENCE", "par")]);
        assert!(faults.len() == 1 && !faults[0].contains("t0ken"), "{faults:?}");
    }
}

#[test]
fn entries_say_what_differs_and_inherit_the_rest() {
    let story = Story::begin();
    let identity = story.identity(
        "identity:
  issuer: https://first.example
  audience: [par]
  issuers:
    - {issuer: https://second.example, audience: other, algorithms: [ES256, RS256], leeway: 5s,
       claims: {tenant: [org, team], roles: realm_access.roles}, jwks_uri: https://keys.example/k, ca: DIR/ca.pem}
    - {issuer: https://third.example, audience: [a, b]}
  algorithms: [EdDSA]
  leeway: 10s
  subject_claims: [email]
  operator_roles: [root]
  viewer_roles: [guest, audit]
  cached_tokens: 5
",
        &[],
    );
    let [first, second, third] = identity.issuers.as_slice() else { panic!("three issuers") };
    assert_eq!(first.algorithms, [Algorithm::EdDSA]);
    assert_eq!((first.leeway, second.leeway), (Duration::from_secs(10), Duration::from_secs(5)));
    assert_eq!(second.algorithms, [Algorithm::ES256, Algorithm::RS256]);
    assert_eq!(second.claims.subject, first.claims.subject);
    assert_eq!((second.claims.tenant.len(), second.claims.roles.len()), (2, 1));
    assert_eq!(second.claims.scopes, third.claims.scopes);
    assert_eq!(second.jwks_uri.as_ref().unwrap().as_str(), "https://keys.example/k");
    assert!(second.ca.as_ref().unwrap().starts_with(b"-----BEGIN") && first.ca.is_none());
    assert_eq!((third.audiences.len(), third.claims == first.claims, third.leeway), (2, true, first.leeway));
    assert_eq!(
        (identity.standing.operators.join(" "), identity.standing.viewers.len()),
        ("root".to_owned(), 2)
    );
    assert_eq!((identity.cached_tokens, third.standing == identity.standing), (5, true));
}

#[test]
fn who_pays_is_read_for_all_issuers_and_needs_one() {
    let story = Story::begin();
    let yaml = "billing: {stripe_key: k, customer_claims: [stripe.customer, payer]}\n";
    let config = story.checked(yaml, false, &[]).unwrap();
    assert!(config.billing.unwrap().by_claim);
    assert!(
        config.warnings.iter().any(|one| one.contains("billing.customer_claims")),
        "{:?}",
        config.warnings
    );
    let variables = [("OIDC_ISSUER", "https://a.example"), ("OIDC_AUDIENCE", "par")];
    let config = story.checked(yaml, false, &variables).unwrap();
    assert_eq!(config.identity.unwrap().issuers[0].claims.customer.len(), 2);
    assert!(!config.warnings.iter().any(|one| one.contains("customer_claims")));
    let faults = story.faults("billing: {customer_claims: [a..b]}\n", &[]);
    assert!(faults.len() == 1 && faults[0].contains("billing.customer_claims"), "{faults:?}");
}

#[test]
fn every_adapter_is_read_by_its_type_in_the_order_of_the_file() {
    let story = Story::begin();
    let yaml = "tls: {mode: self-signed, client_ca: DIR/ca.pem, client_auth: optional}
identity:
  ca: DIR/ca.pem
  adapters:
    - {type: mtls, subject: san, tenant: acme, roles: {robot.example: [billing, x], mute: []}, default_roles: guest}
    - {type: jwks_file, path: DIR/keys.json, audience: par}
    - {type: shared_secret, secret: [env:JWT_SECRET, file:DIR/secret], audience: par, issuer: own}
    - {type: introspection, url: http://127.0.0.1:9/i, client_id: par, client_secret: env:CLIENT, cache: 2m}
    - {type: http_check, url: https://check.example/c, headers: [Cookie, X-Own], anonymous: true, method: post}
";
    let secret = "a secret of thirty-two bytes in a variable";
    let variables = [
        ("JWT_SECRET", secret),
        ("CLIENT", "hunter2"),
        ("KEPT", "x"),
        ("PAR_PASS_ENV", "*"),
        ("TLS_CERT", ""),
    ];
    let config = story.checked(yaml, false, &variables).unwrap();
    assert!(config.pool.pass_env.contains_key("KEPT"));
    assert!(!config.pool.pass_env.contains_key("JWT_SECRET") && !config.pool.pass_env.contains_key("CLIENT"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("thirty-two") && !shown.contains("hunter2"), "{shown}");

    let identity = config.identity.unwrap();
    let secrets: Vec<_> = identity.secrets().map(Secret::reveal).collect();
    assert_eq!(secrets, [secret, "a secret of thirty-two bytes in a file", "hunter2"]);
    let mut adapters = identity.adapters.into_iter();
    let Some(AdapterSettings::Mtls(mtls)) = adapters.next() else { panic!("mtls is the first") };
    assert_eq!((mtls.subject, mtls.tenant.as_deref()), (CertificateName::Alternative, Some("acme")));
    assert_eq!(mtls.roles["robot.example"], ["billing", "x"]);
    assert!(mtls.roles["mute"].is_empty() && mtls.default_roles == ["guest"]);
    let Some(AdapterSettings::JwksFile(file)) = adapters.next() else { panic!("then the file") };
    assert!(file.path.ends_with("keys.json") && file.rules.issuer.is_none());
    assert_eq!(
        (file.rules.audiences.join(" "), file.rules.leeway),
        ("par".to_owned(), Duration::from_mins(1))
    );
    let Some(AdapterSettings::SharedSecret(shared)) = adapters.next() else { panic!("then the secret") };
    assert_eq!(
        (shared.rules.algorithms, shared.rules.issuer.as_deref()),
        (vec![Algorithm::HS256], Some("own"))
    );
    let Some(AdapterSettings::Introspection(asked)) = adapters.next() else { panic!("then the endpoint") };
    assert_eq!((asked.cache, asked.client_id.as_str()), (Duration::from_mins(2), "par"));
    assert!(asked.issuer.is_none() && asked.audiences.is_empty() && asked.ca.is_some());
    let Some(AdapterSettings::HttpCheck(check)) = adapters.next() else { panic!("then the check") };
    assert_eq!((check.method, check.anonymous, check.cache), (http::Method::POST, true, Duration::ZERO));
    assert_eq!(check.headers.iter().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["cookie", "x-own"]);
    assert!(adapters.next().is_none());
}

#[test]
fn every_fault_of_the_trees_is_told_at_once_with_its_place() {
    let story = Story::begin();
    let faults = story.faults(
        "identity:
  leeway: 6m
  algorithms: [HS256, none]
  ca: DIR/empty.pem
  issuers:
    - {issuer: https://one.example, audeince: par, jwks_uri: http://far.example/k}
    - {issuer: https://two.example, audience: par, claims: {rolls: x}, ca: /nowhere.pem}
    - {issuer: https://two.example, audience: par}
    - text
  adapters:
    - {type: jwks_file, path: DIR/ca.pem, audience: par, algorithms: RS999}
    - {type: jwks_file, path: /nowhere.json}
    - {type: shared_secret, secret: short, audience: par, algorithms: [RS256]}
    - {type: shared_secret, secret: env:MISSING_SECRET_WITH_A_LONG_NAME, audience: par}
    - {type: introspection, url: http://far.example/i, client_id: par, cache: 2h}
    - {type: http_check, url: https://a.example/?t0ken, headers: [connection, x-forwarded-for, 'a b'], method: PUT}
    - {type: mtls, subject: email, roles: [x]}
    - {type: magic, wand: elder}
    - {path: x}
",
        &[],
    );
    let wanted = [
        ("identity.algorithms", "HS256 is for adapters of the type shared_secret only"),
        ("identity.algorithms", "\"none\" is not one of RS256"),
        ("identity.leeway", "\"6m\" is more than 5m"),
        ("identity.ca", "holds no certificate"),
        ("identity.issuers[0].audience", "is needed"),
        ("identity.issuers[0].jwks_uri", "must be an https:// address"),
        ("identity.issuers[0].audeince", "there is no such key"),
        ("identity.issuers[1].claims.rolls", "there is no such key"),
        ("identity.issuers[1].ca", "cannot be read"),
        ("identity.issuers[2].issuer", "is named twice"),
        ("identity.issuers[3]", "must be a mapping"),
        ("identity.adapters[0].path", "is no file of keys"),
        ("identity.adapters[0].algorithms", "\"RS999\" is not one of"),
        ("identity.adapters[1].path", "cannot be read"),
        ("identity.adapters[1].audience", "is needed"),
        ("identity.adapters[2].secret", "must have 32 bytes at least, not 5"),
        ("identity.adapters[2].algorithms", "is not one of HS256, HS384, HS512"),
        ("identity.adapters", "names a variable that is not set"),
        ("identity.adapters[4].url", "must be an https:// address"),
        ("identity.adapters[4].client_secret", "is needed"),
        ("identity.adapters[4].cache", "\"2h\" is more than 1h"),
        ("identity.adapters[5].url", "without credentials and query"),
        ("identity.adapters[5].headers", "connection is not passed on"),
        ("identity.adapters[5].headers", "x-forwarded-for is not passed on"),
        ("identity.adapters[5].headers", "\"a b\" is not the name of a header"),
        ("identity.adapters[5].method", "\"PUT\" is not GET or POST"),
        ("identity.adapters[6].type", "mtls needs tls.client_ca"),
        ("identity.adapters[6].subject", "\"email\" is not one of cn, dn, san"),
        ("identity.adapters[6].roles", "must be a mapping"),
        ("identity.adapters[7].type", "\"magic\" is not one of jwks_file"),
        ("identity.adapters[8].type", "is needed"),
    ];
    for (name, problem) in wanted {
        let told =
            |fault: &&String| fault.starts_with(&format!("{name} (FILE): ")) && fault.contains(problem);
        assert_eq!(faults.iter().filter(told).count(), 1, "{name} {problem} in {faults:#?}");
    }
    assert_eq!(faults.len(), wanted.len(), "{faults:#?}");
    assert!(!faults.iter().any(|fault| fault.contains("t0ken")), "{faults:#?}");
}

#[test]
fn trees_are_lists_of_the_file() {
    let story = Story::begin();
    for (yaml, wanted) in [
        ("identity: {issuers: {a: 1}}", "identity.issuers (FILE): must be a list of mappings"),
        ("identity: {adapters: text}", "identity.adapters (FILE): must be a list of mappings"),
    ] {
        assert_eq!(story.faults(yaml, &[]), [wanted]);
    }
}
