//! One thread that starts programs and never ends: a parent-death signal follows the thread that spawned, not the
//! process, so a template started from a runtime's thread could be killed by that thread's end.

use std::{
    io,
    process::{Child, Command},
    sync::{LazyLock, mpsc},
};

use tokio::sync::oneshot;

type Order = (Command, oneshot::Sender<io::Result<Child>>);

static ORDERS: LazyLock<io::Result<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Order>();
    std::thread::Builder::new().name("par-spawner".into()).spawn(move || {
        for (mut command, reply) in receiver {
            // A caller that is gone by now gets no child: it would have nobody to wait for it.
            if !reply.is_closed()
                && let Err(Ok(mut child)) = reply.send(command.spawn())
            {
                drop(child.kill());
                drop(child.wait());
            }
        }
    })?;
    Ok(sender)
});

/// Starts a program from the thread that never ends.
pub(crate) async fn spawn(command: Command) -> io::Result<Child> {
    let (reply, answer) = oneshot::channel();
    let orders = ORDERS.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    orders.send((command, reply)).map_err(|_| io::Error::other("the spawner is gone"))?;
    answer.await.map_err(|_| io::Error::other("the spawner is gone"))?
}
