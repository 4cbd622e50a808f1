//! Certificates of clients: asked for or not, good or not, over HTTP/1.1 and HTTP/2.

use std::{fs, path::Path};

use reqwest::{ClientBuilder, Identity, Method};
use serde_json::json;

use crate::{
    harness::{Answered, Authority, Client, Issued, Line, Par, ParBuilder, eventually, scratch},
    tls::{event, s_client, with},
};

fn asking(builder: ParBuilder, auth: &str, authority: &Path) -> ParBuilder {
    builder
        .setting("tls.client_auth", auth)
        .setting("tls.client_ca", authority.to_str().expect("a path of text"))
}

fn showing(issued: &Issued) -> impl Fn(ClientBuilder) -> ClientBuilder + use<> {
    let identity = Identity::from_pem(issued.whole().as_bytes()).expect("an identity");
    move |builder| builder.identity(identity.clone())
}

/// What a client gets that shows this.
async fn answered(par: &Par, dress: impl Fn(ClientBuilder) -> ClientBuilder) -> [bool; 2] {
    let mut answered = [false; 2];
    for (one, http_1) in answered.iter_mut().zip([true, false]) {
        let client = Client::secured(par.port, |builder| {
            let builder = dress(builder.tls_danger_accept_invalid_certs(true));
            if http_1 { builder.http1_only() } else { builder }
        });
        let answer = client.request(Method::POST, "/agents/echo/invoke").json(&json!({})).try_answer().await;
        *one = answer.is_ok_and(|answer| answer.status == 200);
    }
    answered
}

#[tokio::test]
async fn clients_show_certificates_where_they_are_asked() {
    let (root, foreign) = (Authority::new("root"), Authority::new("another root"));
    let server = root.server("server");
    let good = showing(&root.below("between").client("good"));
    let (stranger, over) = (showing(&foreign.client("stranger")), showing(&root.expired_client("over")));
    let nobody = |builder: ClientBuilder| builder;
    let (yes, no) = ([true; 2], [false; 2]);
    for (auth, without, wrong) in [("off", yes, yes), ("optional", yes, no), ("require", no, no)] {
        let par = match auth {
            "off" => with(&server).start().await,
            _ => asking(with(&server), auth, &root.certificate()).start().await,
        };
        assert_eq!(answered(&par, &good).await, yes, "{auth}");
        assert_eq!(answered(&par, nobody).await, without, "{auth}");
        assert_eq!(answered(&par, &stranger).await, wrong, "{auth}");
        assert_eq!(answered(&par, &over).await, wrong, "{auth}");
        if wrong == no {
            for words in ["UnknownIssuer", "Expired"] {
                let told = |line: &Line| line.event() == "tls_handshake_failed" && line.mentions(words);
                par.wait_for_line(words, told).await;
            }
        }
    }
}

/// A resumed session would let a client in without a look at its certificate.
#[tokio::test]
async fn sessions_are_resumed_only_where_clients_show_nothing() {
    let root = Authority::new("root");
    let (server, client, place) = (root.server("server"), root.client("client"), scratch());
    let session = place.path().join("session");
    let session = session.to_str().expect("a path of text");
    let (chain, key) = (client.chain.to_str().expect("a path"), client.key.to_str().expect("a path"));
    for (asks, resumed) in [(false, "Reused, TLSv1.2"), (true, "New, TLSv1.2")] {
        let builder = with(&server);
        let builder = if asks { asking(builder, "require", &root.certificate()) } else { builder };
        let par = builder.start().await;
        let words = ["-tls1_2", "-cert", chain, "-key", key];
        let first = s_client(&par, &root, &[&words[..], &["-sess_out", session]].concat()).await;
        assert!(first.stdout.contains("New, TLSv1.2"), "{first:?}");
        let second = s_client(&par, &root, &[&words[..], &["-sess_in", session]].concat()).await;
        assert!(second.stdout.contains(resumed), "{second:?}");
    }
}

#[tokio::test]
async fn an_authority_that_is_taken_away_lets_nobody_in_any_more() {
    let (root, next) = (Authority::new("root"), Authority::new("next root"));
    let place = scratch();
    let list = place.path().join("clients.pem");
    fs::copy(root.certificate(), &list).expect("a file");
    let par = asking(with(&root.server("server")), "require", &list).allow("tls_reload_failed").start().await;
    let (former, later) = (showing(&root.client("former")), showing(&next.client("later")));
    assert_eq!((answered(&par, &former).await, answered(&par, &later).await), ([true; 2], [false; 2]));
    let kept = Client::secured(par.port, |builder| former(builder.tls_danger_accept_invalid_certs(true)));
    assert_eq!(kept.get("/health").await.status, 200);

    fs::write(&list, "").expect("a file");
    event(&par, "tls_reload_failed").await;
    assert_eq!(answered(&par, &former).await, [true; 2], "an empty list is a mistake");
    fs::copy(next.certificate(), &list).expect("a file");
    event(&par, "tls_reloaded").await;
    assert_eq!((answered(&par, &former).await, answered(&par, &later).await), ([false; 2], [true; 2]));
    assert_eq!(kept.get("/health").await.status, 200, "connections go on");
}

#[tokio::test]
async fn the_certificate_of_a_client_is_who_calls_over_http_1_and_2() {
    let root = Authority::new("root");
    let builder = asking(with(&root.server("server")), "optional", &root.certificate()).production();
    let adapters = json!([{"type": "mtls", "subject": "cn"}]);
    let par = builder.setting("identity.adapters", adapters).start().await;
    let good = showing(&root.client("good"));
    assert_eq!(answered(&par, &good).await, [true; 2]);
    assert_eq!(answered(&par, |builder| builder).await, [false; 2], "nobody is known by nothing");
    let kept = Client::secured(par.port, |builder| good(builder.tls_danger_accept_invalid_certs(true)));
    for _ in 0..3 {
        assert_eq!(
            kept.invoke("echo", &json!({})).await.status,
            200,
            "every request of a connection is theirs"
        );
    }
    let brief = showing(&root.client_for("brief", 6));
    let kept = Client::secured(par.port, |builder| brief(builder.tls_danger_accept_invalid_certs(true)));
    assert_eq!(kept.invoke("echo", &json!({})).await.status, 200);
    let over = async || (kept.invoke("echo", &json!({})).await.status == 401).then_some(());
    eventually("a connection that lasts longer than its certificate is nobody's", over).await;
}
