//! The items of one call on their way from its worker to its caller, and how many more may come.
//!
//! A worker sends while it has credit. The caller gives credit back for what it has passed on, so that a slow reader
//! stops its own producer and nobody else, and what waits here is bounded.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use par_proto::frames::{FLAG_PIECES, FLAG_STREAM, STREAM_CREDIT};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::{error::Elapsed, timeout_at},
};

use super::ticket::CallTicket;
use crate::process::{Channel, Delivery, Item, Overrun};

/// Bytes that are collected before credit is given back: every item on its own would be a system call on both sides.
const GIVEN_AT_ONCE: u32 = STREAM_CREDIT / 4;

/// When and where a call that streams has started.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// Time before the call was sent to its worker.
    pub queued: Duration,
    /// Process id of that worker.
    pub pid: u32,
}

#[derive(Debug)]
struct Line {
    channel: Weak<Channel<CallTicket>>,
    id: u64,
    started: Started,
}

#[derive(Debug)]
struct Account {
    /// Where the call runs; a call that came back before it had started runs elsewhere the next time.
    line: Option<Line>,
    /// Number of the item that comes next.
    next: u32,
    /// What the caller has not taken yet.
    queue: VecDeque<Item>,
    /// Bytes that the worker may still send; it may overshoot by one item.
    left: i64,
    /// Bytes that the caller has passed on and the worker does not know of.
    owed: u32,
    /// Bytes that the caller has not passed on yet.
    held: u64,
    /// The last time that something moved; none before the first item.
    moved: Option<Instant>,
}

#[derive(Debug)]
struct Flow {
    account: Mutex<Account>,
    arrived: Notify,
    idle: Duration,
}

/// The worker's end: goes with the call.
#[derive(Debug, Clone)]
pub struct Feed {
    form: Form,
    flow: Arc<Flow>,
}

/// The caller's end.
#[derive(Debug)]
pub struct Items(Arc<Flow>);

/// Which items may come one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Those that are JSON.
    Items,
    /// Those that are bytes; what else there is comes as one result.
    Pieces,
}

/// Both ends of a stream. After its first item, `idle` is the longest time between two of them; time in which items
/// wait for their reader does not count.
pub fn stream(form: Form, idle: Duration) -> (Feed, Items) {
    // Most calls have no items, and the queue allocates nothing for those.
    let left = i64::from(STREAM_CREDIT);
    let queue = VecDeque::new();
    let account = Account { line: None, next: 0, queue, left, owed: 0, held: 0, moved: None };
    let flow = Arc::new(Flow { account: Mutex::new(account), arrived: Notify::new(), idle });
    (Feed { form, flow: Arc::clone(&flow) }, Items(flow))
}

impl Feed {
    /// What the frame of the call says.
    pub(super) const fn flags(&self) -> u8 {
        match self.form {
            Form::Items => FLAG_STREAM,
            Form::Pieces => FLAG_PIECES,
        }
    }

    /// The call was sent to a worker.
    pub(super) fn open(&self, channel: &Arc<Channel<CallTicket>>, id: u64, started: Started) {
        let line = Line { channel: Arc::downgrade(channel), id, started };
        self.flow.account.lock().line = Some(line);
        self.flow.settle();
    }

    /// Takes an item from the worker.
    pub(super) fn push(&self, item: Item) -> Result<(), Overrun> {
        let size = u64::from(item.weight());
        {
            let mut account = self.flow.account.lock();
            let behind = account.next.wrapping_sub(item.number);
            if behind != 0 && behind < u32::MAX / 2 {
                // Its worker had written it, and did not come to note that before it died.
                return Ok(());
            }
            if behind != 0 || account.left <= 0 {
                return Err(Overrun::Item);
            }
            account.next = account.next.wrapping_add(1);
            account.left -= size.cast_signed();
            account.held += size;
            account.moved = Some(Instant::now());
            account.queue.push_back(item);
        }
        self.flow.arrived.notify_one();
        Ok(())
    }

    /// How long the next item may take: the first one until the deadline.
    pub(super) fn patience(&self, deadline: Instant) -> Instant {
        self.flow.patience(deadline)
    }

    /// Waits for the end of the call, which may take as long as items come; the first has to come before the deadline.
    pub(super) async fn within(
        &self,
        deadline: Instant,
        mut reply: oneshot::Receiver<Delivery>,
    ) -> Result<Result<Delivery, oneshot::error::RecvError>, Elapsed> {
        loop {
            let until = self.patience(deadline);
            match timeout_at(until.into(), &mut reply).await {
                Err(_) if self.patience(deadline) > until => {}
                waited => return waited,
            }
        }
    }
}

