//! Files of a UI, answered from here: no process is asked.

use http::{HeaderValue, Method, StatusCode, header};
use par_proto::code::Code;
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::{
    Door, Edge,
    ctx::Ctx,
    delivery::deliver,
    invoke::{JSON, Success},
    refusal::Refusal,
    surface::Spot,
    trace,
};
use crate::ui::{Answer, Content, Facts, File, Found, decide, navigates};

/// Headers of such an answer.
const HEADERS: usize = 16;

/// For a file whose name changes with its content: a year, and no question in between.
const IMMUTABLE: [&str; 2] = ["public, max-age=31536000, immutable", "private, max-age=31536000, immutable"];

/// For all others: kept, but asked for every time.
const REVALIDATED: &str = "no-cache";

/// An answer that is ready to be written.
#[derive(Debug)]
pub(super) struct Page {
    head: ResponseHeader,
    /// What is sent, from where to where.
    content: Option<(Content, u64, u64)>,
}

impl Edge {
    /// What a request for a file gets.
    pub(super) async fn page(&self, session: &Session, ctx: &mut Ctx, spot: &Spot) -> Result<Page, Refusal> {
        trace::let_in(ctx);
        let request = session.req_header();
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut refusal = Refusal::new(Code::MethodNotAllowed, "files are only read");
            refusal.allow = Some("GET, HEAD");
            return Err(refusal);
        }
        let site = spot.premises.site(&spot.mount).await.map_err(|error| unreadable(spot, &error))?;
        let path = request.uri.path();
        let found = site.find(path.get(spot.rest..).unwrap_or_default(), navigates(&request.headers));
        let made = match found {
            Found::Nothing => return Err(Refusal::new(Code::NotFound, "there is no such file")),
            Found::Slash => moved(request.uri.path(), request.uri.query()),
            Found::Config => {
                let prefix = match self.door {
                    Door::Http | Door::Local | Door::Grpc => path.get(..spot.prefix).unwrap_or_default(),
                    Door::Ui { .. } => self.base(),
                };
                config(prefix)
            }
            Found::File(file) => return self.file(session, ctx, spot, file).await,
        };
        made.map_err(|error| unreadable(spot, &error))
    }

    async fn file(&self, session: &Session, ctx: &Ctx, spot: &Spot, file: &File) -> Result<Page, Refusal> {
        let request = session.req_header();
        let (form, coding) = file.form(&request.headers);
        let content = self.shelf.take(form).await.map_err(|error| unreadable(spot, &error))?;
        let facts = Facts { tag: &content.tag, modified: form.modified, size: form.size };
        let answer = decide(&request.method, &request.headers, facts);
        let make = || -> Result<ResponseHeader> {
            let status = match answer {
                Answer::NotModified => StatusCode::NOT_MODIFIED,
                Answer::Whole | Answer::Unsatisfiable => StatusCode::OK,
                Answer::Part { .. } => StatusCode::PARTIAL_CONTENT,
            };
            let mut head = ResponseHeader::build_no_case(status, Some(HEADERS))?;
            head.insert_header(header::ETAG, content.tag.clone())?;
            head.insert_header(header::LAST_MODIFIED, form.date.clone())?;
            // A cache that others share may not keep what was only for who was proved.
            let [public, private] = IMMUTABLE;
            let cached = match (file.is_hashed, &ctx.caller) {
                (false, _) => REVALIDATED,
                (true, None) => public,
                (true, Some(_)) => private,
            };
            head.insert_header(header::CACHE_CONTROL, HeaderValue::from_static(cached))?;
            if !file.packed.is_empty() {
                head.insert_header(header::VARY, HeaderValue::from_static("Accept-Encoding"))?;
            }
            if answer == Answer::NotModified {
                return Ok(head);
            }
            head.insert_header(header::CONTENT_TYPE, file.kind.clone())?;
            head.insert_header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))?;
            if let Some(coding) = coding {
                head.insert_header(header::CONTENT_ENCODING, HeaderValue::from_static(coding.text()))?;
            }
            hygiene(&mut head)?;
            Ok(head)
        };
        let mut head = make().map_err(|error| unreadable(spot, &error))?;
        let (from, to) = match answer {
            Answer::NotModified => return Ok(Page { head, content: None }),
            Answer::Whole => (0, form.size),
            Answer::Part { first, last } => {
                let range = format!("bytes {first}-{last}/{}", form.size);
                head.insert_header(header::CONTENT_RANGE, range).map_err(|error| unreadable(spot, &error))?;
                (first, last + 1)
            }
            Answer::Unsatisfiable => {
                let text = format!("the file has {} bytes and none of those", form.size);
                let mut refusal = Refusal::new(Code::RangeNotSatisfiable, text);
                refusal.size = Some(form.size);
                return Err(refusal);
            }
        };
        head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(to - from))
            .map_err(|error| unreadable(spot, &error))?;
        Ok(Page { head, content: Some((content, from, to)) })
    }

    /// Writes a file, or what stands for it.
    pub(super) async fn show(&self, session: &mut Session, ctx: &mut Ctx, page: Page) -> Result<()> {
        let Page { mut head, content } = page;
        self.identity_of(&mut head, ctx)?;
        self.expose(session, &mut head)?;
        ctx.status = head.status.as_u16();
        let is_head = session.req_header().method == Method::HEAD;
        let downstream = session.as_downstream_mut();
        downstream.write_response_header(Box::new(head)).await?;
        let Some((content, from, to)) = content.filter(|(_, from, to)| !is_head && from < to) else {
            return downstream.finish_body().await;
        };
        let mut at = from;
        while at < to {
            let bytes = match content.next(at, to).await {
                Ok(bytes) if !bytes.is_empty() => bytes,
                failed => {
                    // The head has said how much would come: only the end of the connection can take that back.
                    ctx.code = Some(Code::Internal);
                    ctx.cause = failed.err().map(|error| error.to_string());
                    session.as_downstream_mut().set_keepalive(None);
                    return Ok(());
                }
            };
            at += bytes.len() as u64;
            ctx.bytes_out += bytes.len();
            deliver(session, bytes, at >= to).await?;
        }
        Ok(())
    }

    /// Whether the port of the UI is asked how it is.
    pub(super) fn ui_health(&self, session: &Session) -> Option<Success> {
        let Door::Ui { port } = self.door else { return None };
        let told = serde_json::json!({"ok": true, "service": "ui", "port": port});
        (session.req_header().uri.path() == "/health").then(|| Success {
            content_type: JSON.into(),
            body: told.to_string().into(),
            about: None,
            usage: None,
        })
    }
}

