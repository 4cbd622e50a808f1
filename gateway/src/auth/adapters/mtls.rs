//! Client certificates: the handshake has verified them, here they get a name and roles.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use quick_cache::sync::Cache;
use serde_json::json;

use crate::{
    auth::{
        AuthFault, Authenticator, Caller, ClientCertificate, Evidence, Proof, Reason, Standing,
        claims::ClaimPaths,
    },
    config::identity::{CertificateName, MtlsSettings},
};

/// Callers that are remembered by the fingerprint of their certificate, so that not every request makes them anew.
const REMEMBERED: usize = 1024;

/// Proves requests by the certificate of their connection.
#[derive(Debug)]
pub(super) struct Mtls {
    settings: MtlsSettings,
    claims: ClaimPaths,
    standing: Standing,
    callers: Cache<String, Arc<Caller>>,
}

impl Mtls {
    /// Certificates as configured.
    pub(super) fn new(settings: MtlsSettings, standing: Standing) -> Self {
        Self { settings, claims: ClaimPaths::default(), standing, callers: Cache::new(REMEMBERED) }
    }

    fn caller(&self, certificate: &ClientCertificate) -> Result<Arc<Caller>, AuthFault> {
        if let Some(known) = self.callers.get(&certificate.fingerprint) {
            return Ok(known);
        }
        let subject = match self.settings.subject {
            CertificateName::Common => certificate.common_name.as_deref(),
            CertificateName::Distinguished => Some(certificate.subject.as_str()),
            CertificateName::Alternative => certificate.alternatives.first().map(String::as_str),
        };
        let subject = subject
            .ok_or_else(|| AuthFault::refused(Reason::Claims, "the certificate does not name its holder"))?;
        let roles = self.settings.roles.get(subject).unwrap_or(&self.settings.default_roles);
        let claims = match &self.settings.tenant {
            Some(tenant) => json!({"sub": subject, "tenant": tenant, "roles": roles}),
            None => json!({"sub": subject, "roles": roles}),
        };
        let caller = Arc::new(self.claims.caller(&claims, &self.standing)?);
        self.callers.insert(certificate.fingerprint.clone(), Arc::clone(&caller));
        Ok(caller)
    }
}

#[async_trait]
impl Authenticator for Mtls {
    fn name(&self) -> &'static str {
        "mtls"
    }

    async fn authenticate(&self, evidence: &Evidence<'_>) -> Result<Option<Proof>, AuthFault> {
        // Who shows a token wants to be whom it names: the certificate must not decide if the token is refused.
        let (Some(certificate), None) = (evidence.certificate, evidence.token) else { return Ok(None) };
        // The connection may be older than that.
        if certificate.not_after <= SystemTime::now() {
            return Err(AuthFault::refused(Reason::Expired, "the certificate has ended"));
        }
        let caller = self.caller(certificate)?;
        Ok(Some(Proof { caller, remember_until: None, key: None }))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::{
        super::scripted::{Request, certificate, told},
        *,
    };

    fn settings(subject: CertificateName) -> MtlsSettings {
        let roles = BTreeMap::from([
            ("robot".to_owned(), vec!["billing".to_owned(), "par-operator".to_owned()]),
            ("mute".to_owned(), vec![]),
        ]);
        MtlsSettings { subject, tenant: None, roles, default_roles: vec!["guest".to_owned()] }
    }

    fn made(settings: MtlsSettings) -> Mtls {
        Mtls::new(settings, Standing::default())
    }

    async fn caller(mtls: &Mtls, certificate: &ClientCertificate) -> Arc<Caller> {
        Request::bare().showing(certificate).to(mtls).await.unwrap().unwrap().caller
    }

    #[tokio::test]
    async fn the_configured_name_of_the_certificate_is_the_subject() {
        for (subject, wanted) in [
            (CertificateName::Common, "robot"),
            (CertificateName::Distinguished, "CN=robot,O=Acme"),
            (CertificateName::Alternative, "robot.example"),
        ] {
            let caller = caller(&made(settings(subject)), &certificate("robot")).await;
            assert_eq!((&*caller.subject, &*caller.tenant), (wanted, wanted));
        }
        let nameless = ClientCertificate { common_name: None, alternatives: vec![], ..certificate("x") };
        for subject in [CertificateName::Common, CertificateName::Alternative] {
            let told = told(&Request::bare().showing(&nameless).to(&made(settings(subject))).await);
            assert_eq!(told, "claims");
        }
    }

    #[tokio::test]
    async fn roles_are_those_of_the_subject_else_the_usual_ones() {
        let mtls =
            made(MtlsSettings { tenant: Some("acme".to_owned()), ..settings(CertificateName::Common) });
        for (name, wanted) in [("robot", "billing par-operator"), ("mute", ""), ("other", "guest")] {
            for _ in 0..2 {
                let caller = caller(&mtls, &certificate(name)).await;
                assert_eq!((caller.roles.join(" ").as_str(), &*caller.tenant), (wanted, "acme"), "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_certificate_counts_until_it_ends_and_never_beside_a_token() {
        let mtls = made(settings(CertificateName::Common));
        let good = certificate("robot");
        assert_eq!(told(&Request::bare().showing(&good).to(&mtls).await), "robot");
        assert_eq!(told(&Request::bare().to(&mtls).await), "nobody's");
        assert_eq!(told(&Request::with("t").showing(&good).to(&mtls).await), "nobody's");
        let over = ClientCertificate { not_after: SystemTime::now() - Duration::from_secs(1), ..good };
        assert_eq!(told(&Request::bare().showing(&over).to(&mtls).await), "expired");
        let hostile = certificate("a\nb");
        assert_eq!(told(&Request::bare().showing(&hostile).to(&mtls).await), "claims");
    }
}
