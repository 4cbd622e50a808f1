//! What a client's certificate says: DER in, once per connection; who holds it out, for every request on it.

use std::{any::Any, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use pingora_core::{listeners::TlsAccept, protocols::tls::TlsRef};
use pingora_proxy::Session;
use sha2::{Digest as _, Sha256};
use x509_parser::{
    certificate::X509Certificate,
    der_parser::asn1_rs::ToDer as _,
    extensions::GeneralName,
    prelude::FromDer as _,
    x509::{AttributeTypeAndValue, X509Name},
};

use super::pair::{address, time};
use crate::auth::ClientCertificate;

/// Short names of attributes: those of RFC 4514 §3, and two that authorities write often. Others are shown by
/// their number.
const SHORT: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.5", "serialNumber"),
];

/// The certificate that the client of a request has proved to hold, verified in the handshake of its
/// connection. A connection may last longer than its certificate: then there is none any more.
pub(crate) fn client_certificate(session: &Session) -> Option<Arc<ClientCertificate>> {
    let Shown(certificate) = session.digest()?.ssl_digest.as_ref()?.extension.get()?;
    (SystemTime::now() < certificate.not_after).then(|| Arc::clone(certificate))
}

/// What a connection keeps.
struct Shown(Arc<ClientCertificate>);

/// Looks at each connection once, when its handshake is complete.
pub(super) struct Reader;

#[async_trait]
impl TlsAccept for Reader {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let certificate = read(tls.peer_certificate_der()?)?;
        Some(Arc::new(Shown(Arc::new(certificate))))
    }
}

/// Reads a certificate that was verified. One that cannot be told apart from others identifies nobody.
fn read(der: &[u8]) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternatives = match certificate.subject_alternative_name() {
        Ok(Some(alternatives)) => alternatives.value.general_names.iter().filter_map(alternative).collect(),
        Ok(None) => Vec::new(),
        Err(_) => return None,
    };
    Some(ClientCertificate {
        subject: subject(certificate.subject())?,
        common_name: common_name(certificate.subject()),
        alternatives,
        fingerprint: hex::encode(Sha256::digest(der)),
        not_after: time(&certificate.validity().not_after),
    })
}

/// The one common name. Of several nobody could say which one is meant.
fn common_name(name: &X509Name<'_>) -> Option<String> {
    let mut names = name.iter_common_name();
    let (first, second) = (names.next()?, names.next());
    second.is_none().then(|| first.as_str().ok().filter(|text| is_plain(text)).map(str::to_owned))?
}

/// A name that a certificate is also for.
fn alternative(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            is_plain(text).then(|| (*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_) => None,
    }
}

/// A name with a NUL or a line break in it is meant to be taken for another one.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// A name as RFC 4514 §2 writes it: last part first.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let parts = name.iter_rdn().map(|part| {
        let attributes: Option<Vec<_>> = part.iter().map(attribute).collect();
        attributes.map(|attributes| attributes.join("+"))
    });
    let mut parts = parts.collect::<Option<Vec<_>>>()?;
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let number = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == number).map(|(_, short)| *short);
    match (short, attribute.as_str()) {
        (Some(short), Ok(text)) => Some(format!("{short}={}", escaped(text))),
        (_, Ok(_) | Err(_)) => {
            let coded = attribute.attr_value().to_der_vec().ok()?;
            Some(format!("{}=#{}", short.unwrap_or(&number), hex::encode(coded)))
        }
    }
}

/// RFC 4514 §2.4.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (place, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            ' ' if place == 0 || place == last => out.push_str("\\ "),
            '#' if place == 0 => out.push_str("\\#"),
            c if c.is_ascii_control() => {
                out.push('\\');
                out.push_str(&hex::encode_upper([c as u8]));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn certificate(subject: &[(DnType, DnValue)], alternatives: Vec<SanType>) -> Option<ClientCertificate> {
        let mut wanted = CertificateParams::default();
        wanted.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            wanted.distinguished_name.push(kind.clone(), value.clone());
        }
        wanted.subject_alt_names = alternatives;
        let key = KeyPair::generate().unwrap();
        read(wanted.self_signed(&key).unwrap().der())
    }

    fn text(value: &str) -> DnValue {
        DnValue::Utf8String(value.to_owned())
    }

    #[test]
    fn subjects_are_written_as_rfc_4514_wants_them() {
        let name = [
            (DnType::CountryName, text("DE")),
            (DnType::OrganizationName, text("Sue, Grabbit and Runn; \"<a+b>\\\"")),
            (DnType::OrganizationalUnitName, text("#1 ")),
            (DnType::CustomDnType(vec![1, 2, 3, 4]), text("x")),
            (DnType::CommonName, text(" Łucja\u{0}\n")),
        ];
        let read = certificate(&name, vec![]).unwrap();
        assert_eq!(
            read.subject,
            "CN=\\ Łucja\\00\\0A,1.2.3.4=#0c0178,OU=\\#1\\ ,\
             O=Sue\\, Grabbit and Runn\\; \\\"\\<a\\+b\\>\\\\\\\",C=DE"
        );
        assert_eq!(read.common_name, None, "a name with a NUL in it is nobody's");
    }

    #[test]
    fn names_beside_the_subject_are_those_of_hosts_uris_and_people() {
        let alternatives = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI("spiffe://example/agent".try_into().unwrap()),
            SanType::Rfc822Name("me@example.org".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::DnsName("b.example\u{0}.evil".try_into().unwrap()),
        ];
        let read = certificate(&[(DnType::CommonName, text("client"))], alternatives).unwrap();
        assert_eq!((read.subject.as_str(), read.common_name.as_deref()), ("CN=client", Some("client")));
        assert_eq!(read.alternatives, ["a.example", "spiffe://example/agent", "me@example.org", "10.0.0.1"]);
        assert_eq!(read.fingerprint.len(), 64);
        assert!(read.not_after > SystemTime::now());
    }

    #[test]
    fn of_two_common_names_neither_is_somebodys() {
        let another = DnType::CustomDnType(vec![2, 5, 4, 3]);
        let name = [(DnType::CommonName, text("client")), (another, text("root"))];
        let read = certificate(&name, vec![]).unwrap();
        assert_eq!((read.subject.as_str(), read.common_name), ("CN=root,CN=client", None));
    }

    #[test]
    fn what_is_no_certificate_identifies_nobody() {
        assert_eq!(read(b""), None);
        assert_eq!(read(&[0x30; 64]), None);
    }
}
