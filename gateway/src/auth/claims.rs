//! Where a caller stands in the claims of a token or in the answer of an endpoint: claims that were proved
//! enter, a [`Caller`] leaves.

use std::{fmt, str::FromStr};

use serde_json::Value;

use super::{AuthFault, Caller, Reason, Standing};

/// Longest subject, tenant, role or scope, in bytes. They are shown in log lines, kept as labels of limits,
/// and sent to agents with every call.
const LONGEST_NAME: usize = 256;

/// Most roles, and most scopes, of one caller. Tokens of large directories carry up to 200 groups.
const MOST_NAMES: usize = 512;

/// Most names of a path; what is nested deeper is no claim about a caller.
const MOST_STEPS: usize = 8;

/// The way to one claim, written as names with dots between them: `sub`, `realm_access.roles`. A name that
/// contains dots or brackets stands in brackets and quotes, as in JSONPath:
/// `resource_access["my.client"].roles`, `["https://ns.example/roles"]`. Inside the quotes everything but a
/// quote means itself. A text with `://` and without a bracket is one name, because namespaced claims are
/// addresses: `https://ns.example/roles`. All other characters mean themselves: `cognito:groups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimPath(Vec<Box<str>>);

impl ClaimPath {
    /// The claim, if it is there; `null` is not there.
    fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        let claim = self.0.iter().try_fold(claims, |value, step| value.as_object()?.get(&**step))?;
        (!claim.is_null()).then_some(claim)
    }
}

impl FromStr for ClaimPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || "is not the path of a claim, such as sub, realm_access.roles or [\"a.b/c\"]".to_owned();
        if text.is_empty() || text.len() > LONGEST_NAME || text.chars().any(char::is_control) {
            return Err(wrong());
        }
        if text.contains("://") && !text.contains('[') {
            return Ok(Self(vec![text.into()]));
        }
        let mut steps: Vec<Box<str>> = Vec::new();
        let mut rest = text;
        loop {
            let step = if let Some(quoted) = rest.strip_prefix("[\"") {
                let (name, behind) = quoted.split_once("\"]").ok_or_else(wrong)?;
                rest = behind;
                name
            } else {
                let (name, behind) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
                rest = behind;
                name
            };
            if step.is_empty() || step.contains(['"', ']']) {
                return Err(wrong());
            }
            steps.push(step.into());
            if rest.is_empty() {
                break;
            }
            if !rest.starts_with("[\"") {
                rest = rest.strip_prefix('.').filter(|rest| !rest.starts_with('[')).ok_or_else(wrong)?;
            }
        }
        if steps.len() > MOST_STEPS {
            return Err(format!("has more than {MOST_STEPS} names"));
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match (step.contains(['.', '[']), place) {
                (true, _) => write!(f, "[\"{step}\"]")?,
                (false, 0) => f.write_str(step)?,
                (false, _) => write!(f, ".{step}")?,
            }
        }
        Ok(())
    }
}

/// Where to look for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimPaths {
    /// The first that is there is the subject.
    pub(crate) subject: Vec<ClaimPath>,
    /// The first that is there is the tenant; none: the subject is.
    pub(crate) tenant: Vec<ClaimPath>,
    /// The first that is there is the customer of the billing side that pays for the tenant.
    pub(crate) customer: Vec<ClaimPath>,
    /// All of them together are the roles.
    pub(crate) roles: Vec<ClaimPath>,
    /// All of them together are the scopes.
    pub(crate) scopes: Vec<ClaimPath>,
}

impl Default for ClaimPaths {
    fn default() -> Self {
        let plain = |names: &[&str]| names.iter().map(|name| ClaimPath(vec![Box::from(*name)])).collect();
        let mut roles: Vec<_> = plain(&["roles", "groups", "cognito:groups"]);
        roles.insert(1, ClaimPath(vec!["realm_access".into(), "roles".into()]));
        Self {
            subject: plain(&["sub"]),
            tenant: plain(&["tenant", "tenant_id", "org_id", "tid"]),
            customer: Vec::new(),
            roles,
            scopes: plain(&["scope", "scp"]),
        }
    }
}

