//! What is particular about object stores.

use super::*;

#[tokio::test]
async fn objects_are_got_with_a_signature_and_nothing_else_is_asked() {
    let place = Place::s3(vec![ok("helloworld")]).await;
    is_hello_world(&place.download().await.unwrap());
    let asked = place.server.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("get /usual/deep/a.apkg"), "{asked:?}");
    assert!(asked[0].contains("\r\nauthorization: aws4-hmac-sha256 credential=akidexample/"), "{asked:?}");
    assert!(asked[0].contains("/us-east-2/s3/aws4_request"), "{asked:?}");
}

#[tokio::test]
async fn what_an_object_store_means_is_in_its_code() {
    let fault = |line: &str, code: &str| {
        let body = format!("<Error><Code>{code}</Code><Message>so</Message></Error>");
        say(format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
    };
    for (act, tries, text) in [
        (fault("503 Slow Down", "SlowDown"), 4, "answered 503 SlowDown"),
        (fault("400 Bad Request", "RequestTimeout"), 4, "answered 400 RequestTimeout"),
        (fault("400 Bad Request", "ExpiredToken"), 1, "answered 400 ExpiredToken"),
        (fault("404 Not Found", "NoSuchKey"), 1, "s3://usual/deep/a.apkg answered 404 NoSuchKey"),
        (fault("403 Forbidden", "AccessDenied"), 1, "answered 403 AccessDenied"),
    ] {
        let place = Place::s3(vec![act]).await;
        let error = place.download().await.unwrap_err();
        assert!(error.detail.contains(text), "{error}");
        assert_eq!((place.tries(), error.transient), (tries, tries > 1), "{error}");
    }
}

#[tokio::test]
async fn without_credentials_or_region_nothing_is_asked_and_the_cure_is_named() {
    let mut place = Place::s3(vec![ok("helloworld")]).await;
    let config = aws_config::provider_config::ProviderConfig::without_region();
    let none = aws_config::profile::ProfileFileCredentialsProvider::builder()
        .configure(&config.with_http_client(s3::connector()))
        .profile_name("there-is-none-of-this-name")
        .build();
    let client = s3::client(&place.remote.s3, Some(SharedCredentialsProvider::new(none))).await;
    place.remote.objects = OnceCell::new_with(Some(client));
    let error = place.download().await.unwrap_err();
    assert!(!error.transient && error.detail.contains("there are no AWS credentials"), "{error:?}");
    assert!(error.hint.unwrap().contains("standard AWS chain"));
    let settings = S3Settings { region: None, ..place.remote.s3.clone() };
    let credentials = Credentials::new("AKIDEXAMPLE", "very-secret", None, None, "tests");
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(s3::connector())
        .endpoint_url(settings.endpoint.unwrap());
    place.remote.objects = OnceCell::new_with(Some(aws_sdk_s3::Client::from_conf(config.build())));
    let error = place.download().await.unwrap_err();
    assert!(!error.transient && error.detail.contains("with these settings"), "{error:?}");
    assert_eq!(place.tries(), 0);
}
