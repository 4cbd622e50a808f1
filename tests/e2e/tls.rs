//! TLS of the HTTP port, by real authorities and certificates of `openssl`, with `openssl s_client`, `curl`
//! and reqwest.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, time::Duration};

use reqwest::{Certificate, ClientBuilder, Method, tls::TlsInfo};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::{
    Answered, Authority, Client, Issued, Line, Output, Par, ParBuilder, RawConnection, Traffic,
    authority::fingerprint, eventually, par, par_command, scratch,
};

/// Longer than any renewal needs to be seen: two looks, a second apart.
const PATIENCE: Duration = Duration::from_secs(30);

/// The echo agent behind this certificate.
pub(crate) fn with(issued: &Issued) -> ParBuilder {
    let text = |path: &Path| path.to_str().expect("a path of text").to_owned();
    par().agent("echo").env("TLS_CERT", text(&issued.chain)).env("TLS_KEY", text(&issued.key))
}

fn trusting(authority: &Authority) -> impl Fn(ClientBuilder) -> ClientBuilder + use<> {
    let pem = fs::read(authority.certificate()).expect("a certificate");
    move |builder| builder.tls_certs_only([Certificate::from_pem(&pem).expect("a certificate")])
}

async fn run(program: &str, words: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(words);
    Output::of(command).await
}

/// `openssl s_client` that trusts this authority and leaves at once.
pub(crate) async fn s_client(par: &Par, authority: &Authority, more: &[&str]) -> Output {
    let (place, ca) = (format!("127.0.0.1:{}", par.port), authority.certificate());
    let ca = ca.to_str().expect("a path of text");
    let words = ["s_client", "-connect", &place, "-servername", "localhost", "-CAfile", ca];
    run("openssl", &[words.as_slice(), &["-verify_return_error"], more].concat()).await
}

/// The certificate that new connections see.
async fn shown(par: &Par) -> String {
    let place = format!("127.0.0.1:{}", par.port);
    let words = ["s_client", "-connect", &place, "-servername", "localhost", "-showcerts"];
    let told = run("openssl", &words).await;
    assert!(told.stdout.contains("BEGIN CERTIFICATE"), "{told:?}");
    fingerprint(&told.stdout)
}

/// The first line of this event, now or soon.
pub(crate) async fn event(par: &Par, event: &str) -> Line {
    par.wait_for_line(event, |line| line.event() == event).await
}

