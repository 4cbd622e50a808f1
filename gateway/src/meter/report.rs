//! Sums as they are told: JSON for programs, CSV for spreadsheets.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::query::{Cell, Dimension, Question, Row, Rows};
use crate::observe::timestamp;

/// `tenant,day` as dimensions; each once.
pub(crate) fn dimensions(text: &str) -> Result<Vec<Dimension>, String> {
    let mut dimensions = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let Some(dimension) = Dimension::ALL.into_iter().find(|dimension| dimension.text() == name) else {
            let known: Vec<_> = Dimension::ALL.iter().map(|dimension| dimension.text()).collect();
            return Err(format!("{name:?} is not one of {}", known.join(", ")));
        };
        if !dimensions.contains(&dimension) {
            dimensions.push(dimension);
        }
    }
    Ok(dimensions)
}

/// `{"rows","since","until","by"}`.
pub(crate) fn json(question: &Question, rows: &Rows) -> Value {
    let rows: Vec<Value> = rows.iter().map(|(cells, row)| object(question, cells, row)).collect();
    let by: Vec<_> = question.by.iter().map(|by| by.text()).collect();
    json!({"rows": rows, "since": question.since.map(time), "until": question.until.map(time), "by": by})
}

/// One line of names, then one for each row (RFC 4180).
pub(crate) fn csv(question: &Question, rows: &Rows) -> String {
    let mut out = String::new();
    let names = question.by.iter().map(|by| by.text().to_owned());
    let sums = sums(&Row::default());
    line(&mut out, names.chain(sums.iter().map(|(name, _)| (*name).to_owned())));
    for (cells, row) in rows {
        let cells = question.by.iter().zip(cells).map(|(by, cell)| text(*by, cell));
        line(&mut out, cells.chain(self::sums(row).iter().map(|(_, sum)| sum.to_string())));
    }
    out
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            out.push(',');
        }
        // What begins like this is a formula to spreadsheets, and tenants may have any name.
        let is_formula =
            cell.starts_with(['=', '+', '@', '\t', '\r']) || (cell.starts_with('-') && cell.len() > 1);
        if is_formula || cell.contains(['"', ',', '\n', '\r']) {
            let mark = if is_formula { "'" } else { "" };
            out.extend(["\"", mark, &cell.replace('"', "\"\""), "\""]);
        } else {
            out.push_str(&cell);
        }
    }
    out.push_str("\r\n");
}

fn object(question: &Question, cells: &[Cell], row: &Row) -> Value {
    let names = question.by.iter().zip(cells).map(|(by, cell)| (by.text(), text(*by, cell).into()));
    let members = names.chain(sums(row)).map(|(name, value): (&str, Value)| (name.to_owned(), value));
    Value::Object(members.collect::<Map<_, _>>())
}

fn sums(row: &Row) -> [(&'static str, Value); 11] {
    let seconds = |micros: i64| Value::from(micros as f64 / 1e6);
    let Row { sums, errors } = row;
    [
        ("requests", sums.requests.into()),
        ("errors", (*errors).into()),
        ("input_tokens", sums.input_tokens.into()),
        ("output_tokens", sums.output_tokens.into()),
        ("compute_seconds", seconds(sums.worker_us)),
        ("cpu_seconds", seconds(sums.cpu_us)),
        ("queue_seconds", seconds(sums.queue_us)),
        ("duration_seconds", seconds(sums.duration_us)),
        ("peak_rss_kb", sums.peak_rss_kb.into()),
        ("bytes_in", sums.bytes_in.into()),
        ("bytes_out", sums.bytes_out.into()),
    ]
}

fn text(by: Dimension, cell: &Cell) -> String {
    match (by, cell) {
        (_, Cell::Text(text)) => text.to_string(),
        (Dimension::Day, Cell::Number(day)) => time(by.minute(*day)).get(..10).unwrap_or_default().to_owned(),
        (_, Cell::Number(number)) => time(by.minute(*number)),
    }
}

/// A minute since 1970, RFC 3339.
fn time(minute: i64) -> String {
    let since = Duration::from_secs(u64::try_from(minute).unwrap_or_default().saturating_mul(60));
    let text = timestamp::text(SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH));
    text.replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::{super::tally::Sums, *};

    fn rows(cells: Vec<Cell>) -> Rows {
        let sums = Sums { requests: 2, worker_us: 1_500_000, output_tokens: 7, ..Sums::default() };
        Rows::from([(cells, Row { sums, errors: 1 })])
    }

    #[test]
    fn rows_are_told_with_their_names() {
        let by = dimensions("agent, day,agent").unwrap();
        assert_eq!(by, [Dimension::Agent, Dimension::Day]);
        let question = Question { by, since: Some(60), ..Question::default() };
        let rows = rows(vec![Cell::Text("a/b".into()), Cell::Number(20_000)]);
        let told = json(&question, &rows);
        let row = &told["rows"][0];
        assert_eq!((&row["agent"], &row["day"]), (&"a/b".into(), &"2024-10-04".into()));
        assert_eq!(
            (&row["requests"], &row["errors"], &row["compute_seconds"]),
            (&2.into(), &1.into(), &1.5.into())
        );
        assert_eq!((&told["since"], &told["until"]), (&"1970-01-01T01:00:00Z".into(), &Value::Null));
        assert!(dimensions("agent,colour").unwrap_err().contains("tenant, agent"));
    }

    #[test]
    fn tenants_write_no_formulas_into_spreadsheets() {
        let question = Question { by: vec![Dimension::Tenant], ..Question::default() };
        for (tenant, wanted) in [
            ("acme", "acme,2,1,0,7,1.5,0.0,0.0,0.0,0,0,0\r\n"),
            ("a,\"b\"", "\"a,\"\"b\"\"\",2,1,"),
            ("=1+1", "\"'=1+1\",2,1,"),
            ("-x", "\"'-x\",2,1,"),
        ] {
            let text = csv(&question, &rows(vec![Cell::Text(tenant.into())]));
            let (head, row) = text.split_once("\r\n").unwrap();
            assert!(head.starts_with("tenant,requests,errors,input_tokens"), "{head}");
            assert!(row.starts_with(wanted), "{row}");
        }
        let none = csv(&question, &Rows::new());
        assert_eq!(none.lines().count(), 1);
    }
}
