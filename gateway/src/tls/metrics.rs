//! What is counted of TLS. Registered only where TLS is on: a certificate that is not there does not expire.

use prometheus::{Gauge, IntCounterVec, Opts, Registry};

/// Metrics of TLS, prefix `par_tls_`.
#[derive(Debug, Clone)]
pub(crate) struct TlsMetrics {
    pub(super) expiry: Gauge,
    handshakes_failed: IntCounterVec,
}

/// Why a handshake failed; the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeFault {
    /// The connection spoke something else.
    NotTls,
    /// No version, cipher or protocol in common, or a client certificate that is missing or wrong.
    Refused,
    /// It took too long.
    TimedOut,
}

impl HandshakeFault {
    const ALL: [Self; 3] = [Self::NotTls, Self::Refused, Self::TimedOut];

    const fn text(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
        }
    }
}

impl TlsMetrics {
    /// Makes the metrics and registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            expiry: Gauge::new(
                "par_tls_expiry_seconds",
                "Seconds until the certificate that serves ends; negative when it has.",
            )?,
            handshakes_failed: IntCounterVec::new(
                Opts::new("par_tls_handshakes_failed_total", "Handshakes that failed, by reason."),
                &["reason"],
            )?,
        };
        for fault in HandshakeFault::ALL {
            metrics.handshakes_failed.with_label_values(&[fault.text()]);
        }
        registry.register(Box::new(metrics.expiry.clone()))?;
        registry.register(Box::new(metrics.handshakes_failed.clone()))?;
        Ok(metrics)
    }

    pub(super) fn failed(&self, fault: HandshakeFault) {
        self.handshakes_failed.with_label_values(&[fault.text()]).inc();
    }
}
