//! PEM files: a path in, its bytes and the certificates in them out.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::MaterialFault;

/// Largest file that is read. All authorities of a system are 200 KB; what is larger is not what was meant, a
/// device for example that never ends.
const LARGEST: u64 = 4 << 20;

/// All bytes of a file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

/// The certificates in a PEM file; at least one.
pub(super) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialFault> {
    let mut found = Vec::new();
    for (certificate, place) in CertificateDer::pem_slice_iter(pem).zip(1..) {
        found.push(certificate.map_err(|error| MaterialFault::Certificate {
            path: path.to_owned(),
            place,
            reason: error.to_string(),
        })?);
    }
    if found.is_empty() {
        return Err(MaterialFault::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}