impl Items {
    /// The next item. Waits for ever behind the last one: the end is the call's answer, and behind it
    /// [`Items::ready`] gives the rest. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Item {
        loop {
            if let Some(item) = self.ready() {
                return item;
            }
            self.0.arrived.notified().await;
        }
    }

    /// An item that is here already.
    pub fn ready(&mut self) -> Option<Item> {
        self.0.account.lock().queue.pop_front()
    }

    /// Items were passed on whose [`Item::weight`]s have this sum.
    pub fn consumed(&self, weight: u32) {
        {
            let mut account = self.0.account.lock();
            account.held = account.held.saturating_sub(u64::from(weight));
            account.owed = account.owed.saturating_add(weight);
            account.moved = Some(Instant::now());
        }
        self.0.settle();
    }

    /// When and where the call has started; `None` before it has.
    pub fn started(&self) -> Option<Started> {
        self.0.account.lock().line.as_ref().map(|line| line.started)
    }
}

impl Flow {
    /// Gives credit back, if it is worth it.
    fn settle(&self) {
        let (channel, id, given) = {
            let mut account = self.account.lock();
            let Some(line) = account.line.as_ref().filter(|_| account.owed >= GIVEN_AT_ONCE) else { return };
            let (channel, id) = (line.channel.upgrade(), line.id);
            let given = std::mem::take(&mut account.owed);
            account.left += i64::from(given);
            (channel, id, given)
        };
        if let Some(channel) = channel {
            channel.credit(id, given);
        }
    }

    /// How long the next item may take.
    fn patience(&self, deadline: Instant) -> Instant {
        let account = self.account.lock();
        match account.moved {
            None => deadline,
            // The worker may be waiting for a reader that takes its time.
            Some(_) if account.held > 0 => Instant::now() + self.idle,
            Some(moved) => moved + self.idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const IDLE: Duration = Duration::from_secs(1);

    fn item(number: u32, size: usize) -> Item {
        Item { number, octets: false, meta: Bytes::new(), payload: Bytes::from(vec![0; size]) }
    }

    #[test]
    fn a_worker_that_sends_beyond_its_credit_is_refused() {
        let (feed, items) = stream(Form::Items, IDLE);
        let credit = STREAM_CREDIT as usize;
        feed.push(item(0, credit - 100)).unwrap();
        feed.push(item(1, credit)).expect("one item may overshoot");
        assert!(feed.push(item(2, 1)).is_err());
        items.consumed(2 * STREAM_CREDIT);
        assert!(feed.push(item(2, 1)).is_err(), "nobody has told the worker");
    }

    #[test]
    fn small_and_empty_items_have_their_weight() {
        let (feed, _items) = stream(Form::Items, IDLE);
        let sent = (0..1_000_000).take_while(|number| feed.push(item(*number, 0)).is_ok()).count();
        assert_eq!(sent, STREAM_CREDIT as usize / 64);
    }

    #[test]
    fn an_item_that_was_seen_is_not_seen_again() {
        let (feed, mut items) = stream(Form::Items, IDLE);
        for number in [0, 1, 0, 1, 2] {
            feed.push(item(number, 5)).unwrap();
        }
        let seen: Vec<_> = std::iter::from_fn(|| items.ready()).map(|item| item.number).collect();
        assert_eq!(seen, [0, 1, 2]);
        assert!(feed.push(item(4, 5)).is_err(), "one is missing");
    }

    #[test]
    fn the_deadline_is_for_the_first_item_and_then_only_silence_counts() {
        let (feed, items) = stream(Form::Items, IDLE);
        let deadline = Instant::now();
        assert_eq!(items.0.patience(deadline), deadline);
        let first = item(0, 10);
        let weight = first.weight();
        feed.push(first).unwrap();
        assert!(items.0.patience(deadline) >= deadline + IDLE);
        let before = Instant::now();
        assert!(items.0.patience(deadline) >= before + IDLE, "a reader may take its time");
        items.consumed(weight);
        let moved = items.0.patience(deadline);
        assert_eq!(items.0.patience(deadline), moved, "silence counts from what came last");
    }

    #[tokio::test]
    async fn items_come_in_order_and_are_there_after_the_end() {
        let (feed, mut items) = stream(Form::Items, IDLE);
        for number in 0..3 {
            feed.push(item(number, 1)).unwrap();
        }
        assert_eq!(items.next().await.number, 0);
        assert_eq!(items.ready().unwrap().number, 1);
        drop(feed);
        assert_eq!(items.ready().unwrap().number, 2);
        assert!(items.ready().is_none());
    }
}
