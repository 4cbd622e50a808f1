//! Small documents, asked for again and again.

use super::*;

#[tokio::test]
async fn an_unchanged_document_is_not_sent_again() {
    let tagged =
        say("HTTP/1.1 200 OK\r\netag: \"a\"\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
            .to_owned());
    let not = status("304 Not Modified");
    for place in [
        Place::clear(vec![tagged.clone(), not.clone(), tagged.clone(), ok("other")]).await,
        Place::s3(vec![tagged.clone(), not.clone(), tagged.clone(), ok("other")]).await,
    ] {
        let Document::Changed { bytes, validator } = place.read(None).await.unwrap() else { panic!("new") };
        assert_eq!(bytes, "hello");
        let known = validator.unwrap();
        assert_eq!(place.read(Some(&known)).await.unwrap(), Document::Unchanged);
        assert!(place.server.asked()[1].contains("\r\nif-none-match: \"a\"\r\n"));
        // A server that sends the same tag with all of it means the same.
        assert_eq!(place.read(Some(&known)).await.unwrap(), Document::Unchanged);
        let other = Document::Changed { bytes: "other".into(), validator: None };
        assert_eq!(place.read(Some(&known)).await.unwrap(), other);
    }
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let dated = say(promise(5, &format!("last-modified: {date}\r\nconnection: close\r\n"), "hello"));
    for place in [Place::clear(vec![dated.clone(), not.clone()]).await, Place::s3(vec![dated, not]).await] {
        let Document::Changed { validator, .. } = place.read(None).await.unwrap() else { panic!("new") };
        assert_eq!(place.read(validator.as_ref()).await.unwrap(), Document::Unchanged);
        let second = place.server.asked()[1].clone();
        assert!(second.contains(&format!("\r\nif-modified-since: {}\r\n", date.to_lowercase())), "{second}");
    }
}

#[tokio::test]
async fn a_document_is_asked_for_once_and_read_up_to_its_limit() {
    let big = "x".repeat(1001);
    let unbounded = say(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{big}"));
    for (act, text, transient, cause) in [
        (status("503 Busy"), "answered 503", true, Cause::Other),
        (status("304 Not Modified"), "answered 304", false, Cause::Other),
        (status("404 Not Found"), "answered 404", false, Cause::Missing),
        (say(promise(50, "", "hel")), "broke off", true, Cause::Other),
        (ok(&big), "larger than the 1000 bytes", false, Cause::TooLarge),
        (unbounded, "larger than the 1000 bytes", false, Cause::TooLarge),
    ] {
        for place in [Place::clear(vec![act.clone()]).await, Place::s3(vec![act]).await] {
            let error = place.read(None).await.unwrap_err();
            assert!(error.detail.contains(text), "{error}");
            assert_eq!((error.transient, error.cause, place.tries()), (transient, cause, 1), "{error}");
        }
    }
    let place = Place::clear(vec![status("503 Busy"), ok("hello")]).await;
    rustls::crypto::ring::default_provider().install_default().ok();
    assert_eq!(place.remote.read(&place.location, 1000).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_file_is_a_document_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index.json");
    let remote = Remote::new(&settings(directory.path()));
    let read =
        async |known: Option<&Validator>| remote.document(&Location::File(path.clone()), known, 10).await;
    assert_eq!(read(None).await.unwrap_err().cause, Cause::Missing);
    std::fs::write(&path, "one").unwrap();
    let fresh = Document::Changed { bytes: "one".into(), validator: None };
    assert_eq!(read(None).await.unwrap(), fresh, "it may be written again within the same tick");
    let old = std::time::SystemTime::now() - Duration::from_secs(5);
    std::fs::File::open(&path).unwrap().set_modified(old).unwrap();
    let Document::Changed { validator: Some(known), .. } = read(None).await.unwrap() else { panic!("known") };
    assert_eq!(read(Some(&known)).await.unwrap(), Document::Unchanged);
    std::fs::write(directory.path().join("new"), "two").unwrap();
    std::fs::rename(directory.path().join("new"), &path).unwrap();
    assert!(matches!(read(Some(&known)).await.unwrap(), Document::Changed { bytes, .. } if bytes == "two"));
    std::fs::write(&path, "elevenbytes").unwrap();
    assert!(read(Some(&known)).await.unwrap_err().detail.contains("larger than the 10 bytes"));
    let directory = Location::Directory(directory.path().to_path_buf());
    assert!(remote.document(&directory, None, 10).await.unwrap_err().detail.contains("is a directory"));
}
