//! Whose package it is: fetched bytes enter, the fingerprint of the trusted key that signed them leaves.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use super::{Line, blocking};
use crate::package::{
    Cause, Location, PullError, Signature, Source, Step, fetch::Fetched, signature::SignaturePolicy,
};

/// Most bytes of a signature. One of RSA 4096 has 600, armoured 900; a few of them may be in one file.
const MAX_SIGNATURE: u64 = 64 * 1024;
/// Endings of signatures beside a package, in the order in which they are looked for.
const ENDINGS: [&str; 2] = [".asc", ".sig"];

impl Line {
    /// Verifies the signature of what was fetched, if signatures are required.
    pub(super) async fn check_signature(
        &self,
        fetched: &Fetched,
        source: &Source,
    ) -> Result<Option<String>, PullError> {
        let SignaturePolicy::Required(keyring) = &self.settings.signatures else { return Ok(None) };
        let signature = self.signature(source).await?;
        let (keyring, path) = (Arc::clone(keyring), fetched.file.path().to_path_buf());
        let verified = blocking(move || {
            let verified = keyring.verify(&path, &signature);
            verified.map_err(|error| PullError::refused(Step::Verify, error.to_string()))
        });
        Ok(Some(verified.await?.fingerprint))
    }

    /// Refuses what cannot be signed, if signatures are required.
    pub(super) fn check_unsigned(&self) -> Result<(), PullError> {
        match &self.settings.signatures {
            SignaturePolicy::NotNeeded => Ok(()),
            SignaturePolicy::Required(_) => Err(PullError::refused(
                Step::Verify,
                "a package directory cannot be signed, and signatures are required",
            )
            .with_hint("build an archive and sign that, or set VERIFY_SIGNATURES=off")),
        }
    }

    async fn signature(&self, source: &Source) -> Result<Arc<[u8]>, PullError> {
        let failed = |error: PullError| PullError {
            step: Step::Verify,
            detail: format!("the signature: {}", error.detail),
            cause: Cause::Other,
            ..error
        };
        match &source.signature {
            Some(Signature::Bytes(bytes)) if bytes.len() as u64 > MAX_SIGNATURE => {
                let detail = format!("the signature is larger than the {MAX_SIGNATURE} bytes allowed");
                return Err(PullError::refused(Step::Verify, detail));
            }
            Some(Signature::Bytes(bytes)) => return Ok(Arc::clone(bytes)),
            Some(Signature::At(place)) => {
                let read = self.remote.read(place, MAX_SIGNATURE).await;
                return read.map(|bytes| Arc::from(&*bytes)).map_err(failed);
            }
            None => {}
        }
        for place in ENDINGS.iter().filter_map(|ending| beside(&source.location, ending)) {
            match self.remote.read(&place, MAX_SIGNATURE).await {
                Ok(bytes) => return Ok(Arc::from(&*bytes)),
                // S3 answers 403 for what is missing to those who may not list.
                Err(error) if matches!(error.cause, Cause::Missing | Cause::Forbidden) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let detail = format!("{} is not signed, and signatures are required", name(&source.location));
        Err(PullError::refused(Step::Verify, detail)
            .with_hint("put its detached signature beside it, as .asc or .sig"))
    }
}

/// The place of a signature beside a package.
fn beside(location: &Location, ending: &str) -> Option<Location> {
    match location {
        Location::File(path) => {
            let mut name = OsString::from(path);
            name.push(ending);
            Some(Location::File(PathBuf::from(name)))
        }
        Location::Https(url) => {
            let mut url = url.clone();
            url.set_path(&format!("{}{ending}", url.path()));
            Some(Location::Https(url))
        }
        Location::S3 { bucket, key } => {
            Some(Location::S3 { bucket: bucket.clone(), key: format!("{key}{ending}") })
        }
        Location::Directory(_) => None,
    }
}

/// A package as clients may see it: no directories of the host.
fn name(location: &Location) -> String {
    match location {
        Location::File(path) | Location::Directory(path) => {
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        }
        Location::Https(_) | Location::S3 { .. } => location.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_beside_its_package() {
        for (package, signature) in [
            ("/a/b.apkg", "/a/b.apkg.asc"),
            ("https://h/a%20b.apkg?token=x", "https://h/a%20b.apkg.asc?token=x"),
            ("s3://bucket/a b.apkg", "s3://bucket/a b.apkg.asc"),
        ] {
            let [package, signature] = [package, signature].map(|text| Source::parse(text).unwrap().location);
            assert!(beside(&package, ".asc") == Some(signature));
        }
        assert!(beside(&Location::Directory("/a".into()), ".asc").is_none());
    }
}
