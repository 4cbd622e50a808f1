//! Whether everything that was used was billed: the ledger, the book and the billing side side by side, in sum and, if
//! that is asked for, window by window.

use std::{collections::BTreeMap, ops::Range, path::Path};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    book::{Book, State},
    day,
    measure::Measure,
    plan::Window,
    round::{RoundError, used},
    stripe::{Stripe, Unanswered},
    windows::{AccountOfWindow, ByWindow, LineOfWindow, Width},
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
    /// Window by window, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<ByWindow>,
    /// Whether everything that was used was taken, and everything that was taken was counted; in every window, if
    /// windows were asked for.
    balanced: bool,
}

/// Minutes that are looked at, at most: older ones can be put right no more.
const WINDOW: i64 = 35 * 24 * 60;

/// Minutes of a day: older ones than are kept are summed up by it.
const DAY: i64 = 24 * 60;

/// Windows that are told of those that differ.
const TOLD: usize = 1000;

/// What customers were billed of a measure.
type ByCustomer = BTreeMap<(String, Measure), i64>;

/// What is here: lines by tenant, and what customers were billed.
#[derive(Debug, Default)]
pub(super) struct Kept {
    window: Option<Window>,
    lines: Vec<Line>,
    accounts: ByCustomer,
    by: Option<(Width, Vec<Window>, Vec<LineOfWindow>)>,
}

/// Reads the ledger, whose minutes are kept for so many, and the book.
pub(super) fn keep(
    settings: &BillingSettings,
    book: &Book,
    folder: &Path,
    (width, minutes_kept): (Option<Width>, i64),
) -> Result<Kept, RoundError> {
    let Some((since, to)) = book.planned()? else { return Ok(Kept::default()) };
    let Some(mut ledger) = Ledger::read(folder)? else { return Ok(Kept::default()) };
    // Rows that were deleted, or lost with a damaged file, prove nothing.
    let sealed = ledger.sealed()?;
    let cut = (to - WINDOW).max(sealed.from);
    let window = Window { from: since.max(cut), to };
    let (lines, accounts) = compared(settings, book, &mut ledger, window)?;
    let mut kept = Kept { window: Some(window), lines, accounts, by: None };
    if let Some(width) = width {
        // Of days that were summed up nobody knows the hours.
        let whole = sealed.through.map_or(0, |through| (through - minutes_kept).div_euclid(DAY) * DAY);
        let windows = width.windows((since, cut.max(whole)), to, |window| book.longest(window))?;
        let mut differing = Vec::new();
        for window in &windows {
            let (lines, _) = compared(settings, book, &mut ledger, *window)?;
            let (from, to) = (day(window.from), day(window.to));
            let of = |line| LineOfWindow { from: from.clone(), to: to.clone(), line };
            differing.extend(lines.into_iter().filter(|line| !line.is_balanced()).map(of));
            differing.truncate(TOLD);
        }
        kept.by = Some((width, windows, differing));
    }
    Ok(kept)
}

/// What was used in a window, what has become of it, and what customers were billed of it.
fn compared(
    settings: &BillingSettings,
    book: &Book,
    ledger: &mut Ledger,
    window: Window,
) -> Result<(Vec<Line>, ByCustomer), RoundError> {
    let mut lines: BTreeMap<(String, Measure), Line> = BTreeMap::new();
    for (tenant, amounts) in used(ledger, window, &settings.not_billed)? {
        for (measure, _) in &settings.names {
            let used = amounts.of(*measure).div_euclid(measure.unit());
            of(&mut lines, &tenant, *measure).used = used;
        }
    }
    let mut accounts = ByCustomer::new();
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
    Ok((lines.filter(|line| line.used != 0 || line.billed != 0).collect(), accounts))
}

