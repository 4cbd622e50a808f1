//! What checking costs, paid while it is done: whoever has no patience left ends it.
//!
//! The validator has no limit of its own, and two lines of schema that refer to themselves twice make it work until the
//! end of days on an input of a hundred brackets. So every schema that is applied pays first, by a keyword of ours
//! ([`KEYWORD`]) that stands before it. It cannot say "stop": it unwinds the stack, quietly, to [`within`].

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use jsonschema::{Keyword, ValidationError};
use serde_json::Value;

/// The keyword that pays; its value is a [`Price`].
pub(super) const KEYWORD: &str = "x-par-price";

/// How long somebody waits for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// On a thread that has other things to do: a millisecond.
    Brief,
    /// On a thread for this, with [`Patience::STACK`] bytes of stack: about a second.
    Long,
}

impl Patience {
    /// The stack that [`Patience::Long`] needs: inputs nest 128 deep, schemas 64 at each place.
    pub const STACK: usize = 32 << 20;

    /// Units of time, each about a nanosecond.
    const fn time(self) -> u64 {
        match self {
            Self::Brief => 1_000_000,
            Self::Long => 1_000_000_000,
        }
    }

    /// Errors that may be held in memory, each about 400 bytes.
    const fn room(self) -> u64 {
        match self {
            Self::Brief => 10_000,
            Self::Long => 400_000,
        }
    }

    /// Bytes of the stack that may be used. Threads have 2 MiB, and some of it is used already.
    const fn stack(self) -> usize {
        match self {
            Self::Brief => 256 << 10,
            Self::Long => Self::STACK - (4 << 20),
        }
    }
}

/// What is paid for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Toll {
    /// Time: a yes or no.
    Looking,
    /// Time and memory: everything that is applied may become an error, which holds a path of up to so many bytes and,
    /// if it `copies`, the value.
    Telling { path: usize, copies: bool },
}

/// Price of a value that is compared or hashed.
const WHOLE: u64 = 50;

/// The price of applying a schema once, in units of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Price {
    /// Always: every keyword, and every schema within that has no price of its own.
    pub(super) visit: u64,
    /// For each element and each property.
    pub(super) each: u64,
    /// For each byte of a text or, in a mapping, of its names.
    pub(super) letter: u64,
    /// Whether everything below is looked at.
    pub(super) whole: bool,
}

#[derive(Clone, Copy)]
struct Purse {
    time: u64,
    room: u64,
    /// An address near the beginning of the stack that is used.
    ground: usize,
    stack: usize,
    toll: Toll,
}

thread_local! {
    static PURSE: Cell<Option<Purse>> = const { Cell::new(None) };
}

/// What unwinds.
struct Spent;

