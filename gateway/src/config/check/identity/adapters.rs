//! What else than an issuer may prove who calls: the entries of `identity.adapters`, by their type.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderName, Method, header};

use super::{
    super::{Check, entry::Entry, parse, raw},
    Common, file, name, read,
};
use crate::{
    auth::token::{Algorithm, KeySet, TokenRules},
    config::{
        Secret,
        identity::{
            AdapterSettings, CertificateName, HttpCheckSettings, IntrospectionSettings, JwksFileSettings,
            MtlsSettings, SharedSecretSettings,
        },
        raw::Written,
    },
};

/// Shortest shared secret in bytes: RFC 7518 §3.2 wants no less than the 256 bits of HS256.
const SHARED_SECRET: usize = 32;

/// Longest time that answers of others are remembered: a token that was taken back must end some time.
const LONGEST_CACHE: Duration = Duration::from_hours(1);

/// Every `type`, for people who mistyped theirs.
const TYPES: &str = "jwks_file, shared_secret, introspection, http_check, mtls";

impl Check<'_> {
    /// The adapters, in the order in which they are written.
    pub(super) fn adapters(&mut self, common: &Common) -> Vec<AdapterSettings> {
        let mut adapters = Vec::new();
        for mut entry in self.entries(&raw::ADAPTERS) {
            let adapter = self.adapter(&mut entry, common);
            self.tell(&raw::ADAPTERS, entry.close());
            adapters.extend(adapter);
        }
        adapters
    }

    fn adapter(&self, entry: &mut Entry, common: &Common) -> Option<AdapterSettings> {
        match entry.needed("type", name).as_deref() {
            Some("jwks_file") => jwks_file(entry, common).map(AdapterSettings::JwksFile),
            Some("shared_secret") => shared_secret(entry, common).map(AdapterSettings::SharedSecret),
            Some("introspection") => introspection(entry, common).map(AdapterSettings::Introspection),
            Some("http_check") => http_check(entry, common).map(AdapterSettings::HttpCheck),
            Some("mtls") => {
                if !self.asks_for_certificates() {
                    entry.fault("type", "mtls needs tls.client_ca, and tls.client_auth optional or require");
                }
                Some(AdapterSettings::Mtls(mtls(entry)))
            }
            // The keys of an unknown type are no faults of their own.
            Some(other) => {
                entry.fault("type", format!("{other:?} is not one of {TYPES}"));
                entry.skip();
                None
            }
            None => {
                entry.skip();
                None
            }
        }
    }

    /// Whether clients may show certificates at all.
    fn asks_for_certificates(&self) -> bool {
        let written = |setting| match self.raw.get(setting) {
            Some((Written::One(text), _)) => text.trim(),
            Some((Written::Many(_) | Written::Tree(_), _)) | None => "",
        };
        !written(&raw::TLS_CLIENT_CA).is_empty() && !matches!(written(&raw::TLS_CLIENT_AUTH), "" | "off")
    }
}

fn jwks_file(entry: &mut Entry, common: &Common) -> Option<JwksFileSettings> {
    let path = entry.needed("path", |text| {
        let path = file(text)?;
        let keys = KeySet::parse(&read(&path)?);
        keys.map(|_| path).map_err(|problem| format!("{text:?} is no file of keys: {problem}"))
    });
    let rules = TokenRules {
        issuer: entry.value("issuer", name),
        audiences: entry.needed_list("audience", name),
        algorithms: common.algorithms(entry),
        leeway: common.leeway(entry),
    };
    let claims = common.claims(entry);
    Some(JwksFileSettings { path: path?, rules, claims })
}

