//! A server that is shown the head of each request and says who it is, as `ext_authz` and `forward-auth` do.

use std::time::SystemTime;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ChainError, told, witness::Witness};
use crate::{
    auth::{AuthFault, Authenticator, Evidence, Proof, Reason, Standing, claims::ClaimPaths},
    config::identity::HttpCheckSettings,
};

/// Who calls; needed.
const SUBJECT: &str = "x-auth-subject";
/// On whose account.
const TENANT: &str = "x-auth-tenant";
/// Roles, separated by commas.
const ROLES: &str = "x-auth-roles";
/// Scopes, separated by spaces or commas.
const SCOPES: &str = "x-auth-scopes";

/// Proves requests by asking somebody about each of them.
#[derive(Debug)]
pub(super) struct HttpCheck {
    witness: Witness,
    settings: HttpCheckSettings,
    claims: ClaimPaths,
    standing: Standing,
}

/// What the server said.
#[derive(Debug, PartialEq)]
enum Said {
    /// These claims are true.
    Known(Value),
    /// Nobody that it knows.
    Nobody,
    /// Nothing that can be used.
    Nonsense(String),
}

impl HttpCheck {
    /// Nothing is asked yet.
    pub(super) fn new(settings: &HttpCheckSettings, standing: Standing) -> Result<Self, ChainError> {
        let witness = Witness::new("http_check", &settings.url, settings.ca.as_deref())?;
        Ok(Self { witness, settings: settings.clone(), claims: ClaimPaths::default(), standing })
    }

    /// The head that it is shown.
    fn shown(&self, evidence: &Evidence<'_>) -> HeaderMap {
        let mut shown = HeaderMap::new();
        for name in self.settings.headers.iter().chain([&AUTHORIZATION]) {
            if !shown.contains_key(name) {
                shown
                    .extend(evidence.headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
            }
        }
        let address = evidence.address.map(|address| address.to_string());
        for (name, value) in [
            ("x-forwarded-method", Some(evidence.method.as_str())),
            ("x-forwarded-uri", Some(evidence.path)),
            ("x-forwarded-for", address.as_deref()),
            ("x-request-id", Some(evidence.request_id)),
        ] {
            let value = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
            shown.extend(value.map(|value| (HeaderName::from_static(name), value)));
        }
        shown
    }
}

#[async_trait]
impl Authenticator for HttpCheck {
    fn name(&self) -> &str {
        self.witness.name()
    }

