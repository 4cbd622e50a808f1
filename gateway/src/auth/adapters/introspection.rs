//! Tokens that somebody else knows (RFC 7662): opaque ones, or signed ones that may be taken back.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use quick_cache::sync::Cache;
use reqwest::{
    StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{
    ChainError,
    flights::{Flights, Question},
    told,
    witness::Witness,
};
use crate::{
    auth::{AuthFault, Authenticator, Evidence, Proof, Reason, Standing, token::LONGEST_TOKEN},
    config::identity::IntrospectionSettings,
};

/// Inactive tokens that are remembered: a flood of this many costs the endpoint no more than one question each.
const INACTIVE: usize = 1024;

/// How long they are remembered, unless `cache` is shorter.
const INACTIVE_FOR: Duration = Duration::from_secs(10);

/// Proves tokens by asking whoever issued them.
#[derive(Debug)]
pub(super) struct Introspection {
    desk: Arc<Desk>,
    flights: Flights<Result<Proof, AuthFault>>,
    inactive: Cache<Question, Instant>,
}

/// What one question needs.
#[derive(Debug)]
struct Desk {
    witness: Witness,
    settings: IntrospectionSettings,
    standing: Standing,
}

impl Introspection {
    /// Nothing is asked yet.
    pub(super) fn new(settings: &IntrospectionSettings, standing: Standing) -> Result<Self, ChainError> {
        let witness = Witness::new("introspection", &settings.url, settings.ca.as_deref())?;
        let desk = Arc::new(Desk { witness, settings: settings.clone(), standing });
        Ok(Self { desk, flights: Flights::new(), inactive: Cache::new(INACTIVE) })
    }
}

#[async_trait]
impl Authenticator for Introspection {
    fn name(&self) -> &str {
        self.desk.witness.name()
    }

    async fn authenticate(&self, evidence: &Evidence<'_>) -> Result<Option<Proof>, AuthFault> {
        let Some(token) = evidence.token.filter(|token| is_token(token)) else { return Ok(None) };
        let question: Question = Sha256::digest(token).into();
        if self.inactive.get(&question).is_some_and(|until| Instant::now() < until) {
            return Err(AuthFault::refused(Reason::Inactive, "the endpoint has said that it is not active"));
        }
        let begin = || {
            let (desk, token) = (Arc::clone(&self.desk), token.to_owned());
            async move { desk.ask(&token).await }.boxed()
        };
        let proved = self.flights.join(question, begin).await;
        if let Err(AuthFault::Refused { reason: Reason::Inactive, .. }) = &proved {
            let until = Instant::now() + INACTIVE_FOR.min(self.desk.settings.cache);
            self.inactive.insert(question, until);
        }
        proved.map(Some)
    }
}

impl Desk {
    async fn ask(&self, token: &str) -> Result<Proof, AuthFault> {
        let IntrospectionSettings { url, client_id, client_secret, .. } = &self.settings;
        let form = Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let question = self
            .witness
            .client()
            .post(url.clone())
            .basic_auth(coded(client_id), Some(coded(client_secret.reveal())))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let answer = self.witness.ask(question).await?;
        let claims = read(answer.status, &answer.body).map_err(|detail| self.witness.failed(&detail))?;
        self.witness.answered();
        self.judge(&claims, SystemTime::now())
    }

    /// Whether the answer is good enough for us; then who it is.
    fn judge(&self, claims: &Value, now: SystemTime) -> Result<Proof, AuthFault> {
        let IntrospectionSettings { issuer, audiences, cache, leeway, .. } = &self.settings;
        let refused = |reason, detail: &str| Err(AuthFault::refused(reason, detail));
        if claims.get("active") != Some(&Value::Bool(true)) {
            return refused(Reason::Inactive, "the endpoint says that it is not active");
        }
        let end = moment(claims, "exp")?;
        if end.is_some_and(|end| end + *leeway <= now) {
            return refused(Reason::Expired, "the endpoint says that it has ended");
        }
        if moment(claims, "nbf")?.is_some_and(|begin| begin > now + *leeway) {
            return refused(Reason::NotYet, "the endpoint says that it has not begun");
        }
        if issuer.is_some() && claims.get("iss").and_then(Value::as_str) != issuer.as_deref() {
            return refused(Reason::Issuer, "the endpoint says that somebody else has issued it");
        }
        if !audiences.is_empty() && !meets(claims.get("aud"), audiences) {
            return refused(Reason::Audience, "the endpoint says that it is meant for somebody else");
        }
        let caller = self.settings.claims.caller(claims, &self.standing)?;
        Ok(told(caller, now, *cache, end))
    }
}

/// An answer of the endpoint: an object that says whether the token is active.
fn read(status: StatusCode, body: &[u8]) -> Result<Value, String> {
    if status != StatusCode::OK {
        return Err(format!("answered {status}"));
    }
    let claims: Value = serde_json::from_slice(body).map_err(|_| "its answer is no JSON".to_owned())?;
    if claims.get("active").is_some_and(Value::is_boolean) {
        Ok(claims)
    } else {
        Err("its answer does not say whether the token is active".to_owned())
    }
}

/// A time in seconds since 1970, if it is there.
fn moment(claims: &Value, name: &str) -> Result<Option<SystemTime>, AuthFault> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
            .map(Some)
            .ok_or_else(|| AuthFault::refused(Reason::Claims, format!("{name} is no time"))),
    }
}

