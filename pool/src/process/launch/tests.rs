//! Real children, started from a test's own thread.

use std::{fs, io::Read, os::unix::process::ExitStatusExt, process::ExitStatus};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{WaitOptions, getpid, waitpid},
};

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).current_dir("/");
    command
}

fn free() -> Entry {
    Entry::free(Some(getpid()))
}

fn null() -> OwnedFd {
    fs::File::options().read(true).write(true).open("/dev/null").unwrap().into()
}

/// Starts it with an end of a pipe as its output; gives the other end.
fn start(command: &Command, entry: Entry) -> (io::Result<Started>, fs::File) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let launch = Launch::new(command, [null(), write, null()], entry).unwrap();
    (launch.start(), read.into())
}

fn told(command: &Command) -> String {
    let (started, mut output) = start(command, free());
    let started = started.unwrap();
    let mut told = String::new();
    output.read_to_string(&mut told).unwrap();
    started.wait();
    told
}

/// Lines of `/proc/<pid>/status` by name.
fn status(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap_or_default().to_owned()
}

#[test]
fn a_program_gets_what_its_command_names_and_nothing_else() {
    let mut command = shell("echo $0 $1; env; pwd; read line || echo over; echo lost >&2");
    command.args(["zero", "o n e"]).env("ONE", "1 2").current_dir("/usr");
    let told = told(&command);
    let mut lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.remove(0), "zero o n e");
    lines.sort_unstable();
    assert_eq!(lines, ["/usr", "ONE=1 2", "PWD=/usr", "over"]);
}

#[test]
fn it_leads_a_group_of_its_own_and_signals_reach_it() {
    let said = told(&shell("echo $$; cat /proc/$$/stat /proc/self/status"));
    let mut lines = said.lines();
    let pid = lines.next().unwrap();
    let stat = lines.next().unwrap().rsplit_once(") ").unwrap().1;
    assert_eq!(stat.split(' ').nth(2).unwrap(), pid, "{said}");
    let set = |text: &str, name| u64::from_str_radix(&status(text, name), 16).unwrap();
    assert_eq!(set(&said, "SigBlk"), 0, "{said}");
    // What others made us ignore stays so; what the standard library makes us ignore does not.
    let own = fs::read_to_string("/proc/thread-self/status").unwrap();
    assert_eq!(set(&said, "SigIgn"), set(&own, "SigIgn") & !(1 << (libc::SIGPIPE - 1)), "{said}");
    // The thread that started it is as it was.
    assert_eq!(set(&own, "SigBlk"), 0, "{own}");
}

#[test]
fn it_begins_at_low_priority_if_asked_and_where_that_can_be_taken_back() {
    let shown = |low: bool| {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let launch = Launch::new(&shell("cat /proc/$$/stat"), [null(), write, null()], free()).unwrap();
        let launch = if low { launch.low() } else { launch };
        let started = launch.start().unwrap();
        drop(launch);
        let mut said = String::new();
        fs::File::from(read).read_to_string(&mut said).unwrap();
        started.wait();
        nice_and_policy(&said)
    };
    let normal = nice_and_policy(&fs::read_to_string("/proc/thread-self/stat").unwrap());
    assert_eq!(shown(false), normal);
    assert_eq!(shown(true), if priority::may_raise() { ("19".to_owned(), "5".to_owned()) } else { normal });
}

#[test]
fn what_cannot_be_started_says_why_and_leaves_no_child() {
    let children = || fs::read_to_string("/proc/thread-self/children").unwrap();
    let refusal = |command: &Command, entry| start(command, entry).0.unwrap_err();
    let missing = refusal(&Command::new("/nowhere/python"), free());
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    assert!(missing.to_string().starts_with("its program: "), "{missing}");
    let mut lost = shell("true");
    let lost = refusal(lost.current_dir("/nowhere"), free());
    assert!(lost.to_string().starts_with("its directory: "), "{lost}");
    let orphan = refusal(&shell("true"), Entry::free(Pid::from_raw(1)));
    assert!(orphan.to_string().starts_with("its sandbox: "), "{orphan}");
    assert_eq!(children(), "");
    let streams = [(); 3].map(|()| pipe_with(PipeFlags::CLOEXEC).unwrap().0);
    let nul = Launch::new(shell("true").env("A", "a\0b"), streams, free());
    assert_eq!(nul.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn it_dies_with_the_thread_that_started_it() {
    let (started, mut output) = std::thread::spawn(|| {
        let (started, output) = start(&shell("echo begun; exec sleep 60"), free());
        (started.unwrap(), output)
    })
    .join()
    .unwrap();
    // Its output ends with it.
    output.read_to_end(&mut Vec::new()).unwrap();
    let (_, status) = waitpid(Some(started.pid), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(ExitStatus::from_raw(status.as_raw()).signal(), Some(libc::SIGTERM));
}

/// A fork would make each of these pages fault when it is written to again.
#[test]
fn memory_of_the_parent_is_written_to_without_faults_afterwards() {
    const PAGES: usize = 16_384;
    let mut memory = vec![1_u8; PAGES * 4096];
    let (started, _output) = start(&shell("exec sleep 60"), free());
    let before = faults();
    for page in memory.chunks_mut(4096) {
        page[0] = page[0].wrapping_add(1);
    }
    let faulted = faults() - before;
    assert_eq!(std::hint::black_box(&memory)[0], 2);
    let started = started.unwrap();
    started.kill();
    started.wait();
    assert!(faulted < PAGES as u64 / 8, "{faulted} faults in {PAGES} pages");
}

/// Of a `stat`, as proc(5) numbers its fields.
fn nice_and_policy(stat: &str) -> (String, String) {
    let field = |number: usize| stat.rsplit_once(") ")?.1.split(' ').nth(number - 3).map(str::to_owned);
    (field(19).unwrap(), field(41).unwrap())
}

/// Minor faults of this thread. Source: proc(5), `stat`.
fn faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(7).unwrap().parse().unwrap()
}
