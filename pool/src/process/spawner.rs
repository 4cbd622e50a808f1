//! One thread that starts programs and never ends: a parent-death signal follows the thread that spawned, not the
//! process, so a template started from a runtime's thread could be killed by that thread's end. It also is what waits
//! until the program has begun.

use std::{
    io,
    sync::{LazyLock, mpsc},
};

use tokio::sync::oneshot;

use super::launch::{Launch, Started};

type Order = (Launch, oneshot::Sender<io::Result<Started>>);

static ORDERS: LazyLock<io::Result<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Order>();
    std::thread::Builder::new().name("par-spawner".into()).spawn(move || {
        for (launch, reply) in receiver {
            // A caller that is gone by now gets no child: it would have nobody to wait for it.
            if reply.is_closed() {
                continue;
            }
            let started = launch.start();
            // What it was given is its alone before anybody speaks to it.
            drop(launch);
            if let Err(Ok(started)) = reply.send(started) {
                started.kill();
                started.wait();
            }
        }
    })?;
    Ok(sender)
});

/// Starts a program from the thread that never ends.
pub(super) async fn start(launch: Launch) -> io::Result<Started> {
    let (reply, answer) = oneshot::channel();
    let orders = ORDERS.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    orders.send((launch, reply)).map_err(|_| io::Error::other("the spawner is gone"))?;
    answer.await.map_err(|_| io::Error::other("the spawner is gone"))?
}
