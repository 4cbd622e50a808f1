//! Whether the certificate of our ports can be shown, and for how long.

use std::time::{Duration, SystemTime};

use super::checked::Check;
use crate::{
    config::tls::{ServerCertificate, Tls},
    observe::timestamp,
    tls::{Pair, read_authorities},
};

const NAME: &str = "tls";

/// When somebody should look: the alert of `conf/prometheus` begins at the same time.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Reads what the configuration names.
pub(super) fn check(tls: Option<&Tls>, now: SystemTime) -> Check {
    let Some(tls) = tls else { return Check::skipped(NAME, "off") };
    if let Some(Err(fault)) = tls.clients.authorities().map(|path| read_authorities(path)) {
        return Check::failed(NAME, fault.told(), "correct the file of tls.client_ca");
    }
    match &tls.certificate {
        ServerCertificate::SelfSigned => Check::ok(NAME, "self-signed, renewed by par itself"),
        ServerCertificate::Files { chain, key } => match Pair::read(chain, key) {
            Ok(pair) => judge(&chain.display().to_string(), pair.not_before(), pair.not_after(), now),
            Err(fault) => Check::failed(NAME, fault.told(), "correct the files of TLS_CERT and TLS_KEY"),
        },
    }
}

/// Pure.
fn judge(chain: &str, from: SystemTime, until: SystemTime, now: SystemTime) -> Check {
    const REMEDY: &str =
        "renew it, or look why that does not happen by itself; par reads the files again when they change";
    let until_text = timestamp::text(until);
    if now < from {
        let found = format!("{chain} is not valid before {}", timestamp::text(from));
        return Check::failed(
            NAME,
            found,
            "set the clock of this host, or use a certificate that is valid now",
        );
    }
    match until.duration_since(now) {
        Ok(left) if left > SOON => Check::ok(NAME, format!("{chain}, valid until {until_text}")),
        Ok(left) => {
            let found = format!("{chain} is valid until {until_text}, for {} h", left.as_secs() / 3600);
            Check::warning(NAME, found, REMEDY)
        }
        Err(_) => Check::failed(NAME, format!("{chain} has expired: {until_text}"), REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checked::Verdict, *};

    #[test]
    fn a_certificate_is_good_soon_over_over_or_not_yet_there() {
        let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
        let verdict = |now| judge("tls.crt", day(100), day(200), now).verdict;
        assert_eq!(verdict(day(99)), Verdict::Failed);
        assert_eq!(verdict(day(150)), Verdict::Ok);
        assert_eq!(verdict(day(190)), Verdict::Warning);
        assert_eq!(verdict(day(201)), Verdict::Failed);
        assert_eq!(check(None, day(1)).verdict, Verdict::Skipped);
    }
}
