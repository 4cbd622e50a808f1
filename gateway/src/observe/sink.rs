//! Log lines from any thread to stdout without waiting for it: threads append to one buffer, one writer thread swaps
//! it away, masks secrets, remembers the lines and hands them on, hundreds at a time.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{
    outlet::{MAX_PRINTED, MAX_WAITING, Outlet},
    printed,
    recent::RecentLines,
    redact::Redactor,
    text::TextForm,
};

/// Least time between two writes. The first line after a pause is written at once; under load 20 ms gather up to
/// 1,000 lines, and nobody who reads along notices.
const PAUSE: Duration = Duration::from_millis(20);

/// Capacity that a buffer keeps between batches.
const KEPT_CAPACITY: usize = 1 << 20;

/// Where lines go. Clones share one buffer and one writer.
#[derive(Clone)]
pub(crate) struct LogSink(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    written: Condvar,
    dropped: Arc<AtomicU64>,
    outlet: Outlet,
    redactor: Redactor,
}

impl Shared {
    fn new(output: Box<dyn Write + Send>) -> io::Result<Self> {
        let dropped = Arc::<AtomicU64>::default();
        let outlet = Outlet::start(output, Arc::clone(&dropped))?;
        Ok(Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            written: Condvar::new(),
            dropped,
            outlet,
            redactor: Redactor::new(),
        })
    }
}

#[derive(Default)]
struct Waiting {
    buffer: Vec<u8>,
    /// The writer sleeps until somebody wakes it.
    is_idle: bool,
    /// Somebody waits for the writer: no pause.
    is_urgent: bool,
    /// Bytes appended and bytes written since the start.
    appended: u64,
    written: u64,
}

impl LogSink {
    /// Starts the writer thread. Every line is JSON; `form` says how it looks on `output`, `None`: as it is.
    pub(crate) fn start(
        output: Box<dyn Write + Send>,
        form: Option<TextForm>,
        recent: Arc<RecentLines>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(output)?);
        let writer = Writer { shared: Arc::clone(&shared), form, recent, last: None };
        thread::Builder::new().name("par-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self(shared))
    }

    /// Appends one line: `build` writes one JSON object without a newline to the end of the buffer and must not
    /// touch what is before, nor log itself: the buffer is locked. Never waits for stdout; a line that finds the buffer full is dropped and counted.
    pub(crate) fn line(&self, build: impl FnOnce(&mut Vec<u8>)) {
        self.append(MAX_WAITING, build);
    }

    /// The same for a line that a package has printed: for these the buffer is full when it is half full.
    pub(crate) fn printed(&self, build: impl FnOnce(&mut Vec<u8>)) {
        self.append(MAX_PRINTED, build);
    }

    fn append(&self, most: usize, build: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.0.waiting.lock();
        let start = waiting.buffer.len();
        if start >= most {
            drop(waiting);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut line = HalfLine { buffer: &mut waiting.buffer, start, is_whole: false };
        build(line.buffer);
        line.buffer.push(b'\n');
        line.is_whole = true;
        drop(line);
        waiting.appended += (waiting.buffer.len() - start) as u64;
        if mem::take(&mut waiting.is_idle) {
            self.0.wake.notify_one();
        }
    }

    /// Lines that were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Never lets this text through: it is overwritten with asterisks wherever it stands in a line.
    pub(crate) fn redact(&self, secret: &str) {
        self.0.redactor.learn(secret);
    }

    /// What overwrites secrets, for texts that go elsewhere.
    pub(crate) fn redactor(&self) -> Redactor {
        self.0.redactor.clone()
    }

    /// Waits until everything appended so far is written, at most `patience`: a reader that stalls must not keep the
    /// process alive. Returns whether it was.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut waiting = self.0.waiting.lock();
        let goal = waiting.appended;
        while waiting.written < goal {
            waiting.is_urgent = true;
            waiting.is_idle = false;
            self.0.wake.notify_one();
            if self.0.written.wait_until(&mut waiting, deadline).timed_out() {
                return false;
            }
        }
        drop(waiting);
        self.0.outlet.flush(deadline)
    }
}

/// Takes back a line whose writing panicked.
struct HalfLine<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    is_whole: bool,
}

impl Drop for HalfLine<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            self.buffer.truncate(self.start);
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    form: Option<TextForm>,
    recent: Arc<RecentLines>,
    last: Option<Instant>,
}

impl Writer {
    /// Ends when it is the only one left that knows the buffer, and the buffer is empty.
    fn run(mut self) {
        let mut batch = Vec::new();
        let mut text = Vec::new();
        while self.take(&mut batch) {
            self.shared.redactor.mask(&mut batch);
            self.recent.feed(&batch);
            let taken = batch.len() as u64;
            let lost = printed::fit(&mut batch, self.shared.outlet.room());
            self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
            let bytes = match &self.form {
                None => &batch,
                Some(form) => {
                    text.clear();
                    form.render(&batch, &mut text);
                    &text
                }
            };
            self.shared.outlet.push(bytes, memchr::memchr_iter(b'\n', &batch).count() as u64);
            self.shared.waiting.lock().written += taken;
            self.shared.written.notify_all();
            batch.clear();
            batch.shrink_to(KEPT_CAPACITY);
            text.shrink_to(KEPT_CAPACITY);
        }
    }

