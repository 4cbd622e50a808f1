//! What tokens have said: whose customers tenants are.

use std::collections::HashMap;

use rusqlite::params;

use super::{Book, BookError};

impl Book {
    /// Customers by tenants.
    pub(crate) fn claimed(&self) -> Result<HashMap<String, String>, BookError> {
        let mut read = self.connection.prepare_cached("SELECT tenant, customer FROM customers")?;
        let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// These tenants are these customers: all of them or none. Gives how many there were.
    pub(crate) fn claim<'a>(
        &mut self,
        said: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    ) -> Result<usize, BookError> {
        let count = said.len();
        if count == 0 {
            return Ok(0);
        }
        let transaction = self.connection.transaction()?;
        for (tenant, customer) in said {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO customers (tenant, customer) VALUES (?1, ?2)")?
                .execute(params![tenant, customer])?;
        }
        transaction.commit()?;
        Ok(count)
    }
}
