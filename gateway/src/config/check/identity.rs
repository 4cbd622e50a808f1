//! Who may prove who calls. Trees of the file are read key by key, so that every fault is told with its place.

use std::{
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_yaml::Value;

use super::{Check, Fault, Origin, Setting, entry::Entry, parse, raw};
use crate::{
    auth::{
        Standing,
        claims::{ClaimPath, ClaimPaths},
        issuer::IssuerSettings,
        token::Algorithm,
    },
    config::identity::IdentitySettings,
};

mod adapters;

#[cfg(test)]
mod tests;

/// What entries inherit unless they say otherwise.
struct Common {
    algorithms: Vec<Algorithm>,
    leeway: Duration,
    claims: ClaimPaths,
    standing: Standing,
    ca: Option<Vec<u8>>,
}

impl Check<'_> {
    /// Identity, if anybody may prove who calls. With `--dev` it is checked, and off.
    pub(super) fn identity(&mut self, dev: bool, warnings: &mut Vec<String>) -> Option<IdentitySettings> {
        let common = self.common();
        let mut issuers = Vec::from_iter(self.first_issuer(&common, warnings));
        for mut entry in self.entries(&raw::ISSUERS) {
            let issuer = issuer(&mut entry, &common);
            if issuer.as_ref().is_some_and(|one| issuers.iter().any(|known| known.issuer == one.issuer)) {
                entry.fault("issuer", "is named twice; the second would never be asked");
            }
            issuers.extend(issuer);
            self.tell(&raw::ISSUERS, entry.close());
        }
        let adapters = self.adapters(&common);
        let cached_tokens = self.value(&raw::CACHED_TOKENS, 10_000, parse::count);
        if issuers.is_empty() && adapters.is_empty() {
            if !common.claims.customer.is_empty() {
                warnings.push("billing.customer_claims has no effect: nobody proves who calls".to_owned());
            }
            return None;
        }
        if dev {
            warnings
                .push("identity is configured and off: --dev lets everybody on this machine in".to_owned());
            return None;
        }
        Some(IdentitySettings { issuers, adapters, standing: common.standing, cached_tokens })
    }

    fn common(&mut self) -> Common {
        let usual = ClaimPaths::default();
        let mut paths = |setting: &Setting, usual: Vec<ClaimPath>| match self.list(setting, claim) {
            given if given.is_empty() => usual,
            given => given,
        };
        let claims = ClaimPaths {
            subject: paths(&raw::CLAIM_SUBJECT, usual.subject),
            tenant: paths(&raw::CLAIM_TENANT, usual.tenant),
            customer: paths(&raw::BILLING_CUSTOMER_CLAIMS, usual.customer),
            roles: paths(&raw::CLAIM_ROLES, usual.roles),
            scopes: paths(&raw::CLAIM_SCOPES, usual.scopes),
        };
        let mut names = |setting: &Setting, usual: Vec<String>| match self.list(setting, name) {
            given if given.is_empty() => usual,
            given => given,
        };
        let usual = Standing::default();
        let standing = Standing {
            operators: names(&raw::OPERATOR_ROLES, usual.operators),
            viewers: names(&raw::VIEWER_ROLES, usual.viewers),
        };
        let algorithms = match self.list(&raw::ALGORITHMS, asymmetric) {
            given if given.is_empty() => Algorithm::ASYMMETRIC.to_vec(),
            given => given,
        };
        let leeway = self.value(&raw::LEEWAY, Duration::from_mins(1), leeway);
        let ca = self.text(&raw::IDENTITY_CA).and_then(|path| {
            authorities(&path).map_err(|problem| self.fault(&raw::IDENTITY_CA, problem)).ok()
        });
        Common { algorithms, leeway, claims, standing, ca }
    }

    /// The issuer of `OIDC_ISSUER`. Without an audience a token that was made for anybody else would open this door.
    fn first_issuer(&mut self, common: &Common, warnings: &mut Vec<String>) -> Option<IssuerSettings> {
        let audiences = self.list(&raw::OIDC_AUDIENCE, name);
        let Some(issuer) = self.text(&raw::OIDC_ISSUER) else {
            if !audiences.is_empty() {
                warnings.push("OIDC_AUDIENCE has no effect: OIDC_ISSUER is not set".to_owned());
            }
            return None;
        };
        if audiences.is_empty() {
            // Where the issuer was given, the audience is missing.
            let origin =
                self.raw.get(&raw::OIDC_ISSUER).map_or(Origin::Environment, |(_, origin)| origin.clone());
            let (name, issuer) = (origin.name(&raw::OIDC_AUDIENCE), origin.name(&raw::OIDC_ISSUER));
            let problem = format!("is needed: {issuer} is set");
            self.faults.push(Fault { name: name.to_owned(), origin, problem });
        }
        if let Err(problem) = parse::bare_address(&issuer) {
            self.fault(&raw::OIDC_ISSUER, problem);
            return None;
        }
        Some(common.issuer(issuer, audiences))
    }

    /// The mappings of a list in the file.
    fn entries(&mut self, setting: &Setting) -> Vec<Entry> {
        let Some(tree) = self.tree::<Value>(setting) else { return Vec::new() };
        let mut told = Vec::new();
        let entries = Entry::all(setting.key, tree, &mut told);
        self.tell(setting, told);
        entries
    }
}

