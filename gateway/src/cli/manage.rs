//! `par packages`, `agents`, `load`, `unload`, `reload`, `rollback`, `enable`, `disable`: one question to a running `par`, one answer.

use std::{io::Write, path::Path};

use http::{Method, header};
use par_pool::package::{Location, Source};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    Exit, Failure,
    client::{Client, around_file, request},
    table,
};

/// What is asked for.
#[derive(Debug)]
pub(super) enum Task {
    Packages,
    Agents,
    Load { source: String, sha256: Option<String>, force: bool },
    Unload { package: String },
    Reload { package: Option<String>, force: bool },
    Rollback { package: String },
    Switch { agent: String, enabled: bool },
}

/// Asks, and writes the answer for people or as it came.
pub(super) async fn manage(
    socket: &Path,
    task: Task,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let client = Client::new(socket);
    let answer = match &task {
        Task::Packages => client.ask(Method::GET, "/runtime/packages").await?,
        Task::Agents => client.ask(Method::GET, "/runtime/agents").await?,
        Task::Load { source, sha256, force } => load(&client, source, sha256.as_deref(), *force).await?,
        Task::Unload { package } => {
            client.ask(Method::DELETE, &format!("/runtime/packages/{}", encoded(package))).await?
        }
        Task::Reload { package, force } => {
            let body = json!({"package": package, "force": force});
            client.ask_json(Method::POST, "/runtime/reload", &body).await?
        }
        Task::Rollback { package } => {
            let path = format!("/runtime/packages/{}/rollback", encoded(package));
            client.ask(Method::POST, &path).await?
        }
        Task::Switch { agent, enabled } => {
            let path = format!("/runtime/agents/{}/enable", encoded(agent));
            client.ask_json(Method::POST, &path, &json!({"enabled": enabled})).await?
        }
    };
    if json {
        out.write_all(&answer)?;
        return Ok(out.write_all(b"\n")?);
    }
    let answer: Value = serde_json::from_slice(&answer)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is not understood: {error}")))?;
    match task {
        Task::Packages => packages(&answer, out),
        Task::Agents => agents(&answer, out),
        Task::Load { .. } => mounted(&answer, out),
        Task::Unload { .. } => Ok(writeln!(
            out,
            "{} is unmounted, {} calls drain",
            text(&answer, "package_id"),
            text(&answer, "draining")
        )?),
        Task::Reload { .. } => reloaded(&answer, out),
        Task::Rollback { .. } => Ok(writeln!(
            out,
            "{} serves again instead of {}",
            text(&answer, "active"),
            text(&answer, "former")
        )?),
        Task::Switch { .. } => {
            let state =
                if answer.get("enabled") == Some(&Value::Bool(true)) { "enabled" } else { "disabled" };
            Ok(writeln!(out, "{} is {state}", text(&answer, "id"))?)
        }
    }
}

fn encoded(id: &str) -> String {
    utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()
}

/// A file is sent: the running `par` may not read it, or only below its load roots. Directories and addresses are
/// named.
async fn load(
    client: &Client,
    source: &str,
    sha256: Option<&str>,
    force: bool,
) -> Result<bytes::Bytes, Failure> {
    let wrong = |text: String| Failure::new(Exit::Configuration, text);
    let source = Source::parse(source).map_err(|error| wrong(error.to_string()))?;
    let digest = match (sha256, source.sha256) {
        (Some(given), _) => Some(given.to_owned()),
        (None, digest) => digest.map(|digest| digest.to_string()),
    };
    let path = match &source.location {
        Location::File(path) => return upload(client, path, digest, force).await,
        Location::Directory(path) => {
            let path = path.canonicalize().map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            json!({"path": path})
        }
        Location::Https(url) => json!({"url": url.as_str()}),
        Location::S3 { bucket, key } => json!({"url": format!("s3://{bucket}/{key}")}),
    };
    let mut body = path;
    if let Some(members) = body.as_object_mut() {
        members.insert("force".to_owned(), force.into());
        if let Some(digest) = digest {
            members.insert("sha256".to_owned(), digest.into());
        }
    }
    client.ask_json(Method::POST, "/runtime/packages/load", &body).await
}