async fn metric(par: &Par, name: &str) -> Option<f64> {
    let text = par.metrics().get("/metrics").await.text();
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// That so many handshakes failed for this reason: counted when the server is through with them, which may be after the peer is.
async fn failed(par: &Par, reason: &str, least: f64) {
    let name = format!("par_tls_handshakes_failed_total{{reason=\"{reason}\"}}");
    eventually(&name, async || metric(par, &name).await.filter(|count| *count >= least)).await;
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_older_ones_refused() {
    let root = Authority::new("root");
    let between = root.below("between");
    let par = with(&between.server("server")).start().await;
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let told = s_client(&par, &root, &[version, "-brief"]).await;
        assert_eq!(told.code, 0, "the chain leads to the root: {told:?}");
        assert!(told.stderr.contains(&format!("Protocol version: {name}")), "{told:?}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let told = s_client(&par, &root, &[version, "-brief", "-cipher", "DEFAULT@SECLEVEL=0"]).await;
        assert_ne!(told.code, 0, "{told:?}");
        assert!(told.stderr.contains("alert"), "{told:?}");
    }
    failed(&par, "refused", 2.0).await;
}

#[tokio::test]
async fn alpn_chooses_between_http_1_and_2() {
    let root = Authority::new("root");
    let par = with(&root.server("server")).start().await;
    let ca = root.certificate();
    let url = format!("https://localhost:{}/agents/echo/invoke", par.port);
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--no-alpn", "1.1")] {
        let ca = ca.to_str().expect("a path of text");
        let words = ["-4sS", option, "--cacert", ca, "-w", "%{http_version}", "--json", "{\"a\":1}", &url];
        let told = run("curl", &words).await;
        assert_eq!(
            (told.code, told.stdout.as_str()),
            (0, format!("{{\"a\":1}}{version}").as_str()),
            "{told:?}"
        );
    }
    let strict = Client::secured(par.port, trusting(&root));
    let response = strict.request(Method::GET, "/health").send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    let stranger = Client::secured(par.port, trusting(&Authority::new("another root")));
    assert!(stranger.request(Method::GET, "/health").try_answer().await.is_err(), "it is really checked");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_lost_call_or_connection() {
    let root = Authority::new("root");
    let (place, first, second) = (scratch(), root.server("first"), root.server("second"));
    let files = first.copy(place.path());
    let par = with(&files).start().await;
    let trusting = trusting(&root);
    let kept = Client::secured(par.port, |builder| trusting(builder).tls_info(true));
    let seen = async |client: &Client| {
        let response = client.request(Method::GET, "/runtime/live").send().await.expect("an answer");
        let info = response.extensions().get::<TlsInfo>().expect("what TLS knows").clone();
        let der = info.peer_certificate().expect("a certificate").to_vec();
        response.bytes().await.expect("a body");
        hex::encode_upper(Sha256::digest(der))
    };
    assert_eq!(seen(&kept).await, first.fingerprint().replace(':', ""));
    let fresh = |builder: ClientBuilder| trusting(builder).pool_max_idle_per_host(0);
    let old = |builder: ClientBuilder| trusting(builder).http1_only();
    let callers = [
        Client::secured(par.port, &trusting),
        Client::secured(par.port, old),
        Client::secured(par.port, fresh),
        Client::secured(par.port, |builder| old(fresh(builder))),
    ];
    let traffic = Traffic::start(callers, "echo").await;

    second.replace(&files);
    let line = event(&par, "tls_reloaded").await;
    assert!(line.mentions(&second.fingerprint()) && line.mentions("2048-01-01"), "{line:?}");
    traffic.goes_on().await;
    assert_eq!(shown(&par).await, second.fingerprint());
    let seen_by_all = traffic.all_answered().await;
    assert!(seen_by_all.iter().all(|seen| seen.len() >= 10));
    assert_eq!(seen(&kept).await, first.fingerprint().replace(':', ""), "the connection of then lives on");
    let new = Client::secured(par.port, |builder| trusting(builder).tls_info(true));
    assert_eq!(seen(&new).await, second.fingerprint().replace(':', ""));
}

#[tokio::test]
async fn while_the_new_certificate_is_no_good_the_former_one_serves() {
    let root = Authority::new("root");
    let (place, first, second) = (scratch(), root.server("first"), root.server("second"));
    let files = first.copy(place.path());
    let par = with(&files).allow("tls_reload_failed").start().await;
    let failed = async |count: usize, words: &str| {
        let failures = || par.lines().into_iter().filter(|line| line.event() == "tls_reload_failed");
        let told = eventually(words, async || failures().find(|line| line.mentions(words))).await;
        assert!(told.is_alarm(), "{told:?}");
        assert_eq!(shown(&par).await, first.fingerprint());
        assert_eq!(failures().count(), count, "each fault is told once:\n{}", par.everything_said());
    };
    fs::copy(&second.key, &files.key).expect("a file");
    failed(1, "is not the key of the first certificate").await;
    fs::write(&files.chain, "-----BEGIN CERTIFICATE-----\nrubbish\n").expect("a file");
    failed(2, "cannot be used").await;
    fs::remove_file(&files.chain).expect("a file");
    failed(3, "cannot be read").await;
    root.expired_server("over").replace(&files);
    failed(4, "is valid from 2020-01-01").await;
    second.replace(&files);
    event(&par, "tls_reloaded").await;
    assert_eq!(shown(&par).await, second.fingerprint());
    assert_eq!(par.http.invoke("echo", &json!({})).await.status, 200);
}

/// As Kubernetes updates a secret: the files are links through `..data`, and only that is turned elsewhere.
#[tokio::test]
async fn links_that_are_turned_elsewhere_are_a_change() {
    let root = Authority::new("root");
    let (place, first, second) = (scratch(), root.server("first"), root.server("second"));
    let at = |name: &str| place.path().join(name);
    for (directory, issued) in [("..first", &first), ("..second", &second)] {
        fs::create_dir(at(directory)).expect("a directory");
        issued.copy(&at(directory));
    }
    symlink("..first", at("..data")).expect("a link");
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), at(name)).expect("a link");
    }
    let par = with(&Issued { chain: at("tls.crt"), key: at("tls.key") }).start().await;
    assert_eq!(shown(&par).await, first.fingerprint());
    symlink("..second", at("..data_tmp")).expect("a link");
    fs::rename(at("..data_tmp"), at("..data")).expect("a renamed link");
    event(&par, "tls_reloaded").await;
    assert_eq!(shown(&par).await, second.fingerprint());
}

