//! A certified OpenID provider (`issuer/provider.mjs`, on Node) that issues real tokens, rotates its keys, and goes
//! away and comes back.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

use super::{Answer, Answered, Client, ParBuilder, command::shared_cache, repository};

/// What tokens are for, unless a test says otherwise.
pub(crate) const AUDIENCE: &str = "https://par.example";

/// The secret of every client; `provider.mjs` knows it too.
const SECRET: &str = "known-to-the-tests-only-and-opens-nothing-else";
/// Where the code arrives; nobody listens there, the test reads it from the redirect.
const REDIRECT: &str = "http://127.0.0.1/callback";
/// Making four keys takes it a while on a busy machine. One was seen that said nothing for a minute, and why is not
/// known: then another one is started.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);
/// Sign in, consent, and the way to each and back.
const MOST_REDIRECTS: usize = 8;

/// Runs until it is dropped.
pub(crate) struct IdentityProvider {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    web: Client,
    control: Client,
    child: Child,
    /// Its end is the provider's.
    _stdin: ChildStdin,
}

impl IdentityProvider {
    /// Starts on a free port of 127.0.0.1, with keys of its own.
    pub(crate) async fn start() -> Self {
        let modules = tools().join("issuer/node_modules");
        assert!(
            modules.join("oidc-provider").is_dir(),
            "no OpenID provider in {}: run `make tools`",
            modules.display()
        );
        let mut silent = 0;
        let (child, stdin, line) = loop {
            if let Some(begun) = begin(&modules).await {
                break begun;
            }
            silent += 1;
            assert!(silent < 3, "the provider does not begin");
        };
        let ports: Value = serde_json::from_str(&line).expect("its ports");
        let port =
            |name: &str| ports[name].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        let (port, control) = (port("port"), port("control"));
        Self { port, web: Client::new(port), control: Client::new(control), child, _stdin: stdin }
    }

    /// Its `iss`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A `par` as in production that believes this provider.
    pub(crate) fn believed_by(&self, par: ParBuilder) -> ParBuilder {
        par.production().env("OIDC_ISSUER", self.url()).env("OIDC_AUDIENCE", AUDIENCE)
    }

    /// From now on there is somebody of this name, whose tokens carry these claims. Replaces an earlier one.
    pub(crate) async fn knows(&self, name: &str, claims: Value) {
        self.knows_as(json!({"id": name, "claims": claims})).await;
    }

    /// The same with `ttl` in seconds or `alg` of the tokens of client credentials.
    pub(crate) async fn knows_as(&self, identity: Value) {
        self.tell("/identity", identity).await;
    }

    /// A token of client credentials for [`AUDIENCE`].
    pub(crate) async fn token(&self, name: &str) -> String {
        self.token_for(name, AUDIENCE).await
    }

    /// The same for another audience.
    pub(crate) async fn token_for(&self, name: &str, audience: &str) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", "agents:call agents:read"),
            ("resource", audience),
        ];
        let asked = self.web.request(Method::POST, "/token").basic_auth(name, Some(SECRET));
        access_token(&asked.form_of(&form).answer().await)
    }

    /// A token of somebody who has signed in: authorization code with PKCE (RFC 7636), every step of the browser.
    pub(crate) async fn token_by_code(&self, name: &str) -> String {
        let verifier = hex::encode(Sha256::digest(name));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("client_id", "app"),
                ("response_type", "code"),
                ("redirect_uri", REDIRECT),
                ("scope", "openid agents:call"),
                ("resource", AUDIENCE),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
                ("state", "a state of the test"),
                ("login_hint", name),
            ])
            .finish();
        let code = self.code(&format!("/auth?{query}")).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", "app"),
            ("code", &code),
            ("code_verifier", &verifier),
            ("redirect_uri", REDIRECT),
            ("resource", AUDIENCE),
        ];
        access_token(&self.web.request(Method::POST, "/token").form_of(&form).answer().await)
    }

    /// Follows redirects with cookies, as a browser does, until one leads back to the application.
    async fn code(&self, begin: &str) -> String {
        let mut cookies = BTreeMap::new();
        let base = Url::parse(&self.url()).expect("an address");
        let mut next = base.join(begin).expect("an address");
        for _ in 0..MOST_REDIRECTS {
            let path =
                next.query().map_or(next.path().to_owned(), |query| format!("{}?{query}", next.path()));
            let carried: Vec<String> =
                cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let asked = self.web.request(Method::GET, &path).header(header::COOKIE, carried.join("; "));
            let answer = asked.answer().await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
            for cookie in answer.headers.get_all(header::SET_COOKIE) {
                let cookie = cookie.to_str().expect("a header of text").split(';').next().unwrap_or_default();
                let (name, value) = cookie.split_once('=').expect("a cookie");
                cookies.insert(name.to_owned(), value.to_owned());
            }
            next = base.join(answer.header("location")).expect("an address");
            if next.as_str().starts_with(REDIRECT) {
                let told: BTreeMap<_, _> = next.query_pairs().into_owned().collect();
                assert_eq!(told["state"], "a state of the test", "{told:?}");
                return told["code"].clone();
            }
        }
        panic!("never came back from {begin}");
    }

    /// Signs with new keys from now on; the former ones still verify.
    pub(crate) async fn rotates(&self) {
        self.tell("/rotate", json!({"publish": true})).await;
    }

    /// Nobody listens on its port any more.
    pub(crate) async fn goes_away(&self) {
        self.tell("/down", json!({})).await;
    }

    /// It listens on its port again.
    pub(crate) async fn comes_back(&self) {
        self.tell("/up", json!({})).await;
    }

    /// How often its keys were asked for.
    pub(crate) async fn keys_asked(&self) -> u64 {
        self.control.get("/asked").await.ok()["keys"].as_u64().expect("a count")
    }

    async fn tell(&self, path: &str, what: Value) {
        self.control.post(path, &what).await.ok();
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts one, and waits for its line. `None`: it said nothing in time, and was ended.
async fn begin(modules: &Path) -> Option<(Child, ChildStdin, String)> {
    let mut command = Command::new(node());
    command.arg(repository().join("tests/harness/issuer/provider.mjs")).arg(modules);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("node is installed");
    let stdin = child.stdin.take().expect("stdin is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(BufReader::new(stdout).lines().next()).ok());
    let heard = tokio::task::spawn_blocking(move || receiver.recv_timeout(BEGINS_WITHIN)).await;
    if let Ok(Some(Ok(line))) = heard.expect("it waited") {
        return Some((child, stdin, line));
    }
    child.kill().ok();
    child.wait().ok();
    None
}

/// Where `make tools` installs.
fn tools() -> PathBuf {
    shared_cache().with_file_name("tools")
}

/// The one that was installed beside the other tools, else the system's.
pub(super) fn node() -> PathBuf {
    let own = tools().join("bin/node");
    if own.is_file() { own } else { "node".into() }
}

#[track_caller]
fn access_token(answer: &Answer) -> String {
    let told = answer.ok();
    told["access_token"].as_str().unwrap_or_else(|| panic!("no token in {told}")).to_owned()
}

/// Forms, as clients of RFC 6749 send them.
trait Form {
    fn form_of(self, fields: &[(&str, &str)]) -> Self;
}

impl Form for reqwest::RequestBuilder {
    fn form_of(self, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
    }
}
