//! `POST /runtime/packages/load`: a package from a path or an address.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use par_pool::{
    fleet::{LoadError, LoadOptions, Loaded},
    package::{Location, Source, Step},
};
use par_proto::{code::Code, ids::Digest};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ControlState, asker::Operator, body, packages::Mounted, refusal::Refusal};
use crate::config::Config;

/// What is to be mounted: exactly one of `path` and `url`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadRequest {
    /// A file or package directory of the host, below one of `packages.load_roots`.
    path: Option<String>,
    /// `https://…`
    url: Option<String>,
    /// Digest that the bytes must have, in hexadecimal.
    #[schema(value_type = Option<String>)]
    sha256: Option<Digest>,
    /// Replace a mounted package of the same id whose bytes differ.
    #[serde(default)]
    force: bool,
}

/// Mounts a package. It is mounted again after a restart.
#[utoipa::path(post, path = "/runtime/packages/load", tag = "packages", request_body = LoadRequest, responses(
    (status = 200, body = Mounted),
    (status = 403, description = "`forbidden`: the path is not below a load root"),
    (status = 409, description = "`conflict`: the same id is mounted with other bytes"),
    (status = 422, description = "`package_invalid` with `step`")
))]
pub(super) async fn load(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request: LoadRequest = body::json(&headers, body)
        .await?
        .ok_or_else(|| Refusal::new(Code::BadRequest, "the body must name a path or a url"))?;
    let source = source(&request, &state.config)?;
    let options = LoadOptions {
        sha256: request.sha256.or(source.sha256),
        force: request.force,
        remember: true,
        signature: None,
    };
    // The load goes on when the client leaves: half a rollout is nobody's wish, and the outcome is in the list.
    let pool = Arc::clone(&state.pool);
    let loading = tokio::spawn(async move { pool.load(&source, options).await });
    outcome(loading.await)
}

/// The answer to a load, whichever way the bytes came.
pub(super) fn outcome(
    result: Result<Result<Loaded, LoadError>, tokio::task::JoinError>,
) -> Result<Response, Refusal> {
    let loaded = result
        .map_err(|error| {
            tracing::error!(event = "load", error = &error as &dyn std::error::Error, "the load did not end");
            Refusal::new(Code::Internal, "the load did not end")
        })?
        .map_err(|error| refusal(&error))?;
    Ok(body::answer(&Mounted {
        status: "success",
        package_id: loaded.package_id,
        agents: loaded.agents,
        created: loaded.created,
    }))
}

fn refusal(error: &LoadError) -> Refusal {
    match error {
        LoadError::Refused(refused) => {
            let hint = refused.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            Refusal::new(Code::PackageInvalid, format!("{}{hint}", refused.detail)).at(refused.step)
        }
        LoadError::Conflict(_) | LoadError::Superseded(_) => Refusal::new(Code::Conflict, error.to_string()),
        LoadError::Full { .. } => Refusal::new(Code::PackageInvalid, error.to_string()).at(Step::Mount),
        LoadError::Stopping => Refusal::new(Code::Stopping, "the runtime is stopping"),
    }
}

/// The source that a request names, if it may be read.
fn source(request: &LoadRequest, config: &Config) -> Result<Source, Refusal> {
    let bad = |detail: String| Refusal::new(Code::BadRequest, detail);
    let source = match (&request.path, &request.url) {
        (Some(path), None) if path.is_empty() => return Err(bad("path is empty".to_owned())),
        (Some(path), None) => Source::path(Path::new(path)),
        (None, Some(url)) if url.contains("://") => {
            Source::parse(url).map_err(|error| bad(error.to_string()))?
        }
        (None, Some(_)) => return Err(bad("url must begin with https://".to_owned())),
        (Some(_), Some(_)) => return Err(bad("name a path or a url, not both".to_owned())),
        (None, None) => return Err(bad("the body must name a path or a url".to_owned())),
    };
    if let (Some(a), Some(b)) = (source.sha256, request.sha256)
        && a != b
    {
        return Err(bad("sha256 and the digest in the url differ".to_owned()));
    }
    match &source.location {
        Location::Https(_) | Location::S3 { .. } => Ok(source),
        Location::File(path) | Location::Directory(path) => {
            let found = allowed(path, config)?;
            Ok(Source { sha256: source.sha256, ..Source::path(&found) })
        }
    }
}

/// The path without links, if it is below a load root (`--dev`: any). A path that does not exist is judged as
/// written, so that nobody learns what exists elsewhere.
fn allowed(path: &Path, config: &Config) -> Result<PathBuf, Refusal> {
    let found = path.canonicalize().or_else(|_| std::path::absolute(path));
    let found =
        found.map_err(|error| Refusal::new(Code::BadRequest, format!("the path cannot be used: {error}")))?;
    let plain = !found.components().any(|part| part == Component::ParentDir);
    let below = |root: &PathBuf| found.starts_with(root.canonicalize().as_ref().unwrap_or(root));
    if config.dev || (plain && config.packages.load_roots.iter().any(below)) {
        return Ok(found);
    }
    Err(Refusal::new(
        Code::Forbidden,
        "the path is not below a directory of packages.load_roots; upload the file",
    ))
}
