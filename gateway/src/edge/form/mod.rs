//! `multipart/form-data` as an input: read as it arrives, files to disk, the rest to memory, all within limits and on the
//! clock of every body. A worker is not involved before the end.

mod draft;
mod name;
mod paced;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use multer::{Field, Multipart};
use par_pool::fleet::{Agent, Attached, Generation, Spool};
use par_proto::code::Code;
use pingora_proxy::Session;
use serde::Serialize;

use super::{body, envelope::Wrapping, refusal::Refusal};
use crate::config::{Forms, Limits};
pub(super) use draft::Places;
use draft::{Draft, Facts, Part};
use paced::{Pace, Paced, Stopped};

/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY: usize = 70;

/// Longest type of a file. Real ones have some 80 bytes.
const TYPE: usize = 128;

/// The type of a file whose sender does not know it.
const OCTETS: &str = "application/octet-stream";

/// A form that has arrived.
#[derive(Debug)]
pub(super) struct Form {
    /// The input as JSON.
    pub(super) input: Bytes,
    /// What belongs to the envelope, on the route that has one.
    pub(super) wrapping: Wrapping,
    /// What came with it.
    pub(super) files: Option<Files>,
    /// Bytes of the body.
    pub(super) size: usize,
}

/// Files that came with a call.
#[derive(Debug)]
pub(super) struct Files {
    /// They go when the last holder does.
    pub(super) attached: Arc<Attached>,
    /// Which members of the input they are.
    places: Places,
}

/// `files` of the metadata, as in `FRAMES.md`.
#[derive(Serialize)]
struct Told<'a> {
    directory: &'a str,
    members: Vec<(&'a str, &'a [Arc<str>])>,
}

impl Files {
    /// What the worker is told of them, as JSON.
    pub(super) fn told(&self) -> Vec<u8> {
        let directory = self.attached.directory().to_string_lossy();
        let members = self.places.iter().map(|(name, files)| (name.as_str(), files.as_slice())).collect();
        serde_json::to_vec(&Told { directory: &directory, members }).unwrap_or_default()
    }

    /// Moves them to the generation that answers the call, if it is not the one they were sent to.
    pub(super) async fn follow(&mut self, agent: &Agent) -> Result<(), Refusal> {
        let adopted = agent.mount.generation.adopt(&self.attached).await;
        self.attached = adopted.map_err(|error| lost(&error))?;
        Ok(())
    }
}

/// The boundary, if a `Content-Type` is that of a form.
pub(super) fn boundary(text: &str) -> Option<Result<String, Refusal>> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("multipart/form-data").then(|| {
        let boundary = multer::parse_boundary(text).ok();
        boundary.filter(|boundary| (1..=BOUNDARY).contains(&boundary.len())).ok_or_else(|| {
            let text = "multipart/form-data needs a boundary of 1 to 70 bytes in Content-Type";
            Refusal::new(Code::BadRequest, text)
        })
    })
}

/// Reads a form to its end. `envelope`: whether some of its fields belong to one.
pub(super) async fn read(
    session: &mut Session,
    limits: &Limits,
    boundary: String,
    generation: &Generation,
    envelope: bool,
) -> Result<Form, Refusal> {
    body::expect(session, limits, limits.forms.bytes).await?;
    let received = AtomicUsize::new(0);
    let spool = generation.spool().map_err(|error| lost(&error))?;
    let read = body::timed(limits, &received, async {
        let reader = Reader { limits, spool, draft: Draft::default(), held: 0, parts: 0, files: 0 };
        let read = reader.read(bytes(session, limits.forms.bytes, &received), boundary).await?;
        // Whatever is behind the end is not ours.
        let rest = bytes(session, limits.forms.bytes, &received);
        let mut rest = std::pin::pin!(rest);
        while let Some(piece) = std::future::poll_fn(|context| rest.as_mut().poll_next(context)).await {
            piece?;
        }
        Ok(read)
    });
    let read = read.await;
    if read.is_err() {
        body::drain(session, limits).await;
    }
    let Reader { mut draft, spool, files, .. } = read?;
    let places = draft.places();
    let wrapping = if envelope {
        draft.take("context");
        Wrapping { trace_id: draft.take("trace_id"), session_id: draft.take("session_id") }
    } else {
        Wrapping::default()
    };
    let input = draft.input()?;
    let attached = if files > 0 { Some(spool.finish().await.map_err(|error| lost(&error))?) } else { None };
    let files = attached.map(|attached| Files { attached, places });
    Ok(Form { input, wrapping, files, size: received.load(Relaxed) })
}

/// The body, piece by piece, as far as it keeps its limit.
fn bytes<'a>(
    session: &'a mut Session,
    limit: u64,
    received: &'a AtomicUsize,
) -> impl Stream<Item = Result<Bytes, Refusal>> + Send + 'a {
    stream::try_unfold(session, move |session| async move {
        let Some(piece) = body::chunk(session).await? else { return Ok(None) };
        let total = received.load(Relaxed) + piece.len();
        received.store(total, Relaxed);
        if total as u64 > limit { Err(body::too_large(limit)) } else { Ok(Some((piece, session))) }
    })
}

