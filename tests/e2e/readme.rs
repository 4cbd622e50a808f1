//! The README promises what it shows: its commands run as they stand there.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Output, ParBuilder, par, repository};

/// A fenced block: its language and its text.
#[derive(Debug)]
struct Block {
    language: String,
    text: String,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = vec![];
    let mut open: Option<Block> = None;
    for line in markdown.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block { language: language.trim().to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    blocks
}

/// One command per entry; lines that end with `\` go on, and comments are none.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    joined
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Sources of a `par serve` that this test can start: those of `tests/agents`.
fn sources(command: &str) -> Vec<&str> {
    let words = command.split_whitespace().map(|word| word.trim_end_matches('/'));
    words.filter_map(|word| word.trim_start_matches("./").strip_prefix("tests/agents/")).collect()
}

#[tokio::test]
async fn the_commands_of_the_readme_work() {
    let markdown = std::fs::read_to_string(repository().join("README.md")).expect("README.md");
    let blocks = blocks(&markdown);
    let shell: Vec<&Block> =
        blocks.iter().filter(|block| matches!(block.language.as_str(), "sh" | "bash")).collect();
    let all: Vec<String> = shell.iter().flat_map(|block| commands(&block.text)).collect();
    let served: Vec<&str> = all
        .iter()
        .filter(|command| command.contains("par serve"))
        .flat_map(|command| sources(command))
        .collect();
    assert!(!served.is_empty(), "the README shows how to serve an agent of tests/agents");
    let mut names = served.clone();
    names.sort_unstable();
    names.dedup();
    let par = names.into_iter().fold(par(), ParBuilder::agent).start().await;

    let mut ran = 0;
    for (index, block) in
        blocks.iter().enumerate().filter(|(_, block)| matches!(block.language.as_str(), "sh" | "bash"))
    {
        let curls: Vec<String> =
            commands(&block.text).into_iter().filter(|command| command.starts_with("curl ")).collect();
        for curl in &curls {
            let script = curl
                .replace("localhost:8000", &format!("127.0.0.1:{}", par.port))
                .replace("127.0.0.1:8000", &format!("127.0.0.1:{}", par.port))
                .replace(":9090", &format!(":{}", par.metrics_port))
                .replacen(
                    "curl ",
                    "curl --silent --show-error --fail-with-body --noproxy '*' --max-time 20 ",
                    1,
                );
            let mut command = Command::new("bash");
            command.arg("-c").arg(&script).current_dir(repository());
            let output = Output::of(command).await;
            assert_eq!(output.code, 0, "{curl}\n{output:?}");
            ran += 1;
            // A JSON block that follows a block of one command is its answer.
            let shown = blocks.get(index + 1).filter(|next| next.language == "json" && curls.len() == 1);
            if let Some(shown) = shown.and_then(|block| serde_json::from_str::<Value>(&block.text).ok()) {
                assert!(contains(&output.json(), &shown), "{curl}\nshown: {shown}\ncame: {}", output.stdout);
            }
        }
    }
    assert!(ran > 0, "the README shows at least one call");
}

/// Whether all that is shown is there; what is not shown may be there too.
fn contains(all: &Value, shown: &Value) -> bool {
    match (all, shown) {
        (Value::Object(all), Value::Object(shown)) => {
            shown.iter().all(|(key, value)| all.get(key).is_some_and(|found| contains(found, value)))
        }
        (all, shown) => all == shown,
    }
}
