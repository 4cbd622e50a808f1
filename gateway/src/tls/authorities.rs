//! Who may have signed the certificates of clients: a PEM file in, trust anchors out.

use std::path::Path;

use rustls::RootCertStore;

use super::{MaterialFault, file};

/// Reads and checks the authorities of a file.
pub(crate) fn read_authorities(path: &Path) -> Result<RootCertStore, MaterialFault> {
    let pem =
        file::read(path).map_err(|source| MaterialFault::Authorities { path: path.to_owned(), source })?;
    of_pem(path, &pem)
}

/// Checks what was read of a file. One that cannot be used refuses all: whoever wrote it there relies on it.
pub(super) fn of_pem(path: &Path, pem: &[u8]) -> Result<RootCertStore, MaterialFault> {
    let mut authorities = RootCertStore::empty();
    for (certificate, place) in file::certificates(path, pem)?.into_iter().zip(1..) {
        authorities.add(certificate).map_err(|error| MaterialFault::Certificate {
            path: path.to_owned(),
            place,
            reason: error.to_string(),
        })?;
    }
    Ok(authorities)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn one_authority_that_cannot_be_used_refuses_the_file() {
        let key = KeyPair::generate().unwrap();
        let good = CertificateParams::default().self_signed(&key).unwrap().pem();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let path = Path::new("a");
        assert_eq!(of_pem(path, format!("{good}{good}").as_bytes()).unwrap().len(), 2);
        for (pem, place) in [(format!("{good}{broken}"), 2), (format!("{broken}{good}"), 1)] {
            let fault = of_pem(path, pem.as_bytes()).unwrap_err();
            assert!(
                fault.told().starts_with(&format!("a: certificate {place} cannot be used")),
                "{}",
                fault.told()
            );
        }
        for pem in ["", broken] {
            assert!(of_pem(path, pem.as_bytes()).is_err());
        }
    }
}
