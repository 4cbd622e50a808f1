//! When the doors close: new calls wait from then on for all that run, so it is done while none of those has been running for
//! long.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::edge::{Earlier, InFlight};

/// Calls that began within this are expected to end soon. Half would wait for ever where answers take a moment; twice would
/// add to the pause.
const BRIEF: Duration = Duration::from_millis(500);

/// Time between two looks at what is still running.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until all that runs has begun a moment ago, at most until then. Calls are begun meanwhile as ever. What was there
/// already and has not ended has had its time, and is given back.
pub(super) async fn comes(in_flight: &InFlight, until: Instant) -> Option<Earlier> {
    let mut is_first = true;
    loop {
        let begin = Instant::now();
        let former = in_flight.turn();
        while former.left() > 0 {
            if Instant::now() >= until {
                return Some(former).filter(|_| is_first);
            }
            sleep(LOOK).await;
        }
        if begin.elapsed() <= BRIEF {
            return None;
        }
        is_first = false;
    }
}
