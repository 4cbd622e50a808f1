//! `par usage verify`: whether everything that was used was billed, as a running `par` finds it.

use std::io::Write;

use http::Method;
use serde_json::Value;

use super::{Exit, Failure, client::Client, table};

/// Columns of what tenants have used, and their names for people.
const LINES: [(&str, &str); 7] = [
    ("tenant", "TENANT"),
    ("measure", "MEASURE"),
    ("used", "USED"),
    ("taken", "TAKEN"),
    ("unsent", "UNSENT"),
    ("refused", "REFUSED"),
    ("difference", "DIFFERENCE"),
];

/// The same of what customers are billed.
const ACCOUNTS: [(&str, &str); 5] = [
    ("customer", "CUSTOMER"),
    ("measure", "MEASURE"),
    ("taken", "TAKEN"),
    ("counted", "COUNTED THERE"),
    ("error", "ERROR"),
];

/// Before each of them, if it is of a window.
const BOUNDS: [(&str, &str); 2] = [("from", "FROM"), ("to", "TO")];

/// Asks, and writes what is not as it should be last. A difference is a failure.
pub(super) async fn verify(
    client: &Client,
    by: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let query = by.map(|by| format!("?by={by}")).unwrap_or_default();
    let answer = client.ask(Method::GET, &format!("/runtime/usage/verify{query}")).await?;
    let told: Value = serde_json::from_slice(&answer)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is not understood: {error}")))?;
    if json {
        out.write_all(&answer)?;
        out.write_all(b"\n")?;
    } else {
        table::write(out, &LINES.map(|(_, head)| head), &rows(told.get("lines"), &LINES))?;
        writeln!(out)?;
        table::write(out, &ACCOUNTS.map(|(_, head)| head), &rows(told.get("accounts"), &ACCOUNTS))?;
        if let Some(by_window) = told.get("windows") {
            windows(by_window, out)?;
        }
    }
    if told.get("balanced") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, "not everything that was used was taken and counted".to_owned()))
}

/// Windows that differ.
fn windows(told: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    let word = |name: &str| told.get(name).map(Value::to_string).unwrap_or_default();
    let is_empty = |name: &str| told.get(name).and_then(Value::as_array).is_none_or(Vec::is_empty);
    let (compared, by) = (word("compared"), word("by"));
    writeln!(out)?;
    if is_empty("lines") && is_empty("accounts") {
        return Ok(writeln!(out, "{compared} windows of a {} agree", by.trim_matches('"'))?);
    }
    writeln!(out, "Of {compared} windows of a {} these differ:", by.trim_matches('"'))?;
    for (name, columns) in [("lines", &LINES[..]), ("accounts", &ACCOUNTS[..])] {
        if !is_empty(name) {
            let columns: Vec<_> = BOUNDS.iter().chain(columns).copied().collect();
            let heads: Vec<_> = columns.iter().map(|(_, head)| *head).collect();
            writeln!(out)?;
            table::write(out, &heads, &rows(told.get(name), &columns))?;
        }
    }
    Ok(())
}

fn rows(told: Option<&Value>, columns: &[(&str, &str)]) -> Vec<Vec<String>> {
    let cell = |row: &Value, column: &str| match row.get(column) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            other.to_string()
        }
    };
    let all = told.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|row| columns.iter().map(|(column, _)| cell(row, column)).collect()).collect()
}
