//! What is billed, to whom, and how.

use std::time::{Duration, SystemTime};

use par_proto::code::Code;

use super::{Check, Secret, parse, raw};
use crate::{
    billing::Measure,
    config::{BillingApi, BillingSettings},
    meter,
};

/// Where the account is, and where its streams are.
const API: &str = "https://api.stripe.com";
const STREAM: &str = "https://meter-events.stripe.com";

/// The same setting by the name that Stripe's own tools use.
const KEY_ALIAS: &str = "STRIPE_API_KEY";

/// What the runtime or its machine has done wrong.
const OURS: [Code; 8] = [
    Code::Internal,
    Code::WorkerCrashed,
    Code::QueueFull,
    Code::NotReady,
    Code::AgentDisabled,
    Code::CrashLoop,
    Code::Stopping,
    Code::MeteringUnavailable,
];

/// Minutes of a day, which every window divides: so windows are the same whenever billing begins.
const DAY: u64 = 24 * 60;

impl Check<'_> {
    /// Billing, if there is a key.
    pub(super) fn billing(&mut self, meters: bool) -> Option<BillingSettings> {
        let api_url = self
            .text(&raw::STRIPE_API_URL)
            .and_then(|_| self.parsed(&raw::STRIPE_API_URL, parse::bare_address));
        let stream_url = self.text(&raw::STRIPE_STREAM_URL);
        let stream_url = stream_url.and_then(|_| self.parsed(&raw::STRIPE_STREAM_URL, parse::bare_address));
        let window = self.value(&raw::BILLING_WINDOW, Duration::from_secs(3600), parse::limit);
        let minutes = window.as_secs() / 60;
        if !window.as_secs().is_multiple_of(60) || minutes == 0 || !DAY.is_multiple_of(minutes) {
            self.fault(
                &raw::BILLING_WINDOW,
                "must be whole minutes that divide a day, like 1m, 15m, 1h or 1d",
            );
        }
        let api = self.value(&raw::BILLING_API, BillingApi::V1, api);
        let every = self.value(&raw::BILLING_EVERY, Duration::from_secs(86_400), parse::interval);
        let since = self.text(&raw::BILLING_SINCE).and_then(|text| {
            let minute = meter::minute(&text, SystemTime::now(), false);
            minute.map_err(|problem| self.fault(&raw::BILLING_SINCE, problem)).ok()
        });
        let mut names = Vec::new();
        for (measure, setting) in [
            (Measure::Requests, &raw::BILLING_REQUESTS),
            (Measure::InputTokens, &raw::BILLING_INPUT_TOKENS),
            (Measure::OutputTokens, &raw::BILLING_OUTPUT_TOKENS),
            (Measure::ComputeSeconds, &raw::BILLING_COMPUTE_SECONDS),
        ] {
            let name = self.value(setting, format!("par_{}", measure.text()), name);
            if !name.is_empty() {
                names.push((measure, name));
            }
        }
        let customers = self.path(&raw::BILLING_CUSTOMERS);
        let by_claim = self.raw.get(&raw::BILLING_CUSTOMER_CLAIMS).is_some();
        let not_billed = if self.raw.get(&raw::BILLING_NOT_BILLED).is_some() {
            self.list(&raw::BILLING_NOT_BILLED, outcome)
        } else {
            OURS.iter().map(|code| code.text().to_owned()).collect()
        };
        let webhook_secrets = self.secrets(&raw::STRIPE_WEBHOOK_SECRET, char::is_whitespace);
        let alias = self.environment.get(KEY_ALIAS).map(str::trim).filter(|key| !key.is_empty());
        let key = self.text(&raw::STRIPE_KEY).or_else(|| alias.map(str::to_owned)).map(Secret::new)?;
        if !meters {
            self.fault(&raw::STRIPE_KEY, "needs metering.enabled: what is not recorded cannot be billed");
        }
        let fixed = |text| parse::bare_address(text).ok();
        let api_url = match api_url {
            Some(url) => url,
            None => fixed(API)?,
        };
        // Whoever has an API of his own has its streams there, too.
        let other = self.raw.get(&raw::STRIPE_API_URL).is_some().then(|| api_url.clone());
        let stream_url = stream_url.or(other).or_else(|| fixed(STREAM))?;
        let window_minutes = minutes.cast_signed().max(1);
        Some(BillingSettings {
            key,
            api_url,
            stream_url,
            api,
            every,
            window_minutes,
            since,
            names,
            customers,
            by_claim,
            not_billed,
            webhook_secrets,
        })
    }
}

fn api(text: &str) -> Result<BillingApi, String> {
    match text {
        "v1" => Ok(BillingApi::V1),
        "v2" => Ok(BillingApi::V2),
        _ => Err(format!("{text:?} is not v1 or v2")),
    }
}

/// The name of a meter's events: at most 100 characters. Empty: it is not billed.
fn name(text: &str) -> Result<String, String> {
    let is_name = text.len() <= 100 && text.chars().all(|one| one.is_ascii_graphic());
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a name of at most 100 characters"))
    }
}

fn outcome(text: &str) -> Result<String, String> {
    match Code::of(text) {
        Some(code) => Ok(code.text().to_owned()),
        None => Err(format!("{text:?} is not a code of an error")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{config, faults};
    use crate::config::{BillingApi, Flags};

    #[test]
    fn without_a_key_nothing_is_billed() {
        assert!(config([("STRIPE_API_URL", "https://pay.example")]).billing.is_none());
    }

    #[test]
    fn a_key_is_enough() {
        for name in ["STRIPE_KEY", "STRIPE_API_KEY"] {
            let billing = config([(name, "sk_live_1")]).billing.unwrap();
            assert_eq!(billing.key.reveal(), "sk_live_1");
            assert_eq!(billing.api_url.as_str(), "https://api.stripe.com/");
            assert_eq!(billing.stream_url.as_str(), "https://meter-events.stripe.com/");
            assert_eq!((billing.api, billing.window_minutes), (BillingApi::V1, 60));
            assert_eq!(billing.every.as_secs(), 86_400);
            assert_eq!(billing.names.len(), 4);
            assert!(billing.not_billed.contains(&"worker_crashed".to_owned()));
        }
        let own = config([("STRIPE_KEY", "k"), ("STRIPE_API_URL", "http://127.0.0.1:9")]).billing.unwrap();
        assert_eq!(own.stream_url, own.api_url);
    }

    #[test]
    fn addresses_must_be_safe() {
        let told =
            faults(&Flags::default(), &[("STRIPE_KEY", "k"), ("STRIPE_API_URL", "http://pay.example")]);
        assert!(told.len() == 1 && told[0].contains("STRIPE_API_URL"), "{told:?}");
    }
}