    /// Waits for lines, then for the pause to pass, and swaps the buffer away.
    fn take(&mut self, batch: &mut Vec<u8>) -> bool {
        let mut waiting = self.shared.waiting.lock();
        while waiting.buffer.is_empty() {
            waiting.is_idle = true;
            let alone = Arc::strong_count(&self.shared) == 1;
            if alone {
                return false;
            }
            self.shared.wake.wait_for(&mut waiting, Duration::from_secs(1));
        }
        waiting.is_idle = false;
        if let Some(due) = self.last.map(|last| last + PAUSE) {
            while !waiting.is_urgent && !self.shared.wake.wait_until(&mut waiting, due).timed_out() {}
        }
        waiting.is_urgent = false;
        mem::swap(batch, &mut waiting.buffer);
        self.last = Some(Instant::now());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::{super::recent::Filter, *};

    /// Hands every write to the test; the test can let it stall by not receiving.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(depth: usize) -> (LogSink, mpsc::Receiver<Vec<u8>>, Arc<RecentLines>) {
        let (sender, receiver) = mpsc::sync_channel(depth);
        let recent = Arc::new(RecentLines::new(10));
        (LogSink::start(Box::new(Pipe(sender)), None, Arc::clone(&recent)).unwrap(), receiver, recent)
    }

    fn line(sink: &LogSink, text: &str) {
        sink.line(|out| out.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn many_lines_leave_with_few_writes_and_in_order() {
        let (sink, output, recent) = sink(1000);
        for number in 0..1000 {
            line(&sink, &number.to_string());
        }
        assert!(sink.flush(Duration::from_secs(10)));
        let writes: Vec<_> = output.try_iter().collect();
        let all = String::from_utf8(writes.concat()).unwrap();
        let wanted: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(all.lines().collect::<Vec<_>>(), wanted);
        assert!(writes.len() < 100, "{} writes", writes.len());
        assert_eq!(recent.lines(&Filter::default()).len(), 10);
    }

    #[test]
    fn a_stalled_stdout_costs_lines_but_no_time_and_no_memory() {
        let (sink, output, _recent) = sink(0);
        let long = "x".repeat(1 << 20);
        for _ in 0..40 {
            line(&sink, &long);
        }
        assert!(sink.dropped() > 0);
        assert!(!sink.flush(Duration::from_millis(30)));
        let reader = thread::spawn(move || output.iter().count());
        assert!(sink.flush(Duration::from_secs(10)));
        drop(sink);
        assert!(reader.join().unwrap() > 0);
    }

    #[test]
    fn what_packages_print_leaves_room_for_our_own_lines() {
        // Nobody takes lines away.
        let sink = LogSink(Arc::new(Shared::new(Box::new(io::sink())).unwrap()));
        let long = "x".repeat(1 << 20);
        for _ in 0..40 {
            sink.printed(|out| out.extend_from_slice(long.as_bytes()));
        }
        let lost = sink.dropped();
        assert!(lost > 0);
        line(&sink, r#"{"event":"access"}"#);
        assert_eq!(sink.dropped(), lost);
        assert!(sink.0.waiting.lock().buffer.ends_with(b"{\"event\":\"access\"}\n"));
    }

    #[test]
    fn a_reader_that_stalls_loses_what_packages_print_and_no_line_of_ours() {
        let (sink, output, _recent) = sink(0);
        let long = format!(r#"{{"event":"agent_output","message":"{}"}}"#, "x".repeat(1 << 20));
        let ours = r#"{"event":"access"}"#;
        // Each passes the writer before the next: what is lost is lost on the way to standard output.
        let has_passed = || {
            let waiting = sink.0.waiting.lock();
            waiting.written == waiting.appended
        };
        for _ in 0..8 {
            sink.printed(|out| out.extend_from_slice(long.as_bytes()));
            while !has_passed() {
                thread::yield_now();
            }
        }
        assert!(sink.dropped() > 0);
        line(&sink, ours);
        let reader = thread::spawn(move || output.iter().collect::<Vec<_>>().concat());
        assert!(sink.flush(Duration::from_secs(10)));
        drop(sink);
        assert!(reader.join().unwrap().ends_with(format!("{ours}\n").as_bytes()));
    }

    #[test]
    fn a_stdout_that_is_gone_is_survived_and_counted() {
        let (sink, output, recent) = sink(1);
        drop(output);
        line(&sink, "1");
        assert!(sink.flush(Duration::from_secs(10)));
        assert_eq!(sink.dropped(), 1);
        assert_eq!(recent.lines(&Filter::default()).len(), 1);
    }

    #[test]
    fn secrets_never_reach_stdout_or_memory() {
        let (sink, output, recent) = sink(10);
        sink.redact("hunter2-hunter2");
        sink.redact("tiny");
        line(&sink, r#"{"a":"hunter2-hunter2 tiny hunter2-hunter2"}"#);
        assert!(sink.flush(Duration::from_secs(10)));
        let written = String::from_utf8(output.recv().unwrap()).unwrap();
        assert_eq!(written, "{\"a\":\"*************** tiny ***************\"}\n");
        assert!(!recent.lines(&Filter::default())[0].get().contains("hunter2"));
    }

    #[test]
    fn a_line_that_panics_leaves_nothing_behind() {
        let (sink, output, _recent) = sink(10);
        let broken = sink.clone();
        let panicked = thread::spawn(move || {
            broken.line(|out| {
                out.extend_from_slice(b"half");
                panic!("in a Display");
            });
        });
        assert!(panicked.join().is_err());
        line(&sink, "whole");
        assert!(sink.flush(Duration::from_secs(10)));
        assert_eq!(output.recv().unwrap(), b"whole\n");
    }
}
