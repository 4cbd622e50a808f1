//! `par usage`: what was used, as a running `par` tells it, or as its data directory does where none runs.

use std::{io::Write, path::Path, time::SystemTime};

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Exit, Failure, arguments::UsageWanted, client::Client, table};
use crate::meter::{self, Question, Usage, minute, report};

/// Columns of sums, of those that there are.
const SUMS: [(&str, &str); 8] = [
    ("requests", "REQUESTS"),
    ("errors", "ERRORS"),
    ("input_tokens", "INPUT"),
    ("output_tokens", "OUTPUT"),
    ("compute_seconds", "COMPUTE S"),
    ("cpu_seconds", "CPU S"),
    ("bytes_in", "BYTES IN"),
    ("bytes_out", "BYTES OUT"),
];

/// Columns of single calls.
const CALLS: [&str; 10] = [
    "ended",
    "kind",
    "tenant",
    "agent",
    "version",
    "surface",
    "outcome",
    "duration_us",
    "worker_us",
    "cpu_us",
];

/// Asks, and writes the answer.
pub(super) async fn usage(
    (socket, data_dir): (&Path, &Path),
    wanted: &UsageWanted,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let folder = meter::folder(data_dir);
    let client = Client::new(socket);
    if let Some(id) = &wanted.request {
        let path = format!("/runtime/usage/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
        let records = match client.ask(Method::GET, &path).await {
            Ok(answer) => parsed(&answer)?,
            Err(failure) if failure.exit == Exit::Unreachable => recorded(&folder, id, failure)?,
            Err(failure) => return Err(failure),
        };
        return calls(&records, wanted.remote.json, out);
    }
    let question = question(wanted)?;
    if wanted.calls {
        return all(&folder, &question, out);
    }
    let format = if wanted.csv { "csv" } else { "json" };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("by", &wanted.by).append_pair("format", format);
    for (name, value) in [("since", &wanted.since), ("until", &wanted.until), ("tenant", &wanted.tenant)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let path = format!("/runtime/usage?{}", query.finish());
    let answer = match client.ask(Method::GET, &path).await {
        Ok(answer) => answer.to_vec(),
        Err(failure) if failure.exit == Exit::Unreachable => {
            offline(&folder, &question, wanted.csv, failure)?
        }
        Err(failure) => return Err(failure),
    };
    if wanted.csv {
        return Ok(out.write_all(&answer)?);
    }
    if wanted.remote.json {
        out.write_all(&answer)?;
        return Ok(out.write_all(b"\n")?);
    }
    sums(&question, &parsed(&answer)?, out)
}

fn question(wanted: &UsageWanted) -> Result<Question, Failure> {
    let wrong = |name: &str, problem: String| Failure::new(Exit::Configuration, format!("{name}: {problem}"));
    let now = SystemTime::now();
    let time = |name: &str, text: Option<&str>, up| {
        text.map(|text| minute(text, now, up).map_err(|problem| wrong(name, problem))).transpose()
    };
    Ok(Question {
        by: report::dimensions(&wanted.by).map_err(|problem| wrong("--by", problem))?,
        since: time("--since", wanted.since.as_deref(), false)?,
        until: time("--until", wanted.until.as_deref(), true)?,
        tenant: wanted.tenant.clone(),
    })
}

/// Every call that is kept, one line each.
fn all(folder: &Path, question: &Question, out: &mut dyn Write) -> Result<(), Failure> {
    if !folder.is_dir() {
        return Err(Failure::new(Exit::Unreachable, format!("there is no {}", folder.display())));
    }
    let is_wanted = |usage: &Usage<'_>| question.is_about(usage);
    let written = meter::each(folder, is_wanted, |entry| writeln!(out, "{}", json!(entry)));
    Ok(written?)
}

/// Without a running `par`: whoever may read its directory may see what is in it.
fn offline(folder: &Path, question: &Question, csv: bool, unreachable: Failure) -> Result<Vec<u8>, Failure> {
    if !folder.is_dir() {
        return Err(unreachable);
    }
    let rows = meter::answer(folder, question)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", folder.display())))?;
    let text = if csv { report::csv(question, &rows) } else { report::json(question, &rows).to_string() };
    Ok(text.into_bytes())
}

fn recorded(folder: &Path, id: &str, unreachable: Failure) -> Result<Value, Failure> {
    if !folder.is_dir() {
        return Err(unreachable);
    }
    let records = meter::request(folder, id, None)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", folder.display())))?;
    if records.is_empty() {
        let text = "nothing is recorded of this request, or it is kept no longer (not_found)";
        return Err(Failure::new(Exit::Refused, text));
    }
    Ok(json!({"records": records}))
}

fn parsed(answer: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(answer)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is not understood: {error}")))
}

fn sums(question: &Question, answer: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let by: Vec<&str> = question.by.iter().map(|by| by.text()).collect();
    let heads: Vec<String> = by.iter().map(|name| name.to_uppercase()).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).chain(SUMS.map(|(_, head)| head)).collect();
    let names: Vec<&str> = by.iter().copied().chain(SUMS.map(|(name, _)| name)).collect();
    let rows = answer.get("rows").and_then(Value::as_array).into_iter().flatten();
    let rows: Vec<Vec<String>> = rows.map(|row| cells(row, &names)).collect();
    Ok(table::write(out, &heads, &rows)?)
}

fn calls(answer: &Value, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return Ok(writeln!(out, "{answer}")?);
    }
    let rows = answer.get("records").and_then(Value::as_array).into_iter().flatten();
    let rows: Vec<Vec<String>> = rows.map(|row| cells(row, &CALLS)).collect();
    let heads = CALLS.map(str::to_uppercase);
    Ok(table::write(out, &heads.each_ref().map(String::as_str), &rows)?)
}

fn cells(row: &Value, names: &[&str]) -> Vec<String> {
    let cell = |name: &&str| match row.get(*name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(Value::Number(number)) if number.is_f64() => {
            format!("{:.3}", number.as_f64().unwrap_or_default())
        }
        Some(other) => other.to_string(),
    };
    names.iter().map(cell).collect()
}
