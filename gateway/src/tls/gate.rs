//! Handshakes: a connection that has said nothing in, one that speaks HTTP out, or none.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use pingora_core::{
    listeners::tls::Acceptor,
    protocols::{GetSocketDigest as _, Peek as _, Stream, l4, tls::server::handshake_with_callback},
};

use super::{
    MaterialFault, Pair,
    client_certificate::Reader,
    material::{Fingerprint, Material, Source},
    metrics::{HandshakeFault, TlsMetrics},
};
use crate::{
    config::tls::{ClientAuth, ServerCertificate, Tls},
    observe::timestamp,
};

/// Whole time of a handshake. Two round trips of the slowest line take two seconds; whoever needs longer
/// holds a connection that others could have.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The first byte of every TLS connection: a record that holds a handshake (RFC 8446 §5.1).
const RECORD: u8 = 22;

/// The TLS of a port. What it shows and whom it trusts is swapped whole; connections keep what they began
/// with.
pub(crate) struct Gate {
    pub(super) source: Source,
    served: ArcSwap<Served>,
    metrics: TlsMetrics,
}

struct Served {
    acceptor: Acceptor,
    pair: Pair,
    written: Fingerprint,
}

impl From<Material> for Served {
    fn from(material: Material) -> Self {
        let acceptor = Acceptor::from_server_config(material.config);
        Self { acceptor, pair: material.pair, written: material.written }
    }
}

impl Gate {
    /// Reads everything that the settings name, makes what is to be made, and tells which certificate serves.
    pub(crate) fn start(settings: &Tls, data_dir: &Path, metrics: TlsMetrics) -> Result<Self, MaterialFault> {
        let source = Source::new(settings.clone(), data_dir);
        let material = source.check(&source.read()?)?;
        let (fingerprint, until) = (material.pair.fingerprint(), timestamp::text(material.pair.not_after()));
        match settings.certificate {
            ServerCertificate::SelfSigned => tracing::info!(
                event = "tls_self_signed",
                sha256_fingerprint = fingerprint,
                valid_until = until,
                "clients know this certificate by its fingerprint only"
            ),
            ServerCertificate::Files { .. } => {
                tracing::info!(event = "tls_on", sha256_fingerprint = fingerprint, valid_until = until);
            }
        }
        Ok(Self { source, served: ArcSwap::from_pointee(material.into()), metrics })
    }

    /// Lets a connection in. `None`: it has ended, its handshake failed or took too long, or `stop` came first.
    pub(crate) async fn accept(&self, stream: Stream, stop: impl Future<Output = ()>) -> Option<Stream> {
        let stream = stream.into_any().downcast::<l4::stream::Stream>().ok()?;
        let address =
            stream.get_socket_digest().and_then(|digest| digest.peer_addr().map(ToString::to_string));
        let shaken = tokio::select! {
            biased;
            shaken = tokio::time::timeout(HANDSHAKE, self.shake(*stream)) => shaken,
            // Nobody has been let in yet who could lose something.
            () = stop => return None,
        };
        let (fault, reason) = match shaken {
            Ok(Ok(stream)) => return Some(stream),
            // Load balancers look whether a port is open by opening it.
            Ok(Err(Ended::Silent)) => return None,
            Ok(Err(Ended::NotTls)) => {
                (HandshakeFault::NotTls, "the connection does not speak TLS".to_owned())
            }
            Ok(Err(Ended::Refused(reason))) => (HandshakeFault::Refused, reason),
            Err(_) => (HandshakeFault::TimedOut, format!("not complete after {} s", HANDSHAKE.as_secs())),
        };
        self.metrics.failed(fault);
        tracing::info!(event = "tls_handshake_failed", address, reason);
        None
    }

    async fn shake(&self, mut stream: l4::stream::Stream) -> Result<Stream, Ended> {
        let mut begin = [0];
        stream.try_peek(&mut begin).await.map_err(|_| Ended::Silent)?;
        if begin != [RECORD] {
            // Not even an alert: who speaks something else gets no byte of ours to take for an answer.
            return Err(Ended::NotTls);
        }
        let served = self.served.load_full();
        match handshake_with_callback(&served.acceptor, stream, &Reader).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(Ended::Refused(reason(&error))),
        }
    }

    /// From now on handshakes use this.
    pub(super) fn serve(&self, material: Material) {
        self.served.store(Arc::new(material.into()));
    }

    /// What was read of the files that serve.
    pub(super) fn written(&self) -> Fingerprint {
        self.served.load().written
    }

    /// Brings the metrics up to date.
    pub(crate) fn measure(&self) {
        let end = self.served.load().pair.not_after();
        let now = SystemTime::now();
        let left = end
            .duration_since(now)
            .map_or_else(|over| -over.duration().as_secs_f64(), |left| left.as_secs_f64());
        self.metrics.expiry.set(left);
    }

    /// How `curl` begins to speak to this port: its options, and scheme, host and port.
    pub(crate) fn curl(&self, address: SocketAddr) -> (&'static str, String) {
        let settings = self.source.settings();
        let is_self_signed = settings.certificate == ServerCertificate::SelfSigned;
        let asks = matches!(settings.clients, ClientAuth::Require(_));
        let options = match (is_self_signed, asks) {
            (true, false) => "-k ",
            (true, true) => "-k --cert CERT --key KEY ",
            (false, false) => "",
            (false, true) => "--cert CERT --key KEY ",
        };
        let host = if is_self_signed { None } else { host(self.served.load().pair.names(), address.ip()) };
        let place = host.map_or_else(|| address.to_string(), |host| format!("{host}:{}", address.port()));
        (options, format!("https://{place}"))
    }
}

/// What the TLS library says, without what the framework puts before it.
fn reason(error: &pingora_core::Error) -> String {
    let said =
        error.context.as_ref().map_or_else(|| error.to_string(), |context| context.as_str().to_owned());
    said.trim_start_matches("tls connect error: ").to_owned()
}

/// Why a connection was not let in.
enum Ended {
    Silent,
    NotTls,
    Refused(String),
}

/// The name by which a client finds the certificate to be right; none: the address itself is as good.
fn host(names: &[String], address: IpAddr) -> Option<String> {
    let is_here = address.is_loopback() || address.is_unspecified();
    if is_here && names.iter().any(|name| name == "localhost") {
        return Some("localhost".to_owned());
    }
    let is_name = |name: &&String| !name.contains('*') && name.parse::<IpAddr>().is_err();
    let is_own = names.iter().any(|name| name.parse() == Ok(address));
    if is_own { None } else { names.iter().find(is_name).cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_names_a_host_that_the_certificate_is_for() {
        for (names, address, wanted) in [
            (&["a.example", "localhost"][..], "127.0.0.1", Some("localhost")),
            (&["a.example", "localhost"], "10.0.0.1", Some("a.example")),
            (&["*.example", "b.example"], "0.0.0.0", Some("b.example")),
            (&["a.example", "127.0.0.1"], "127.0.0.1", None),
            (&["10.0.0.1"], "0.0.0.0", None),
            (&[], "127.0.0.1", None),
        ] {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(host(&names, address.parse().unwrap()).as_deref(), wanted, "{names:?} {address}");
        }
    }
}