/// Does what it takes patience to do; none if it was not enough.
pub(super) fn within<T>(patience: Patience, toll: Toll, work: impl FnOnce() -> T) -> Option<T> {
    PURSE.set(Some(Purse {
        time: patience.time(),
        room: patience.room(),
        ground: address(),
        stack: patience.stack(),
        toll,
    }));
    let done = catch_unwind(AssertUnwindSafe(work));
    PURSE.set(None);
    match done {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<Spent>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// Where the stack is now, about.
fn address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

impl Price {
    /// As the value of the keyword.
    pub(super) fn write(self) -> Value {
        serde_json::json!([self.visit, self.each, self.letter, self.whole])
    }

    /// From the value of the keyword.
    pub(super) fn read(value: &Value) -> Self {
        let number = |at: usize| value.get(at).and_then(Value::as_u64).unwrap_or(1);
        let whole = value.get(3).and_then(Value::as_bool).unwrap_or(true);
        Self { visit: number(0), each: number(1), letter: number(2), whole }
    }

    fn pay(self, value: &Value) {
        let Some(purse) = PURSE.get() else { return };
        let steps = self.visit.saturating_add(self.each.saturating_mul(elements(value)));
        // The letters of a text are counted by whoever asks for its length.
        let long = if let Value::String(text) = value { text.len() as u64 / 1024 } else { 0 };
        let mut time = steps.saturating_mul(1 + long);
        if self.letter > 0 {
            time = time.saturating_add(self.letter.saturating_mul(letters(value)));
        }
        if self.whole {
            time = time.saturating_add(size(value, purse.time).saturating_mul(WHOLE));
        }
        let room = match purse.toll {
            Toll::Looking => 0,
            Toll::Telling { path, copies } => {
                let copied = if copies { size(value, purse.room) } else { 0 };
                steps.saturating_mul(1 + path as u64 / 64 + copied)
            }
        };
        let paid = purse.time.checked_sub(time).zip(purse.room.checked_sub(room));
        let Some((time, room)) = paid.filter(|_| purse.ground.abs_diff(address()) < purse.stack) else {
            resume_unwind(Box::new(Spent) as Box<dyn Any + Send>);
        };
        PURSE.set(Some(Purse { time, room, ..purse }));
    }
}

fn elements(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.len() as u64,
        Value::Object(entries) => entries.len() as u64,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn letters(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Object(entries) => entries.keys().map(|name| name.len() as u64).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 0,
    }
}

/// How much there is, up to about `most`: a unit for each value and for 32 bytes of text.
fn size(value: &Value, most: u64) -> u64 {
    let mut sum = 1 + letters(value) / 32;
    let mut add = |value: &Value| {
        if sum <= most {
            sum += size(value, most - sum);
        }
    };
    match value {
        Value::Array(items) => items.iter().for_each(&mut add),
        Value::Object(entries) => entries.values().for_each(&mut add),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    sum
}

impl<'i> Keyword<'i> for Price {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        self.pay(instance);
        Ok(())
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        self.pay(instance);
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_spent_ends_the_work_and_the_next_begins_anew() {
        let price = Price { visit: 200_000, ..Price::default() };
        let pay = |times: u32| (0..times).for_each(|_| price.pay(&json!(1)));
        assert!(within(Patience::Brief, Toll::Looking, || pay(5)).is_some());
        assert!(within(Patience::Brief, Toll::Looking, || pay(6)).is_none());
        assert!(within(Patience::Brief, Toll::Looking, || pay(5)).is_some());
        assert!(within(Patience::Long, Toll::Looking, || pay(6)).is_some());
        pay(1000);
    }

    #[test]
    fn the_stack_is_guarded() {
        fn descend(price: Price, depth: u32) -> u64 {
            let room = std::hint::black_box([u64::from(depth); 64]);
            price.pay(&Value::Null);
            if depth == 0 { 0 } else { descend(price, depth - 1) + room[depth as usize % 64] }
        }
        let price = Price::default();
        assert!(within(Patience::Brief, Toll::Looking, || descend(price, 100)).is_some());
        assert!(within(Patience::Brief, Toll::Looking, || descend(price, 1000)).is_none());
    }

    #[test]
    fn prices_follow_what_is_looked_at() {
        let paid = |price: Price, toll: Toll, value: &Value| {
            within(Patience::Brief, toll, || {
                let before = PURSE.get().unwrap();
                price.pay(value);
                let after = PURSE.get().unwrap();
                (before.time - after.time, before.room - after.room)
            })
        };
        let price = Price { visit: 3, each: 2, letter: 0, whole: false };
        assert_eq!(paid(price, Toll::Looking, &json!("text")), Some((3, 0)));
        assert_eq!(paid(price, Toll::Looking, &json!([1, 2, 3])), Some((9, 0)));
        assert_eq!(paid(price, Toll::Looking, &json!("x".repeat(4096))), Some((15, 0)));
        let letters = Price { letter: 4, ..price };
        assert_eq!(paid(letters, Toll::Looking, &json!("text")), Some((19, 0)));
        assert_eq!(paid(letters, Toll::Looking, &json!({"ab": "not this"})), Some((13, 0)));
        let whole = Price { whole: true, ..price };
        assert_eq!(paid(whole, Toll::Looking, &json!([[1, 2], "x"])), Some((7 + 5 * WHOLE, 0)));
        let telling = Toll::Telling { path: 640, copies: false };
        assert_eq!(paid(price, telling, &json!("text")), Some((3, 33)));
        let copying = Toll::Telling { path: 0, copies: true };
        assert_eq!(paid(price, copying, &json!([1, 2, 3])), Some((9, 45)));
        assert_eq!(paid(price, telling, &json!(vec![1; 1000])), None, "the room is spent");
        assert_eq!(Price::read(&whole.write()), whole);
    }
}
