//! Where packages come from by themselves: the index, S3, and who may say that the index has changed.

use std::{path::absolute, time::Duration};

use par_pool::{
    fleet::RegistrySettings,
    package::{Location, S3Settings, Source},
};

use super::{Check, Secret, parse, raw};

impl Check<'_> {
    /// The index, if there is one.
    pub(super) fn registry(&mut self) -> Option<RegistrySettings> {
        let poll_interval =
            self.value(&raw::REGISTRY_POLL_INTERVAL, Duration::from_secs(30), parse::interval);
        self.text(&raw::REGISTRY_URL)?;
        let location = self.parsed(&raw::REGISTRY_URL, index)?;
        Some(RegistrySettings { location, poll_interval })
    }

    /// The secrets of `POST /runtime/webhooks/registry`; none: it is off.
    pub(super) fn registry_secrets(&mut self) -> Vec<Secret> {
        self.secrets(&raw::REGISTRY_WEBHOOK_SECRET, |c| c.is_whitespace() || c == ',')
    }

    /// Where `s3://` leads.
    pub(super) fn s3(&mut self) -> S3Settings {
        let endpoint = match self.text(&raw::S3_ENDPOINT) {
            Some(_) => self.parsed(&raw::S3_ENDPOINT, parse::bare_address),
            None => None,
        };
        S3Settings {
            bucket: self.named(&raw::S3_BUCKET, "pixell-agent-packages", parse::bucket),
            region: Some(self.named(&raw::S3_REGION, "us-east-2", parse::region)),
            endpoint,
        }
    }

    /// A name of which an empty one counts as not given.
    fn named(
        &mut self,
        setting: &super::Setting,
        default: &str,
        parse: impl Fn(&str) -> Result<String, String>,
    ) -> String {
        match self.text(setting) {
            Some(_) => self.value(setting, default.to_owned(), parse),
            None => default.to_owned(),
        }
    }
}

fn index(text: &str) -> Result<Location, String> {
    let source = Source::parse(text).map_err(|error| error.to_string())?;
    if source.sha256.is_some() {
        return Err("an index changes and has no digest; leave #sha256= away".to_owned());
    }
    match source.location {
        Location::Directory(path) => Err(format!("{} is a directory; name the index in it", path.display())),
        Location::File(path) => {
            let whole = absolute(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(Location::File(whole))
        }
        Location::Https(url) => Ok(Location::Https(url)),
        Location::S3 { bucket, key } => Ok(Location::S3 { bucket, key }),
    }
}
