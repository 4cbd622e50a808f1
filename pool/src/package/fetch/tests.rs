//! Downloads from servers that misbehave as told.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use tokio::sync::OnceCell;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::server::{Act, Server, status, whole};
use self::server::{ok, part, promise, redirect, say};
use super::{tries::Pace, *};
use crate::package::{Cause, Location, Source, pull::tests::settings, store::Store};

mod documents;
mod objects;
mod server;

/// A remote that knows one place.
struct Place {
    server: Server,
    location: Location,
    remote: Remote,
    store: Store,
    directory: tempfile::TempDir,
}

const LONG: Duration = Duration::from_secs(20);
const PACE: Pace = Pace {
    tries: 4,
    first_pause: Duration::from_millis(2),
    idle: Duration::from_secs(10),
    tries_of_refused: 1,
};

impl Place {
    fn new(server: Server, text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut remote = Remote::new(&settings(directory.path()));
        (remote.max_package_bytes, remote.timeout, remote.pace) = (1000, LONG, PACE);
        let store = Store::open(&directory.path().join("store"), 1 << 30).unwrap();
        Self { server, location: Source::parse(text).unwrap().location, remote, store, directory }
    }

    async fn clear(acts: Vec<Act>) -> Self {
        let server = Server::start(acts).await;
        let text = format!("http://user:secret@127.0.0.1:{}/a.apkg?token=secret", server.port);
        Self::new(server, &text)
    }

    async fn tls(acts: Vec<Act>) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let server = Server::with(acts, Some(TlsAcceptor::from(Arc::new(config)))).await;
        let text = format!("https://user:secret@localhost:{}/a.apkg?token=secret", server.port);
        let place = Self::new(server, &text);
        let root = reqwest::Certificate::from_der(certified.cert.der()).unwrap();
        place.remote.https.set(https::client(vec![root]).unwrap()).unwrap();
        place
    }

    async fn s3(acts: Vec<Act>) -> Self {
        let server = Server::start(acts).await;
        let endpoint = url::Url::parse(&format!("http://127.0.0.1:{}", server.port)).unwrap();
        let mut place = Self::new(server, "s3:///deep/a.apkg");
        place.remote.s3 = S3Settings {
            bucket: "usual".to_owned(),
            region: Some("us-east-2".to_owned()),
            endpoint: Some(endpoint),
        };
        let credentials = Credentials::new("AKIDEXAMPLE", "very-secret", None, None, "tests");
        let credentials = SharedCredentialsProvider::new(credentials);
        let client = s3::client(&place.remote.s3, Some(credentials)).await;
        place.remote.objects = OnceCell::new_with(Some(client));
        place
    }

    async fn download(&self) -> Result<Fetched, PullError> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let outcome = self.remote.download(&self.location, &self.store).await;
        if let Err(error) = &outcome {
            let text = format!("{error:?}");
            assert!(!text.contains("secret") && !text.contains("token"), "{text}");
            let left = std::fs::read_dir(self.directory.path().join("store")).unwrap();
            let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.len() == 1, "only the owner's lock: {left:?}");
        }
        outcome
    }

    async fn read(&self, known: Option<&Validator>) -> Result<Document, PullError> {
        rustls::crypto::ring::default_provider().install_default().ok();
        self.remote.document(&self.location, known, 1000).await
    }

    fn tries(&self) -> usize {
        self.server.asked().len()
    }
}

/// The digest of `helloworld`.
const HELLO_WORLD: &str = "936a185caaa266bb9cbe981e9e05cb78cd732b0b3280eb944412bb6f8f8f07af";

fn is_hello_world(fetched: &Fetched) {
    assert_eq!(fetched.digest.to_string(), HELLO_WORLD);
    assert_eq!(std::fs::read(fetched.file.path()).unwrap(), b"helloworld");
    assert_eq!(fetched.bytes, 10);
}