#[tokio::test]
async fn self_signed_is_known_by_its_fingerprint_and_survives_a_restart() {
    let par = par().agent("echo").env("PAR_TLS", "self-signed").start().await;
    let told = |par: &Par| {
        let lines = par.lines();
        let line =
            lines.iter().find(|line| line.event() == "tls_self_signed").expect("a line").value().clone();
        line["details"]["sha256_fingerprint"].as_str().expect("a fingerprint").to_owned()
    };
    let first = told(&par);
    assert_eq!(first, shown(&par).await);
    let ready = event(&par, "ready").await;
    let example = ready["details"]["example"].as_str().expect("an example").to_owned();
    let said = run("sh", &["-c", &example]).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, "{}"), "{example}: {said:?}");
    let own = par.data_dir().join("tls/certificate.pem");
    let pem = fs::read(own).expect("a certificate");
    let trusting = |builder: ClientBuilder| {
        builder.tls_certs_only([Certificate::from_pem(&pem).expect("a certificate")])
    };
    assert_eq!(Client::secured(par.port, trusting).get("/health").await.status, 200, "for localhost");
    let par = par.restart().await;
    assert_eq!((told(&par), shown(&par).await), (first.clone(), first));
    let days = metric(&par, "par_tls_expiry_seconds").await.expect("days are told") / 86_400.0;
    assert!((363.9..366.0).contains(&days), "{days}");
}

#[tokio::test]
async fn the_example_of_the_log_is_right_for_a_certificate_of_an_authority() {
    let root = Authority::new("root");
    let par = with(&root.server("server")).production().start().await;
    let ready = event(&par, "ready").await;
    let example = ready["details"]["example"].as_str().expect("an example").to_owned();
    let ca = root.certificate();
    let line = format!("{example} -4sS --cacert {}", ca.to_str().expect("a path of text"));
    let said = run("sh", &["-c", &line]).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, "{}"), "{line}: {said:?}");
    let left = metric(&par, "par_tls_expiry_seconds").await.expect("days are told");
    let end = Duration::from_secs(2_461_449_600); // 2048-01-01, where the authority ends its certificates
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert!((end.as_secs_f64() - now.as_secs_f64() - left).abs() < 60.0, "{left}");
}

#[tokio::test]
async fn who_does_not_speak_tls_gets_no_byte_and_no_place() {
    let root = Authority::new("root");
    let par = with(&root.server("server")).start().await;
    let mut plain = RawConnection::open(par.port).await;
    plain.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(plain.read(PATIENCE).await, "");
    assert!(plain.closed_within(PATIENCE).await);
    let mut prior = RawConnection::open(par.port).await;
    prior.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(prior.read(PATIENCE).await, "");
    failed(&par, "not_tls", 2.0).await;

    let (mut silent, mut begun) = (RawConnection::open(par.port).await, RawConnection::open(par.port).await);
    begun.send([22, 3, 1, 0, 200, 1]).await;
    assert!(silent.closed_within(PATIENCE).await && begun.closed_within(PATIENCE).await);
    failed(&par, "timed_out", 1.0).await;
    assert_eq!(par.http.get("/health").await.status, 200);
}