/// What every file has, whatever a browser would make of it.
fn hygiene(head: &mut ResponseHeader) -> Result<()> {
    head.insert_header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))?;
    head.insert_header(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin"))
}

/// To the same directory with a slash. The place is told relative to the request: in front of us there may be others
/// that know it under another path.
fn moved(path: &str, query: Option<&str>) -> Result<Page> {
    let last = path.rsplit('/').next().unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut head = ResponseHeader::build_no_case(StatusCode::MOVED_PERMANENTLY, Some(HEADERS))?;
    head.insert_header(header::LOCATION, format!("./{last}/{query}"))?;
    head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(0))?;
    head.insert_header(header::CACHE_CONTROL, HeaderValue::from_static(REVALIDATED))?;
    Ok(Page { head, content: None })
}

/// Where the package's API is.
fn config(prefix: &str) -> Result<Page> {
    let body = serde_json::json!({"apiBase": format!("{prefix}/api")}).to_string();
    let mut head = ResponseHeader::build_no_case(StatusCode::OK, Some(HEADERS))?;
    head.insert_header(header::CONTENT_TYPE, HeaderValue::from_static(JSON))?;
    head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    head.insert_header(header::CACHE_CONTROL, HeaderValue::from_static(REVALIDATED))?;
    hygiene(&mut head)?;
    let end = body.len() as u64;
    Ok(Page { head, content: Some((Content::made(body.into()), 0, end)) })
}

fn unreadable(spot: &Spot, error: &dyn std::fmt::Display) -> Refusal {
    tracing::warn!(event = "ui_unreadable", package = %spot.mount.id, %error, "a file of a UI cannot be sent");
    Refusal::new(Code::Internal, "the file cannot be read")
}
