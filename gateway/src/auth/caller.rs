//! Who calls, once it has been proved: made by authenticators, read by everybody after them.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Role;

/// Tells the management side who calls. Set by the edge on inner sockets only; all `X-PAR-*` headers of clients are
/// removed before.
pub(crate) const CALLER_HEADER: HeaderName = HeaderName::from_static("x-par-caller");

/// Somebody whose identity was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Who; unique within the issuer.
    pub(crate) subject: Box<str>,
    /// 64 bits of the subject's SHA-256, hexadecimal: names somebody in log lines without telling who it is.
    pub(crate) subject_hash: Box<str>,
    /// The same as a number.
    pub(crate) subject_bits: u64,
    /// On whose account: the tenant claim, else the subject.
    pub(crate) tenant: Arc<str>,
    /// Who pays for the tenant, if the token says so: a customer of the billing side. Neither agents nor the management side
    /// see it.
    pub(crate) customer: Option<Box<str>>,
    /// Names of roles, as the issuer gives them; sorted, each once.
    pub(crate) roles: Box<[Box<str>]>,
    /// What the token is limited to; sorted, each once.
    pub(crate) scopes: Box<[Box<str>]>,
    /// What the roles allow at the management side.
    pub(crate) role: Role,
    /// Whether it may call whatever there is: the same user on this machine, who could as well read every secret.
    is_local: bool,
    /// `{"subject","tenant","roles","scopes"}`, with `"local": true` for the user on this machine; as agents and the
    /// management side get it.
    pub(crate) json: Bytes,
}

/// The members of [`Caller::json`].
#[derive(Debug, Serialize, Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    subject: std::borrow::Cow<'a, str>,
    tenant: std::borrow::Cow<'a, str>,
    roles: Vec<Box<str>>,
    scopes: Vec<Box<str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    local: bool,
}

/// Who speaks over `PAR_SOCKET`.
static LOCAL: LazyLock<Arc<Caller>> = LazyLock::new(|| {
    let subject = format!("local:{}", rustix::process::geteuid().as_raw());
    let caller = Caller::made(&subject, "local", Vec::new(), Vec::new(), true);
    Arc::new(Caller { role: Role::Operator, ..caller })
});

/// Which roles of the issuer are those of our management side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// May change; `par-operator` unless configured.
    pub(crate) operators: Vec<String>,
    /// May look; `par-viewer` unless configured.
    pub(crate) viewers: Vec<String>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { operators: vec!["par-operator".to_owned()], viewers: vec!["par-viewer".to_owned()] }
    }
}

impl Standing {
    /// What these roles allow; whoever has none of them may still call.
    pub(crate) fn of(&self, roles: &[Box<str>]) -> Role {
        let any = |names: &[String]| names.iter().any(|name| roles.iter().any(|role| **role == **name));
        if any(&self.operators) {
            Role::Operator
        } else if any(&self.viewers) {
            Role::Viewer
        } else {
            Role::Caller
        }
    }
}

impl Caller {
    /// A caller whose identity was proved. No tenant: the subject is the tenant.
    pub(crate) fn new(
        subject: &str,
        tenant: Option<&str>,
        roles: Vec<Box<str>>,
        scopes: Vec<Box<str>>,
        standing: &Standing,
    ) -> Self {
        let role = standing.of(&roles);
        let caller = Self::made(subject, tenant.unwrap_or(subject), roles, scopes, false);
        Self { role, ..caller }
    }

    /// The same, whose tenant this customer pays for.
    pub(crate) fn paid_by(self, customer: Option<&str>) -> Self {
        Self { customer: customer.map(Box::from), ..self }
    }

    /// Who speaks over `PAR_SOCKET`: the same user on this machine. An operator who may call every agent that is not
    /// private, on the account of the tenant `local`.
    pub(crate) fn local() -> Arc<Self> {
        Arc::clone(&LOCAL)
    }

    /// Whether the connection was the proof.
    pub(crate) const fn is_local(&self) -> bool {
        self.is_local
    }