impl Common {
    fn issuer(&self, issuer: String, audiences: Vec<String>) -> IssuerSettings {
        IssuerSettings {
            issuer,
            audiences,
            algorithms: self.algorithms.clone(),
            leeway: self.leeway,
            claims: self.claims.clone(),
            standing: self.standing.clone(),
            jwks_uri: None,
            ca: self.ca.clone(),
        }
    }

    /// `algorithms`, or those of all.
    fn algorithms(&self, entry: &mut Entry) -> Vec<Algorithm> {
        entry.list("algorithms", asymmetric).unwrap_or_else(|| self.algorithms.clone())
    }

    /// `leeway`, or that of all.
    fn leeway(&self, entry: &mut Entry) -> Duration {
        entry.value("leeway", leeway).unwrap_or(self.leeway)
    }

    /// `ca`, or that of all.
    fn ca(&self, entry: &mut Entry) -> Option<Vec<u8>> {
        entry.value("ca", authorities).or_else(|| self.ca.clone())
    }

    /// `claims`; what is missing in it is as for all.
    fn claims(&self, entry: &mut Entry) -> ClaimPaths {
        let mut claims = self.claims.clone();
        let Some(mut section) = entry.section("claims") else { return claims };
        for (key, paths) in [
            ("subject", &mut claims.subject),
            ("tenant", &mut claims.tenant),
            ("roles", &mut claims.roles),
            ("scopes", &mut claims.scopes),
        ] {
            if let Some(given) = section.list(key, claim) {
                *paths = given;
            }
        }
        entry.absorb(section);
        claims
    }
}

/// One of `identity.issuers`.
fn issuer(entry: &mut Entry, common: &Common) -> Option<IssuerSettings> {
    let issuer = entry.needed("issuer", |text| parse::bare_address(text).map(|_| text.to_owned()));
    let audiences = entry.needed_list("audience", name);
    let (algorithms, leeway) = (common.algorithms(entry), common.leeway(entry));
    let claims = common.claims(entry);
    let jwks_uri = entry.value("jwks_uri", parse::bare_address);
    let ca = common.ca(entry);
    let settings = common.issuer(issuer?, audiences);
    Some(IssuerSettings { algorithms, leeway, claims, jwks_uri, ca, ..settings })
}

/// Any text; that it is not empty has been seen.
#[expect(clippy::unnecessary_wraps, reason = "it stands where parsers stand")]
fn name(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn claim(text: &str) -> Result<ClaimPath, String> {
    text.parse().map_err(|problem| format!("{text:?} {problem}"))
}

/// An algorithm whose keys may be public.
fn asymmetric(text: &str) -> Result<Algorithm, String> {
    let algorithm: Algorithm = text.parse().map_err(|problem| format!("{text:?} {problem}"))?;
    if algorithm.is_symmetric() {
        return Err(format!("{text} is for adapters of the type shared_secret only"));
    }
    Ok(algorithm)
}

/// How far clocks may be apart. More than five minutes are no clocks, and tokens of that age are worth stealing.
fn leeway(text: &str) -> Result<Duration, String> {
    let leeway = parse::time(text)?;
    if leeway > Duration::from_mins(5) { Err(format!("{text:?} is more than 5m")) } else { Ok(leeway) }
}

/// The certificates in a file in PEM.
fn authorities(text: &str) -> Result<Vec<u8>, String> {
    let pem = read(&file(text)?)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(pem),
        Ok(_) => Err(format!("{text:?} holds no certificate in PEM")),
        Err(error) => Err(format!("{text:?}: {error}")),
    }
}

fn file(text: &str) -> Result<PathBuf, String> {
    absolute(text).map_err(|error| format!("{text:?}: {error}"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
