//! Other processes: the runtime, the template, siblings, strangers; and starting some.

use serde_json::json;

use super::{EACCES, EPERM, PROBE, attempt, kernel::SYSTEM_CALLS, probe, reached, refused, serving, workers};
use crate::harness::{eventually, scratch};

#[tokio::test]
async fn an_agent_reaches_no_process_but_itself() {
    let folder = scratch();
    let twins = "workers: {min: 2, max: 2}";
    let par = serving(folder.path(), &[probe("spy", twins), probe("victim", "")]).start().await;
    let mut pids = eventually("there is a sibling", async || {
        let pids = workers(&par, "spy@1.0.0").await;
        (pids.len() == 2).then_some(pids)
    })
    .await;
    pids.extend(workers(&par, "victim@1.0.0").await);
    pids.push(u64::from(par.process().pid));
    // Whoever is asked is one of the two; its template is its parent.
    let targets = format!("pids = [pid for pid in {pids:?} if pid != os.getpid()] + [os.getppid()]\n");
    for (number, code) in [
        (EACCES, "read(f'/proc/{pid}/environ')"),
        (EACCES, "read(f'/proc/{pid}/mem')"),
        (EACCES, "read(f'/proc/{pid}/maps')"),
        (EACCES, "os.readlink(f'/proc/{pid}/cwd')"),
        (EACCES, "os.open(f'/proc/{pid}/fd/1', os.O_WRONLY)"),
        (EACCES, "os.listdir(f'/proc/{pid}/root/tmp')"),
        (EPERM, "os.kill(pid, 0)"),
        (EPERM, "signal.pidfd_send_signal(os.pidfd_open(pid), 0)"),
        (EPERM, "call(SYS['ptrace'], 16, pid, 0, 0)"),
        (EPERM, "call(SYS['process_vm_readv'], pid, 0, 0, 0, 0, 0)"),
        (EPERM, "call(SYS['pidfd_getfd'], os.pidfd_open(pid), 1, 0)"),
        (EPERM, "resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 4096))"),
        (EPERM, "os.setpriority(os.PRIO_PROCESS, pid, 19)"),
        (EPERM, "os.sched_setaffinity(pid, {0})"),
        (EPERM, "os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))"),
    ] {
        let each = format!(
            "{SYSTEM_CALLS}\n{targets}errors = []\nfor pid in pids:\n    try:\n        {code}\n        errors.append(0)\n    \
             except OSError as error:\n        errors.append(error.errno)\nout = errors"
        );
        let told = reached(&par, "spy", &each).await;
        let wanted = format!("[{}]", vec![number.to_string(); 4].join(", "));
        // A thing that is not there is as good as one that may not be seen.
        assert_eq!(told.replace("EPERM", &EPERM.to_string()), wanted, "{code}");
    }
    refused(&par, "spy", &[EPERM], "os.setpriority(os.PRIO_USER, 0, 19)").await;
    reached(&par, "spy", "os.sched_setaffinity(0, {0}); os.kill(os.getpid(), 0)").await;
    assert_eq!(attempt(&par, "victim", "out = 1").await["reached"], "1");
}

/// What is imported runs before any worker is forked, in the template, which is no worker.
#[tokio::test]
async fn code_that_is_imported_reaches_no_process_but_its_own_either() {
    let folder = scratch();
    let at_import = format!(
        "{PROBE}\nimported = []\nfor attempt in (lambda pid: os.kill(pid, 0), lambda pid: read(f'/proc/{{pid}}/environ')):\n    \
         try:\n        attempt(os.getppid())\n        imported.append('reached')\n    \
         except OSError as error:\n        imported.append(error.errno)\n"
    );
    let spy = probe("spy", "").file("main.py", at_import);
    let par = serving(folder.path(), &[spy]).start().await;
    assert_eq!(reached(&par, "spy", "out = imported").await, format!("[{EPERM}, {EACCES}]"));
}

/// An image of its memory would hold what its callers said, for whoever finds it.
#[tokio::test]
async fn a_crash_leaves_no_image_of_memory_behind() {
    let folder = scratch();
    let par = serving(folder.path(), &[probe("spy", "")]).allow("worker_died").start().await;
    let crash = "os.chdir(tempfile.gettempdir()); os.abort()";
    par.http.invoke("spy", &json!({"do": crash})).await.problem(502, "worker_crashed");
    let left =
        "out = [name for _, _, names in os.walk(tempfile.gettempdir()) for name in names if 'core' in name]";
    assert_eq!(reached(&par, "spy", left).await, "[]");
}

#[tokio::test]
async fn a_package_that_starts_no_programs_cannot_and_its_workers_are_forked_all_the_same() {
    let folder = scratch();
    let manifest = "permissions: {subprocess: false}\nworkers: {min: 2, max: 2}";
    let at_import = format!(
        "{PROBE}\ntry:\n    subprocess.run(['true'])\n    imported = 'started'\nexcept OSError as error:\n    imported = error.errno\n"
    );
    let strict = probe("strict", manifest).file("main.py", at_import);
    let par = serving(folder.path(), &[strict, probe("loose", "")]).allow("worker_died").start().await;
    assert_eq!(reached(&par, "strict", "out = imported").await, EPERM.to_string());
    let fork = "pid = os.fork()\nif pid == 0:\n    os._exit(0)\nos.waitpid(pid, 0)";
    for code in [
        "subprocess.run(['true'])",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        fork,
    ] {
        refused(&par, "strict", &[EPERM], code).await;
    }
    let thread = "done = []\none = threading.Thread(target=done.append, args=(1,))\none.start()\none.join()\nout = done";
    assert_eq!(reached(&par, "strict", thread).await, "[1]");
    let before = workers(&par, "strict@1.0.0").await;
    par.http.invoke("strict", &json!({"do": "os._exit(3)"})).await.problem(502, "worker_crashed");
    eventually("another worker is forked", async || {
        let now = workers(&par, "strict@1.0.0").await;
        (now.len() == 2 && now != before).then_some(())
    })
    .await;
    for code in ["subprocess.run(['true'], check=True)", fork] {
        reached(&par, "loose", code).await;
    }
}
