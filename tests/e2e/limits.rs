//! How often and how much: every limit refuses with the truth about itself, and nobody pays for somebody else's haste.
//! Identity is off here, so every address of loopback is a tenant of its own.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::{JoinHandle, JoinSet},
};

use crate::harness::{Answer, Client, Package, Par, RawConnection, eventually, par, scratch, status_of};

/// More calls than any limit here lets through at once.
const MANY: usize = 50;

/// The tenant of this number.
pub(super) fn tenant(par: &Par, number: u8) -> Client {
    Client::from_address(par.port, IpAddr::from([127, 0, 0, number]))
}

async fn echo(client: &Client) -> Answer {
    client.invoke("echo", &json!({})).await
}

/// Calls until a call is refused.
async fn exhaust(client: &Client, agent: &str) -> Answer {
    for _ in 0..MANY {
        let answer = client.invoke(agent, &json!({})).await;
        if answer.status != 200 {
            return answer;
        }
    }
    panic!("{MANY} calls and no refusal");
}

/// How often a limit has refused, as the metrics tell.
async fn refusals(par: &Par, reason: &str) -> u64 {
    let text = par.metrics().get("/metrics").await.text();
    let line = format!("par_limited_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
}

/// A call that sleeps, from somewhere else than this task.
pub(super) fn asleep(client: &Client, agent: &'static str, seconds: f64) -> JoinHandle<Answer> {
    let client = client.clone();
    tokio::spawn(async move { client.invoke(agent, &json!({"seconds": seconds})).await })
}

async fn running(par: &Par, package: &str, calls: u64) {
    eventually("calls run", async || {
        let package = par.package(package).await?;
        let workers = package["workers"].as_array()?;
        let running: u64 = workers.iter().filter_map(|worker| worker["outstanding"].as_u64()).sum();
        (running >= calls).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_rate_refuses_and_waiting_as_long_as_told_helps() {
    for name in ["global_rate", "tenant_rate", "agent_rate"] {
        let par = par().agent("echo").setting(&format!("limits.{name}"), "1/s burst 3").start().await;
        let first = echo(&par.http).await;
        assert_eq!(first.status, 200);
        // What an agent or everybody takes is the business of others.
        let own = name == "tenant_rate";
        assert_eq!(first.header("ratelimit-policy"), if own { "\"tenant_rate\";q=1;w=1" } else { "" });
        assert_eq!(first.header("ratelimit"), if own { "\"tenant_rate\";r=2;t=1" } else { "" });
        let refused = exhaust(&par.http, "echo").await;
        refused.problem(429, "rate_limited");
        assert_eq!(refused.header("ratelimit-policy"), format!("\"{name}\";q=1;w=1"));
        assert_eq!(refused.header("ratelimit"), format!("\"{name}\";r=0;t=1"));
        assert_eq!(refused.header("retry-after"), "1", "{:?}", refused.headers);
        assert_eq!(refused.header("x-par-agent"), "echo@1.0.0/echo");
        let other_tenant = echo(&tenant(&par, 2)).await.status;
        let other_agent = par.http.invoke("aecho", &json!({})).await.status;
        let wanted = match name {
            "tenant_rate" => (200, 429),
            "agent_rate" => (429, 200),
            _ => (429, 429),
        };
        assert_eq!((other_tenant, other_agent), wanted, "{name}");
        // The promise is about this time, so it must pass.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(echo(&par.http).await.status, 200, "{name}");
        assert!(refusals(&par, name).await >= 1, "{name}");
        assert_eq!(refusals(&par, "rate_limited").await, 0, "a limit is counted once, by its own name");
    }
}

#[tokio::test]
async fn so_many_calls_at_once_and_whoever_leaves_gives_his_place_back() {
    for name in ["tenant_concurrent", "agent_concurrent"] {
        let par = par().agent("slow").setting(&format!("limits.{name}"), 1).start().await;
        let first = asleep(&par.http, "asleep", 60.0);
        running(&par, "slow@1.0.0", 1).await;
        let refused = par.http.invoke("asleep", &json!({"seconds": 0})).await;
        refused.problem(429, "rate_limited");
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.header("ratelimit").split(';').next(), Some(format!("\"{name}\"").as_str()));
        let other_tenant = tenant(&par, 2).invoke("asleep", &json!({"seconds": 0})).await.status;
        let other_agent = par.http.invoke("sleep", &json!({"seconds": 0})).await.status;
        let wanted = if name == "tenant_concurrent" { (200, 429) } else { (429, 200) };
        assert_eq!((other_tenant, other_agent), wanted, "{name}");
        first.abort();
        eventually("the place is free", async || {
            let answer = par.http.invoke("asleep", &json!({"seconds": 0})).await;
            (answer.status == 200).then_some(())
        })
        .await;
        // Whoever has read an answer finds the place free at once, on whichever connection.
        for number in 0..20 {
            let client = Client::from_address(par.port, IpAddr::from([127, 0, 0, 1]));
            let answer = client.invoke("asleep", &json!({"seconds": 0})).await;
            assert_eq!(answer.status, 200, "call {number}: {}", answer.text());
        }
        assert!(refusals(&par, name).await >= 2);
    }
}

#[tokio::test]
async fn a_quota_of_calls_lasts_over_a_restart() {
    let par = par().agent("echo").setting("limits.tenant_daily_calls", 3).start().await;
    for left in [2, 1, 0] {
        let answer = echo(&par.http).await;
        assert_eq!(answer.status, 200);
        let told = answer.header("ratelimit");
        assert!(told.starts_with(&format!("\"tenant_daily_calls\";r={left};t=")), "{told}");
        assert_eq!(answer.header("ratelimit-policy"), "\"tenant_daily_calls\";q=3;w=86400");
    }
    let until_tomorrow = |answer: &Answer| {
        let wait: u64 = answer.header("retry-after").parse().expect("whole seconds");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let left = 86_400 - now.as_secs() % 86_400;
        assert!(wait.abs_diff(left) <= 5, "told {wait} s, midnight is in {left} s");
    };
    let refused = echo(&par.http).await;
    refused.problem(429, "quota_exceeded");
    until_tomorrow(&refused);
    assert_eq!(echo(&tenant(&par, 2)).await.status, 200);
    let par = par.restart().await;
    let refused = echo(&par.http).await;
    refused.problem(429, "quota_exceeded");
    until_tomorrow(&refused);
    let told = echo(&tenant(&par, 2)).await.header("ratelimit").to_owned();
    assert!(told.starts_with("\"tenant_daily_calls\";r=1;"), "{told}");
    assert_eq!(refusals(&par, "tenant_daily_calls").await, 1);
}

#[tokio::test]
async fn a_quota_of_tokens_counts_what_agents_report() {
    let folder = scratch();
    let code = "from pixell_runtime import usage\n\ndef run(*, n):\n    usage.record(model='m', input_tokens=n)\n    \
                usage.record(model='l', output_tokens=1)\n    return n\n";
    let package = Package::with_main("frugal", "1.0.0", code).directory(folder.path());
    let par = par().source(package).setting("limits.tenant_daily_tokens", 100).start().await;
    let first = par.http.invoke("frugal", &json!({"n": 59})).await;
    assert_eq!(first.header("ratelimit-policy"), "\"tenant_daily_tokens\";q=100;qu=\"tokens\";w=86400");
    assert!(first.header("ratelimit").starts_with("\"tenant_daily_tokens\";r=100;"), "{:?}", first.headers);
    // Both routes count.
    let second = par.http.envelope("frugal", &json!({"input": {"n": 1000}})).await;
    assert!(second.header("ratelimit").starts_with("\"tenant_daily_tokens\";r=40;"), "{:?}", second.headers);
    assert_eq!(second.ok()["metadata"]["usage"][0]["input_tokens"], 1000);
    par.http.invoke("frugal", &json!({"n": 0})).await.problem(429, "quota_exceeded");
    assert_eq!(tenant(&par, 2).invoke("frugal", &json!({"n": 0})).await.status, 200);
    let par = par.restart().await;
    par.http.invoke("frugal", &json!({"n": 0})).await.problem(429, "quota_exceeded");
    assert_eq!(refusals(&par, "tenant_daily_tokens").await, 1);
}

#[tokio::test]
async fn named_tenants_and_agents_have_limits_of_their_own() {
    let par = par()
        .agent("echo")
        .setting("limits.tenant_rate", "1/h burst 2")
        .setting("limits.tenants", json!({"127.0.0.2": {"rate": "1/h burst 5"}, "127.0.0.3": {"rate": ""}}))
        .setting("limits.agents", json!({"echo/aecho": {"rate": "1/h burst 4"}}))
        .start()
        .await;
    let served = async |client: &Client, agent: &str| {
        let mut served = 0;
        for _ in 0..10 {
            served += u32::from(client.invoke(agent, &json!({})).await.status == 200);
        }
        served
    };
    assert_eq!(served(&par.http, "echo").await, 2, "as everybody");
    assert_eq!(served(&tenant(&par, 2), "echo").await, 5, "named");
    let free = tenant(&par, 3);
    assert_eq!(served(&free, "echo").await, 10, "named as without a limit");
    assert_eq!(echo(&free).await.header("ratelimit"), "", "whoever has no limit hears of none");
    assert_eq!(served(&free, "aecho").await, 4, "a named agent, by its bare id");
    assert_eq!(served(&free, "echo@1.0.0%2Faecho").await, 0, "and by its full one");
}

#[tokio::test]
async fn all_limits_together_are_told_together_and_a_refusal_costs_nothing_of_the_others() {
    let par = par()
        .agent("echo")
        .setting("limits.global_rate", "1000/s")
        .setting("limits.tenant_rate", "6000/m burst 30")
        .setting("limits.tenant_concurrent", 4)
        .setting("limits.tenant_daily_calls", 20)
        .setting("limits.tenant_daily_tokens", 10)
        .setting("limits.agent_rate", "1/h burst 5")
        .start()
        .await;
    let answer = echo(&par.http).await;
    assert_eq!(
        answer.header("ratelimit-policy"),
        "\"tenant_rate\";q=6000;w=60, \"tenant_concurrent\";q=4;qu=\"concurrent-requests\", \
         \"tenant_daily_calls\";q=20;w=86400, \"tenant_daily_tokens\";q=10;qu=\"tokens\";w=86400"
    );
    for _ in 0..4 {
        assert_eq!(echo(&par.http).await.status, 200);
    }
    for _ in 0..MANY {
        let refused = echo(&par.http).await;
        refused.problem(429, "rate_limited");
        assert!(refused.header("ratelimit").contains("\"agent_rate\";r=0;t="), "{:?}", refused.headers);
        assert!(
            refused.header("ratelimit").contains("\"tenant_daily_calls\";r=15;"),
            "{:?}",
            refused.headers
        );
    }
    assert_eq!(par.http.invoke("aecho", &json!({})).await.status, 200);
    // Shapes that are refused anyway are not calls.
    assert_eq!(par.http.get("/agents/aecho/invoke").await.status, 405);
    assert!(par.http.invoke("aecho", &json!({})).await.header("ratelimit").contains("_calls\";r=13;"));
}

#[tokio::test]
async fn without_limits_nothing_is_told() {
    let par = par().agent("echo").start().await;
    let answer = echo(&par.http).await;
    assert_eq!((answer.header("ratelimit"), answer.header("ratelimit-policy")), ("", ""));
    assert!(!par.data_dir().join("quotas.json").exists());
}

#[tokio::test]
async fn a_refused_body_is_not_waited_for_and_a_small_one_keeps_the_connection() {
    let par = par().agent("echo").setting("limits.tenant_rate", "1/h").start().await;
    assert_eq!(echo(&par.http).await.status, 200);
    let head = |more: &str| format!("POST /agents/echo/invoke HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let silence = Duration::from_secs(10);

    let mut kept = RawConnection::open(par.port).await;
    for (more, body) in [
        ("Content-Length: 2\r\n".to_owned(), "{}".to_owned()),
        ("Content-Length: 65536\r\n".to_owned(), " ".repeat(65_536)),
        ("Transfer-Encoding: chunked\r\n".to_owned(), "2\r\n{}\r\n0\r\n\r\n".to_owned()),
        (String::new(), String::new()),
    ] {
        assert!(kept.send(head(&more) + &body).await, "{more}");
        let answer = kept.read(silence).await;
        assert_eq!(status_of(&answer), 429, "{more}: {answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{more}: {answer}");
    }
    assert!(kept.send("GET /runtime/live HTTP/1.1\r\nHost: x\r\n\r\n").await);
    assert_eq!(status_of(&kept.read(silence).await), 200, "nothing of the bodies was taken for a request");

    for more in [
        "Content-Length: 1000000\r\n",
        "Content-Length: 9\r\n",
        "Content-Length: 2\r\nExpect: 100-continue\r\n",
    ] {
        let mut closed = RawConnection::open(par.port).await;
        let begin = Instant::now();
        assert!(closed.send(head(more)).await);
        let answer = closed.read(silence).await;
        assert_eq!(status_of(&answer), 429, "{more}: {answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{more}: {answer}");
        assert!(begin.elapsed() < Duration::from_secs(5), "nobody waits for the body");
        assert!(closed.closed_within(silence).await, "{more}");
    }
    let http2 = Client::http2(par.port);
    for _ in 0..3 {
        echo(&http2).await.problem(429, "rate_limited");
    }
}

/// One call on a connection of its own, from any address.
pub(super) async fn from(address: [u8; 4], to: SocketAddr) -> u16 {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((address, 0))).expect("an address of loopback");
    let mut stream = socket.connect(to).await.expect("a connection");
    let request =
        "POST /agents/echo/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    status_of(&answer)
}

pub(super) fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

#[tokio::test]
async fn ten_thousand_tenants_each_get_their_limit_and_little_memory() {
    let par = par().agent("echo").setting("limits.tenant_rate", "1/h").start().await;
    let to = SocketAddr::from(([127, 0, 0, 1], par.port));
    let call_all = async |numbers: std::ops::Range<u32>| {
        let mut callers = JoinSet::new();
        for part in 0..16 {
            let numbers = numbers.clone().filter(move |number| number % 16 == part);
            callers.spawn(async move {
                let mut served = 0;
                for number in numbers {
                    let [_, high, middle, low] = number.to_be_bytes();
                    served += usize::from(from([127, 1 + high, middle, low], to).await == 200);
                }
                served
            });
        }
        callers.join_all().await.into_iter().sum::<usize>()
    };
    // Buffers and allocators grow with the first calls, whoever makes them.
    assert_eq!(call_all(0..1_000).await, 1_000);
    let before = resident_bytes(par.process().pid);
    assert_eq!(call_all(1_000..10_000).await, 9_000);
    let grown = resident_bytes(par.process().pid).saturating_sub(before);
    assert!(grown < 24 << 20, "9,000 tenants took {grown} bytes");
    assert_eq!(call_all(0..500).await, 0, "nobody was forgotten before his time");
    // Killed in the middle of so many lines, it would leave half of one.
    par.stop().await;
}