/// What was read so far.
struct Reader<'a> {
    limits: &'a Limits,
    spool: Spool,
    draft: Draft,
    /// Bytes of fields in memory.
    held: u64,
    parts: usize,
    files: usize,
}

impl Reader<'_> {
    async fn read(
        mut self,
        body: impl Stream<Item = Result<Bytes, Refusal>> + Send,
        boundary: String,
    ) -> Result<Self, Refusal> {
        let pace = Pace::default();
        let mut form = Multipart::new(Paced::new(body, &pace), boundary);
        loop {
            pace.part();
            let Some(part) = form.next_field().await.map_err(unreadable)? else { return Ok(self) };
            let most = self.limits.forms.parts;
            self.parts += 1;
            if self.parts > most {
                return Err(refused(Code::TooLarge, format!("the form has more than {most} parts")));
            }
            let field = name::field(part.name()).map_err(|text| refused(Code::BadRequest, text))?.to_owned();
            if field == "input" {
                let text = self.text(part, &pace, &field, self.limits.body_bytes).await?;
                self.draft.base(text)?;
            } else if part.file_name().is_some() {
                self.file(part, &pace, &field).await?;
            } else {
                let Forms { field_bytes, .. } = self.limits.forms;
                let text = self.text(part, &pace, &field, field_bytes).await?;
                self.draft.add(&field, Part::Text(text))?;
            }
        }
    }

    /// A part to memory.
    async fn text(
        &mut self,
        mut part: Field<'_>,
        pace: &Pace,
        field: &str,
        limit: u64,
    ) -> Result<String, Refusal> {
        let mut text = Vec::new();
        while let Some(bytes) = more(&mut part, pace).await? {
            self.held += bytes.len() as u64;
            if (text.len() + bytes.len()) as u64 > limit {
                return Err(refused(Code::TooLarge, format!("the field {field:?} has over {limit} bytes")));
            }
            let all = self.limits.body_bytes;
            if self.held > all {
                return Err(refused(Code::TooLarge, format!("the fields of the form have over {all} bytes")));
            }
            text.extend_from_slice(&bytes);
        }
        String::from_utf8(text)
            .map_err(|_| refused(Code::BadRequest, format!("the field {field:?} is not UTF-8 and no file")))
    }

    /// A part to disk.
    async fn file(&mut self, mut part: Field<'_>, pace: &Pace, field: &str) -> Result<(), Refusal> {
        let sent = part.file_name().unwrap_or_default();
        let is_unnamed = sent.is_empty();
        let name = name::file(sent).map_err(|text| refused(Code::BadRequest, text))?;
        let content_type = part.content_type().map(AsRef::as_ref);
        let content_type = content_type.filter(|kind| kind.len() <= TYPE).unwrap_or(OCTETS).to_owned();
        let file: Arc<str> = name::on_disk(self.files, &name).into();
        let limit = self.limits.forms.file_bytes;
        let mut size = 0;
        while let Some(bytes) = more(&mut part, pace).await? {
            size += bytes.len() as u64;
            if size > limit {
                return Err(refused(
                    Code::TooLarge,
                    format!("the file {name:?} of the field {field:?} has over {limit} bytes"),
                ));
            }
            self.spool.write(&file, bytes).await.map_err(|error| lost(&error))?;
        }
        if size == 0 {
            if is_unnamed {
                // A browser's field in which no file was chosen.
                return Ok(());
            }
            self.spool.write(&file, Bytes::new()).await.map_err(|error| lost(&error))?;
        }
        self.files += 1;
        self.draft.add(field, Part::File { facts: Facts { name, content_type, size }, file })
    }
}

async fn more(part: &mut Field<'_>, pace: &Pace) -> Result<Option<Bytes>, Refusal> {
    pace.more();
    part.chunk().await.map_err(unreadable)
}

/// The rest of the body is on its way.
fn refused(code: Code, text: String) -> Refusal {
    Refusal::new(code, text).closing()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the crate may name more; all of them are the client's")]
fn unreadable(error: multer::Error) -> Refusal {
    let text = match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<Stopped>() {
            Ok(stopped) => return stopped.0.closing(),
            Err(_) => "the form cannot be read".to_owned(),
        },
        multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteStream => {
            "the form ends before its last boundary, or its boundary is not the one of Content-Type"
                .to_owned()
        }
        other => format!("the form cannot be read: {other}"),
    };
    refused(Code::BadRequest, text)
}

fn lost(error: &io::Error) -> Refusal {
    tracing::error!(
        event = "upload",
        error = error as &dyn std::error::Error,
        "files of a call cannot be written to the data directory"
    );
    refused(Code::Internal, "the files of the form could not be kept".to_owned())
}

#[cfg(test)]
mod tests;
