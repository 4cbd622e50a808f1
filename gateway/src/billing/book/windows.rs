//! What is in the book, window by window.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{Book, BookError, Measure, Window};

impl Book {
    /// When the last event ends that begins in a window.
    pub(crate) fn longest(&self, window: Window) -> Result<Option<i64>, BookError> {
        let mut read = self.connection.prepare_cached(
            "SELECT MAX(window_to) FROM events WHERE window_from >= ?1 AND window_from < ?2",
        )?;
        Ok(read.query_row([window.from, window.to], |row| row.get(0))?)
    }

    /// What a customer was billed of a measure by events that were taken, by the minute in which their windows begin.
    pub(crate) fn taken_by(
        &self,
        customer: &str,
        measure: Measure,
        window: Window,
    ) -> Result<BTreeMap<i64, i64>, BookError> {
        let mut read = self.connection.prepare_cached(
            "SELECT window_from, SUM(value) FROM events WHERE customer = ?1 AND measure = ?2 AND state = 'taken'
             AND window_from >= ?3 AND window_from < ?4 GROUP BY window_from",
        )?;
        let rows = read.query_map(params![customer, measure.text(), window.from, window.to], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
