//! The front door to wherever bytes are: a location enters, a [`Fetched`] or a [`Document`] leaves.

use std::{path::Path, sync::OnceLock, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::sync::OnceCell;

use super::{
    Document, Fetched, S3Settings, Validator,
    answer::{Answer, Reply, Wish},
    fault::{Fault, Next},
    file, https,
    partial::Partial,
    progress::{Display, Progress},
    s3, too_large,
    tries::{Pace, Tries},
};
use crate::package::{Location, PackageSettings, PullError, Step, errand, store::Store};

/// Everything that fetches. Clients are made when the first source needs them, and kept.
#[derive(Debug)]
pub struct Remote {
    pub(super) max_package_bytes: u64,
    pub(super) timeout: Duration,
    pub(super) pace: Pace,
    pub(super) s3: S3Settings,
    pub(super) https: OnceLock<reqwest::Client>,
    pub(super) objects: OnceCell<aws_sdk_s3::Client>,
    display: Display,
}

impl Remote {
    /// Connects to nothing yet.
    pub fn new(settings: &PackageSettings) -> Self {
        Self {
            max_package_bytes: settings.max_package_bytes,
            timeout: settings.download_timeout,
            pace: Pace::new(settings.download_idle_timeout, settings.tries_of_refused),
            s3: settings.s3.clone(),
            https: OnceLock::new(),
            objects: OnceCell::new(),
            display: Display::detect(),
        }
    }

    /// Fetches an archive to a file of the store, within the download timeout and with several tries. A try
    /// that breaks off is continued where the server can say that the content is still the same.
    ///
    /// # Errors
    /// [`PullError`] at [`Step::Fetch`].
    pub async fn download(&self, location: &Location, store: &Store) -> Result<Fetched, PullError> {
        if let Location::File(path) = location {
            let (path, scratch, max) = (path.clone(), store.scratch(), self.max_package_bytes);
            return blocking(move || file::copy(&path, scratch, max)).await;
        }
        let place = self.place(location);
        let mut tries = Tries::within(self.timeout, self.pace);
        let work = async {
            let mut partial = Partial::new(store, self.max_package_bytes)?;
            let mut progress = Progress::new(&place, &self.display);
            loop {
                let once = self.continue_once(location, &place, &mut partial, &mut progress, store);
                let Err(fault) = once.await else { break };
                if fault.next == Next::Anew {
                    partial.forget();
                }
                tries.again(&place, fault).await?;
            }
            let fetched = partial.fetched();
            progress.end(fetched.bytes);
            Ok(fetched)
        };
        let outcome = tokio::time::timeout(self.timeout, work).await;
        outcome.unwrap_or_else(|_| Err(self.too_slow(&place, tries.last)))
    }

    /// Reads a small document once, unless it is the one that is known. Only one try: who polls has a rhythm
    /// of its own.
    ///
    /// # Errors [`PullError`] at [`Step::Fetch`]; its `cause` tells a document that is missing from one that
    /// is forbidden.
    pub async fn document(
        &self,
        location: &Location,
        known: Option<&Validator>,
        max_bytes: u64,
    ) -> Result<Document, PullError> {
        let place = self.place(location);
        let once = self.document_once(location, &place, known, max_bytes);
        match tokio::time::timeout(self.timeout, once).await {
            Ok(outcome) => outcome.map_err(|fault| fault.error),
            Err(_) => Err(self.too_slow(&place, None)),
        }
    }

    /// Reads a small document, with several tries.
    ///
    /// # Errors
    /// As [`Remote::document`].
    pub async fn read(&self, location: &Location, max_bytes: u64) -> Result<Bytes, PullError> {
        let place = self.place(location);
        // What is missing decides something here, and is no slip.
        let mut tries = Tries::within(self.timeout, Pace { tries_of_refused: 1, ..self.pace });
        let work = async {
            loop {
                match self.document_once(location, &place, None, max_bytes).await {
                    Ok(Document::Changed { bytes, .. }) => return Ok(bytes),
                    Ok(Document::Unchanged) => tries.again(&place, Fault::changed(&place)).await?,
                    Err(fault) => tries.again(&place, fault).await?,
                }
            }
        };
        let outcome = tokio::time::timeout(self.timeout, work).await;
        outcome.unwrap_or_else(|_| Err(self.too_slow(&place, tries.last)))
    }

    async fn continue_once(
        &self,
        location: &Location,
        place: &str,
        partial: &mut Partial,
        progress: &mut Progress,
        store: &Store,
    ) -> Result<(), Fault> {
        let Reply::Content(mut answer) = self.ask(location, place, &partial.wish()).await? else {
            return Err(Fault::changed(place));
        };
        partial.begin(place, &answer, store)?;
        while let Some(part) = self.next(place, &mut answer).await? {
            partial.take(place, &part).await?;
            let (bytes, total) = partial.progress();
            progress.at(bytes, total);
        }
        partial.end(place).await
    }

    async fn document_once(
        &self,
        location: &Location,
        place: &str,
        known: Option<&Validator>,
        max_bytes: u64,
    ) -> Result<Document, Fault> {
        if let Location::File(path) = location {
            let (path, known) = (path.clone(), known.cloned());
            return Ok(blocking(move || file::document(&path, known.as_ref(), max_bytes)).await?);
        }
        let mut answer = match self.ask(location, place, &known.map_or(Wish::Whole, Wish::IfChanged)).await? {
            Reply::Unchanged => return Ok(Document::Unchanged),
            Reply::Content(answer) => answer,
        };
        let validator = answer.validator();
        // Some servers send tags and do not compare them.
        if answer.strong_tag().is_some() && known == validator.as_ref() {
            return Ok(Document::Unchanged);
        }
        if answer.total.is_some_and(|total| total > max_bytes) {
            return Err(too_large(place, max_bytes).into());
        }
        let mut bytes = BytesMut::new();
        while let Some(part) = self.next(place, &mut answer).await? {
            if (bytes.len() + part.len()) as u64 > max_bytes {
                return Err(too_large(place, max_bytes).into());
            }
            bytes.extend_from_slice(&part);
        }
        if answer.total.is_some_and(|total| total != bytes.len() as u64) {
            return Err(Fault::transient(format!("{place} broke off")));
        }
        Ok(Document::Changed { bytes: bytes.freeze(), validator })
    }

    async fn ask(&self, location: &Location, place: &str, wish: &Wish<'_>) -> Result<Reply, Fault> {
        let asking = async {
            match location {
                Location::Https(url) => https::ask(self.https()?, url, wish).await,
                Location::S3 { bucket, key } => {
                    let client = self.objects.get_or_init(|| s3::client(&self.s3, None)).await;
                    s3::ask(client, self.bucket(bucket), key, wish).await
                }
                Location::File(path) | Location::Directory(path) => Err(local(path)),
            }
        };
        let outcome = tokio::time::timeout(self.pace.idle, asking).await;
        outcome.unwrap_or_else(|_| Err(Fault::silence(place, self.pace.idle)))
    }

    async fn next(&self, place: &str, answer: &mut Answer) -> Result<Option<Bytes>, Fault> {
        let outcome = tokio::time::timeout(self.pace.idle, answer.body.next(place)).await;
        outcome.unwrap_or_else(|_| Err(Fault::silence(place, self.pace.idle)))
    }

    fn https(&self) -> Result<&reqwest::Client, PullError> {
        if let Some(client) = self.https.get() {
            return Ok(client);
        }
        let client = https::client(Vec::new())?;
        Ok(self.https.get_or_init(|| client))
    }

    fn bucket<'a>(&'a self, bucket: &'a str) -> &'a str {
        if bucket.is_empty() { &self.s3.bucket } else { bucket }
    }

    /// A location as it may be shown.
    fn place(&self, location: &Location) -> String {
        match location {
            Location::S3 { bucket, key } => format!("s3://{}/{key}", self.bucket(bucket)),
            Location::File(_) | Location::Directory(_) | Location::Https(_) => location.to_string(),
        }
    }

    fn too_slow(&self, place: &str, last: Option<PullError>) -> PullError {
        let detail = format!("{place} was not downloaded within {} s", self.timeout.as_secs_f32());
        let log = last.map(|last| format!("{}: {}", last.detail, last.log)).unwrap_or_default();
        PullError::transient(Step::Fetch, detail)
            .with_hint("DOWNLOAD_TIMEOUT_SECONDS sets the limit")
            .with_log(log)
    }
}

fn local(path: &Path) -> Fault {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Fault::refused(format!("{name} is a directory, not a file"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullError> + Send + 'static,
) -> Result<T, PullError> {
    errand::run(work).await.unwrap_or_else(|error| {
        Err(PullError::refused(Step::Fetch, "reading a file failed").with_log(error.to_string()))
    })
}
