//! Files: what is a package's own, and nothing else.

use std::path::{Path, PathBuf};

use super::{EACCES, EPERM, probe, reached, refused, serving, workers};
use crate::harness::scratch;

/// Where a process works: for a worker, the directory of its package's code.
fn directory_of(pid: u64) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/cwd")).expect("it runs")
}

#[tokio::test]
async fn an_agent_reads_and_writes_what_is_its_own_and_nothing_else() {
    let folder = scratch();
    let par = serving(folder.path(), &[probe("spy", ""), probe("victim", "")]).start().await;
    let data = par.data_dir().display().to_string();
    let victim = workers(&par, "victim@1.0.0").await;
    let code = directory_of(victim[0]).join("main.py");
    let secret =
        reached(&par, "victim", "path = tempfile.gettempdir() + '/secret'; write(path); out = path").await;
    let secret = secret.trim_matches('\'').to_owned();
    assert!(Path::new(&secret).exists() && code.exists(), "{secret}");
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "of the host").expect("a file");
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    for path in [
        "/etc/shadow",
        "/etc/ssh",
        &format!("{data}/operator.token"),
        &format!("{data}/state.json"),
        &code.display().to_string(),
        &secret,
        &outside.display().to_string(),
    ] {
        refused(&par, "spy", &[EACCES], &format!("out = read({path:?})")).await;
    }
    for directory in [data.as_str(), home.as_str(), "/", "/tmp", "/var", "/run", "/etc", "/dev"] {
        refused(&par, "spy", &[EACCES], &format!("out = os.listdir({directory:?})")).await;
    }
    for path in [
        outside.display().to_string(),
        folder.path().join("new").display().to_string(),
        "/dev/shm/../../tmp/new".to_owned(),
        "/usr/new".to_owned(),
        secret.clone(),
        format!("{data}/new"),
        "/proc/self/oom_score_adj".to_owned(),
    ] {
        refused(&par, "spy", &[EACCES], &format!("write({path:?})")).await;
    }
    refused(&par, "spy", &[EACCES], "write(__file__)").await;
    refused(&par, "spy", &[EACCES], "os.listdir('/dev/shm')").await;
    refused(&par, "spy", &[EACCES], &format!("os.truncate({:?}, 0)", outside.display().to_string())).await;
    refused(&par, "spy", &[EACCES, 18], &format!("os.rename({secret:?}, tempfile.gettempdir() + '/mine')"))
        .await;
    refused(&par, "spy", &[EACCES, 18], &format!("os.link({secret:?}, tempfile.gettempdir() + '/mine')"))
        .await;
    assert_eq!(std::fs::read_to_string(&outside).expect("it is there"), "of the host");
    assert_eq!(
        reached(
            &par,
            "spy",
            "write(tempfile.gettempdir() + '/a'); out = os.environ['HOME'] == tempfile.gettempdir()"
        )
        .await,
        "True"
    );
    for allowed in ["out = read(__file__)", "out = os.listdir('/usr')", "out = read('/etc/passwd')"] {
        reached(&par, "spy", allowed).await;
    }
}

#[tokio::test]
async fn modes_and_owners_stay_as_they_are_whoever_changes_them() {
    let folder = scratch();
    let par = serving(folder.path(), &[probe("spy", "")]).start().await;
    let token = par.data_dir().join("operator.token");
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).expect("it is there").permissions())
    };
    let before = mode(&token);
    let path = token.display().to_string();
    reached(&par, "spy", &format!("os.chmod({path:?}, 0o777)")).await;
    reached(&par, "spy", "path = tempfile.gettempdir() + '/s'; write(path); os.chmod(path, 0o4755)").await;
    let mine =
        reached(&par, "spy", "out = oct(os.stat(tempfile.gettempdir() + '/s').st_mode & 0o7777)").await;
    assert_eq!((mode(&token), mine.as_str()), (before, "'0o600'"), "nothing has changed");
    refused(&par, "spy", &[EPERM], &format!("os.setxattr({path:?}, 'user.x', b'x')")).await;
}