/// Asks the other side about each customer and measure, and compares.
pub(super) async fn compare(
    settings: &BillingSettings,
    kept: Kept,
    folder: &Path,
    stripe: &mut Stripe,
) -> Result<Audit, RoundError> {
    let Kept { window, lines, accounts: known, by } = kept;
    let window = window.unwrap_or(Window { from: 0, to: 0 });
    let mut accounts = Vec::new();
    let mut differing = Vec::new();
    for ((customer, measure), taken) in known {
        let name = settings.name(measure);
        let counted = stripe.counted(name, &customer, window).await;
        if let Some((width, windows, _)) = &by {
            let there = stripe.counted_by(name, &customer, span(windows, *width), *width).await;
            let here = Book::open(folder)?.taken_by(&customer, measure, span(windows, *width))?;
            differing.extend(apart(windows, &here, &there, &customer, measure));
            differing.truncate(TOLD);
        }
        accounts.push(account(customer, measure, taken, counted.as_ref().copied()));
    }
    let windows = by.map(|(width, windows, lines)| ByWindow {
        by: width.text(),
        compared: windows.len(),
        lines,
        accounts: differing,
    });
    let balanced = lines.iter().all(Line::is_balanced)
        && accounts.iter().all(|account| account.counted == Some(account.taken))
        && windows.as_ref().is_none_or(|told| told.lines.is_empty() && told.accounts.is_empty());
    Ok(Audit { from: window.from, to: window.to, lines, accounts, windows, balanced })
}

/// From the first to the last of them, by what the other side can count: it knows whole windows only.
fn span(windows: &[Window], width: Width) -> Window {
    let from = windows.first().map_or(0, |window| window.from.div_euclid(width.minutes()) * width.minutes());
    Window { from, to: windows.last().map_or(from, |window| window.to) }
}

/// The windows in which both sides differ, by what begins at which minute; one for all of them if the other side could
/// not be asked.
fn apart(
    windows: &[Window],
    here: &BTreeMap<i64, i64>,
    there: &Result<BTreeMap<i64, i64>, Unanswered>,
    customer: &str,
    measure: Measure,
) -> Vec<AccountOfWindow> {
    let sum = |of: &BTreeMap<i64, i64>, within: Range<i64>| -> i64 {
        of.range(within).map(|(_, value)| value).sum()
    };
    let told = |window: Window, taken, counted: Result<i64, &Unanswered>| AccountOfWindow {
        from: day(window.from),
        to: day(window.to),
        account: account(customer.to_owned(), measure, taken, counted),
    };
    let there = match there {
        Ok(there) => there,
        Err(error) => {
            let window = Window {
                from: windows.first().map_or(0, |window| window.from),
                to: windows.last().map_or(0, |window| window.to),
            };
            return vec![told(window, here.values().sum(), Err(error))];
        }
    };
    let mut apart = Vec::new();
    // The other side's first window may begin before billing did.
    let mut from = i64::MIN;
    for window in windows {
        let within = from..window.to;
        from = window.to;
        let (taken, counted) = (sum(here, within.clone()), sum(there, within));
        if taken != counted {
            apart.push(told(*window, taken, Ok(counted)));
        }
    }
    apart
}

fn account(customer: String, measure: Measure, taken: i64, counted: Result<i64, &Unanswered>) -> Account {
    let error = counted.as_ref().err().map(ToString::to_string);
    Account { customer, measure: measure.text(), taken, counted: counted.ok(), error }
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

    #[test]
    fn the_windows_in_which_both_sides_differ_are_named() {
        let windows =
            [Window { from: 70, to: 120 }, Window { from: 120, to: 180 }, Window { from: 180, to: 300 }];
        let here = BTreeMap::from([(70, 5), (125, 1), (180, 4), (240, 2)]);
        let told = |there: Result<BTreeMap<i64, i64>, Unanswered>| -> Vec<(String, i64, Option<i64>)> {
            let apart = apart(&windows, &here, &there, "cus_1", Measure::Requests);
            apart.into_iter().map(|one| (one.from, one.account.taken, one.account.counted)).collect()
        };
        // There, windows begin with the hour.
        assert_eq!(told(Ok(BTreeMap::from([(60, 5), (120, 1), (180, 6)]))), []);
        assert_eq!(
            told(Ok(BTreeMap::from([(60, 4), (120, 2), (180, 4), (240, 2)]))),
            [(day(70), 5, Some(4)), (day(120), 1, Some(2))]
        );
        assert_eq!(told(Err(Unanswered("gone".into()))).len(), 1);
    }
}
