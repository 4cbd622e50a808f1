//! The rows: each differs from a good token in one thing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{RSA_PKCS1_SHA512, RSA_PSS_SHA256};
use serde_json::{Value, json};

use super::Scene;
use crate::harness::{
    forge::{encoded, mac_signed, seconds, unsigned},
    issuer::AUDIENCE,
};

/// One row.
pub(super) struct Attack {
    /// What is wrong.
    pub(super) name: String,
    /// What is sent.
    pub(super) authorization: String,
    /// What the log says about it.
    pub(super) why: &'static str,
}

fn bearer(name: impl Into<String>, token: &str, why: &'static str) -> Attack {
    Attack { name: name.into(), authorization: format!("Bearer {token}"), why }
}

/// Every row.
pub(super) fn all(scene: &Scene) -> Vec<Attack> {
    [algorithms, keys, claims, texts, forms].iter().flat_map(|rows| rows(scene)).collect()
}

/// Another algorithm than the key's.
fn algorithms(scene: &Scene) -> Vec<Attack> {
    let claims = scene.claims(&json!({}));
    let good = scene.good();
    let signature = good.rsplit('.').next().expect("a signature");
    let mut attacks = vec![];
    for alg in ["none", "None", "NONE", "nOnE", "", " none", "rs256", "HS256 ", "RS257"] {
        let bare = unsigned(&scene.header(&json!({"alg": alg})), &claims);
        attacks.push(bearer(format!("alg {alg:?} without a signature"), &bare, "algorithm"));
        attacks.push(bearer(format!("alg {alg:?} with one"), &format!("{bare}{signature}"), "algorithm"));
    }
    for alg in [json!(null), json!(1), json!(["RS256"])] {
        attacks.push(bearer(format!("alg {alg}"), &scene.heading(&json!({"alg": alg})), "algorithm"));
    }
    let pem = scene.key.public_pem.as_str();
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let spki = STANDARD.decode(&lines).expect("base64");
    for (what, secret) in [
        ("PEM", pem.as_bytes().to_vec()),
        ("PEM without its last line end", pem.trim_end().as_bytes().to_vec()),
        ("PEM with CR LF", pem.replace('\n', "\r\n").into_bytes()),
        ("base64", lines.clone().into_bytes()),
        ("SPKI", spki),
        ("PKCS#1", scene.key.public_der().to_vec()),
        ("JWK", scene.key.jwk().to_string().into_bytes()),
        ("nothing", vec![]),
    ] {
        for alg in ["HS256", "RS256"] {
            let token = mac_signed(&scene.header(&json!({"alg": alg})), &claims, &secret);
            let why = if alg == "HS256" { "algorithm" } else { "signature" };
            attacks.push(bearer(format!("{alg}, MAC with the public key as {what}"), &token, why));
        }
    }
    let pss = scene.key.signed_as(&RSA_PSS_SHA256, &scene.header(&json!({})), &claims);
    attacks.push(bearer("a signature of PS256 called RS256", &pss, "signature"));
    let longer = scene.key.signed_as(&RSA_PKCS1_SHA512, &scene.header(&json!({"alg": "RS512"})), &claims);
    attacks.push(bearer("RS512 by a key that says RS256", &longer, "unknown_key"));
    attacks.push(bearer("ES256 by an RSA key", &scene.heading(&json!({"alg": "ES256"})), "unknown_key"));
    attacks
}

/// Keys that the attacker names or brings along.
fn keys(scene: &Scene) -> Vec<Attack> {
    let claims = scene.claims(&json!({}));
    let theirs = |members: &Value| scene.attackers_key.signed(&scene.header(members), &claims);
    let away = scene.attacker.url();
    let mut attacks = vec![bearer("another key of the same name", &theirs(&json!({})), "signature")];
    for kid in [
        "../../../../../../dev/null",
        "/proc/self/environ",
        "file:///etc/hostname",
        "' OR '1'='1",
        "k1' UNION SELECT 'AAAA' -- ",
        "k1; id",
        "k1\u{0}",
        " k1",
        "K1",
        "",
    ] {
        attacks.push(bearer(format!("kid {kid:?}"), &theirs(&json!({"kid": kid})), "unknown_key"));
        let empty = mac_signed(&scene.header(&json!({"kid": kid, "alg": "HS256"})), &claims, b"");
        attacks.push(bearer(format!("kid {kid:?} and an empty secret"), &empty, "algorithm"));
    }
    for kid in [json!(1), json!(["k1"]), json!({}), json!("k".repeat(1000))] {
        attacks.push(bearer(format!("kid {kid}"), &theirs(&json!({"kid": kid})), "header"));
    }
    let jwk = scene.attackers_key.jwk();
    for (name, value) in [
        ("jku", json!(format!("{away}/keys"))),
        ("x5u", json!(format!("{away}/certificate.pem"))),
        ("jwk", jwk),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("typ", json!("logout+jwt")),
        ("typ", json!(["JWT"])),
    ] {
        let members = json!({name: value});
        attacks.push(bearer(format!("{name} {value}, their key"), &theirs(&members), "header"));
        attacks.push(bearer(format!("{name} {value}, our key"), &scene.heading(&members), "header"));
    }
    attacks
}

