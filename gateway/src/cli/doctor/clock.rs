//! Whether our clock is right: what servers of the configuration tell beside it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use par_pool::package::Location;
use reqwest::header::DATE;
use url::Url;

use super::checked::Check;
use crate::{auth::issuer::Web, config::Config, observe::timestamp, webhooks::retry_after};

const NAME: &str = "clock";

/// Before 2026 there was no par: a machine that lost its clock begins in 1970 or with its firmware.
const SANE: Duration = Duration::from_secs(1_767_225_600);

/// `Date` has whole seconds, and an answer may take some: less than this is nobody's fault.
const SLACK: i64 = 10;

/// Letters of webhooks are refused beyond it (Standard Webhooks), and S3 refuses requests soon after.
const LETTERS: i64 = 300;

/// Most of an answer that is read; only its head matters.
const BODY: usize = 1 << 20;

/// A server that can be asked for the time.
#[derive(Debug)]
pub(super) struct Server {
    name: &'static str,
    url: Url,
    ca: Option<Vec<u8>>,
}

/// What one said.
#[derive(Debug)]
struct Told {
    who: &'static str,
    /// Seconds that its clock is before ours.
    ahead: i64,
}

/// Servers of the configuration that everybody may ask.
pub(super) fn servers(config: &Config) -> Vec<Server> {
    let registry = config.registry.as_ref().and_then(|registry| match &registry.location {
        Location::Https(url) => Some(url.clone()),
        Location::S3 { .. } => config.packages.s3.endpoint.clone(),
        Location::File(_) | Location::Directory(_) => None,
    });
    let issuers = config.identity.iter().flat_map(|identity| &identity.issuers);
    let issuers = issuers.filter_map(|issuer| {
        Some(Server { name: "the issuer", url: issuer.first_place()?, ca: issuer.ca.clone() })
    });
    registry.map(|url| Server { name: "the registry", url, ca: None }).into_iter().chain(issuers).collect()
}

/// How far the clocks of tokens may be apart, in seconds.
pub(super) fn allowed(config: &Config) -> i64 {
    let issuers = config.identity.iter().flat_map(|identity| &identity.issuers);
    issuers.map(|issuer| issuer.leeway.as_secs().cast_signed()).min().unwrap_or(LETTERS)
}

/// Asks all of them at once.
pub(super) async fn check(servers: Vec<Server>, allowed: i64) -> Check {
    let told: Vec<Told> = join_all(servers.iter().map(ask)).await.into_iter().flatten().collect();
    judge(SystemTime::now(), &told, allowed)
}

/// None: it is not there, which is told elsewhere, or has no clock.
async fn ask(server: &Server) -> Option<Told> {
    let web = Web::new(server.ca.as_deref()).ok()?;
    let answer = web.ask(web.client().get(server.url.clone()), BODY).await.ok()?;
    let date = retry_after::date(answer.headers.get(DATE)?.to_str().ok()?)?.cast_signed();
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs().cast_signed();
    Some(Told { who: server.name, ahead: date - ours })
}

/// Pure.
fn judge(now: SystemTime, told: &[Told], allowed: i64) -> Check {
    const REMEDY: &str = "let chrony or systemd-timesyncd set the clock of this host";
    let text = timestamp::text(now);
    if now < UNIX_EPOCH + SANE {
        return Check::failed(NAME, format!("{text} is in the past"), REMEDY);
    }
    let Some(worst) = told.iter().max_by_key(|told| told.ahead.abs()) else {
        return Check::ok(NAME, format!("{text}; no server of the configuration tells the time"));
    };
    let Told { who, ahead } = worst;
    let off = ahead.abs();
    let way = if *ahead > 0 { "behind" } else { "ahead of" };
    let found = format!("{text}, {off} s {way} {who}");
    if off > allowed {
        return Check::failed(NAME, format!("{found}; {allowed} s are allowed"), REMEDY);
    }
    if off > SLACK {
        return Check::warning(NAME, found, REMEDY);
    }
    Check::ok(NAME, format!("{text}, as {who} has it"))
}

#[cfg(test)]
mod tests {
    use super::{super::checked::Verdict, *};

    #[test]
    fn a_clock_is_compared_with_the_one_that_differs_most() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let verdict = |ahead: &[i64]| {
            let told: Vec<_> = ahead.iter().map(|ahead| Told { who: "the issuer", ahead: *ahead }).collect();
            judge(now, &told, 60)
        };
        for (ahead, wanted) in [
            (&[][..], Verdict::Ok),
            (&[0, -1], Verdict::Ok),
            (&[0, 30], Verdict::Warning),
            (&[-59], Verdict::Warning),
            (&[61, 0], Verdict::Failed),
            (&[-3600], Verdict::Failed),
        ] {
            assert_eq!(verdict(ahead).verdict, wanted, "{ahead:?}");
        }
        assert!(verdict(&[-3600]).found.contains("3600 s ahead of the issuer"));
        assert_eq!(judge(UNIX_EPOCH + Duration::from_secs(60), &[], 60).verdict, Verdict::Failed);
    }
}
