//! Every way to make a token that should not be believed, against real keys.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    signer::{Signer, encoded, key_set},
    *,
};
use crate::auth::{AuthFault, Reason};

mod keys;

const ISSUER: &str = "https://issuer.example";
const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn rules() -> TokenRules {
    TokenRules {
        issuer: Some(ISSUER.to_owned()),
        audiences: vec!["par".to_owned(), "par-too".to_owned()],
        algorithms: Algorithm::ASYMMETRIC.to_vec(),
        leeway: Duration::from_secs(60),
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "par", "sub": "s", "exp": NOW + 300, "iat": NOW})
}

/// The claims with one changed; `null` takes it away.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    claims
}

/// What everybody with keys does with a token.
fn prove(token: &str, keys: &KeySet, rules: &TokenRules) -> Result<Value, Reason> {
    let reason = |fault| match fault {
        AuthFault::Refused { reason, .. } => reason,
        AuthFault::Unavailable { .. } => panic!("{fault}"),
    };
    let parsed = parse(token).map_err(reason)?;
    let key = keys.find(parsed.kid(), parsed.algorithm()).ok_or(Reason::UnknownKey)?;
    verify(&parsed, key, rules, now()).map_err(reason)
}

#[test]
fn a_token_of_every_algorithm_is_proved() {
    let rsa = Signer::new(Algorithm::RS256, "rsa");
    for algorithm in Algorithm::ALL {
        let signer = match algorithm.text().as_bytes()[..2] {
            [b'R' | b'P', b'S'] => rsa.signing(*algorithm),
            _ => Signer::new(*algorithm, "k"),
        };
        let rules = TokenRules { algorithms: vec![*algorithm], ..rules() };
        let key = signer.key();
        let token = signer.sign(&claims());
        let parsed = parse(&token).unwrap();
        assert_eq!((parsed.issuer(), parsed.kid()), (Some(ISSUER), Some(&*signer.kid)));
        assert_eq!(verify(&parsed, &key, &rules, now()), Ok(claims()), "{algorithm}");
        let other = TokenRules { algorithms: vec![], ..rules };
        assert!(verify(&parsed, &key, &other, now()).is_err(), "{algorithm}");
        assert_eq!(algorithm.text().parse(), Ok(*algorithm));
    }
}

#[test]
fn none_is_no_algorithm_in_any_spelling() {
    for text in
        ["none", "None", "NONE", "nOnE", "", " ", "rs256", "RS256 ", "RS256\0", "HS256,none", "ES256K"]
    {
        assert!(text.parse::<Algorithm>().is_err(), "{text:?}");
    }
}

