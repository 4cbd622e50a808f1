//! TLS of the HTTP port: a certificate and, if clients are asked for one, their authorities in; handshakes
//! out.
//!
//! Everything that a handshake needs is one value that is swapped whole when a file changes ([`Gate`],
//! `reload.rs`): connections keep the one with which they began. Sessions of a former one cannot be resumed,
//! so nobody comes in by an authority that was taken away.

mod authorities;
mod client_certificate;
mod fault;
mod file;
mod gate;
mod material;
mod metrics;
mod pair;
mod reload;
mod self_signed;

pub(crate) use authorities::read_authorities;
pub(crate) use client_certificate::client_certificate;
pub(crate) use fault::MaterialFault;
pub(crate) use gate::Gate;
pub(crate) use metrics::TlsMetrics;
pub(crate) use pair::Pair;
