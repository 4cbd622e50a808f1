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
