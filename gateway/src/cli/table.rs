//! Rows to columns that line up.

use std::io::{self, Write};

/// Writes rows with two spaces between columns; the last column is not padded. Control characters of foreign texts
/// are shown, not sent to the terminal.
pub(super) fn write(out: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let head = head.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(&head)
        .chain(rows)
        .map(|row: &Vec<String>| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in &rows {
        let line: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

/// One line without control characters; an empty text is a dash.
pub(super) fn plain(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_terminals_are_not_steered() {
        let mut out = Vec::new();
        let rows =
            [vec!["a".to_owned(), "first".to_owned()], vec!["longer".to_owned(), "\x1b[2J".to_owned()]];
        write(&mut out, &["ID", "TEXT"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ID      TEXT\na       first\nlonger   [2J\n");
    }
}
