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

/// Asks, and writes what is not as it should be last. A difference is a failure.
pub(super) async fn verify(client: &Client, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let answer = client.ask(Method::GET, "/runtime/usage/verify").await?;
    let told: Value = serde_json::from_slice(&answer)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is not understood: {error}")))?;
    if json {
        out.write_all(&answer)?;
        out.write_all(b"\n")?;
    } else {
        table::write(out, &LINES.map(|(_, head)| head), &rows(told.get("lines"), &LINES))?;
        writeln!(out)?;
        table::write(out, &ACCOUNTS.map(|(_, head)| head), &rows(told.get("accounts"), &ACCOUNTS))?;
    }
    if told.get("balanced") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, "not everything that was used was taken and counted".to_owned()))
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
