//! Issuers that are down, slow, or answer what cannot be believed.

use super::*;

#[tokio::test]
async fn an_issuer_that_is_down_does_not_take_its_keys_along() {
    let (server, party) = served("k1").await;
    let issuer = issuer_of(&server, Pace { between: Duration::ZERO, ..PACE });
    assert_eq!(show(&issuer, &party.token).await, "s");
    let new = Party::new("k2", &server.issuer);
    server.script.lock().status = "500 Internal Server Error";
    assert_eq!(show(&issuer, &new.token).await, "unavailable", "it may be good, and nobody can say");
    server.asked(5).await;
    assert_eq!(show(&issuer, &party.token).await, "s");
    server.script.lock().status = "200 OK";
    server.publish(new.keys());
    assert_eq!(show(&issuer, &new.token).await, "s");
    assert_eq!(show(&issuer, &party.token).await, "unknown_key");
}

#[tokio::test]
async fn an_issuer_that_never_answered_proves_nobody_and_is_asked_again() {
    let (server, party) = served("k1").await;
    let pace = Pace { again: Duration::from_secs(600), ..PACE };
    server.script.lock().status = "503 Service Unavailable";
    let issuer = issuer_of(&server, pace);
    assert_eq!(show(&issuer, &party.token).await, "unavailable");
    server.script.lock().status = "200 OK";
    // The look by the clock is a second away; requests may ask before.
    let start = Instant::now();
    while show(&issuer, &party.token).await != "s" {
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    let nowhere = issuer_at("http://127.0.0.1:1", PACE);
    let token = Party::new("k1", "http://127.0.0.1:1").token;
    assert_eq!(show(&nowhere, &token).await, "unavailable");
}

#[tokio::test]
async fn a_slow_issuer_holds_nobody_longer_than_their_patience() {
    let (server, party) = served("k1").await;
    server.open(false);
    let issuer = issuer_of(&server, Pace { patience: Duration::from_millis(100), ..PACE });
    let start = Instant::now();
    assert_eq!(show(&issuer, &party.token).await, "unavailable");
    assert!(start.elapsed() < Duration::from_secs(3));
    server.open(true);
    while show(&issuer, &party.token).await != "s" {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(server.key_sets(), 1);
}

#[tokio::test]
async fn a_discovery_that_is_not_to_be_believed_gives_no_keys() {
    let (server, party) = served("k1").await;
    let large =
        format!(r#"{{"issuer":"{{issuer}}","jwks_uri":"{{issuer}}/keys","x":"{}"}}"#, "x".repeat(1 << 20));
    for discovery in [
        r#"{"issuer":"{issuer}/","jwks_uri":"{issuer}/keys"}"#,
        r#"{"issuer":"https://other.example","jwks_uri":"{issuer}/keys"}"#,
        r#"{"jwks_uri":"{issuer}/keys"}"#,
        r#"{"issuer":"{issuer}"}"#,
        r#"{"issuer":"{issuer}","jwks_uri":"http://192.0.2.1/keys"}"#,
        r#"{"issuer":"{issuer}","jwks_uri":"file:///etc/passwd"}"#,
        r#"{"issuer":"{issuer}","issuer":"{issuer}","jwks_uri":"{issuer}/keys"}"#,
        "not json",
        &large,
    ] {
        server.script.lock().discovery = discovery.to_owned();
        let issuer = issuer_of(&server, PACE);
        assert_eq!(show(&issuer, &party.token).await, "unavailable", "{discovery:.80}");
    }
    assert_eq!(server.key_sets(), 0);
}

#[tokio::test]
async fn key_sets_that_cannot_be_read_change_nothing() {
    let (server, party) = served("k1").await;
    let issuer = issuer_of(&server, Pace { between: Duration::ZERO, ..PACE });
    assert_eq!(show(&issuer, &party.token).await, "s");
    let elsewhere = format!("location: {}/moved\r\n", server.issuer);
    let large = [b"{\"keys\":[]}".to_vec(), vec![b' '; 1 << 20]].concat();
    for (status, headers, keys) in [
        ("302 Found", elsewhere.as_str(), party.keys()),
        ("204 No Content", "", Vec::new()),
        ("200 OK", "", b"<html>".to_vec()),
        ("200 OK", "", b"{}".to_vec()),
        ("200 OK", "", large),
    ] {
        {
            let mut script = server.script.lock();
            (script.status, script.headers, script.keys) = (status, headers.to_owned(), keys);
        }
        assert_eq!(show(&issuer, &Party::new("k2", &server.issuer).token).await, "unavailable", "{status}");
        assert_eq!(show(&issuer, &party.token).await, "s");
    }
    server.script.lock().status = "200 OK";
    server.script.lock().headers = String::new();
    server.publish(br#"{"keys":[]}"#.to_vec());
    assert_eq!(show(&issuer, &Party::new("k3", &server.issuer).token).await, "unknown_key");
    assert_eq!(show(&issuer, &party.token).await, "unknown_key", "everything was taken back");
}