/// Headers and signatures.
#[test]
fn forged_tokens_are_refused() {
    let signer = Signer::new(Algorithm::RS256, "k1");
    let keys = KeySet::parse(&key_set(&[&signer])).unwrap();
    let good = signer.sign(&claims());
    assert_eq!(prove(&good, &keys, &rules()), Ok(claims()));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let payload = message.split_once('.').unwrap().1;
    let header = |header: Value| signer.sign_text(&header.to_string(), &claims().to_string());
    let extra = |name: &str, value: Value| {
        let mut all = json!({"alg": "RS256", "kid": "k1"});
        all.as_object_mut().unwrap().insert(name.to_owned(), value);
        header(all)
    };
    let unsigned =
        |alg: Value| format!("{}.{payload}.", encoded(json!({"alg": alg, "kid": "k1"}).to_string()));
    let foreign = Signer::new(Algorithm::RS256, "k1");
    for (name, token, wanted) in [
        ("alg none", unsigned(json!("none")), Reason::Algorithm),
        ("alg None", unsigned(json!("None")), Reason::Algorithm),
        ("alg NONE", unsigned(json!("NONE")), Reason::Algorithm),
        ("alg nOnE", unsigned(json!("nOnE")), Reason::Algorithm),
        ("alg none with a signature", header(json!({"alg": "none", "kid": "k1"})), Reason::Algorithm),
        ("alg null", unsigned(Value::Null), Reason::Algorithm),
        ("alg empty", unsigned(json!("")), Reason::Algorithm),
        ("alg array", unsigned(json!(["RS256"])), Reason::Algorithm),
        ("alg number", unsigned(json!(0)), Reason::Algorithm),
        ("no alg", header(json!({"kid": "k1"})), Reason::Algorithm),
        (
            "alg twice",
            signer.sign_text(r#"{"alg":"RS256","alg":"none","kid":"k1"}"#, "{}"),
            Reason::Malformed,
        ),
        ("no signature", format!("{message}."), Reason::Signature),
        ("RS256 without a signature", unsigned(json!("RS256")), Reason::Signature),
        ("truncated signature", good[..good.len() - 4].to_owned(), Reason::Signature),
        ("half a signature", format!("{message}.{}", &signature[..signature.len() / 2]), Reason::Signature),
        ("a signature of zeros", format!("{message}.{}", encoded([0; 256])), Reason::Signature),
        ("a longer signature", format!("{good}AAAA"), Reason::Signature),
        ("a padded signature", format!("{good}=="), Reason::Signature),
        ("a signature in the other alphabet", format!("{message}.+/{}", &signature[2..]), Reason::Signature),
        (
            "other claims",
            good.replace(payload, &encoded(with("sub", json!("x")).to_string())),
            Reason::Signature,
        ),
        ("a foreign key of the same name", foreign.sign(&claims()), Reason::Signature),
        ("RS384 said, RS256 signed", header(json!({"alg": "RS384", "kid": "k1"})), Reason::Signature),
        ("PS256 said, RS256 signed", header(json!({"alg": "PS256", "kid": "k1"})), Reason::Signature),
        ("another kind of key", Signer::new(Algorithm::ES256, "k1").sign(&claims()), Reason::UnknownKey),
        ("jku", extra("jku", json!("https://evil.example/jwks")), Reason::Header),
        ("jwk", extra("jwk", foreign.jwk()), Reason::Header),
        ("x5u", extra("x5u", json!("https://evil.example/x.pem")), Reason::Header),
        ("x5c", extra("x5c", json!(["MII"])), Reason::Header),
        ("crit", extra("crit", json!(["exp"])), Reason::Header),
        ("crit empty", extra("crit", json!([])), Reason::Header),
        ("b64", extra("b64", json!(false)), Reason::Header),
        ("zip", extra("zip", json!("DEF")), Reason::Header),
        ("jku null", extra("jku", Value::Null), Reason::Header),
        ("a logout token", extra("typ", json!("logout+jwt")), Reason::Header),
        ("a proof of possession", extra("typ", json!("dpop+jwt")), Reason::Header),
        ("kid of a path", extra("kid", json!("../../../../dev/null")), Reason::UnknownKey),
        ("kid of SQL", extra("kid", json!("x' UNION SELECT 'secret' --")), Reason::UnknownKey),
        ("kid of a command", extra("kid", json!("k1|/bin/true")), Reason::UnknownKey),
        ("kid with NUL", extra("kid", json!("k1\0")), Reason::UnknownKey),
        ("kid of another case", extra("kid", json!("K1")), Reason::UnknownKey),
        ("kid too long", extra("kid", json!("k".repeat(257))), Reason::Header),
        ("kid of a number", extra("kid", json!(1)), Reason::Header),
        ("kid of an object", extra("kid", json!({"$ne": 1})), Reason::Header),
        ("kid empty", extra("kid", json!("")), Reason::UnknownKey),
    ] {
        assert_eq!(prove(&token, &keys, &rules()).unwrap_err(), wanted, "{name}: {token}");
    }
    assert!(prove(&header(json!({"alg": "RS256"})), &keys, &rules()).is_ok(), "one key needs no name");
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "jwt"] {
        assert!(prove(&extra("typ", json!(typ)), &keys, &rules()).is_ok(), "{typ}");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let signer = Signer::new(Algorithm::RS256, "k1");
    let keys = KeySet::parse(&key_set(&[&signer])).unwrap();
    let all = TokenRules { algorithms: Algorithm::ALL.to_vec(), ..rules() };
    let public = signer.jwk();
    let mut secrets = signer.public_files().to_vec();
    secrets.extend(secrets[2].strip_suffix(b"\n").map(<[u8]>::to_vec));
    secrets.push(public["n"].as_str().unwrap().as_bytes().to_vec());
    secrets.push(key_set(&[&signer]));
    secrets.push(Vec::new());
    for secret in secrets {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let forged = Signer::with_secret(algorithm, "k1", &secret).sign(&claims());
            assert_eq!(prove(&forged, &keys, &rules()).unwrap_err(), Reason::UnknownKey);
            assert_eq!(prove(&forged, &keys, &all).unwrap_err(), Reason::UnknownKey, "not even on the list");
            let parsed = parse(&forged).unwrap();
            let fault = verify(&parsed, &signer.key(), &all, now()).unwrap_err();
            assert!(matches!(fault, AuthFault::Refused { reason: Reason::Algorithm, .. }), "{fault}");
        }
    }
}

