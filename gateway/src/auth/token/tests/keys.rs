//! Which keys of a set are taken, and for what.

use super::*;

fn set(keys: &Value) -> Result<KeySet, String> {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes())
}

/// A number that has as many bits as it says, and is odd.
fn modulus(bits: usize) -> String {
    let mut number = vec![0xff; bits.div_ceil(8)];
    number[0] = 0xff >> (number.len() * 8 - bits);
    encoded(number)
}

#[test]
fn keys_are_used_for_what_they_were_published_for() {
    let signer = Signer::new(Algorithm::RS256, "k1");
    let token = signer.sign(&claims());
    for (name, value, wanted) in [
        ("use", json!("sig"), true),
        ("use", json!("enc"), false),
        ("use", json!(["sig"]), false),
        ("key_ops", json!(["verify"]), true),
        ("key_ops", json!(["encrypt"]), false),
        ("key_ops", json!("verify"), false),
        ("alg", json!("RS256"), true),
        ("alg", json!("PS256"), false),
        ("alg", json!("RSA-OAEP"), false),
        ("alg", json!("HS256"), false),
        ("alg", json!("ES256"), false),
        ("alg", json!(1), false),
        ("kid", json!(1), false),
        ("kid", json!("k".repeat(257)), false),
        ("kty", json!("EC"), false),
        ("kty", json!("oct"), false),
        ("d", json!("AQAB"), false),
        ("n", json!(modulus(1024)), false),
        ("n", json!(modulus(2047)), false),
        ("n", json!(modulus(8193)), false),
        ("n", json!("!"), false),
        ("n", Value::Null, false),
        ("e", json!("AQ"), false),
        ("e", json!("Ag"), false),
        ("e", json!(""), false),
        ("e", json!("AQAAAAAB"), false),
        ("x5u", json!("https://elsewhere.example"), true),
    ] {
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().insert(name.to_owned(), value.clone());
        let other = Signer::new(Algorithm::EdDSA, "other").jwk();
        let keys = set(&json!([jwk, other])).unwrap();
        assert_eq!(keys.find(Some("k1"), Algorithm::RS256).is_some(), wanted, "{name} {value}");
        assert_eq!(prove(&token, &keys, &rules()).is_ok(), wanted, "{name} {value}");
    }
    for bits in [2048, 3072, 8192] {
        let keys = set(&json!([{"kty": "RSA", "n": modulus(bits), "e": "AQAB"}])).unwrap();
        assert!(keys.find(None, Algorithm::PS512).is_some(), "{bits}");
    }
    let rules = TokenRules { algorithms: Algorithm::ALL.to_vec(), ..rules() };
    let oct = json!({"kty": "oct", "kid": "k1", "k": encoded([7; 64])});
    let keys = set(&json!([oct, signer.jwk()])).unwrap();
    let token = Signer::new(Algorithm::HS256, "k1").sign(&claims());
    assert_eq!(prove(&token, &keys, &rules).unwrap_err(), Reason::UnknownKey, "sets hold no secrets");
}

#[test]
fn a_set_is_read_with_caps_and_without_what_we_do_not_know() {
    let signer = Signer::new(Algorithm::EdDSA, "k1");
    let unknown = [
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44"}),
        json!({}),
    ];
    let mut keys = unknown.to_vec();
    keys.push(signer.jwk());
    assert_eq!(set(&json!(keys)).unwrap().len(), 1);
    assert_eq!(set(&json!([])).unwrap().len(), 0, "everything was taken back");
    for keys in [
        json!(unknown),
        json!([1]),
        json!("x"),
        json!(null),
        json!(vec![signer.jwk(); 257]),
        json!([{"kty": "EC", "crv": "P-256", "x": encoded([1; 31]), "y": encoded([1; 32])}]),
        json!([{"kty": "EC", "crv": "P-384", "x": encoded([1; 32]), "y": encoded([1; 32])}]),
        json!([{"kty": "OKP", "crv": "Ed25519", "x": encoded([1; 31])}]),
    ] {
        assert!(set(&keys).is_err(), "{keys}");
    }
    let twice = format!("{{\"keys\":[],\"keys\":[{}]}}", signer.jwk());
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(1 << 20));
    for text in ["", "[]", "{}", &twice, &large] {
        assert!(KeySet::parse(text.as_bytes()).is_err());
    }
}

#[test]
fn a_token_without_a_name_is_not_tried_against_several_keys() {
    let (one, two) = (Signer::new(Algorithm::EdDSA, "1"), Signer::new(Algorithm::EdDSA, "2"));
    let other = Signer::new(Algorithm::ES256, "3");
    let token = one.sign_text(r#"{"alg":"EdDSA"}"#, &claims().to_string());
    for (signers, wanted) in [(&[&one, &other][..], Ok(())), (&[&one, &two], Err(Reason::UnknownKey))] {
        let keys = KeySet::parse(&key_set(signers)).unwrap();
        assert_eq!(prove(&token, &keys, &rules()).map(drop), wanted);
    }
}

#[test]
fn a_point_that_is_on_no_curve_verifies_nothing() {
    let signer = Signer::new(Algorithm::ES256, "k1");
    let keys = set(
        &json!([{"kty": "EC", "crv": "P-256", "kid": "k1", "x": encoded([1; 32]), "y": encoded([1; 32])}]),
    );
    assert_eq!(prove(&signer.sign(&claims()), &keys.unwrap(), &rules()).unwrap_err(), Reason::Signature);
}

#[test]
fn what_a_key_proved_lasts_as_long_as_the_key() {
    let (one, two) = (Signer::new(Algorithm::EdDSA, "1"), Signer::new(Algorithm::ES256, "2"));
    let life = |set: &KeySet, signer: &Signer| {
        set.find(Some(&signer.kid), signer.algorithm).map(|key| key.life()).unwrap()
    };
    let first = KeySet::parse(&key_set(&[&one, &two])).unwrap();
    let (life_of_one, life_of_two) = (life(&first, &one), life(&first, &two));
    let second = KeySet::parse(&key_set(&[&two])).unwrap().replacing(&first);
    assert!(!second.is(&first) && life_of_one.goes_on());
    drop(first);
    assert!(!life_of_one.goes_on(), "it was taken back");
    assert!(life_of_two.goes_on(), "it stayed");
    let same_name = Signer::new(Algorithm::ES256, "2");
    let third = KeySet::parse(&key_set(&[&same_name])).unwrap().replacing(&second);
    drop(second);
    assert!(!life_of_two.goes_on(), "another key of the same name is another key");
    assert!(third.is(&KeySet::parse(&key_set(&[&same_name])).unwrap()));
}

#[test]
fn a_secret_has_enough_bytes_and_is_not_shown() {
    assert!(Key::secret(&[1; 31]).is_err());
    let key = Key::secret(b"an0ther-secret-of-more-than-32-bytes").unwrap();
    assert!(!format!("{key:?}").contains("an0ther"));
    assert!(key.may_verify(Algorithm::HS256) && !key.may_verify(Algorithm::RS256));
}
