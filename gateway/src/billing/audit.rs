//! Whether everything that was used was billed: the ledger, the book and the billing side side by side.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    book::{Book, State},
    measure::Measure,
    plan::Window,
    round::{RoundError, used},
    stripe::Stripe,
};
use crate::{config::BillingSettings, meter::Ledger};

/// What a tenant has used of a measure, and what has become of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Line {
    tenant: String,
    measure: &'static str,
    /// What the ledger has, in whole units.
    used: i64,
    /// What is in events, in whatever state.
    billed: i64,
    /// What was taken.
    taken: i64,
    /// What waits to be taken.
    unsent: i64,
    /// What was refused, or is too old to be sent.
    refused: i64,
    /// What is used and in no event. Parts of a unit are carried on, so that it is at most one unit off.
    difference: i64,
}

/// What a customer is billed of a measure, here and there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Account {
    customer: String,
    measure: &'static str,
    /// By events that were taken.
    taken: i64,
    /// What the other side has counted; none: it could not be asked.
    counted: Option<i64>,
    /// Why it could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What `par usage verify` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Audit {
    /// The first minute (since 1970) that is looked at.
    from: i64,
    /// The minute before which everything was made into events.
    to: i64,
    lines: Vec<Line>,
    accounts: Vec<Account>,
    /// Whether everything that was used was taken, and everything that was taken was counted.
    balanced: bool,
}

/// Minutes that are looked at, at most: older ones can be put right no more.
const WINDOW: i64 = 35 * 24 * 60;

/// What is here: lines by tenant, and what customers were billed.
#[derive(Debug, Default)]
pub(super) struct Kept {
    window: Option<Window>,
    lines: Vec<Line>,
    accounts: BTreeMap<(String, Measure), i64>,
}

/// Reads the ledger and the book.
pub(super) fn keep(settings: &BillingSettings, book: &Book, folder: &Path) -> Result<Kept, RoundError> {
    let Some((since, to)) = book.planned()? else { return Ok(Kept::default()) };
    let Some(mut ledger) = Ledger::read(folder)? else { return Ok(Kept::default()) };
    // Rows that were deleted, or lost with a damaged file, prove nothing.
    let from = since.max(to - WINDOW).max(ledger.sealed()?.from);
    let window = Window { from, to };
    let mut lines: BTreeMap<(String, Measure), Line> = BTreeMap::new();
    for (tenant, amounts) in used(&mut ledger, window, &settings.not_billed)? {
        for (measure, _) in &settings.names {
            let used = amounts.of(*measure).div_euclid(measure.unit());
            of(&mut lines, &tenant, *measure).used = used;
        }
    }
    let mut accounts: BTreeMap<(String, Measure), i64> = BTreeMap::new();
    for sum in book.sums(window)? {
        let line = of(&mut lines, &sum.tenant, sum.measure);
        line.billed += sum.value;
        match sum.state {
            State::Taken => {
                line.taken += sum.value;
                if let Some(customer) = sum.customer {
                    *accounts.entry((customer, sum.measure)).or_default() += sum.value;
                }
            }
            State::Open | State::Sending => line.unsent += sum.value,
            State::Refused | State::Dead => line.refused += sum.value,
        }
    }
    let lines = lines.into_values().map(|line| Line { difference: line.used - line.billed, ..line });
    let lines = lines.filter(|line| line.used != 0 || line.billed != 0).collect();
    Ok(Kept { window: Some(window), lines, accounts })
}

/// Asks the other side once for each customer and measure, and compares.
pub(super) async fn compare(settings: &BillingSettings, kept: Kept, stripe: &mut Stripe) -> Audit {
    let Kept { window, lines, accounts: known } = kept;
    let window = window.unwrap_or(Window { from: 0, to: 0 });
    let mut accounts = Vec::new();
    for ((customer, measure), taken) in known {
        let counted = stripe.counted(settings.name(measure), &customer, window).await;
        let error = counted.as_ref().err().map(ToString::to_string);
        accounts.push(Account { customer, measure: measure.text(), taken, counted: counted.ok(), error });
    }
    let balanced = lines.iter().all(Line::is_balanced)
        && accounts.iter().all(|account| account.counted == Some(account.taken));
    Audit { from: window.from, to: window.to, lines, accounts, balanced }
}

fn of<'a>(lines: &'a mut BTreeMap<(String, Measure), Line>, tenant: &str, measure: Measure) -> &'a mut Line {
    lines.entry((tenant.to_owned(), measure)).or_insert_with(|| Line {
        tenant: tenant.to_owned(),
        measure: measure.text(),
        ..Line::default()
    })
}

impl Line {
    /// Windows carry parts of a unit on: what is in them may be a unit more or less than what was used in them.
    fn is_balanced(&self) -> bool {
        let carried = i64::from(self.measure == Measure::ComputeSeconds.text());
        self.taken == self.billed && self.difference.abs() <= carried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_balanced_if_all_of_it_was_taken() {
        let line = |measure: Measure, used, billed, taken| Line {
            measure: measure.text(),
            used,
            billed,
            taken,
            difference: used - billed,
            ..Line::default()
        };
        assert!(line(Measure::Requests, 7, 7, 7).is_balanced());
        assert!(!line(Measure::Requests, 8, 7, 7).is_balanced());
        assert!(!line(Measure::Requests, 7, 7, 6).is_balanced());
        assert!(line(Measure::ComputeSeconds, 8, 7, 7).is_balanced());
        assert!(!line(Measure::ComputeSeconds, 9, 7, 7).is_balanced());
    }
}
