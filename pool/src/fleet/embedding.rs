//! The pool inside of another program: settings for whoever has no configuration file, and calls of its own.
//!
//! `examples/embedded.rs` is a whole program. What the gateway does besides (identity, roles, limits, schemas, HTTP)
//! is not here: who holds a [`Pool`] may call whatever it has mounted.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    call::Call, directory::Agent, event::EventSink, obituary::ObituarySink, pool::PoolSettings,
    rollout::RolloutSettings, sessions::SessionSettings,
};
use crate::{
    package::{AdapterRule, Loaders, PackageSettings, S3Settings, SignaturePolicy},
    process::SandboxSettings,
};

/// Longest call unless its export says otherwise: what `par serve` allows.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

impl PoolSettings {
    /// What `par serve` does without a configuration, with everything below `data_dir`: interpreters are those on PATH,
    /// nothing of the environment is passed on to agents, and no registry is asked. A `data_dir` belongs to one pool at a
    /// time. Packages with requirements need `packages.uv`.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            packages: PackageSettings {
                cache_dir: data_dir.join("packages"),
                data_dir: data_dir.clone(),
                max_package_bytes: 100 << 20,
                download_timeout: Duration::from_secs(60),
                download_idle_timeout: Duration::from_secs(15),
                tries_of_refused: 1,
                max_cache_bytes: 1 << 30,
                s3: S3Settings { bucket: "pixell-agent-packages".to_owned(), region: None, endpoint: None },
                signatures: SignaturePolicy::NotNeeded,
                install_timeout: Duration::from_secs(300),
                wheelhouse: None,
                uv: None,
                pythons: Vec::new(),
                loaders: Loaders::default(),
                pass_env: BTreeMap::new(),
                adapters: AdapterRule::declared(),
            },
            data_dir,
            max_packages: 100,
            request_timeout: REQUEST_TIMEOUT,
            max_concurrent: 500,
            import_timeout: Duration::from_secs(120),
            idle_ttl: Duration::from_secs(60),
            pack_budget: Duration::from_millis(1),
            dev: false,
            sandbox: SandboxSettings::default(),
            events: EventSink::none(),
            obituaries: ObituarySink::none(),
            rollout: RolloutSettings::default(),
            sessions: SessionSettings::default(),
            alias: None,
            registry: None,
        }
    }
}

impl Call {
    /// A call of `agent` with `input`, which is JSON, on nobody's account. It ends after `patience` at the latest.
    /// `request_id` is 1 to 128 of `[A-Za-z0-9._-]`: it names the call to the agent and in what that prints.
    /// For items one by one, set `feed` to an end of [`stream`](super::stream).
    pub fn of(agent: &Agent, input: Bytes, request_id: Arc<str>, patience: Duration) -> Self {
        let meta = serde_json::json!({"request_id": &*request_id, "agent_id": &*agent.text});
        Self {
            export: agent.export,
            meta: Bytes::from(meta.to_string()),
            payload: input,
            request_id,
            deadline: Instant::now() + patience,
            tenant: None,
            principal: None,
            depth: 0,
            session: None,
            files: None,
            feed: None,
            trace: None,
        }
    }
}
