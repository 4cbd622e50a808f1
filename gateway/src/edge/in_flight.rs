//! Requests that are being answered: how many, and how many of them were there before a given moment.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The count; kept by the edge, read by whoever has to wait for its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Whose turn it is; odd and even ones are counted apart.
    turn: AtomicUsize,
    turns: [AtomicUsize; 2],
    /// Of these, connections that have become something else, such as a WebSocket, and have no end.
    endless: [AtomicUsize; 2],
    /// Requests that may last as long as somebody looks on, such as lines of a log. They end when the stop begins.
    aside: AtomicUsize,
}

impl InFlight {
    /// How many.
    pub(crate) fn count(&self) -> usize {
        let Counts { turns: [even, odd], aside, .. } = &*self.0;
        even.load(Relaxed) + odd.load(Relaxed) + aside.load(Relaxed)
    }

    /// How many will end: all but those without an end, and those that have had their time.
    pub(crate) fn ending(&self, overdue: Option<&Earlier>) -> usize {
        let of = |turn: usize| {
            let seat = Seat::Turn(turn);
            self.0.of(seat).load(Relaxed).saturating_sub(self.0.endless_of(seat).load(Relaxed))
        };
        let turns = match overdue {
            Some(overdue) => of(overdue.turn + 1),
            None => of(0) + of(1),
        };
        turns + self.0.aside.load(Relaxed)
    }

    /// Those that are under way now. What begins from now on is none of them; to be asked again when they are over.
    pub(crate) fn turn(&self) -> Earlier {
        Earlier { counts: Arc::clone(&self.0), turn: self.0.turn.fetch_add(1, Relaxed) }
    }

    /// One more, until the flight is dropped.
    pub(super) fn enter(&self) -> Flight {
        let seat = Seat::Turn(self.0.turn.load(Relaxed));
        self.0.of(seat).fetch_add(1, Relaxed);
        Flight { counts: Arc::clone(&self.0), seat, is_endless: false }
    }
}

impl Counts {
    fn of(&self, seat: Seat) -> &AtomicUsize {
        let [even, odd] = &self.turns;
        match seat {
            Seat::Turn(turn) if turn % 2 == 0 => even,
            Seat::Turn(_) => odd,
            Seat::Aside => &self.aside,
        }
    }

    fn endless_of(&self, seat: Seat) -> &AtomicUsize {
        let [even, odd] = &self.endless;
        if matches!(seat, Seat::Turn(turn) if turn % 2 == 1) { odd } else { even }
    }
}

#[derive(Debug, Clone, Copy)]
enum Seat {
    Turn(usize),
    Aside,
}

/// Requests of a turn that is over.
#[derive(Debug)]
pub(crate) struct Earlier {
    counts: Arc<Counts>,
    turn: usize,
}

impl Earlier {
    /// How many of them are left.
    pub(crate) fn left(&self) -> usize {
        self.counts.of(Seat::Turn(self.turn)).load(Relaxed)
    }
}

/// One request that is being answered.
#[derive(Debug)]
pub(super) struct Flight {
    counts: Arc<Counts>,
    seat: Seat,
    is_endless: bool,
}

impl Flight {
    /// It has no end: nobody waits for it where others would have to wait as well.
    pub(super) fn go_on(&mut self) {
        if !std::mem::replace(&mut self.is_endless, true) {
            self.counts.endless_of(self.seat).fetch_add(1, Relaxed);
        }
    }

    /// Nobody has to wait for its end before the stop begins.
    pub(super) fn step_aside(&mut self) {
        self.counts.of(Seat::Aside).fetch_add(1, Relaxed);
        self.counts.of(self.seat).fetch_sub(1, Relaxed);
        self.seat = Seat::Aside;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.is_endless {
            self.counts.endless_of(self.seat).fetch_sub(1, Relaxed);
        }
        self.counts.of(self.seat).fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_after_a_turn_is_none_of_what_was_there_before() {
        let in_flight = InFlight::default();
        let (first, second) = (in_flight.enter(), in_flight.enter());
        let former = in_flight.turn();
        let later = in_flight.enter();
        assert_eq!((former.left(), in_flight.count()), (2, 3));
        drop(first);
        assert_eq!((former.left(), in_flight.count()), (1, 2));
        drop(second);
        assert_eq!((former.left(), in_flight.count()), (0, 1));
        let former = in_flight.turn();
        assert_eq!(former.left(), 1);
        drop(later);
        assert_eq!((former.left(), in_flight.count()), (0, 0));
    }

    #[test]
    fn what_has_no_end_or_had_its_time_is_not_waited_for() {
        let in_flight = InFlight::default();
        let (old, mut socket) = (in_flight.enter(), in_flight.enter());
        socket.go_on();
        let former = in_flight.turn();
        let (later, mut other) = (in_flight.enter(), in_flight.enter());
        other.go_on();
        assert_eq!((in_flight.count(), former.left()), (4, 2));
        assert_eq!((in_flight.ending(None), in_flight.ending(Some(&former))), (2, 1));
        drop((later, other));
        assert_eq!((in_flight.ending(None), in_flight.ending(Some(&former))), (1, 0));
        drop((old, socket));
        assert_eq!((in_flight.count(), in_flight.ending(None)), (0, 0));
    }

    #[test]
    fn who_steps_aside_is_counted_and_holds_up_no_turn() {
        let in_flight = InFlight::default();
        let mut flight = in_flight.enter();
        flight.step_aside();
        assert_eq!((in_flight.turn().left(), in_flight.count()), (0, 1));
        drop(flight);
        assert_eq!(in_flight.count(), 0);
    }
}
