//! Everything that handshakes need: the settings and their files in, one value that is swapped whole out.

use std::{path::Path, sync::Arc, time::SystemTime};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use sha2::{Digest as _, Sha256};

use super::{MaterialFault, Pair, authorities, file, self_signed::SelfSigned};
use crate::{
    config::tls::{ClientAuth, ServerCertificate, Tls},
    observe::timestamp,
};

/// Tells contents of files apart.
pub(super) type Fingerprint = [u8; 32];

/// Where it comes from.
pub(super) struct Source {
    settings: Tls,
    own: SelfSigned,
}

/// What the files held when they were read; nothing of it is believed yet.
pub(super) struct Written {
    chain: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

/// What handshakes use.
pub(super) struct Material {
    pub(super) pair: Pair,
    pub(super) config: Arc<ServerConfig>,
    pub(super) written: Fingerprint,
}

impl Source {
    pub(super) fn new(settings: Tls, data_dir: &Path) -> Self {
        Self { settings, own: SelfSigned::in_data_directory(data_dir) }
    }

    pub(super) fn settings(&self) -> &Tls {
        &self.settings
    }

    /// Reads all files. A certificate of our own is made first if there is none that may serve.
    pub(super) fn read(&self) -> Result<Written, MaterialFault> {
        if self.settings.certificate == ServerCertificate::SelfSigned {
            self.own.keep()?;
        }
        let (chain, key) = self.paths();
        let authorities = match self.settings.clients.authorities() {
            Some(path) => file::read(path)
                .map_err(|source| MaterialFault::Authorities { path: path.clone(), source })?,
            None => Vec::new(),
        };
        Ok(Written {
            chain: file::read(&chain).map_err(|source| MaterialFault::Chain { path: chain, source })?,
            key: file::read(&key).map_err(|source| MaterialFault::Key { path: key, source })?,
            authorities,
        })
    }

    /// What handshakes can use of what was read.
    pub(super) fn check(&self, written: &Written) -> Result<Material, MaterialFault> {
        let (chain, key) = self.paths();
        let pair = Pair::of_pem((&chain, &written.chain), (&key, &written.key))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(&provider, &written.authorities)?;
        let setup = |source: rustls::Error| MaterialFault::Setup { source: source.into() };
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(setup)?;
        let asks_clients = verifier.is_some();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair.certified())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if asks_clients {
            // Who resumes a session is not asked for a certificate again, and the one of then may be over by
            // now.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Material { pair, config: Arc::new(config), written: written.fingerprint() })
    }

    /// The same for a reload, where what serves is better than what is over or not valid yet.
    pub(super) fn check_timely(&self, written: &Written, now: SystemTime) -> Result<Material, MaterialFault> {
        let material = self.check(written)?;
        let (from, to) = (material.pair.not_before(), material.pair.not_after());
        if from <= now && now < to {
            return Ok(material);
        }
        Err(MaterialFault::Untimely { from: timestamp::text(from), to: timestamp::text(to) })
    }

    fn paths(&self) -> (std::path::PathBuf, std::path::PathBuf) {
        match &self.settings.certificate {
            ServerCertificate::Files { chain, key } => (chain.clone(), key.clone()),
            ServerCertificate::SelfSigned => (self.own.chain(), self.own.key()),
        }
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        pem: &[u8],
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, MaterialFault> {
        let (path, is_optional) = match &self.settings.clients {
            ClientAuth::Off => return Ok(None),
            ClientAuth::Optional(path) => (path, true),
            ClientAuth::Require(path) => (path, false),
        };
        let roots = Arc::new(authorities::of_pem(path, pem)?);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
        builder.build().map(Some).map_err(|error| MaterialFault::Setup { source: error.into() })
    }
}

impl Written {
    /// Equal for equal contents. Lengths keep the end of one file apart from the begin of the next.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut all = Sha256::new();
        for file in [&self.chain, &self.key, &self.authorities] {
            all.update((file.len() as u64).to_le_bytes());
            all.update(file);
        }
        all.finalize().into()
    }
}
