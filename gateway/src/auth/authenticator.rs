//! The extension point of identity: what proves who calls.
//!
//! # Adding an authenticator
//!
//! 1. A type in a file of its own in `adapters/` that implements [`Authenticator`].
//! 2. Its settings: a struct and a variant of `AdapterSettings` in `config/identity.rs`, read from the entries of
//!    `identity.adapters` in `config/check/identity/adapters.rs`. The compiler then asks for the rest.
//! 3. One line in `adapters/mod.rs` that makes it from them.
//! 4. Its keys in `conf/par.yaml`, and a test in `tests/e2e/adapters.rs` that it accepts and refuses.
//!
//! An authenticator looks at the [`Evidence`] of one request and answers
//!
//! * `Ok(None)`: this is not mine, ask the next one;
//! * `Ok(Some(proof))`: this is who calls, and how long that may be remembered;
//! * `Err(AuthFault::Refused)`: it claims to be mine and is wrong; nobody else is asked;
//! * `Err(AuthFault::Unavailable)`: it may be mine, but what would prove it does not answer; the others are asked, and
//!   only one that accepts makes good for it.
//!
//! Issuers are asked before adapters, each in the order in which they are configured. What was proved by a token is
//! remembered by that token alone: an answer that depends on anything else in the request must say
//! `remember_until: None`.
//!
//! Whatever it reads from the request is untrusted. It must not log the token, and it must not make one request of a
//! stranger become many requests to somebody else. What helps:
//!
//! * [`token::parse`](super::token::parse), [`TokenPolicy`](super::token::TokenPolicy) for signed tokens: form,
//!   signature and every claim that decides;
//! * [`ClaimPaths`](super::claims::ClaimPaths) makes a [`Caller`] of claims and refuses names that nobody should have;
//! * `adapters/witness.rs` asks somebody else with limits of time, size and number, and tells an outage once;
//! * `adapters/flights.rs` lets equal questions wait for one answer.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use async_trait::async_trait;

use super::{Caller, token::KeyLife};

/// What one request shows about who sends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// The one bearer token of `Authorization`.
    pub(crate) token: Option<&'a str>,
    /// The client's certificate, already verified against the configured authorities.
    pub(crate) certificate: Option<&'a ClientCertificate>,
    /// The address of the client: the peer, or what a trusted proxy says.
    pub(crate) address: Option<IpAddr>,
    /// The method.
    pub(crate) method: &'a http::Method,
    /// The path with its query, as sent.
    pub(crate) path: &'a str,
    /// All headers, for checks that are made elsewhere.
    pub(crate) headers: &'a http::HeaderMap,
    /// Names the request in log lines.
    pub(crate) request_id: &'a str,
}

/// A verified client certificate: what identifies its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The subject as RFC 4514 writes it.
    pub(crate) subject: String,
    /// The common name.
    pub(crate) common_name: Option<String>,
    /// Names of hosts, URIs and mail addresses (subject alternative names).
    pub(crate) alternatives: Vec<String>,
    /// SHA-256 of the DER form, hexadecimal.
    pub(crate) fingerprint: String,
    /// When it ends.
    pub(crate) not_after: SystemTime,
}

/// A proved identity.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    /// Who.
    pub(crate) caller: Arc<Caller>,
    /// Until when the same token proves the same without being looked at again; `None`: not at all.
    pub(crate) remember_until: Option<SystemTime>,
    /// The key that proved it: not remembered longer than that is in use. `None`: proved without one.
    pub(crate) key: Option<KeyLife>,
}

/// Why somebody is nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthFault {
    /// What was shown is wrong; the reason is for the log and the metric, the client hears "invalid token".
    #[error("{reason}: {detail}")]
    Refused {
        /// Of a closed set.
        reason: Reason,
        /// What exactly, without the token itself.
        detail: String,
    },
    /// What would prove it does not answer.
    #[error("{authenticator} is unavailable: {detail}")]
    Unavailable {
        /// Which.
        authenticator: String,
        /// What happened.
        detail: String,
    },
}

impl AuthFault {
    /// A refusal.
    pub(crate) fn refused(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Refused { reason, detail: detail.into() }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why a proof was refused; the label of `par_auth_total{outcome}`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason once.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As label and in log lines.
            pub(crate) const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// Nothing was shown.
    Missing = "missing";
    /// Not a token at all, or larger than tokens are.
    Malformed = "malformed";
    /// An algorithm that is not on the list.
    Algorithm = "algorithm";
    /// A header of the token that must not be there (`crit`, `jku`, `jwk`, `x5u`, `x5c`).
    Header = "header";
    /// No key of that name.
    UnknownKey = "unknown_key";
    /// The signature does not fit.
    Signature = "signature";
    /// Issued by somebody else.
    Issuer = "issuer";
    /// Meant for somebody else.
    Audience = "audience";
    /// Over.
    Expired = "expired";
    /// Not yet.
    NotYet = "not_yet";
    /// Claims that are missing or of the wrong kind.
    Claims = "claims";
    /// Whoever was asked says that it is not valid.
    Inactive = "inactive";
    /// Several tokens, or one beside the header.
    Ambiguous = "ambiguous";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// Proves who calls.
#[async_trait]
pub(crate) trait Authenticator: Send + Sync + std::fmt::Debug {
    /// Its name in log lines: the type, and what tells it from others of the type.
    fn name(&self) -> &str;

    /// Looks at one request.
    async fn authenticate(&self, evidence: &Evidence<'_>) -> Result<Option<Proof>, AuthFault>;
}
