//! `par check`: whether `par serve` would start with this configuration.

use std::io::Write;

use par_pool::package::SignaturePolicy;

use super::{Exit, Failure};
use crate::config::{
    Config, Environment, Faults, Flags,
    tls::{ClientAuth, ServerCertificate},
};

/// Tells what would be served, with what is odd, or every fault.
pub(super) fn check(flags: &Flags, environment: &Environment, out: &mut dyn Write) -> Result<(), Failure> {
    let config = Config::load(flags, environment).map_err(|faults| failure(&faults))?;
    writeln!(out, "the configuration is valid")?;
    writeln!(out, "http       {}", config.http)?;
    if let Some(tls) = &config.tls {
        let certificate = match &tls.certificate {
            ServerCertificate::Files { chain, .. } => chain.display().to_string(),
            ServerCertificate::SelfSigned => "self-signed".to_owned(),
        };
        let clients = match &tls.clients {
            ClientAuth::Off => "",
            ClientAuth::Optional(_) => ", certificates of clients are checked",
            ClientAuth::Require(_) => ", clients need certificates",
        };
        writeln!(out, "tls        {certificate}{clients}")?;
    }
    writeln!(out, "metrics    {}", config.metrics)?;
    writeln!(out, "data       {}", config.data_dir.display())?;
    writeln!(out, "socket     {}", config.socket.display())?;
    let uv =
        config.pool.uv.as_ref().map_or("not found, pip is used".to_owned(), |uv| uv.display().to_string());
    writeln!(out, "uv         {uv}")?;
    for source in &config.sources {
        writeln!(out, "source     {source}")?;
    }
    for source in &config.lazy {
        writeln!(out, "lazy       {source}")?;
    }
    if let Some(registry) = &config.registry {
        writeln!(out, "registry   {}", registry.location)?;
    }
    if let SignaturePolicy::Required(_) = config.packages.signatures {
        writeln!(out, "signatures required")?;
    }
    if config.is_public() {
        let note = "identity is off: everybody who reaches the port may call agents without a role";
        writeln!(out, "warning    {note}")?;
    }
    for warning in &config.warnings {
        writeln!(out, "warning    {warning}")?;
    }
    Ok(())
}

/// Every fault on a line of its own.
pub(super) fn failure(faults: &Faults) -> Failure {
    let count = faults.0.len();
    let plural = if count == 1 { "fault" } else { "faults" };
    let lines = faults.to_string().replace('\n', "\n  ");
    Failure::new(Exit::Configuration, format!("{count} {plural} in the configuration\n  {lines}"))
}