#[tokio::test]
async fn faults_of_tls_end_the_start_and_are_all_named() {
    let root = Authority::new("root");
    let (server, other, over) = (root.server("server"), root.server("other"), root.expired_server("over"));
    let place = scratch();
    let text = |path: &Path| path.to_str().expect("a path of text").to_owned();
    let settings = |name: &str, text: String| {
        let path = place.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let check = async |variables: &[(&str, &str)], words: &[&str]| {
        let mut command = par_command();
        command.arg("check").args(words).env("PAR_DATA_DIR", place.path()).envs(variables.iter().copied());
        Output::of(command).await
    };
    let (chain, key) = (text(&server.chain), text(&server.key));
    let (chain, key, other_key) = (chain.as_str(), key.as_str(), text(&other.key));
    let require = text(&settings("require.yaml", "tls: {client_auth: require}".to_owned()));
    let wrong_ca = format!("tls: {{client_auth: optional, client_ca: {key}}}");
    let wrong_ca = text(&settings("wrong.yaml", wrong_ca));
    for (variables, words, wanted) in [
        (&[("TLS_CERT", chain)][..], &[][..], "TLS_KEY (environment): is needed"),
        (&[("TLS_KEY", key)], &[], "TLS_CERT (environment): is needed"),
        (
            &[("TLS_CERT", "/nowhere.pem"), ("TLS_KEY", key)],
            &[],
            "TLS_CERT (environment): /nowhere.pem cannot be read",
        ),
        (
            &[("TLS_CERT", chain), ("TLS_KEY", "/nowhere.pem")],
            &[],
            "TLS_KEY (environment): /nowhere.pem cannot be read",
        ),
        (&[("TLS_CERT", key), ("TLS_KEY", key)], &[], "holds no certificate in PEM form"),
        (&[("TLS_CERT", chain), ("TLS_KEY", chain)], &[], "holds no private key in PEM form"),
        (&[("TLS_CERT", chain), ("TLS_KEY", &other_key)], &[], "is not the key of the first certificate"),
        (
            &[("TLS_CERT", chain), ("TLS_KEY", key)],
            &["--tls", "self-signed"],
            "--tls (command line): self-signed makes",
        ),
        (&[("TLS_CERT", "/dev/zero"), ("TLS_KEY", key)], &[], "larger than"),
        (&[], &["--tls", "on"], "--tls (command line): \"on\" is not one of"),
        (&[], &["-c", &require], "needs TLS"),
        (&[("PAR_TLS", "self-signed")], &["-c", &require], "needs tls.client_ca"),
        (&[("PAR_TLS", "self-signed")], &["-c", &wrong_ca], "holds no certificate in PEM form"),
    ] {
        let told = check(variables, words).await;
        assert_eq!(told.code, 64, "{variables:?} {words:?}: {told:?}");
        assert!(told.stderr.contains(wanted), "{wanted}: {}", told.stderr);
    }
    let fine = check(&[("TLS_CERT", chain), ("TLS_KEY", key)], &[]).await;
    assert!(fine.code == 0 && fine.stdout.contains(&format!("tls        {chain}")), "{fine:?}");
    let (chain, key) = (text(&over.chain), text(&over.key));
    let odd = check(&[("TLS_CERT", &chain), ("TLS_KEY", &key)], &[]).await;
    assert!(odd.code == 0 && odd.stdout.contains("warning    TLS_CERT expired at 2021-01-01"), "{odd:?}");
    let off = check(&[("TLS_CERT", &chain), ("TLS_KEY", &key), ("PAR_TLS", "off")], &[]).await;
    assert!(off.code == 0 && off.stdout.contains("TLS_CERT and TLS_KEY have no effect"), "{off:?}");
    assert!(!off.stdout.contains("\ntls "), "{off:?}");
    assert!(!place.path().join("tls").exists(), "a check makes nothing");
}
