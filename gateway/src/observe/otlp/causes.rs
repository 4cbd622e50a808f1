//! Why there was no answer, in words.

use std::{error::Error, io};

/// What has failed, with its causes from the outermost on. A certificate that is not good comes first: whoever reads it
/// has to change a setting, and not to look for a receiver.
pub(super) fn causes(what: &str, first: &(dyn Error + 'static)) -> String {
    let mut text = what.to_owned();
    let mut next = Some(first);
    while let Some(error) = next {
        if is_untrusted(error) {
            return format!("its certificate is not trusted ({error}; otlp.certificate names authorities)");
        }
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    // An error of the system does not show the one that it carries as its source.
    let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
        || carried.is_some_and(|carried| is_untrusted(carried))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_good_is_named_wherever_it_is_found() {
        let bad = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        for error in [io::Error::other(bad()), io::Error::other(io::Error::other(bad()))] {
            let text = causes("the request failed", &error);
            assert!(
                text.starts_with("its certificate is not trusted") && text.contains("UnknownIssuer"),
                "{text}"
            );
        }
        let text = causes("nobody is there", &io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(text, "nobody is there: connection refused");
    }
}
