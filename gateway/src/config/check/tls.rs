//! Whether the HTTP port speaks TLS. The files are read now: what is wrong with them is known before the
//! first client comes.

use std::{path::PathBuf, time::SystemTime};

use super::{Check, Setting, raw};
use crate::{
    config::tls::{ClientAuth, ServerCertificate, Tls},
    observe::timestamp,
    tls::{MaterialFault, Pair, read_authorities},
};

/// What `tls.mode` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As soon as there is a certificate.
    Auto,
    /// With a certificate of our own making.
    SelfSigned,
    /// Never.
    Off,
}

/// What `tls.client_auth` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Off,
    Optional,
    Require,
}

impl Check<'_> {
    /// TLS of the HTTP port, if it is on.
    pub(super) fn tls(&mut self, warnings: &mut Vec<String>) -> Option<Tls> {
        let mode = self.text(&raw::TLS_MODE).map_or(Mode::Auto, |text| match text.as_str() {
            "auto" => Mode::Auto,
            "self-signed" => Mode::SelfSigned,
            "off" => Mode::Off,
            other => {
                self.fault(&raw::TLS_MODE, format!("{other:?} is not one of auto, self-signed, off"));
                Mode::Auto
            }
        });
        let files = (self.path(&raw::TLS_CERT), self.path(&raw::TLS_KEY));
        let named = files.0.is_some() || files.1.is_some();
        let certificate = match mode {
            Mode::Auto => self.certificate_files(files, warnings),
            Mode::SelfSigned => {
                if named {
                    let problem =
                        "self-signed makes a certificate of its own; leave TLS_CERT and TLS_KEY away";
                    self.fault(&raw::TLS_MODE, problem);
                }
                Some(ServerCertificate::SelfSigned)
            }
            Mode::Off => {
                if named {
                    let warning = "TLS_CERT and TLS_KEY have no effect: tls.mode is off";
                    warnings.push(warning.to_owned());
                }
                None
            }
        };
        let is_on = mode == Mode::SelfSigned || (mode == Mode::Auto && named);
        let clients = self.clients(is_on, warnings);
        certificate.map(|certificate| Tls { certificate, clients })
    }

    /// Both files or neither.
    fn certificate_files(
        &mut self,
        files: (Option<PathBuf>, Option<PathBuf>),
        warnings: &mut Vec<String>,
    ) -> Option<ServerCertificate> {
        let (chain, key) = match files {
            (Some(chain), Some(key)) => (chain, key),
            (Some(_), None) => {
                self.fault(
                    &raw::TLS_KEY,
                    "is needed: TLS_CERT is set, and a certificate is of no use without its key",
                );
                return None;
            }
            (None, Some(_)) => {
                self.fault(
                    &raw::TLS_CERT,
                    "is needed: TLS_KEY is set, and a key is of no use without its certificate",
                );
                return None;
            }
            (None, None) => return None,
        };
        match Pair::read(&chain, &key) {
            Ok(pair) => warnings.extend(untimely(&pair, SystemTime::now())),
            Err(fault) => self.fault(blamed(&fault), fault.told()),
        }
        Some(ServerCertificate::Files { chain, key })
    }

    /// What clients are asked for. Somebody relies on it: what could not be done is a fault.
    fn clients(&mut self, is_on: bool, warnings: &mut Vec<String>) -> ClientAuth {
        let asked = self.text(&raw::TLS_CLIENT_AUTH).map_or(Asked::Off, |text| match text.as_str() {
            "off" => Asked::Off,
            "optional" => Asked::Optional,
            "require" => Asked::Require,
            other => {
                self.fault(&raw::TLS_CLIENT_AUTH, format!("{other:?} is not one of off, optional, require"));
                Asked::Off
            }
        });
        let authorities = self.path(&raw::TLS_CLIENT_CA);
        if asked == Asked::Off {
            if authorities.is_some() {
                warnings.push("tls.client_ca has no effect: tls.client_auth is off".to_owned());
            }
            return ClientAuth::Off;
        }
        if !is_on {
            let problem = "needs TLS: set TLS_CERT and TLS_KEY, or --tls self-signed";
            self.fault(&raw::TLS_CLIENT_AUTH, problem);
        }
        let Some(authorities) = authorities else {
            let problem = "needs tls.client_ca: the authorities that sign clients' certificates";
            self.fault(&raw::TLS_CLIENT_AUTH, problem);
            return ClientAuth::Off;
        };
        if let Err(fault) = read_authorities(&authorities) {
            self.fault(&raw::TLS_CLIENT_CA, fault.told());
        }
        match asked {
            Asked::Off => ClientAuth::Off,
            Asked::Optional => ClientAuth::Optional(authorities),
            Asked::Require => ClientAuth::Require(authorities),
        }
    }
}

/// Which of the two settings is to be corrected.
fn blamed(fault: &MaterialFault) -> &'static Setting {
    if fault.is_of_key() { &raw::TLS_KEY } else { &raw::TLS_CERT }
}

/// A certificate whose time is not now is odd, but a clock may be what is wrong.
fn untimely(pair: &Pair, now: SystemTime) -> Option<String> {
    if pair.not_after() <= now {
        let when = timestamp::text(pair.not_after());
        return Some(format!("TLS_CERT expired at {when}: clients will refuse it"));
    }
    if now < pair.not_before() {
        let when = timestamp::text(pair.not_before());
        return Some(format!("TLS_CERT is valid from {when} on: clients will refuse it until then"));
    }
    None
}