fn meets(claim: Option<&Value>, audiences: &[String]) -> bool {
    let ours = |value: &Value| value.as_str().is_some_and(|name| audiences.iter().any(|one| one == name));
    match claim {
        Some(Value::Array(names)) => names.iter().any(ours),
        Some(one) => ours(one),
        None => false,
    }
}

/// RFC 6749 §2.3.1: name and secret are coded as in forms before they become Basic.
fn coded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// Whether this can be a token at all (`b64token` of RFC 6750 §2.1): nobody is asked about anything else.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && text.len() <= LONGEST_TOKEN && body.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde_json::json;
    use url::Url;

    use super::{
        super::scripted::{Reply, Request, Scripted, nobody, told},
        *,
    };
    use crate::{auth::claims::ClaimPaths, config::Secret};

    fn settings(url: &Url) -> IntrospectionSettings {
        IntrospectionSettings {
            url: url.clone(),
            client_id: "p:ar".to_owned(),
            client_secret: Secret::new("s&cret ü"),
            issuer: Some("https://id".to_owned()),
            audiences: vec!["par".to_owned(), "second".to_owned()],
            cache: Duration::from_mins(1),
            leeway: Duration::from_secs(30),
            claims: ClaimPaths::default(),
            ca: None,
        }
    }

    fn made(settings: &IntrospectionSettings) -> Introspection {
        Introspection::new(settings, Standing::default()).unwrap()
    }

    fn seconds(from_now: i64) -> i64 {
        i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + from_now
    }

    fn active(more: &Value) -> Value {
        let mut claims = json!({
            "active": true, "sub": "ann", "iss": "https://id", "aud": "par", "scope": "a b",
            "tenant": "acme", "roles": ["par-viewer"], "exp": seconds(600),
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    #[tokio::test]
    async fn an_active_token_is_its_caller_and_is_asked_for_as_the_standard_wants() {
        let server = Scripted::start(Reply::json(active(&json!({})))).await;
        let introspection = made(&settings(&server.url));
        let before = SystemTime::now();
        let proof = Request::with("opaque+/~._-==").to(&introspection).await.unwrap().unwrap();
        assert_eq!((&*proof.caller.subject, &*proof.caller.tenant), ("ann", "acme"));
        assert_eq!(proof.caller.role, crate::auth::Role::Viewer);
        assert_eq!(proof.caller.scopes.len(), 2);
        let remembered = proof.remember_until.unwrap().duration_since(before).unwrap().as_secs();
        assert!((59..=61).contains(&remembered), "{remembered}");

        let asked = server.asked().remove(0);
        assert_eq!(asked.method, http::Method::POST);
        assert_eq!(asked.header("content-type"), "application/x-www-form-urlencoded");
        let basic = STANDARD.encode("p%3Aar:s%26cret+%C3%BC");
        assert_eq!(asked.header("authorization"), format!("Basic {basic}"));
        assert_eq!(asked.body, "token=opaque%2B%2F%7E._-%3D%3D&token_type_hint=access_token");
        assert!(!format!("{introspection:?}").contains("s&cret"));
    }

    #[tokio::test]
    async fn what_the_endpoint_says_is_believed_only_if_it_fits() {
        let server = Scripted::start(Reply::status(500)).await;
        let introspection = made(&settings(&server.url));
        for (row, (claims, wanted)) in [
            (json!({"active": false}), "inactive"),
            (active(&json!({"active": false})), "inactive"),
            (active(&json!({"exp": seconds(-31)})), "expired"),
            (active(&json!({"exp": seconds(-20)})), "ann"),
            (active(&json!({"exp": "tomorrow"})), "claims"),
            (active(&json!({"exp": -1})), "claims"),
            (active(&json!({"exp": null})), "ann"),
            (active(&json!({"nbf": seconds(40)})), "not_yet"),
            (active(&json!({"nbf": seconds(20)})), "ann"),
            (active(&json!({"iss": "https://id/"})), "issuer"),
            (active(&json!({"iss": null})), "issuer"),
            (active(&json!({"aud": "other"})), "audience"),
            (active(&json!({"aud": null})), "audience"),
            (active(&json!({"aud": ["other", "second"]})), "ann"),
            (active(&json!({"aud": []})), "audience"),
            (active(&json!({"sub": null})), "claims"),
            (active(&json!({"sub": ""})), "claims"),
            (active(&json!({"active": "true"})), "unavailable"),
            (active(&json!({"active": null})), "unavailable"),
            (json!(["active"]), "unavailable"),
            (json!({}), "unavailable"),
        ]
        .into_iter()
        .enumerate()
        {
            server.says(Reply::json(&claims));
            let request = Request::with(&format!("t{row}"));
            assert_eq!(told(&request.to(&introspection).await), wanted, "{claims}");
        }
        let good = active(&json!({})).to_string();
        for reply in [
            Reply { status: 401, ..Reply::json(&good) },
            Reply { status: 500, ..Reply::json(&good) },
            Reply { status: 201, ..Reply::json(&good) },
            Reply { status: 302, ..Reply::json(&good) }.header("location", &server.url),
            Reply::json("active"),
            Reply::json(active(&json!({"padding": "x".repeat(300 << 10)}))),
        ] {
            let what = format!("{} {:.20}", reply.status, reply.body);
            let asked = server.asked().len();
            server.says(reply);
            assert_eq!(told(&Request::with("t").to(&introspection).await), "unavailable", "{what}");
            assert_eq!(server.asked().len(), asked + 1, "{what}");
        }
        let away = made(&settings(&nobody()));
        assert_eq!(told(&Request::with("t").to(&away).await), "unavailable");
    }

    #[tokio::test]
    async fn an_answer_is_never_remembered_beyond_the_end_of_its_token() {
        let server = Scripted::start(Reply::json(active(&json!({"exp": seconds(20)})))).await;
        let end = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds(20)).unwrap());
        let proof = Request::with("t").to(&made(&settings(&server.url))).await.unwrap().unwrap();
        assert!(proof.remember_until.unwrap() <= end);
        let forgetful = IntrospectionSettings { cache: Duration::ZERO, ..settings(&server.url) };
        let proof = Request::with("t").to(&made(&forgetful)).await.unwrap().unwrap();
        assert_eq!(proof.remember_until, None);
    }

    #[tokio::test]
    async fn a_flood_of_one_inactive_token_is_one_question() {
        let server = Scripted::start(Reply::json(json!({"active": false}))).await;
        let introspection = made(&settings(&server.url));
        for _ in 0..5 {
            assert_eq!(told(&Request::with("t").to(&introspection).await), "inactive");
        }
        assert_eq!(server.asked().len(), 1);
        let forgetful = made(&IntrospectionSettings { cache: Duration::ZERO, ..settings(&server.url) });
        for _ in 0..2 {
            assert_eq!(told(&Request::with("t").to(&forgetful).await), "inactive");
        }
        assert_eq!(server.asked().len(), 3);
    }

    #[tokio::test]
    async fn a_crowd_with_one_token_is_one_question() {
        let server = Scripted::start(Reply::json(active(&json!({})))).await;
        server.holds();
        let introspection = Arc::new(made(&settings(&server.url)));
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let introspection = Arc::clone(&introspection);
            crowd.spawn(async move { told(&Request::with("same").to(&*introspection).await) });
        }
        // On one thread all of them wait by now: the question is sent by a task of its own.
        server.has_come(1).await;
        server.goes_on();
        assert_eq!(crowd.join_all().await, vec!["ann"; 20]);
        assert_eq!(server.asked().len(), 1);
        Request::with("other").to(&*introspection).await.unwrap();
        assert_eq!(server.asked().len(), 2);
    }

    #[tokio::test]
    async fn nobody_is_asked_about_what_cannot_be_a_token() {
        let server = Scripted::start(Reply::json(active(&json!({})))).await;
        let introspection = made(&settings(&server.url));
        let long = "x".repeat(LONGEST_TOKEN + 1);
        for text in ["", "=", "a b", "a=b", "tökén", "a,b", "a\tb", "a&b", "a%20b", &long] {
            assert!(!is_token(text), "{text:.20}");
        }
        for request in [Request::bare(), Request::with(&long), Request::with("a,b")] {
            assert_eq!(told(&request.to(&introspection).await), "nobody's");
        }
        assert!(server.asked().is_empty());
        let longest = "x".repeat(LONGEST_TOKEN);
        assert_eq!(told(&Request::with(&longest).to(&introspection).await), "ann");
    }
}