#[tokio::test]
async fn a_download_is_hashed_while_it_is_read() {
    for place in [Place::clear(vec![ok("helloworld")]).await, Place::tls(vec![ok("helloworld")]).await] {
        let fetched = place.download().await.unwrap();
        is_hello_world(&fetched);
        let path = fetched.file.path().to_path_buf();
        drop(fetched);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn causes_that_may_go_away_are_tried_four_times() {
    let cut = say(promise(50, "", "hel"));
    let acts =
        vec![status("503 Unavailable"), cut.clone(), Act::Reset(promise(50, "", "")), ok("helloworld")];
    is_hello_world(&Place::clear(acts.clone()).await.download().await.unwrap());
    is_hello_world(&Place::s3(acts).await.download().await.unwrap());
    let reset = Act::Reset(promise(50, "", "hel"));
    for act in [Act::Hang, cut, reset, status("500 Oops"), status("429 Slow"), status("408 Late")] {
        for place in [Place::clear(vec![act.clone()]).await, Place::s3(vec![act]).await] {
            let error = place.download().await.unwrap_err();
            assert_eq!((error.transient, error.step, place.tries()), (true, Step::Fetch, 4), "{error}");
        }
    }
}

#[tokio::test]
async fn other_causes_are_not_tried_again() {
    let big = "x".repeat(1001);
    let unbounded = say(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{big}"));
    for (act, text, cause) in [
        (status("404 Not Found"), "answered 404", Cause::Missing),
        (status("403 Forbidden"), "answered 403", Cause::Forbidden),
        (ok(&big), "larger than the 1000 bytes", Cause::TooLarge),
        (unbounded, "larger than the 1000 bytes", Cause::TooLarge),
    ] {
        for place in [Place::clear(vec![act.clone()]).await, Place::s3(vec![act]).await] {
            let error = place.download().await.unwrap_err();
            assert!(error.detail.contains(text), "{error}");
            assert_eq!((error.transient, error.cause, place.tries()), (false, cause, 1), "{error}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_asked_for_three_times_where_that_is_wanted() {
    for status in [status("404 Not Found"), status("403 Forbidden")] {
        for place in [Place::clear(vec![status.clone()]).await, Place::s3(vec![status]).await] {
            let mut patient = place;
            patient.remote.pace.tries_of_refused = 3;
            let error = patient.download().await.unwrap_err();
            assert_eq!((error.transient, patient.tries()), (false, 3), "{error}");
        }
    }
    let mut late = Place::clear(vec![status("403 Forbidden"), ok("helloworld")]).await;
    late.remote.pace.tries_of_refused = 3;
    is_hello_world(&late.download().await.unwrap());
}

#[tokio::test]
async fn redirects_stay_on_https_and_out_of_reach_of_this_machine() {
    for (to, text) in [
        ("http://localhost:1/x", "away from https"),
        ("http://example.com/x", "away from https"),
        ("https://169.254.169.254/latest", "link-local"),
    ] {
        let place = Place::tls(vec![redirect(to)]).await;
        let error = place.download().await.unwrap_err();
        assert!(error.detail.contains(text), "{error}");
        assert_eq!((error.transient, place.tries()), (false, 1), "{error}");
    }
    let five = Place::tls([vec![redirect("/next"); 5], vec![ok("helloworld")]].concat()).await;
    is_hello_world(&five.download().await.unwrap());
    let endless = Place::tls(vec![redirect("/next")]).await;
    assert!(endless.download().await.unwrap_err().detail.contains("more than 5 redirects"));
    assert_eq!(endless.tries(), 6);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_final() {
    let mut place = Place::tls(vec![ok("helloworld")]).await;
    place.remote.https = https::client(Vec::new()).unwrap().into();
    let error = place.download().await.unwrap_err();
    assert!(!error.transient && error.detail.contains("certificate"), "{error:?}");
    let endpoint = url::Url::parse(&format!("https://localhost:{}", place.server.port)).unwrap();
    let settings = S3Settings {
        bucket: "usual".to_owned(),
        region: Some("us-east-2".to_owned()),
        endpoint: Some(endpoint),
    };
    let credentials = Credentials::new("AKIDEXAMPLE", "very-secret", None, None, "tests");
    let client = s3::client(&settings, Some(SharedCredentialsProvider::new(credentials))).await;
    place.remote.objects = OnceCell::new_with(Some(client));
    place.location = Source::parse("s3://usual/a.apkg").unwrap().location;
    let error = place.download().await.unwrap_err();
    assert!(!error.transient && error.detail.contains("certificate"), "{error:?}");
    assert_eq!(place.tries(), 0, "no request was sent to a stranger");
}

#[tokio::test]
async fn silence_ends_with_the_idle_timeout_and_all_tries_with_the_whole_one() {
    for silence in ["", "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhel"] {
        let silent = [Act::Stall(silence.to_owned())];
        for mut place in [Place::clear(silent.to_vec()).await, Place::s3(silent.to_vec()).await] {
            place.remote.pace.idle = Duration::from_millis(60);
            let error = place.download().await.unwrap_err();
            assert!(error.transient && error.detail.contains("sent nothing for 0.06 s"), "{error}");
            assert_eq!(place.tries(), 4);
            (place.remote.pace.idle, place.remote.timeout) = (LONG, Duration::from_millis(100));
            let error = place.download().await.unwrap_err();
            assert!(error.transient && error.detail.contains("within 0.1 s"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_try_that_breaks_off_is_continued() {
    let tag = "etag: \"a\"\r\n";
    let acts = vec![Act::Reset(promise(10, tag, "hello")), part("bytes 5-9/10", "\"a\"")];
    let place = Place::clear(acts.clone()).await;
    is_hello_world(&place.download().await.unwrap());
    let [first, second] = &place.server.asked()[..] else { panic!("two tries") };
    assert!(!first.contains("range:"), "{first}");
    assert!(
        second.contains("\r\nrange: bytes=5-\r\n") && second.contains("\r\nif-range: \"a\"\r\n"),
        "{second}"
    );
    let place = Place::s3(acts).await;
    is_hello_world(&place.download().await.unwrap());
    let [_, second] = &place.server.asked()[..] else { panic!("two tries") };
    assert!(
        second.contains("\r\nrange: bytes=5-\r\n") && second.contains("\r\nif-match: \"a\"\r\n"),
        "{second}"
    );
}

#[tokio::test]
async fn what_does_not_fit_is_fetched_from_the_first_byte() {
    let cut = |more: &str| Act::Reset(promise(10, more, "HELLO"));
    let tag = "etag: \"a\"\r\n";
    for (second, tries) in [
        // The server has another content by now, and says so as HTTP wants it.
        (ok("helloworld"), 2),
        (status("412 Precondition Failed"), 3),
        (status("416 Range Not Satisfiable"), 3),
        // Parts that were not asked for, or of something else.
        (part("bytes 4-8/10", "\"a\""), 3),
        (part("bytes 0-4/10", "\"a\""), 3),
        (part("bytes 5-9/10", "\"b\""), 3),
        (part("bytes 5-9/11", "\"a\""), 3),
    ] {
        let acts = vec![cut(tag), second, ok("helloworld")];
        for place in [Place::clear(acts.clone()).await, Place::s3(acts).await] {
            is_hello_world(&place.download().await.unwrap());
            let asked = place.server.asked();
            assert_eq!(asked.len(), tries);
            assert!(asked[1].contains("\r\nrange: "), "{asked:?}");
            assert!(tries == 2 || !asked[2].contains("\r\nrange: "), "{asked:?}");
        }
    }
    for without in ["", "etag: W/\"a\"\r\n"] {
        let place = Place::clear(vec![cut(without), ok("helloworld")]).await;
        is_hello_world(&place.download().await.unwrap());
        assert!(!place.server.asked()[1].contains("range:"));
    }
}

#[tokio::test]
async fn a_server_may_say_when_to_come_again() {
    let began = std::time::Instant::now();
    let later = |seconds: u32| status(&format!("503 Busy\r\nretry-after: {seconds}"));
    let place = Place::clear(vec![later(1), ok("helloworld")]).await;
    is_hello_world(&place.download().await.unwrap());
    assert!(began.elapsed() >= Duration::from_secs(1));
    for place in [Place::clear(vec![later(100)]).await, Place::s3(vec![later(100)]).await] {
        let error = place.download().await.unwrap_err();
        assert!(error.transient && error.detail.contains("answered 503"), "{error}");
        assert_eq!(place.tries(), 1, "what does not fit into the timeout is not waited for");
    }
}

#[test]
fn a_full_disk_is_called_so() {
    let full = PullError::disk(Step::Fetch, "x could not be written", &std::io::Error::from_raw_os_error(28));
    assert_eq!(full.detail, "x could not be written: no space left on the disk");
    let other = PullError::disk(Step::Fetch, "x could not be written", &std::io::Error::from_raw_os_error(5));
    assert_eq!((other.detail.as_str(), other.transient), ("x could not be written", false));
}