#[test]
fn texts_that_are_no_tokens_are_malformed() {
    let signer = Signer::new(Algorithm::EdDSA, "k1");
    let keys = KeySet::parse(&key_set(&[&signer])).unwrap();
    let good = signer.sign(&claims());
    let parts: Vec<_> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let text = |header: &str, claims: &str| signer.sign_text(header, claims);
    let plain = r#"{"alg":"EdDSA","kid":"k1"}"#;
    let large = with("pad", json!("x".repeat(LONGEST_TOKEN)));
    for (name, token) in [
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{good}.")),
        ("five parts", format!("{good}.{payload}.{signature}")),
        ("padded", format!("{header}=.{payload}.{signature}")),
        ("the other alphabet", format!("{header}.+/{payload}.{signature}")),
        ("a space", format!("{header}.{payload} .{signature}")),
        ("a line end", format!("{header}\n.{payload}.{signature}")),
        ("bits behind the end", format!("{}.{payload}.{signature}", encoded(plain).replace("In0", "In1"))),
        ("no JSON", text("{", "{}")),
        ("more than JSON", text(&format!("{plain}x"), "{}")),
        ("an array as header", text("[]", "{}")),
        ("a text as header", text("\"RS256\"", "{}")),
        ("an array as claims", text(plain, "[1]")),
        ("a text as claims", text(plain, "\"x\"")),
        ("no UTF-8", format!("{}.{payload}.{signature}", encoded(b"{\"alg\":\"\xff\"}"))),
        ("two issuers", text(plain, r#"{"iss":"a","iss":"b"}"#)),
        ("an issuer that is no text", text(plain, r#"{"iss":["a"]}"#)),
        ("too long", signer.sign(&large)),
        ("1 MB", signer.sign(&with("pad", json!("x".repeat(1 << 20))))),
        ("1 MB of dots", ".".repeat(1 << 20)),
    ] {
        let shown = token.get(..200).unwrap_or(&token);
        assert_eq!(prove(&token, &keys, &rules()).unwrap_err(), Reason::Malformed, "{name}: {shown}");
    }
    assert!(prove(&signer.sign(&with("pad", json!("x".repeat(8 << 10)))), &keys, &rules()).is_ok());
}

/// Claims, with a signature that fits.
#[test]
fn claims_decide_after_the_signature() {
    let signer = Signer::new(Algorithm::ES256, "k1");
    let keys = KeySet::parse(&key_set(&[&signer])).unwrap();
    for (name, value, wanted) in [
        ("iss", Value::Null, Err(Reason::Issuer)),
        ("iss", json!("https://issuer.example/"), Err(Reason::Issuer)),
        ("iss", json!("https://ISSUER.example"), Err(Reason::Issuer)),
        ("iss", json!(""), Err(Reason::Issuer)),
        ("aud", Value::Null, Err(Reason::Audience)),
        ("aud", json!("other"), Err(Reason::Audience)),
        ("aud", json!("par "), Err(Reason::Audience)),
        ("aud", json!("Par"), Err(Reason::Audience)),
        ("aud", json!(["other"]), Err(Reason::Audience)),
        ("aud", json!([]), Err(Reason::Audience)),
        ("aud", json!([["par"]]), Err(Reason::Audience)),
        ("aud", json!(["par", 1]), Err(Reason::Audience)),
        ("aud", json!({"par": true}), Err(Reason::Audience)),
        ("aud", json!(["other", "par-too"]), Ok(())),
        ("exp", Value::Null, Err(Reason::Claims)),
        ("exp", json!((NOW + 300).to_string()), Err(Reason::Claims)),
        ("exp", json!(true), Err(Reason::Claims)),
        ("exp", json!([NOW + 300]), Err(Reason::Claims)),
        ("exp", json!(-1), Err(Reason::Claims)),
        ("exp", json!(u64::MAX), Err(Reason::Claims)),
        ("exp", json!(i64::MAX), Err(Reason::Claims)),
        ("exp", json!(1e300), Err(Reason::Claims)),
        ("exp", json!((NOW + 300) * 1000), Err(Reason::Claims)),
        ("exp", json!(0), Err(Reason::Expired)),
        ("exp", json!(NOW - 60), Err(Reason::Expired)),
        ("exp", json!(NOW - 59), Ok(())),
        ("exp", json!((NOW + 300) as f64 + 0.5), Ok(())),
        ("nbf", json!(NOW + 61), Err(Reason::NotYet)),
        ("nbf", json!(NOW + 60), Ok(())),
        ("nbf", json!(NOW.to_string()), Err(Reason::Claims)),
        ("nbf", json!(u64::MAX), Err(Reason::Claims)),
        ("iat", json!(NOW + 61), Err(Reason::NotYet)),
        ("iat", json!(NOW + 60), Ok(())),
        ("iat", json!("now"), Err(Reason::Claims)),
        ("iat", Value::Null, Ok(())),
    ] {
        let token = signer.sign(&with(name, value.clone()));
        assert_eq!(prove(&token, &keys, &rules()).map(drop), wanted, "{name} {value}");
    }
    let any = TokenRules { issuer: None, ..rules() };
    assert!(prove(&signer.sign(&with("iss", Value::Null)), &keys, &any).is_ok());
    let nobody = TokenRules { audiences: Vec::new(), ..rules() };
    assert_eq!(prove(&signer.sign(&claims()), &keys, &nobody), Err(Reason::Audience));
    let parsed = signer.sign(&claims());
    let unset = UNIX_EPOCH - Duration::from_secs(1);
    assert!(verify(&parse(&parsed).unwrap(), &signer.key(), &rules(), unset).is_err());
}

#[test]
fn claims_that_parsers_read_differently_are_refused() {
    let signer = Signer::new(Algorithm::ES384, "k1");
    let keys = KeySet::parse(&key_set(&[&signer])).unwrap();
    let good = claims().to_string();
    for extra in [
        r#""sub":"admin""#,
        r#""\u0073ub":"admin""#,
        r#""exp":9999999999"#,
        r#""aud":"par""#,
        r#""a":{"b":1,"b":2}"#,
        r#""a":[{"b":1,"b":1}]"#,
    ] {
        let twice = format!("{{{extra},{}", &good[1..]);
        let token = signer.sign_text(r#"{"alg":"ES384","kid":"k1"}"#, &twice);
        assert_eq!(prove(&token, &keys, &rules()).unwrap_err(), Reason::Claims, "{extra}");
    }
    for member in ["1e999".to_owned(), format!("{}{}", "[".repeat(2000), "]".repeat(2000))] {
        let odd = format!("{{\"x\":{member},{}", &good[1..]);
        let token = signer.sign_text(r#"{"alg":"ES384","kid":"k1"}"#, &odd);
        assert_eq!(prove(&token, &keys, &rules()).unwrap_err(), Reason::Claims);
    }
}

#[test]
fn the_end_of_claims_is_told() {
    assert_eq!(expiry(&claims()), Some(UNIX_EPOCH + Duration::from_secs(NOW + 300)));
    for claims in [json!({}), json!([]), json!({"exp": "1"}), json!({"exp": u64::MAX})] {
        assert_eq!(expiry(&claims), None, "{claims}");
    }
}

#[test]
fn a_fault_does_not_repeat_the_token() {
    let signer = Signer::new(Algorithm::EdDSA, "t0ken");
    let keys = KeySet::parse(&key_set(&[&signer])).unwrap();
    let claims = with("aud", json!("t0ken"));
    for token in
        [signer.sign(&claims), "t0ken.t0ken.t0ken".to_owned(), signer.sign(&with("exp", json!("t0ken")))]
    {
        let fault = match parse(&token) {
            Ok(parsed) => {
                let key = keys.find(parsed.kid(), parsed.algorithm()).unwrap();
                verify(&parsed, key, &rules(), now()).unwrap_err()
            }
            Err(fault) => fault,
        };
        assert!(!fault.to_string().contains("t0ken") && !format!("{fault:?}").contains("t0ken"), "{fault}");
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_without_a_panic(text in "\\PC{0,300}") {
        drop(parse(&text));
    }

    #[test]
    fn any_parts_are_parsed_without_a_panic(
        header in prop::collection::vec(any::<u8>(), 0..64),
        claims in "[{}\\[\\]\",:a-z0-9]{0,64}",
        signature in "[A-Za-z0-9_-]{0,32}",
    ) {
        drop(parse(&format!("{}.{}.{signature}", encoded(header), encoded(&claims))));
        drop(parse(&format!("{}.{}.{signature}", encoded(r#"{"alg":"RS256"}"#), encoded(claims))));
        drop(json::strict(&[]));
    }
}

#[test]
fn a_token_that_is_changed_anywhere_is_refused() {
    let signer = Signer::new(Algorithm::EdDSA, "k1");
    let keys = KeySet::parse(&key_set(&[&signer])).unwrap();
    let good = signer.sign(&claims());
    for (place, old) in good.char_indices() {
        for new in ['A', 'w', '_', '.', '=', '\u{e9}'] {
            let mut changed = good.clone();
            changed.replace_range(place..=place, &new.to_string());
            let proved = prove(&changed, &keys, &rules()).is_ok();
            assert_eq!(proved, old == new, "{place} {old} {new}");
        }
    }
}

/// With `--release -- --nocapture` it tells the figures; here they are bounded for slow and busy machines.
#[test]
fn a_cold_token_costs_little() {
    const TIMES: u32 = 200;
    let rsa = Signer::new(Algorithm::RS256, "k");
    let standing = crate::auth::Standing::default();
    let policy = TokenPolicy { rules: rules(), claims: crate::auth::claims::ClaimPaths::default(), standing };
    for signer in [rsa, Signer::new(Algorithm::ES256, "k"), Signer::new(Algorithm::EdDSA, "k")] {
        let keys = KeySet::parse(&key_set(&[&signer])).unwrap();
        let token = signer.sign(&with("pad", json!("x".repeat(300))));
        let mut rounds: Vec<_> = (0..5)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..TIMES {
                    let parsed = parse(std::hint::black_box(&token)).unwrap();
                    let key = keys.find(parsed.kid(), parsed.algorithm()).unwrap();
                    std::hint::black_box(policy.prove(&parsed, key, now()).unwrap());
                }
                start.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES)
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        eprintln!("cold {} token of {} bytes: {:.1} us", signer.algorithm, token.len(), rounds[2]);
        assert!(rounds[0] < 1000.0, "{} {rounds:?}", signer.algorithm);
    }
}