fn shared_secret(entry: &mut Entry, common: &Common) -> Option<SharedSecretSettings> {
    let long_enough = |text: &str| match text.len() {
        ..SHARED_SECRET => Err(format!("must have {SHARED_SECRET} bytes at least, not {}", text.len())),
        _ => Ok(Secret::new(text)),
    };
    let secrets = entry.needed_list("secret", long_enough);
    let rules = TokenRules {
        issuer: entry.value("issuer", name),
        audiences: entry.needed_list("audience", name),
        algorithms: entry.list("algorithms", symmetric).unwrap_or_else(|| vec![Algorithm::HS256]),
        leeway: common.leeway(entry),
    };
    let claims = common.claims(entry);
    (!secrets.is_empty()).then_some(SharedSecretSettings { secrets, rules, claims })
}

fn introspection(entry: &mut Entry, common: &Common) -> Option<IntrospectionSettings> {
    let url = entry.needed("url", parse::bare_address);
    let client_id = entry.needed("client_id", name);
    let client_secret = entry.needed("client_secret", |text| Ok(Secret::new(text)));
    let issuer = entry.value("issuer", name);
    let audiences = entry.list("audience", name).unwrap_or_default();
    let cache = entry.value("cache", remembered).unwrap_or(Duration::from_mins(1));
    let leeway = common.leeway(entry);
    let (claims, ca) = (common.claims(entry), common.ca(entry));
    Some(IntrospectionSettings {
        url: url?,
        client_id: client_id?,
        client_secret: client_secret?,
        issuer,
        audiences,
        cache,
        leeway,
        claims,
        ca,
    })
}

fn http_check(entry: &mut Entry, common: &Common) -> Option<HttpCheckSettings> {
    let url = entry.needed("url", parse::bare_address);
    let method = entry.value("method", |text| match text.to_ascii_uppercase().as_str() {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        _ => Err(format!("{text:?} is not GET or POST")),
    });
    let headers = entry.list("headers", passed_on).unwrap_or_default();
    let anonymous = entry.value("anonymous", parse::boolean).unwrap_or(false);
    let cache = entry.value("cache", remembered).unwrap_or(Duration::ZERO);
    let ca = common.ca(entry);
    Some(HttpCheckSettings {
        url: url?,
        method: method.unwrap_or(Method::GET),
        headers,
        anonymous,
        cache,
        ca,
    })
}

fn mtls(entry: &mut Entry) -> MtlsSettings {
    let subject = entry.value("subject", |text| match text {
        "cn" => Ok(CertificateName::Common),
        "dn" => Ok(CertificateName::Distinguished),
        "san" => Ok(CertificateName::Alternative),
        other => Err(format!("{other:?} is not one of cn, dn, san")),
    });
    let tenant = entry.value("tenant", name);
    let default_roles = entry.list("default_roles", name).unwrap_or_default();
    let mut roles = BTreeMap::new();
    if let Some(mut section) = entry.section("roles") {
        for subject in section.keys() {
            let given = section.list(&subject, name).unwrap_or_default();
            roles.insert(subject, given);
        }
        entry.absorb(section);
    }
    MtlsSettings { subject: subject.unwrap_or(CertificateName::Common), tenant, roles, default_roles }
}

/// An algorithm of shared secrets.
fn symmetric(text: &str) -> Result<Algorithm, String> {
    text.parse()
        .ok()
        .filter(|algorithm: &Algorithm| algorithm.is_symmetric())
        .ok_or_else(|| format!("{text:?} is not one of HS256, HS384, HS512"))
}

fn remembered(text: &str) -> Result<Duration, String> {
    let time = parse::time(text)?;
    if time > LONGEST_CACHE { Err(format!("{text:?} is more than 1h")) } else { Ok(time) }
}

/// A header that is passed on to a check. What the connection or we ourselves say is not taken from the client.
fn passed_on(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| format!("{text:?} is not the name of a header"))?;
    let ours =
        ["x-forwarded-", "x-par-", "x-auth-", "proxy-"].iter().any(|own| name.as_str().starts_with(own));
    let hop = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
    ];
    if ours || hop.contains(&name) { Err(format!("{name} is not passed on to a check")) } else { Ok(name) }
}
