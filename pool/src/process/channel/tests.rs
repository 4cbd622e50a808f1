use std::{io::Write as _, os::unix::net::UnixStream as StdUnixStream, sync::Arc};

use bytes::Bytes;
use par_proto::frames::{HEADER_LEN, encode};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::process::{
    descriptors::{self, Theirs},
    nested::{Answering, Line},
    witness::Witness,
};

/// A ticket that tells how its call has ended.
#[derive(Debug)]
struct Told(UnboundedSender<Reply>);

impl Ticket for Told {
    fn end(self, reply: Reply) {
        self.0.send(reply).expect("the test listens");
    }

    fn item(&self, _item: Item) -> Result<(), Overrun> {
        Err(Overrun::Item)
    }

    fn witness(&self) -> Option<Arc<dyn Witness>> {
        None
    }

    fn connect(&self, _invoked: Invoked, line: Line) -> Answering {
        line.refuse("bad_request", "no handler runs here")
    }

    fn name(&self) -> CallName {
        CallName { request_id: Arc::from("test"), meta: Bytes::new() }
    }

    fn in_turn(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_full_batch_does_not_wait_for_the_turn_to_end() {
    let (ours, Theirs(theirs)) = descriptors::worker().expect("sockets");
    let mut main = theirs.into_iter().map(StdUnixStream::from).next().expect("main");
    let (channel, _closed) = Channel::new(ours.main, ours.side, ours.journal);
    channel.attach(&Handle::current());
    let (told, _replies) = unbounded_channel();
    let call = CallFrame { export: 0, meta: Bytes::new(), payload: Bytes::from_static(b"{}"), flags: 0 };
    let mut got = [0; 4096];
    let submit = || channel.submit(&call, 0, Told(told.clone())).expect("open");
    // Once it is attached, whoever fills a batch writes.
    submit();
    let mut first = main.try_clone().expect("a copy");
    let one = tokio::task::spawn_blocking(move || std::io::Read::read(&mut first, &mut [0; 4096]));
    let one = one.await.expect("no panic").expect("a call");

    main.set_nonblocking(true).expect("a socket");
    for _ in 1..BATCH {
        submit();
    }
    let early = std::io::Read::read(&mut main, &mut got).expect_err("the turn may bring more");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    submit();
    assert_eq!(std::io::Read::read(&mut main, &mut got).expect("the batch"), BATCH * one);
}

#[tokio::test]
async fn a_batch_that_the_socket_does_not_take_at_once_still_arrives() {
    let (ours, Theirs(theirs)) = descriptors::worker().expect("sockets");
    let mut main = theirs.into_iter().map(StdUnixStream::from).next().expect("main");
    let (channel, _closed) = Channel::new(ours.main, ours.side, ours.journal);
    channel.attach(&Handle::current());
    // Its task has the socket, so that the call that fills the batch finds it full.
    tokio::task::yield_now().await;
    let (told, _replies) = unbounded_channel();
    let large = CallFrame { export: 0, meta: Bytes::new(), payload: vec![b' '; 256 << 10].into(), flags: 0 };
    let all = BATCH * (HEADER_LEN + large.payload.len());
    for _ in 0..BATCH {
        channel.submit(&large, 0, Told(told.clone())).expect("open");
    }
    let reading =
        tokio::task::spawn_blocking(move || std::io::Read::read_exact(&mut main, &mut vec![0; all]));
    reading.await.expect("no panic").expect("all of them");
}

#[tokio::test]
async fn whoever_fills_a_batch_for_a_dead_worker_hides_its_end_from_nobody() {
    let (ours, Theirs(theirs)) = descriptors::worker().expect("sockets");
    let (channel, closed) = Channel::new(ours.main, ours.side, ours.journal);
    channel.attach(&Handle::current());
    // Its task has the socket.
    tokio::task::yield_now().await;
    drop(theirs);
    let (told, mut replies) = unbounded_channel();
    let call = CallFrame { export: 0, meta: Bytes::new(), payload: Bytes::from_static(b"{}"), flags: 0 };
    for _ in 0..BATCH {
        channel.submit(&call, 0, Told(told.clone())).expect("nobody has seen its end");
    }
    assert!(matches!(closed.await, Ok(Closed::Ended)));
    channel.settle(&Arc::new(Death::Vanished));
    for _ in 0..BATCH {
        assert!(matches!(replies.recv().await, Some(Reply::Returned)), "it never started");
    }
}

#[tokio::test]
async fn what_a_worker_had_answered_counts_although_a_call_met_its_end_first() {
    let (ours, Theirs(theirs)) = descriptors::worker().expect("sockets");
    let mut theirs = theirs.into_iter().map(StdUnixStream::from);
    let (mut main, side) = (theirs.next().expect("main"), theirs.next().expect("side"));
    let (channel, closed) = Channel::new(ours.main, ours.side, ours.journal);
    channel.attach(&Handle::current());
    let (told, mut replies) = unbounded_channel();
    let call = CallFrame { export: 0, meta: Bytes::new(), payload: Bytes::from_static(b"{}"), flags: 0 };
    let first = channel.submit(&call, 0, Told(told.clone())).expect("open");
    // Until it is there.
    let (mut main_now, main_then) = (main.try_clone().expect("a copy"), &mut main);
    tokio::task::spawn_blocking(move || std::io::Read::read(&mut main_now, &mut [0; 256]).expect("the call"))
        .await
        .expect("read");

    // It answers and dies; the next call finds that out, and not the one who listens.
    let mut answer = BytesMut::new();
    encode(
        &mut answer,
        Header { size: 0, meta: 0, kind: Kind::Result, flags: 0, call: first, a: 7, b: 0 },
        b"",
        b"1",
    );
    main_then.write_all(&answer).expect("written");
    drop((main, side));
    channel.submit(&call, 0, Told(told)).expect("nobody has seen its end");
    assert!(matches!(closed.await, Ok(Closed::Ended)));
    channel.settle(&Arc::new(Death::Vanished));

    assert!(matches!(replies.recv().await, Some(Reply::Done { micros: 7, .. })));
    assert!(matches!(replies.recv().await, Some(Reply::Returned)), "it never started");
}

#[tokio::test]
async fn a_worker_that_missed_a_recall_is_asked_again() {
    let (ours, Theirs(theirs)) = descriptors::worker().expect("sockets");
    let mut theirs = theirs.into_iter().map(StdUnixStream::from);
    let (mut main, mut side) = (theirs.next().expect("main"), theirs.next().expect("side"));
    let (channel, _closed) = Channel::new(ours.main, ours.side, ours.journal);
    channel.attach(&Handle::current());
    let (told, mut replies) = unbounded_channel();
    let call = CallFrame { export: 0, meta: Bytes::new(), payload: Bytes::from_static(b"{}"), flags: 0 };
    channel.submit(&call, 0, Told(told.clone())).expect("open");
    let second = channel.submit(&call, 0, Told(told)).expect("open");

    // Its first thread had not read a call yet when its other one was asked.
    let recalls = tokio::task::spawn_blocking(move || {
        let mut asked = [0; 2 * HEADER_LEN];
        std::io::Read::read_exact(&mut side, &mut asked).map(|()| side)
    });
    let _side = recalls.await.expect("no panic").expect("asked twice");
    assert!(channel.is_stalled());
    let mut back = BytesMut::new();
    let returned = Header { size: 0, meta: 0, kind: Kind::Returned, flags: 0, call: second, a: 0, b: 0 };
    encode(&mut back, returned, b"", b"");
    main.write_all(&back).expect("written");
    assert!(matches!(replies.recv().await, Some(Reply::Returned)));
}
