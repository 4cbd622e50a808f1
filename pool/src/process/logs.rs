//! What agents print becomes log lines: one reader per pipe, lines bounded, each with agent, version and worker and,
//! while a call runs in a sync worker, its request id.

use std::{fmt, os::fd::OwnedFd, sync::Arc};

use bytes::Bytes;
use tokio::{io::AsyncReadExt, net::unix::pipe};

use super::tail::Tail;
use crate::package::Installed;

/// Longest line; the rest of a longer one becomes the next line. A line is one log record, and records are read by
/// people and shippers that cut at some KiB anyway.
const MAX_LINE: usize = 16 * 1024;

/// Which process printed.
#[derive(Clone)]
pub struct Origin {
    /// `name@version`.
    pub package: Arc<str>,
    /// Its process id.
    pub pid: u32,
    /// `template` or `worker`.
    pub role: &'static str,
    /// Tells which call runs now, where there is exactly one.
    pub call: Option<Arc<dyn Fn() -> Option<CallName> + Send + Sync>>,
    /// The last lines, kept to explain a death.
    pub tail: Arc<Tail>,
}

/// A call by what names it.
#[derive(Debug, Clone)]
pub struct CallName {
    /// Its request.
    pub request_id: Arc<str>,
    /// What its worker was told of it: JSON as in `FRAMES.md`, kind `CALL`; empty for actions of surfaces.
    pub meta: Bytes,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.package, self.role, self.pid)
    }
}

impl Origin {
    pub(crate) fn template(installed: &Installed, pid: u32) -> Self {
        Self {
            package: Arc::from(installed.package.id.to_string()),
            pid,
            role: "template",
            call: None,
            tail: Arc::default(),
        }
    }
}

/// One line that an agent printed.
#[derive(Debug)]
pub struct OutputLine<'a> {
    /// Who.
    pub origin: &'a Origin,
    /// `stdout` or `stderr`.
    pub stream: &'static str,
    /// What, without the line end; invalid UTF-8 replaced.
    pub text: &'a str,
    /// For which call, where it can be told.
    pub call: Option<CallName>,
}

/// Where lines go. Called from a task: it must not block.
#[derive(Clone)]
pub struct OutputSink(pub Arc<dyn Fn(&OutputLine<'_>) + Send + Sync>);

impl fmt::Debug for OutputSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutputSink")
    }
}

impl OutputSink {
    /// Reads both pipes until they end.
    pub(crate) fn follow(&self, origin: &Origin, stdout: OwnedFd, stderr: OwnedFd) {
        for (stream, fd) in [("stdout", stdout), ("stderr", stderr)] {
            let sink = self.clone();
            let origin = origin.clone();
            let reading = origin.tail.read();
            tokio::spawn(async move {
                let _reading = reading;
                // A pipe that cannot be read has nothing more to say.
                drop(read_lines(fd, |text| sink.emit(&origin, stream, text)).await);
            });
        }
    }

    fn emit(&self, origin: &Origin, stream: &'static str, text: &str) {
        origin.tail.push(text);
        let call = origin.call.as_ref().and_then(|ask| ask());
        (self.0)(&OutputLine { origin, stream, text, call });
    }
}

async fn read_lines(fd: OwnedFd, mut line: impl FnMut(&str)) -> std::io::Result<()> {
    let mut pipe = pipe::Receiver::from_owned_fd(fd)?;
    let mut kept: Vec<u8> = Vec::new();
    let mut chunk = [0u8; 8192];
    loop {
        let length = pipe.read(&mut chunk).await?;
        if length == 0 {
            break;
        }
        kept.extend_from_slice(chunk.get(..length).unwrap_or_default());
        let mut start = 0;
        while let Some(rest) = kept.get(start..) {
            let cut = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if rest.len() >= MAX_LINE => MAX_LINE,
                None => break,
            };
            emit_bytes(rest.get(..cut).unwrap_or_default(), &mut line);
            start += cut;
        }
        kept.drain(..start);
    }
    emit_bytes(&kept, &mut line);
    Ok(())
}

fn emit_bytes(bytes: &[u8], line: &mut impl FnMut(&str)) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    if !text.is_empty() {
        line(text);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn long_and_broken_lines_are_cut_and_kept() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&read, true).unwrap();
        let mut file = std::fs::File::from(write);
        let task = tokio::spawn(async move {
            let mut lines = Vec::new();
            read_lines(read, |line| lines.push(line.to_owned())).await.unwrap();
            lines
        });
        file.write_all(b"one\r\n\nt\xffwo\n").unwrap();
        file.write_all(&vec![b'x'; MAX_LINE + 3]).unwrap();
        drop(file);
        let lines = task.await.unwrap();
        assert_eq!(lines[..2], ["one", "t\u{fffd}wo"]);
        assert_eq!(lines[2..].iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, 3]);
    }
}