    async fn authenticate(&self, evidence: &Evidence<'_>) -> Result<Option<Proof>, AuthFault> {
        if evidence.token.is_none() && !self.settings.anonymous {
            return Ok(None);
        }
        let HttpCheckSettings { method, url, cache, .. } = &self.settings;
        let question = self.witness.client().request(method.clone(), url.clone());
        let answer = self.witness.ask(question.headers(self.shown(evidence))).await?;
        let claims = match said(answer.status, &answer.headers) {
            Said::Known(claims) => Ok(claims),
            Said::Nobody => Err(AuthFault::refused(Reason::Inactive, "the check says no")),
            Said::Nonsense(detail) => return Err(self.witness.failed(&detail)),
        };
        self.witness.answered();
        match claims {
            Ok(claims) => {
                let caller = self.claims.caller(&claims, &self.standing)?;
                Ok(Some(told(caller, SystemTime::now(), *cache, None)))
            }
            // Nothing was claimed: others may know more.
            Err(_) if evidence.token.is_none() => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// What an answer says.
fn said(status: StatusCode, headers: &HeaderMap) -> Said {
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Said::Nobody,
        other => return Said::Nonsense(format!("answered {other}")),
    }
    let values = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes).map(str::from_utf8);
    let texts = |name: &str| values(name).collect::<Result<Vec<_>, _>>();
    let (Ok(subjects), Ok(tenants), Ok(roles), Ok(scopes)) =
        (texts(SUBJECT), texts(TENANT), texts(ROLES), texts(SCOPES))
    else {
        return Said::Nonsense("its headers are no text".to_owned());
    };
    let (&[subject], &[] | &[_]) = (subjects.as_slice(), tenants.as_slice()) else {
        return Said::Nonsense(format!("answered 200 and not exactly one {SUBJECT}"));
    };
    let names = |lists: &[&str], separates: fn(char) -> bool| -> Vec<String> {
        let names = lists.iter().flat_map(|list| list.split(separates)).map(str::trim);
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let mut claims = json!({
        "sub": subject,
        "roles": names(&roles, |c| c == ','),
        "scope": names(&scopes, |c| c == ',' || c == ' '),
    });
    if let (Some(tenant), Value::Object(members)) = (tenants.first(), &mut claims) {
        members.insert("tenant".to_owned(), Value::from(*tenant));
    }
    Said::Known(claims)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;
    use url::Url;

    use super::{
        super::scripted::{Reply, Request, Scripted, nobody, told},
        *,
    };

    fn settings(url: &Url) -> HttpCheckSettings {
        HttpCheckSettings {
            url: url.clone(),
            method: Method::GET,
            headers: vec![HeaderName::from_static("x-own"), HeaderName::from_static("cookie")],
            anonymous: false,
            cache: Duration::ZERO,
            ca: None,
        }
    }

    fn made(settings: &HttpCheckSettings) -> HttpCheck {
        HttpCheck::new(settings, Standing::default()).unwrap()
    }

    fn ann() -> Reply {
        Reply::status(200).header(SUBJECT, "ann")
    }

    #[tokio::test]
    async fn a_check_sees_the_head_and_names_the_caller() {
        let reply = ann().header(TENANT, "acme").header(ROLES, "b, par-operator,,a").header(ROLES, "c");
        let server = Scripted::start(reply.header(SCOPES, "read write,run")).await;
        let request = Request::with("t")
            .header("x-own", "1")
            .header("x-own", "2")
            .header("x-other", "no")
            .header("x-forwarded-uri", "/forged")
            .header("x-auth-subject", "forged");
        let proof = request.to(&made(&settings(&server.url))).await.unwrap().unwrap();
        assert_eq!((&*proof.caller.subject, &*proof.caller.tenant), ("ann", "acme"));
        let names = |names: &[Box<str>]| names.join(" ");
        assert_eq!(names(&proof.caller.roles), "a b c par-operator");
        assert_eq!(names(&proof.caller.scopes), "read run write");
        assert_eq!(proof.caller.role, crate::auth::Role::Operator);
        assert_eq!(proof.remember_until, None);

        let asked = server.asked().remove(0);
        assert_eq!(asked.method, Method::GET);
        for (name, wanted) in [
            ("authorization", "Bearer t"),
            ("x-forwarded-method", "PUT"),
            ("x-forwarded-uri", "/agents/echo/x?y=%20z"),
            ("x-forwarded-for", "10.1.2.3"),
            ("x-request-id", "req-1"),
            ("x-other", ""),
            ("x-auth-subject", ""),
        ] {
            assert_eq!(asked.header(name), wanted, "{name}");
            assert!(asked.headers.get_all(name).iter().count() < 2, "{name}");
        }
        assert_eq!(asked.headers.get_all("x-own").iter().count(), 2);
    }

    #[tokio::test]
    async fn only_a_clear_yes_is_a_caller_and_only_a_clear_no_is_nobody() {
        let server = Scripted::start(ann()).await;
        let check = made(&settings(&server.url));
        for (reply, wanted) in [
            (ann(), "ann"),
            (Reply::status(401), "inactive"),
            (Reply::status(403), "inactive"),
            (Reply { status: 403, ..ann() }, "inactive"),
            (Reply { status: 204, ..ann() }, "unavailable"),
            (Reply { status: 302, ..ann() }.header("location", &server.url), "unavailable"),
            (Reply { status: 500, ..ann() }, "unavailable"),
            (Reply { status: 404, ..ann() }, "unavailable"),
            (Reply::status(200), "unavailable"),
            (ann().header(SUBJECT, "bob"), "unavailable"),
            (ann().header(TENANT, "a").header(TENANT, "b"), "unavailable"),
            (Reply::status(200).header(SUBJECT, ""), "claims"),
            (Reply::status(200).header(SUBJECT, "x".repeat(10_000)), "claims"),
            (Reply::status(200).header(SUBJECT, "zoë"), "zoë"),
        ] {
            let what = format!("{reply:.60?}");
            server.says(reply);
            assert_eq!(told(&Request::with("t").to(&check).await), wanted, "{what}");
        }
        assert_eq!(told(&Request::with("t").to(&made(&settings(&nobody()))).await), "unavailable");
    }

    #[tokio::test]
    async fn requests_without_a_token_are_shown_only_if_that_is_asked_for() {
        let server = Scripted::start(ann()).await;
        let closed = made(&settings(&server.url));
        assert_eq!(told(&Request::bare().header("cookie", "a=b").to(&closed).await), "nobody's");
        assert!(server.asked().is_empty());

        let open = made(&HttpCheckSettings { anonymous: true, ..settings(&server.url) });
        assert_eq!(told(&Request::bare().header("cookie", "a=b").to(&open).await), "ann");
        assert_eq!(server.asked()[0].header("cookie"), "a=b");
        server.says(Reply::status(401));
        assert_eq!(told(&Request::bare().to(&open).await), "nobody's", "others may know more");
    }

    #[tokio::test]
    async fn an_answer_is_remembered_as_long_as_it_was_configured() {
        let server = Scripted::start(ann()).await;
        let cache = Duration::from_mins(2);
        let posting = HttpCheckSettings { cache, method: Method::POST, ..settings(&server.url) };
        let before = SystemTime::now();
        let proof = Request::with("t").to(&made(&posting)).await.unwrap().unwrap();
        let remembered = proof.remember_until.unwrap().duration_since(before).unwrap();
        assert!((cache..cache + Duration::from_secs(20)).contains(&remembered), "{remembered:?}");
        assert_eq!(server.asked()[0].method, Method::POST);
    }
}