async fn upload(
    client: &Client,
    path: &Path,
    digest: Option<String>,
    force: bool,
) -> Result<bytes::Bytes, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Unreachable, format!("{}: {error}", path.display()))
    };
    let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(&error))?;
    let size = file.metadata().await.map_err(|error| unreadable(&error))?.len();
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| unreadable(&error))?;
    // Unguessable, so that no package can contain it.
    let boundary = hex::encode(random);
    let mut before = String::new();
    for (name, value) in [("force", Some(force.to_string())), ("sha256", digest)] {
        if let Some(value) = value {
            before.extend([&part(&boundary, name), "\r\n\r\n", &value, "\r\n"]);
        }
    }
    before.push_str(&part(&boundary, "file"));
    before.push_str("; filename=\"package.apkg\"\r\nContent-Type: application/zip\r\n\r\n");
    let after = format!("\r\n--{boundary}--\r\n");
    let length = before.len() as u64 + size + after.len() as u64;
    let mut request = request(Method::POST, "/runtime/packages/upload", around_file(before, file, after));
    let kind = format!("multipart/form-data; boundary={boundary}");
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind.parse().map_err(|error| unreadable(&error))?);
    headers.insert(header::CONTENT_LENGTH, length.into());
    client.ask_with(request).await
}

fn part(boundary: &str, name: &str) -> String {
    format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"")
}

/// A member as text: strings without quotes, lists joined.
fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => table::plain(text),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| item.as_str().unwrap_or_default()).collect();
            items.join(",")
        }
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_))) => other.to_string(),
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn packages(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let rows: Vec<_> = list(answer, "packages")
        .iter()
        .map(|package| {
            let digest: String = text(package, "digest").chars().take(12).collect();
            let memory = package.get("pss_bytes").and_then(Value::as_u64).unwrap_or(0) >> 20;
            vec![
                text(package, "id"),
                text(package, "state"),
                text(package, "generation"),
                list(package, "workers").len().to_string(),
                package.get("fork").map(|fork| text(fork, "method")).unwrap_or_default(),
                format!("{memory} MB"),
                list(package, "agents").len().to_string(),
                text(package, "surfaces"),
                digest,
                text(package, "last_error"),
            ]
        })
        .collect();
    let head = [
        "PACKAGE",
        "STATE",
        "GENERATION",
        "WORKERS",
        "START",
        "MEMORY",
        "AGENTS",
        "SURFACES",
        "DIGEST",
        "LAST ERROR",
    ];
    table::write(out, &head, &rows)?;
    let failed: Vec<_> = list(answer, "failed")
        .iter()
        .map(|failed| ["source", "step", "code", "detail"].map(|name| text(failed, name)).to_vec())
        .collect();
    if !failed.is_empty() {
        writeln!(out)?;
        table::write(out, &["FAILED", "STEP", "CODE", "CAUSE"], &failed)?;
    }
    Ok(())
}

fn agents(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let rows: Vec<_> = list(answer, "agents")
        .iter()
        .map(|agent| {
            let private = if agent.get("private") == Some(&Value::Bool(true)) { "private" } else { "" };
            vec![
                text(agent, "id"),
                text(agent, "status"),
                text(agent, "role_required"),
                private.to_owned(),
                text(agent, "surfaces"),
                text(agent, "description"),
            ]
        })
        .collect();
    Ok(table::write(out, &["AGENT", "STATUS", "ROLE", "PRIVATE", "SURFACES", "DESCRIPTION"], &rows)?)
}

fn mounted(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let created = answer.get("created") == Some(&Value::Bool(true));
    let what = if created { "is mounted" } else { "was mounted already" };
    writeln!(out, "{} {what}", text(answer, "package_id"))?;
    for agent in list(answer, "agents") {
        writeln!(out, "  {}", table::plain(agent.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

/// A failure of one package is the command's failure; the table is written all the same.
fn reloaded(answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let rows: Vec<_> = list(answer, "packages")
        .iter()
        .map(|package| {
            ["package", "version", "outcome", "step", "detail"].map(|name| text(package, name)).to_vec()
        })
        .collect();
    table::write(out, &["PACKAGE", "VERSION", "OUTCOME", "STEP", "DETAIL"], &rows)?;
    if text(answer, "status") == "success" {
        return Ok(());
    }
    Err(Failure::new(Exit::Package, "some packages could not be brought in"))
}
