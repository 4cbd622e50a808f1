//! What people at a terminal get, and programs in a pipe do not: completions, pages of the manual, colours, progress.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{HttpsServer, Output, Package, not_checked, par_command, scratch};

/// A command of `bash` that finds `par` on PATH.
async fn bash(script: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-c", script]).env("PATH", path());
    Output::of(command).await
}

fn path() -> String {
    let binary = par_command().get_program().to_owned();
    let directory = Path::new(&binary).parent().expect("it lies in a directory");
    format!("{}:{}", directory.display(), std::env::var("PATH").expect("PATH"))
}

/// What completing the last of these words offers, by the function that the script has made known to bash.
async fn offered(words: &str) -> Vec<String> {
    let script = format!(
        "source <(par completions bash)
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        COMP_LINE=\"${{COMP_WORDS[*]}}\"; COMP_POINT=${{#COMP_LINE}}
        function=$(complete -p par | sed -E 's/.*-F ([^ ]+).*/\\1/')
        $function par \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
        printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = bash(&script).await;
    assert!(output.code == 0 && output.stderr.is_empty(), "{output:?}");
    output.stdout.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}

#[tokio::test]
async fn bash_completes_commands_flags_and_values() {
    assert_eq!(offered("par ser").await, ["serve"]);
    assert_eq!(offered("par serve --metr").await, ["--metrics-port"]);
    assert_eq!(offered("par doctor --js").await, ["--json"]);
    assert_eq!(offered("par logs lev").await, ["level"]);
    assert_eq!(offered("par logs level --res").await, ["--reset"]);
    assert_eq!(offered("par usage ver").await, ["verify"]);
    assert_eq!(offered("par completions z").await, ["zsh"]);
    let all = offered("par ''").await;
    for name in ["serve", "check", "doctor", "packages", "rollback", "man"] {
        assert!(all.iter().any(|offered| offered == name), "{name} in {all:?}");
    }
    assert!(
        !all.iter().any(|offered| offered == "nursery"),
        "what is for par itself is not offered: {all:?}"
    );
}

#[tokio::test]
async fn every_command_has_a_page_of_the_manual_that_reads_without_a_warning() {
    let directory = scratch();
    let mut command = par_command();
    command.arg("man").arg(directory.path());
    let output = Output::of(command).await;
    assert_eq!(output.code, 0, "{output:?}");
    let pages: Vec<PathBuf> = fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    for name in ["par.1", "par-serve.1", "par-doctor.1", "par-logs-level.1", "par-usage-verify.1"] {
        assert!(directory.path().join(name).is_file(), "{name} in {pages:?}");
    }
    assert!(!directory.path().join("par-nursery.1").exists(), "it is for par itself");
    if Command::new("man").arg("--version").output().is_err() {
        not_checked("pages of the manual: there is no `man` that could read them (Debian: man-db)");
        return;
    }
    for page in &pages {
        let mut command = Command::new("man");
        command.args(["--warnings", "-E", "UTF-8", "-l"]).arg(page).env("MANWIDTH", "100");
        let read = Output::of(command).await;
        assert!(read.code == 0 && read.stderr.is_empty(), "{}: {read:?}", page.display());
        assert!(read.stdout.contains("\nEXAMPLES\n") && read.stdout.contains("  par "), "{read:?}");
    }
    let mut first = par_command();
    first.arg("man");
    let first = Output::of(first).await;
    assert_eq!(first.stdout, fs::read_to_string(directory.path().join("par.1")).expect("a page"));
}

/// The same words where somebody watches; both outputs are one there.
async fn watched(words: &[&str], variables: &[(&str, &str)]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let mut command = Command::new("script");
    command.args(["-qec", &format!("par {}", quoted.join(" ")), "/dev/null"]);
    command.env("PATH", path()).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.envs(variables.iter().copied());
    Output::of(command).await.stdout
}

async fn piped(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = par_command();
    command.args(words).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.envs(variables.iter().copied());
    Output::of(command).await
}

const ESCAPE: char = '\x1b';

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() {
    for words in [&["--help"][..], &["serve", "--prot"], &["doctor", "--host", "127.0.0.1"]] {
        assert!(watched(words, &[]).await.contains(ESCAPE), "{words:?}");
        for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            assert!(!watched(words, &[variable]).await.contains(ESCAPE), "{words:?} {variable:?}");
        }
        let plain = piped(words, &[]).await;
        assert!(!plain.stdout.contains(ESCAPE) && !plain.stderr.contains(ESCAPE), "{words:?}");
        let forced = piped(words, &[("CLICOLOR_FORCE", "1")]).await;
        assert!(forced.stdout.contains(ESCAPE) || forced.stderr.contains(ESCAPE), "{words:?}");
    }
}

#[tokio::test]
async fn progress_is_for_whoever_watches() {
    let directory = scratch();
    let server = HttpsServer::start(directory.path()).await;
    // Not compressible, and long enough to be told about.
    let mut bytes = vec![0; 8 << 20];
    getrandom::fill(&mut bytes).expect("randomness");
    let package = Package::with_main("large", "1.0.0", "def run(): pass\n").file("data.bin", bytes);
    let url = server.gives("/large-1.0.0.apkg", package.bytes());
    let trusting = [("SSL_CERT_FILE", server.authorities())];
    let bar = '█';
    assert!(watched(&["inspect", &url], &trusting).await.contains(bar));
    assert!(!watched(&["inspect", &url], &[trusting[0], ("TERM", "dumb")]).await.contains(bar));
    let piped = piped(&["inspect", &url], &trusting).await;
    assert_eq!((piped.code, &*piped.stderr), (0, ""), "{piped:?}");
    assert!(piped.stdout.contains("large@1.0.0") && !piped.stdout.contains('\r'), "{piped:?}");
}
