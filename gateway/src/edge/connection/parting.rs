//! The end of a connection whose client has not said all: a socket that is closed with unread bytes in it
//! makes the kernel throw away what was sent last, and the client would never know why it was refused.

use std::time::Duration;

use pingora_core::protocols::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::permit::Permit;

/// How long a client may go on talking to a closed door. A round trip around the world and a slow reader fit;
/// more would let refused clients keep their places.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much of it is taken: what may be on its way in a window of TCP. More would be work for nobody.
const TAKEN: u64 = 256 * 1024;

/// Says that nothing more comes, and takes what is on its way until the client has closed or the patience
/// ends.
pub(super) fn linger(mut stream: Stream, permit: Permit) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        let parting = async {
            // The framework may have said it already.
            drop(stream.shutdown().await);
            let mut rest = stream.take(TAKEN);
            let mut bytes = [0; 4096];
            while let Ok(1..) = rest.read(&mut bytes).await {}
        };
        // Late or not, it is over.
        drop(tokio::time::timeout(PATIENCE, parting).await);
        drop(permit);
    });
}
