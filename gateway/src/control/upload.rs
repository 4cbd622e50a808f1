//! `POST /runtime/packages/upload`: a package from its bytes, streamed to disk.

use std::{path::PathBuf, sync::Arc};

use axum::{
    extract::{FromRequest as _, Multipart, Request, State, multipart::Field},
    http::{StatusCode, header},
    response::Response,
};
use par_pool::{fleet::LoadOptions, package::Signature};
use par_proto::{code::Code, ids::Digest};
use tokio::{fs::OpenOptions, io::AsyncWriteExt as _};

use super::{ControlState, asker::Operator, load, refusal::Refusal};

/// Largest field beside the file: a detached signature of OpenPGP has less than 2 KiB, with notations 16.
const SMALL_FIELD: usize = 64 << 10;

/// What a request may have besides the file: boundaries, part headers and small fields.
const AROUND: u64 = 4 * SMALL_FIELD as u64;

/// Mounts a package from its bytes: `file`, and by choice `sha256`, `signature`, `force`.
#[utoipa::path(post, path = "/runtime/packages/upload", tag = "packages",
    request_body(content_type = "multipart/form-data", content = Object,
        description = "`file`: the package; `sha256`, `signature`, `force`: by choice"),
    responses(
        (status = 200, body = super::packages::Mounted),
        (status = 409, description = "`conflict`: the same id is mounted with other bytes"),
        (status = 413, description = "`too_large`"),
        (status = 422, description = "`package_invalid` with `step`")
    )
)]
pub(super) async fn upload(
    _: Operator,
    State(state): State<Arc<ControlState>>,
    request: Request,
) -> Result<Response, Refusal> {
    let largest = state.config.packages.max_package_bytes;
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > largest.saturating_add(AROUND)) {
        return Err(too_large(largest));
    }
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"));
    if !is_form {
        let hint = "send the package as field file of multipart/form-data";
        return Err(Refusal::new(Code::UnsupportedMediaType, hint));
    }
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| Refusal::new(Code::BadRequest, error.body_text()))?;
    let incoming = state.config.data_dir.join("incoming");
    let mut received = None;
    let mut options = LoadOptions { remember: true, ..LoadOptions::default() };
    while let Some(field) = form.next_field().await.map_err(|error| cut_off(&error))? {
        match field.name().unwrap_or_default() {
            "file" if received.is_none() => received = Some(receive(field, &incoming, largest).await?),
            "sha256" => options.sha256 = digest(&small(field).await?)?,
            "force" => options.force = flag(&small(field).await?)?,
            "signature" => options.signature = Some(Signature::Bytes(small_bytes(field).await?.into())),
            "file" => return Err(Refusal::new(Code::BadRequest, "there is more than one file")),
            other => return Err(Refusal::new(Code::BadRequest, format!("the field {other:?} is not known"))),
        }
    }
    let Some(file) = received else {
        return Err(Refusal::new(Code::BadRequest, "the field file is missing"));
    };
    let pool = Arc::clone(&state.pool);
    // As with load, a client that leaves does not end it.
    let loading = tokio::spawn(async move {
        let loaded = pool.upload(file.path.clone(), options).await;
        drop(file);
        loaded
    });
    load::outcome(loading.await)
}

/// A received file. What is still there when it is dropped was not taken and goes.
struct Incoming {
    path: PathBuf,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(event = "upload", %error, "a received file could not be removed");
        }
    }
}

async fn receive(
    mut field: Field<'_>,
    directory: &std::path::Path,
    largest: u64,
) -> Result<Incoming, Refusal> {
    let lost = |error: std::io::Error| {
        tracing::error!(
            event = "upload",
            error = &error as &dyn std::error::Error,
            "cannot write to the data directory"
        );
        Refusal::new(Code::Internal, "the file could not be written")
    };
    let mut name = [0; 16];
    getrandom::fill(&mut name).map_err(|error| lost(std::io::Error::other(error)))?;
    tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).await.map_err(lost)?;
    let incoming = Incoming { path: directory.join(format!("{}.apkg", hex::encode(name))) };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&incoming.path)
        .await
        .map_err(lost)?;
    let mut size = 0_u64;
    while let Some(chunk) = field.chunk().await.map_err(|error| cut_off(&error))? {
        size += chunk.len() as u64;
        if size > largest {
            return Err(too_large(largest));
        }
        file.write_all(&chunk).await.map_err(lost)?;
    }
    file.flush().await.map_err(lost)?;
    Ok(incoming)
}

async fn small(field: Field<'_>) -> Result<String, Refusal> {
    Ok(String::from_utf8_lossy(&small_bytes(field).await?).trim().to_owned())
}

async fn small_bytes(mut field: Field<'_>) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| cut_off(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > SMALL_FIELD {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("a field beside the file has over {SMALL_FIELD} bytes"),
            ));
        }
    }
    Ok(bytes)
}

fn digest(text: &str) -> Result<Option<Digest>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| Refusal::new(Code::BadRequest, format!("sha256: {error}")))
}

fn flag(text: &str) -> Result<bool, Refusal> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        other => Err(Refusal::new(Code::BadRequest, format!("force: {other:?} is not true or false"))),
    }
}

fn cut_off(error: &axum::extract::multipart::MultipartError) -> Refusal {
    let code =
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE { Code::TooLarge } else { Code::BadRequest };
    Refusal::new(code, error.body_text())
}

fn too_large(largest: u64) -> Refusal {
    Refusal::new(Code::TooLarge, format!("a package may have {} MB (MAX_PACKAGE_SIZE_MB)", largest >> 20))
}
