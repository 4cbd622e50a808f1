//! The clock of a connection: it runs only while a head is open, and its end is the connection's.

use std::{pin::pin, task::Poll, time::Duration};

use tokio::time::Instant;

use super::gate::{End, Gate};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself.
    Done,
    /// A head was not whole in time.
    Late,
    /// From below.
    From(End),
}

/// Runs a connection until it is done, until a head has been open for `patience`, or until its stream says
/// that nothing more is to be done. Dropping the connection then closes it; nothing is lost, as a head that
/// is open is no request yet.
///
/// A head that comes in one piece never meets the clock: it is closed again when the connection comes to
/// rest.
pub(super) async fn watched<T>(
    gate: &Gate,
    patience: Duration,
    connection: impl Future<Output = T>,
) -> Ended {
    let mut connection = pin!(connection);
    let mut clock = pin!(tokio::time::sleep(patience));
    let mut clocked = gate.open_head();
    std::future::poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(gate.closed().map_or(Ended::Done, Ended::From));
        }
        if let Some(end) = gate.closed() {
            return Poll::Ready(Ended::From(end));
        }
        let Some(head) = gate.open_head() else { return Poll::Pending };
        if clocked != Some(head) {
            clocked = Some(head);
            clock.as_mut().reset(Instant::now() + patience);
        }
        clock.as_mut().poll(cx).map(|()| Ended::Late)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn an_open_head_ends_the_connection_however_often_it_is_fed() {
        let gate = Gate::new();
        let dripping = async {
            for _ in 0..1000 {
                sleep(PATIENCE / 10).await;
            }
        };
        assert_eq!(watched(&gate, PATIENCE, dripping).await, Ended::Late);
    }

    #[tokio::test]
    async fn every_head_has_the_whole_time_and_answers_have_all_the_time_they_need() {
        let gate = Arc::new(Gate::new());
        let shared = Arc::clone(&gate);
        let begin = Instant::now();
        let connection = async move {
            for _ in 0..3 {
                shared.serve();
                sleep(2 * PATIENCE).await;
                shared.rest();
                sleep(2 * PATIENCE).await;
                shared.begin();
            }
            sleep(1000 * PATIENCE).await;
        };
        assert_eq!(watched(&gate, PATIENCE, connection).await, Ended::Late);
        assert!(
            begin.elapsed() >= 13 * PATIENCE,
            "three answers, three rests, and the time of the last head"
        );
    }

    #[tokio::test]
    async fn a_connection_that_is_done_in_time_ends_by_itself() {
        let gate = Arc::new(Gate::new());
        assert_eq!(watched(&gate, PATIENCE, async {}).await, Ended::Done);
    }

    #[tokio::test]
    async fn a_stream_that_has_ended_ends_its_connection() {
        let gate = Arc::new(Gate::new());
        let shared = Arc::clone(&gate);
        let connection = async move {
            shared.serve();
            shared.close(End::Flood);
            std::future::pending::<()>().await;
        };
        assert_eq!(watched(&gate, PATIENCE, connection).await, Ended::From(End::Flood));
    }
}
