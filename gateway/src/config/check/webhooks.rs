//! Who is told what happens, and how the letters are signed.

use super::{Check, Secret, Setting, Webhooks, parse, raw};
use crate::config::raw::Written;

impl Check<'_> {
    /// The receiver and its secrets; a receiver without one could not tell our letters from others'.
    pub(super) fn webhooks(&mut self, warnings: &mut Vec<String>) -> Option<Webhooks> {
        let secrets = self.secrets(&raw::WEBHOOK_SECRET, char::is_whitespace);
        for (secret, place) in secrets.iter().zip(1..) {
            if let Err(problem) = parse::signing_secret(secret.reveal()) {
                self.fault(&raw::WEBHOOK_SECRET, format!("secret {place} {problem}"));
            }
        }
        if self.text(&raw::WEBHOOK_URL).is_none() {
            if !secrets.is_empty() {
                warnings.push("WEBHOOK_SECRET has no effect: WEBHOOK_URL is not set".to_owned());
            }
            return None;
        }
        if secrets.is_empty() {
            self.fault(&raw::WEBHOOK_SECRET, "is needed: WEBHOOK_URL is set, and its letters must be signed");
        }
        let url = self.parsed(&raw::WEBHOOK_URL, parse::web_address)?;
        Some(Webhooks { url, secrets })
    }

    /// Secrets, the newer and the older while one replaces the other: a sequence in the file, separated elsewhere.
    pub(super) fn secrets(&mut self, setting: &Setting, separates: impl Fn(char) -> bool) -> Vec<Secret> {
        let written = match self.raw.get(setting) {
            None | Some((Written::Tree(_), _)) => return Vec::new(),
            Some((Written::One(text), _)) => vec![text.clone()],
            Some((Written::Many(texts), _)) => texts.clone(),
        };
        let parts = written.iter().flat_map(|text| text.split(&separates));
        parts.filter(|part| !part.is_empty()).map(Secret::new).collect()
    }
}
