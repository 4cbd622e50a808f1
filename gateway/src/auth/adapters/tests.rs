//! Several of them together.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    minted::{Minted, claims, jwks, rules, with_secret},
    scripted::{Reply, Request, Scripted, certificate, told},
    *,
};
use crate::{
    auth::{Standing, claims::ClaimPaths, token::Algorithm},
    config::{
        Secret,
        identity::{
            CertificateName, IntrospectionSettings, JwksFileSettings, MtlsSettings, SharedSecretSettings,
        },
    },
};

const SECRET: &str = "a secret of thirty-two bytes or more";

/// What the first that knows something says; an adapter that is away makes way for one that accepts.
async fn asked(chain: &[Arc<dyn Authenticator>], request: &Request) -> String {
    let mut away = None;
    for authenticator in chain {
        match told(&request.to(&**authenticator).await).as_str() {
            "nobody's" => {}
            "unavailable" => away = Some("unavailable".to_owned()),
            told => return told.to_owned(),
        }
    }
    away.unwrap_or_else(|| "nobody's".to_owned())
}

#[tokio::test]
async fn adapters_are_combined_and_each_takes_what_is_its_own() {
    let active = json!({"active": true, "sub": "of the endpoint"});
    let server = Scripted::start(Reply::json(active)).await;
    let key = Minted::new("k");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), jwks(&[&key])).unwrap();
    let paths = ClaimPaths::default;
    let settings = IdentitySettings {
        issuers: Vec::new(),
        adapters: vec![
            AdapterSettings::JwksFile(JwksFileSettings {
                path: file.path().to_owned(),
                rules: rules(Some("https://file"), Algorithm::ASYMMETRIC),
                claims: paths(),
            }),
            AdapterSettings::SharedSecret(SharedSecretSettings {
                secrets: vec![Secret::new(SECRET)],
                rules: rules(Some("https://secret"), &[Algorithm::HS256]),
                claims: paths(),
            }),
            AdapterSettings::Introspection(IntrospectionSettings {
                url: server.url.clone(),
                client_id: "par".to_owned(),
                client_secret: Secret::new("s"),
                issuer: None,
                audiences: Vec::new(),
                cache: Duration::ZERO,
                leeway: Duration::ZERO,
                claims: paths(),
                ca: None,
            }),
            AdapterSettings::Mtls(MtlsSettings {
                subject: CertificateName::Common,
                tenant: None,
                roles: BTreeMap::new(),
                default_roles: Vec::new(),
            }),
        ],
        standing: Standing::default(),
        cached_tokens: 10,
    };
    assert_eq!(settings.secrets().map(Secret::reveal).collect::<Vec<_>>(), [SECRET, "s"]);
    let chain = chain(&settings).unwrap();
    let names: Vec<_> = chain.iter().map(|one| one.name().split(' ').next().unwrap()).collect();
    assert_eq!(names, ["jwks_file", "shared_secret", "introspection", "mtls"]);

    let of_file = key.token(&claims("https://file", "of the file"));
    let of_secret = with_secret(SECRET, Algorithm::HS256, &claims("https://secret", "of the secret"));
    let foreign = key.token(&claims("https://other", "x"));
    let forged = Minted::new("k").token(&claims("https://file", "x"));
    for (request, wanted, questions) in [
        (Request::with(&of_file), "of the file", 0),
        (Request::with(&of_secret), "of the secret", 0),
        (Request::with(&forged), "signature", 0),
        (Request::bare().showing(&certificate("robot")), "robot", 0),
        (Request::bare(), "nobody's", 0),
        (Request::with("opaque"), "of the endpoint", 1),
        (Request::with(&foreign), "of the endpoint", 2),
    ] {
        assert_eq!(asked(&chain, &request).await, wanted, "{request:?}");
        assert_eq!(server.asked().len(), questions, "{request:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_made_is_named() {
    let settings = JwksFileSettings {
        path: "/nowhere/keys.json".into(),
        rules: rules(None, Algorithm::ASYMMETRIC),
        claims: ClaimPaths::default(),
    };
    let settings = IdentitySettings {
        issuers: Vec::new(),
        adapters: vec![AdapterSettings::JwksFile(settings)],
        standing: Standing::default(),
        cached_tokens: 10,
    };
    let error = chain(&settings).unwrap_err().to_string();
    assert!(error.starts_with("jwks_file /nowhere/keys.json: "), "{error}");
}