/// Rightly signed, and not for us, or not for now, or not for certain.
fn claims(scene: &Scene) -> Vec<Attack> {
    let mut attacks = vec![];
    let mut claiming = |members: Value, why| {
        attacks.push(bearer(members.to_string(), &scene.claiming(&members), why));
    };
    let other = "https://other.example";
    for aud in [json!(null), json!(""), json!(other), json!([]), json!([other]), json!([[AUDIENCE]])] {
        claiming(json!({"aud": aud}), "audience");
    }
    for aud in [format!("{AUDIENCE}.evil.example"), format!("{AUDIENCE}/"), AUDIENCE.to_uppercase()] {
        claiming(json!({"aud": aud}), "audience");
    }
    claiming(json!({"aud": {AUDIENCE: true}}), "audience");
    let issuer = scene.issuer.url();
    for iss in [json!(null), json!(""), json!(other), json!(scene.attacker.url())] {
        claiming(json!({"iss": iss}), "issuer");
    }
    claiming(json!({"iss": [issuer]}), "malformed");
    for iss in [format!("{issuer}/"), issuer.replace("http", "HTTP"), format!("{issuer}@evil.example")] {
        claiming(json!({"iss": iss}), "issuer");
    }
    claiming(json!({"exp": seconds(-3600)}), "expired");
    claiming(json!({"exp": 0}), "expired");
    for exp in [json!(null), json!(seconds(600).to_string()), json!(true), json!([seconds(600)])] {
        claiming(json!({"exp": exp}), "claims");
    }
    for exp in [json!(-1), json!(u64::MAX), json!(i64::MAX), json!(1e300)] {
        claiming(json!({"exp": exp}), "claims");
    }
    claiming(json!({"nbf": seconds(3600)}), "not_yet");
    claiming(json!({"nbf": seconds(-5).to_string()}), "claims");
    claiming(json!({"iat": seconds(3600)}), "not_yet");
    for sub in [json!(null), json!(""), json!(7), json!("some\u{0}body"), json!("some\r\nbody")] {
        claiming(json!({"sub": sub}), "claims");
    }
    attacks
}

/// Texts that are no JSON object whose members stand there once each.
fn texts(scene: &Scene) -> Vec<Attack> {
    let (header, claims) = (scene.header(&json!({})), scene.claims(&json!({})));
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let end = |text: &str, member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
    let mut attacks = vec![];
    for member in ["\"aud\":\"https://other.example\"", "\"sub\":\"par-operator\"", "\"exp\":9999999999"] {
        for claims in [twice(&claims, member), end(&claims, member)] {
            attacks.push(bearer(format!("claims {claims}"), &scene.key.signed(&header, &claims), "claims"));
        }
    }
    // The same name, written in another way.
    let hidden = end(&claims, "\"\\u0073ub\":\"par-operator\"");
    attacks.push(bearer("sub twice, once escaped", &scene.key.signed(&header, &hidden), "claims"));
    let overflow = claims.replace(&format!("\"exp\":{}", scene.issuer.claims()["exp"]), "\"exp\":1e400");
    assert_ne!(overflow, claims);
    attacks.push(bearer("exp 1e400", &scene.key.signed(&header, &overflow), "claims"));
    for claims in ["null", "7", "", "{", "{}{}"] {
        attacks.push(bearer(format!("claims {claims}"), &scene.key.signed(&header, claims), "malformed"));
    }
    for header in
        [twice(&header, "\"alg\":\"none\""), end(&header, "\"alg\":\"none\""), end(&header, "\"kid\":\"x\"")]
    {
        attacks.push(bearer(format!("header {header}"), &scene.key.signed(&header, &claims), "malformed"));
    }
    for header in ["[]", "null", "", "{"] {
        attacks.push(bearer(format!("header {header}"), &scene.key.signed(header, &claims), "malformed"));
    }
    attacks
}

/// Another outside around good parts, or another way to send it.
fn forms(scene: &Scene) -> Vec<Attack> {
    let good = scene.good();
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let other = scene.claiming(&json!({"sub": "somebody else"}));
    let theirs = other.rsplit_once('.').expect("three parts").1;
    let padded = |part: &str| format!("{part}{}", "=".repeat((4 - part.len() % 4) % 4));
    let mut attacks = vec![];
    for (what, token, why) in [
        ("a truncated signature", good[..good.len() - 4].to_owned(), "signature"),
        ("no signature", format!("{signed}."), "signature"),
        ("a signature of zeros", format!("{signed}.{}", encoded([0; 256])), "signature"),
        ("a longer signature", format!("{good}AAAA"), "signature"),
        ("the signature of another token", format!("{signed}.{theirs}"), "signature"),
        ("two parts", signed.to_owned(), "malformed"),
        ("four parts", format!("{good}.{signature}"), "malformed"),
        ("five parts", format!("{good}.{signature}.{signature}"), "malformed"),
        ("a dot behind", format!("{good}."), "malformed"),
        ("a dot before", format!(".{good}"), "malformed"),
        ("padding", format!("{signed}.{}", padded(signature)), "signature"),
        ("padding of the header", good.replacen('.', "=.", 1), "malformed"),
        ("another base64", format!("{signed}.+/{}", &signature[2..]), "signature"),
        ("two tokens, comma between", format!("{good},{other}"), "malformed"),
        ("two tokens, space between", format!("{good} {other}"), "malformed"),
        ("a tab within", good.replacen('.', "\t.", 1), "malformed"),
        ("quotes around", format!("\"{good}\""), "malformed"),
        ("20 KB", scene.claiming(&json!({"filler": "x".repeat(20_000)})), "malformed"),
        ("20 KB of dots", ".".repeat(20_000), "malformed"),
        ("no token", String::new(), "missing"),
    ] {
        attacks.push(bearer(what, &token, why));
    }
    for scheme in ["Basic", "Token", "DPoP", "Digest", ""] {
        let authorization = format!("{scheme} {good}").trim().to_owned();
        attacks.push(Attack { name: format!("scheme {scheme:?}"), authorization, why: "missing" });
    }
    attacks
}