    fn made(
        subject: &str,
        tenant: &str,
        roles: Vec<Box<str>>,
        scopes: Vec<Box<str>>,
        is_local: bool,
    ) -> Self {
        let (roles, scopes) = (sorted(roles), sorted(scopes));
        let members = Members {
            subject: subject.into(),
            tenant: tenant.into(),
            roles: roles.to_vec(),
            scopes: scopes.to_vec(),
            local: is_local,
        };
        // Texts always become JSON.
        let json = Bytes::from(serde_json::to_vec(&members).unwrap_or_default());
        let digest = Sha256::digest(subject.as_bytes());
        let bits = digest.first_chunk().copied().unwrap_or_default();
        let (subject_hash, subject_bits) = (hex::encode(bits).into_boxed_str(), u64::from_be_bytes(bits));
        let (subject, tenant) = (subject.into(), tenant.into());
        let (customer, role) = (None, Role::None);
        Self { subject, subject_hash, subject_bits, tenant, customer, roles, scopes, role, is_local, json }
    }

    /// Whether the issuer gives it this role, or it needs none.
    pub(crate) fn has(&self, role: &str) -> bool {
        self.is_local || self.roles.binary_search_by(|own| (**own).cmp(role)).is_ok()
    }

    /// Writes the header; whatever was there before is replaced. Control characters are escaped in JSON and other
    /// bytes may stand in a header, so this does not fail; if it did, the management side would see nobody.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.json.clone()).ok()
    }

    /// The caller that the edge has named, without a role at the management side: that is in a header of its own.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CALLER_HEADER).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let members: Members<'_> = serde_json::from_slice(value.as_bytes()).ok()?;
        let Members { subject, tenant, roles, scopes, local } = members;
        let caller = Self::made(&subject, &tenant, roles, scopes, local);
        Some(Self { role: Role::Caller, ..caller })
    }
}

fn sorted(mut names: Vec<Box<str>>) -> Box<[Box<str>]> {
    names.sort_unstable();
    names.dedup();
    names.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(roles: &[&str]) -> Caller {
        let roles = roles.iter().map(|role| Box::from(*role)).collect();
        Caller::new("zoë\n", None, roles, vec!["b".into(), "a".into(), "b".into()], &Standing::default())
    }

    #[test]
    fn without_a_tenant_the_subject_is_the_tenant() {
        assert_eq!(&*caller(&[]).tenant, "zoë\n");
    }

    #[test]
    fn roles_of_the_management_side_are_told_apart() {
        assert_eq!(caller(&["x"]).role, Role::Caller);
        assert_eq!(caller(&["x", "par-viewer"]).role, Role::Viewer);
        assert_eq!(caller(&["par-viewer", "par-operator"]).role, Role::Operator);
        assert!(caller(&["x", "y"]).has("y") && !caller(&["x"]).has("X") && !caller(&[]).has(""));
    }

    #[test]
    fn a_caller_survives_its_header() {
        let before = caller(&["z", "a"]);
        let mut headers = HeaderMap::new();
        headers.insert(CALLER_HEADER, before.header().unwrap());
        assert_eq!(Caller::of(&headers), Some(before.clone()));
        headers.append(CALLER_HEADER, before.header().unwrap());
        assert_eq!(Caller::of(&headers), None, "two of them contradict each other");
        assert_eq!(Caller::of(&HeaderMap::new()), None);
        assert_eq!(
            before.json,
            r#"{"subject":"zoë\n","tenant":"zoë\n","roles":["a","z"],"scopes":["a","b"]}"#
        );
    }

    #[test]
    fn the_local_user_needs_no_role_and_is_still_recognised_behind_its_header() {
        let local = Caller::local();
        assert_eq!((local.role, &*local.tenant, local.roles.len()), (Role::Operator, "local", 0));
        assert!(local.has("billing"));
        let mut headers = HeaderMap::new();
        headers.insert(CALLER_HEADER, local.header().unwrap());
        let told = Caller::of(&headers).unwrap();
        assert!(told.has("billing") && told.subject == local.subject && told.json == local.json);
        let claims =
            Caller::new("local:0", Some("local"), vec!["local".into()], vec![], &Standing::default());
        assert!(!claims.has("billing"), "whoever is called like the local user is not the local user");
    }
}
