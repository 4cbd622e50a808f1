//! Signals around the start of a child that runs in our memory: none may reach a handler of ours there.

use std::{io, mem::MaybeUninit, ptr};

use rustix::io::Errno;

/// All signals are held back from this thread, and so from its children, until this value goes.
pub(super) struct Held(libc::sigset_t);

impl Held {
    /// Holds them back.
    pub(super) fn all() -> io::Result<Self> {
        let mut all = none();
        let mut before = none();
        #[expect(unsafe_code, reason = "no crate of ours sets the mask of signals")]
        // SAFETY: both sets are ours, for the length of the calls.
        let refused = unsafe {
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before)
        };
        if refused == 0 { Ok(Self(before)) } else { Err(io::Error::from_raw_os_error(refused)) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A set that was valid before is valid again.
        set_mask(&self.0).ok();
    }
}

/// In a child: lets signals come, to do what they do by default. What was ignored stays so, as for children of the
/// standard library, and SIGPIPE, which that ignores for us, does not.
pub(super) fn release() -> Result<(), Errno> {
    for number in 1..=libc::SIGRTMAX() {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        #[expect(unsafe_code, reason = "no crate of ours sets handlers")]
        // SAFETY: all bits zero is an action, which the call fills in. The default is no code of anybody's, and the table
        // of handlers is the child's own. Numbers that may not be set are refused.
        unsafe {
            libc::sigaction(number, ptr::null(), action.as_mut_ptr());
            if action.assume_init_ref().sa_sigaction != libc::SIG_IGN || number == libc::SIGPIPE {
                libc::signal(number, libc::SIG_DFL);
            }
        }
    }
    set_mask(&none())
}

fn none() -> libc::sigset_t {
    #[expect(unsafe_code, reason = "a set is made by being emptied")]
    // SAFETY: all bits zero is a set; the call makes it the empty one.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        none
    }
}

fn set_mask(signals: &libc::sigset_t) -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "no crate of ours sets the mask of signals")]
    // SAFETY: the call reads the set.
    let refused = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, signals, ptr::null_mut()) };
    if refused == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(refused)) }
}
