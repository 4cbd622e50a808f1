//! What somebody may do, and how the edge tells it to the management side.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Set by the edge on inner sockets only. All `X-PAR-*` headers of clients are removed before.
pub(crate) const ROLE_HEADER: HeaderName = HeaderName::from_static("x-par-role");

/// What somebody may do; each may do what the ones before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Nobody: identity is on and there is no valid token.
    None,
    /// May call agents.
    Caller,
    /// May also look.
    Viewer,
    /// May also change.
    Operator,
}

impl Role {
    /// The role as the header says it.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Caller => "caller",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }

    /// The role that the edge has decided. Absent, unknown and contradicting headers are nobody.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(ROLE_HEADER).iter();
        match (values.next().map(HeaderValue::as_bytes), values.next()) {
            (Some(b"caller"), None) => Self::Caller,
            (Some(b"viewer"), None) => Self::Viewer,
            (Some(b"operator"), None) => Self::Operator,
            _ => Self::None,
        }
    }

    /// Writes the header as the edge does; whatever was there before is replaced.
    #[cfg(test)]
    pub(crate) fn stamp(self, headers: &mut HeaderMap) {
        headers.insert(ROLE_HEADER, HeaderValue::from_static(self.text()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_role_replaces_what_a_client_sent() {
        for role in [Role::None, Role::Caller, Role::Viewer, Role::Operator] {
            let mut headers = HeaderMap::new();
            headers.append(ROLE_HEADER, HeaderValue::from_static("operator"));
            headers.append(ROLE_HEADER, HeaderValue::from_static("operator"));
            assert_eq!(Role::of(&headers), Role::None);
            role.stamp(&mut headers);
            assert_eq!(Role::of(&headers), role);
        }
        assert_eq!(Role::of(&HeaderMap::new()), Role::None);
        assert!(Role::Operator > Role::Viewer && Role::Viewer > Role::Caller);
    }
}
