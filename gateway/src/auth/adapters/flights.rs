//! Questions that are under way: whoever has the same one waits for the same answer.

use std::{collections::HashMap, fmt};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

/// What tells questions apart; a digest, so that nothing secret is kept.
pub(super) type Question = [u8; 32];

type Flight<T> = Shared<BoxFuture<'static, T>>;

/// What is under way. A question goes on as long as one of those who have it waits; then it is forgotten.
pub(super) struct Flights<T: Clone>(Mutex<HashMap<Question, WeakShared<BoxFuture<'static, T>>>>);

/// The place of one who waits.
struct Seat<'a, T: Clone> {
    flights: &'a Flights<T>,
    question: Question,
    flight: Option<Flight<T>>,
}

impl<T: Clone> Flights<T> {
    /// Nothing is under way.
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// The answer to a question. `begin` is called if nobody else waits for it.
    pub(super) async fn join(&self, question: Question, begin: impl FnOnce() -> BoxFuture<'static, T>) -> T {
        let flight = self.board(question, begin);
        let seat = Seat { flights: self, question, flight: Some(flight.clone()) };
        let answer = flight.await;
        drop(seat);
        answer
    }

    fn board(&self, question: Question, begin: impl FnOnce() -> BoxFuture<'static, T>) -> Flight<T> {
        let mut under_way = self.0.lock();
        if let Some(flight) = under_way.get(&question).and_then(WeakShared::upgrade) {
            return flight;
        }
        let flight = begin().shared();
        under_way.extend(flight.downgrade().map(|weak| (question, weak)));
        flight
    }
}

impl<T: Clone> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        self.flight = None;
        let mut under_way = self.flights.0.lock();
        if under_way.get(&self.question).is_some_and(|flight| flight.upgrade().is_none()) {
            under_way.remove(&self.question);
        }
    }
}

impl<T: Clone> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flights({})", self.0.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::Semaphore;

    use super::*;

    const A: Question = [1; 32];
    const B: Question = [2; 32];

    #[derive(Clone)]
    struct Story {
        flights: Arc<Flights<usize>>,
        begun: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
    }

    impl Story {
        fn begin() -> Self {
            let gate = Arc::new(Semaphore::new(0));
            Self { flights: Arc::new(Flights::new()), begun: Arc::default(), gate }
        }

        async fn ask(self, question: Question) -> usize {
            let (begun, gate) = (self.begun, self.gate);
            let answering = move || {
                let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                async move {
                    gate.acquire().await.unwrap().forget();
                    number
                }
                .boxed()
            };
            self.flights.join(question, answering).await
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn the_same_question_is_asked_once_and_later_again() {
        let story = Story::begin();
        let mut asking: Vec<_> =
            [A, A, B, A].into_iter().map(|question| Box::pin(story.clone().ask(question))).collect();
        for one in &mut asking {
            assert!(one.now_or_never().is_none());
        }
        assert_eq!(story.begun(), 2);
        story.gate.add_permits(2);
        assert_eq!(futures_util::future::join_all(asking).await, [1, 1, 2, 1]);
        assert!(story.flights.0.lock().is_empty());
        story.gate.add_permits(1);
        assert_eq!(story.clone().ask(A).await, 3);
    }

    #[tokio::test]
    async fn who_leaves_does_not_take_the_question_along() {
        let story = Story::begin();
        let mut first = Box::pin(story.clone().ask(A));
        let mut second = Box::pin(story.clone().ask(A));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        drop(first);
        story.gate.add_permits(1);
        assert_eq!((second.await, story.begun()), (1, 1));

        let mut last = Box::pin(story.clone().ask(A));
        assert!((&mut last).now_or_never().is_none());
        drop(last);
        assert!(story.flights.0.lock().is_empty(), "nobody waits for it");
    }
}