impl ClaimPaths {
    /// Reads the caller. A claim that is there and of the wrong kind refuses the whole token: somebody with
    /// half of their claims would be somebody else.
    pub(crate) fn caller(&self, claims: &Value, standing: &Standing) -> Result<Caller, AuthFault> {
        let Some(subject) = one(&self.subject, claims)? else {
            return Err(refused("the subject is missing"));
        };
        let tenant = one(&self.tenant, claims)?;
        let customer = one(&self.customer, claims)?;
        let (roles, scopes) = (all(&self.roles, claims)?, all(&self.scopes, claims)?);
        Ok(Caller::new(subject, tenant, roles, scopes, standing).paid_by(customer))
    }
}

fn refused(detail: impl Into<String>) -> AuthFault {
    AuthFault::refused(Reason::Claims, detail)
}

/// The first that is there.
fn one<'a>(paths: &[ClaimPath], claims: &'a Value) -> Result<Option<&'a str>, AuthFault> {
    let found = paths.iter().find_map(|path| Some((path, path.find(claims)?)));
    let Some((path, claim)) = found else { return Ok(None) };
    let name = claim.as_str().ok_or_else(|| refused(format!("`{path}` is not a text")))?;
    checked(path, name).map(Some)
}

/// All of them: texts of arrays as they are, other texts split at spaces (RFC 6749 §3.3).
fn all(paths: &[ClaimPath], claims: &Value) -> Result<Vec<Box<str>>, AuthFault> {
    let mut names: Vec<Box<str>> = Vec::new();
    for path in paths {
        let wrong = || refused(format!("`{path}` is neither a text nor an array of texts"));
        match path.find(claims) {
            None => {}
            Some(Value::String(text)) => {
                for name in text.split(' ').filter(|name| !name.is_empty()) {
                    names.push(checked(path, name)?.into());
                }
            }
            Some(Value::Array(items)) => {
                for item in items {
                    names.push(checked(path, item.as_str().ok_or_else(wrong)?)?.into());
                }
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => return Err(wrong()),
        }
        if names.len() > MOST_NAMES {
            return Err(refused(format!("`{path}` has more than {MOST_NAMES} names")));
        }
    }
    Ok(names)
}

fn checked<'a>(path: &ClaimPath, name: &'a str) -> Result<&'a str, AuthFault> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(refused(format!("`{path}` is empty or longer than {LONGEST_NAME} bytes")));
    }
    if name.chars().any(char::is_control) {
        return Err(refused(format!("`{path}` contains control characters")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn caller(claims: &Value) -> Result<Caller, AuthFault> {
        ClaimPaths::default().caller(claims, &Standing::default())
    }

    #[test]
    fn paths_name_claims_as_issuers_write_them() {
        for (text, wanted) in [
            ("sub", &["sub"][..]),
            ("cognito:groups", &["cognito:groups"]),
            ("realm_access.roles", &["realm_access", "roles"]),
            ("https://ns.example/roles", &["https://ns.example/roles"]),
            ("[\"https://ns.example/roles\"]", &["https://ns.example/roles"]),
            ("resource_access[\"my.client\"].roles", &["resource_access", "my.client", "roles"]),
            ("[\"a.b\"][\"c[d\"]", &["a.b", "c[d"]),
        ] {
            let path: ClaimPath = text.parse().unwrap();
            assert_eq!(path.0.iter().map(|step| &**step).collect::<Vec<_>>(), wanted, "{text}");
            assert_eq!(path.to_string().parse(), Ok(path), "{text}");
        }
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a[",
            "a[b]",
            "[\"\"]",
            "[\"a",
            "[\"a\"]b",
            "a.[\"b\"]",
            "a\n",
            "a\"b",
        ] {
            assert!(text.parse::<ClaimPath>().is_err(), "{text:?}");
        }
        assert!("a.a.a.a.a.a.a.a.a".parse::<ClaimPath>().is_err());
        assert!("a".repeat(LONGEST_NAME + 1).parse::<ClaimPath>().is_err());
    }

    #[test]
    fn callers_of_common_issuers_are_found_without_configuration() {
        for (name, claims, tenant, roles, scopes) in [
            ("plain", json!({"sub": "s"}), "s", &[][..], &[][..]),
            (
                "Keycloak",
                json!({"sub": "s", "realm_access": {"roles": ["b", "a"]}, "scope": "openid  email"}),
                "s",
                &["a", "b"],
                &["email", "openid"],
            ),
            ("Cognito", json!({"sub": "s", "cognito:groups": ["g"]}), "s", &["g"], &[]),
            (
                "Entra",
                json!({"sub": "s", "tid": "t", "roles": ["r"], "scp": "x y"}),
                "t",
                &["r"],
                &["x", "y"],
            ),
            ("Okta", json!({"sub": "s", "groups": ["two words"], "scp": ["x"]}), "s", &["two words"], &["x"]),
            ("several", json!({"sub": "s", "roles": "r q", "groups": ["r"]}), "s", &["q", "r"], &[]),
            ("null", json!({"sub": "s", "tenant": null, "org_id": "o", "roles": null}), "o", &[], &[]),
            ("first", json!({"sub": "s", "tenant_id": "second", "tenant": "first"}), "first", &[], &[]),
        ] {
            let caller = caller(&claims).unwrap();
            assert_eq!((&*caller.subject, &*caller.tenant), ("s", tenant), "{name}");
            assert_eq!(caller.roles.iter().map(|role| &**role).collect::<Vec<_>>(), roles, "{name}");
            assert_eq!(caller.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(), scopes, "{name}");
        }
    }

    #[test]
    fn claims_of_the_wrong_kind_make_nobody() {
        let long = "x".repeat(LONGEST_NAME + 1);
        let many: Vec<_> = (0..=MOST_NAMES).map(|number| number.to_string()).collect();
        for claims in [
            json!({}),
            json!([]),
            json!("sub"),
            json!({"sub": null}),
            json!({"sub": ""}),
            json!({"sub": 5}),
            json!({"sub": ["s"]}),
            json!({"sub": "a\nb"}),
            json!({"sub": "a\u{0}"}),
            json!({"sub": "a\u{85}"}),
            json!({"sub": long}),
            json!({"sub": "s", "tenant": ""}),
            json!({"sub": "s", "tenant": 7, "tenant_id": "t"}),
            json!({"sub": "s", "tenant": "a\rb"}),
            json!({"sub": "s", "roles": {"admin": true}}),
            json!({"sub": "s", "roles": ["a", 1]}),
            json!({"sub": "s", "roles": ["a", ""]}),
            json!({"sub": "s", "roles": ["a\u{7f}"]}),
            json!({"sub": "s", "roles": [long]}),
            json!({"sub": "s", "roles": many}),
            json!({"sub": "s", "realm_access": {"roles": 1}}),
            json!({"sub": "s", "scope": true}),
            json!({"sub": "s", "scope": "a\tb"}),
        ] {
            let fault = caller(&claims).unwrap_err();
            assert!(matches!(fault, AuthFault::Refused { reason: Reason::Claims, .. }), "{claims} {fault}");
        }
    }

    #[test]
    fn configured_paths_replace_the_usual_ones() {
        let paths = ClaimPaths {
            subject: vec!["client_id".parse().unwrap(), "sub".parse().unwrap()],
            tenant: vec!["[\"https://ns.example/org\"].id".parse().unwrap()],
            customer: vec!["stripe.customer".parse().unwrap()],
            roles: vec!["https://ns.example/roles".parse().unwrap()],
            scopes: Vec::new(),
        };
        let claims = json!({
            "sub": "s", "client_id": "c", "roles": ["par-operator"], "scope": "x", "tenant": "other",
            "stripe": {"customer": "cus_1"}, "https://ns.example/org": {"id": "org"}, "https://ns.example/roles": ["par-viewer"],
        });
        let caller = paths.caller(&claims, &Standing::default()).unwrap();
        assert_eq!((&*caller.subject, &*caller.tenant, caller.role), ("c", "org", crate::auth::Role::Viewer));
        assert!(caller.scopes.is_empty());
        assert_eq!(caller.customer.as_deref(), Some("cus_1"));
        assert!(!std::str::from_utf8(&caller.json).unwrap().contains("cus_1"), "agents do not see who pays");
        let wrong = paths.caller(&json!({"sub": "s", "stripe": {"customer": 7}}), &Standing::default());
        assert!(matches!(wrong, Err(AuthFault::Refused { reason: Reason::Claims, .. })));
    }
}
