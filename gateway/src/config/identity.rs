//! Who may prove who calls: issuers of tokens, and everything else that can.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use http::HeaderName;
use url::Url;

use super::Secret;
use crate::auth::{Standing, claims::ClaimPaths, issuer::IssuerSettings, token::TokenRules};

/// Identity, when it is on: at least one issuer or adapter. Issuers are asked first, then adapters, each in the order
/// in which they are written.
#[derive(Debug, Clone)]
pub(crate) struct IdentitySettings {
    /// OpenID providers; `OIDC_ISSUER` is the first.
    pub(crate) issuers: Vec<IssuerSettings>,
    /// What else proves who calls.
    pub(crate) adapters: Vec<AdapterSettings>,
    /// Which roles are those of the management side.
    pub(crate) standing: Standing,
    /// Most tokens that are remembered.
    pub(crate) cached_tokens: usize,
}

impl IdentitySettings {
    /// Every secret in it, to keep them out of log lines.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.adapters.iter().flat_map(|adapter| match adapter {
            AdapterSettings::SharedSecret(settings) => settings.secrets.as_slice(),
            AdapterSettings::Introspection(settings) => std::slice::from_ref(&settings.client_secret),
            AdapterSettings::JwksFile(_) | AdapterSettings::HttpCheck(_) | AdapterSettings::Mtls(_) => &[],
        })
    }
}

/// One entry of `identity.adapters`; its `type` says which.
#[derive(Debug, Clone)]
pub(crate) enum AdapterSettings {
    /// `jwks_file`
    JwksFile(JwksFileSettings),
    /// `shared_secret`
    SharedSecret(SharedSecretSettings),
    /// `introspection`
    Introspection(IntrospectionSettings),
    /// `http_check`
    HttpCheck(HttpCheckSettings),
    /// `mtls`
    Mtls(MtlsSettings),
}

/// Tokens whose keys are in a file.
#[derive(Debug, Clone)]
pub(crate) struct JwksFileSettings {
    /// The file; absolute.
    pub(crate) path: PathBuf,
    /// What their tokens must say. Without an issuer every token that one of the keys may have signed is theirs.
    pub(crate) rules: TokenRules,
    /// Where claims are.
    pub(crate) claims: ClaimPaths,
}

/// Tokens that are signed with a secret both sides know.
#[derive(Debug, Clone)]
pub(crate) struct SharedSecretSettings {
    /// One, or the newer and the older while one replaces the other; each of 32 bytes at least.
    pub(crate) secrets: Vec<Secret>,
    /// What their tokens must say; HMAC algorithms only.
    pub(crate) rules: TokenRules,
    /// Where claims are.
    pub(crate) claims: ClaimPaths,
}

/// An endpoint that knows tokens (RFC 7662).
#[derive(Debug, Clone)]
pub(crate) struct IntrospectionSettings {
    /// Where it is.
    pub(crate) url: Url,
    /// Who asks it.
    pub(crate) client_id: String,
    /// How that is proved.
    pub(crate) client_secret: Secret,
    /// `iss` of its answers, if that matters.
    pub(crate) issuer: Option<String>,
    /// `aud` of its answers must name one of these; empty: that does not matter.
    pub(crate) audiences: Vec<String>,
    /// How long an answer counts, at most until the token's end; zero: for one request.
    pub(crate) cache: Duration,
    /// How far clocks may be apart.
    pub(crate) leeway: Duration,
    /// Where claims are.
    pub(crate) claims: ClaimPaths,
    /// Authorities that are trusted beside the system's, as PEM.
    pub(crate) ca: Option<Vec<u8>>,
}

/// A server that is shown each request's head and says who it is.
#[derive(Debug, Clone)]
pub(crate) struct HttpCheckSettings {
    /// Where it is.
    pub(crate) url: Url,
    /// How it is asked: GET or POST.
    pub(crate) method: http::Method,
    /// Headers of the request that it sees, beside `Authorization`.
    pub(crate) headers: Vec<HeaderName>,
    /// Whether it is asked about requests without a token.
    pub(crate) anonymous: bool,
    /// How long its answer counts for a token, whatever is requested with it; zero: for one request.
    pub(crate) cache: Duration,
    /// Authorities that are trusted beside the system's, as PEM.
    pub(crate) ca: Option<Vec<u8>>,
}

/// Client certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MtlsSettings {
    /// What of the certificate is the subject.
    pub(crate) subject: CertificateName,
    /// The tenant of them all; none: each subject is its own.
    pub(crate) tenant: Option<String>,
    /// Roles by subject.
    pub(crate) roles: BTreeMap<String, Vec<String>>,
    /// Roles of subjects that are not named there.
    pub(crate) default_roles: Vec<String>,
}

/// What of a certificate says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateName {
    /// The common name.
    Common,
    /// The whole subject, as RFC 4514 writes it.
    Distinguished,
    /// The first subject alternative name.
    Alternative,
}
