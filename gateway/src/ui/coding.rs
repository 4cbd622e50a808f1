//! Which of the forms of a file a client takes: `Accept-Encoding` (RFC 9110 §12.5.3).

use http::{HeaderMap, header};

/// A form in which a package has a file beside the file itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// `.br`
    Brotli,
    /// `.gz`
    Gzip,
}

impl Coding {
    /// The better one first: what is packed by hand is smaller in brotli.
    pub(super) const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    /// What the name of such a file ends with.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }

    /// As in `Content-Encoding`.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// The first of `offered` that the client takes; none: the file as it is. Weights other than zero are all alike: the
/// client takes it, and we have it.
pub(super) fn choose(headers: &HeaderMap, offered: impl IntoIterator<Item = Coding>) -> Option<Coding> {
    offered.into_iter().find(|coding| takes(headers, *coding))
}

fn takes(headers: &HeaderMap, coding: Coding) -> bool {
    let items = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut any = false;
    for item in items.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let is_refused = parts
            .filter_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .any(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0));
        if name.eq_ignore_ascii_case(coding.text()) {
            return !is_refused;
        }
        any |= name == "*" && !is_refused;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accepted: &[&str], offered: &[Coding]) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        for value in accepted {
            headers.append(header::ACCEPT_ENCODING, value.parse().unwrap());
        }
        choose(&headers, offered.iter().copied())
    }

    #[test]
    fn a_packed_form_is_sent_only_to_who_takes_it() {
        for (accepted, wanted) in [
            (&["gzip, deflate, br"][..], Some(Coding::Brotli)),
            (&["gzip"], Some(Coding::Gzip)),
            (&["gzip;q=0.5, br;q=0.1"], Some(Coding::Brotli)),
            (&["br;q=0, gzip"], Some(Coding::Gzip)),
            (&["br; q=0.000", "GZIP"], Some(Coding::Gzip)),
            (&["*"], Some(Coding::Brotli)),
            (&["*, br;q=0"], Some(Coding::Gzip)),
            (&["*;q=0"], None),
            (&["identity"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(chosen(accepted, &Coding::ALL), wanted, "{accepted:?}");
        }
        assert_eq!(chosen(&["br, gzip"], &[Coding::Gzip]), Some(Coding::Gzip));
        assert_eq!(chosen(&["br, gzip"], &[]), None);
    }
}
