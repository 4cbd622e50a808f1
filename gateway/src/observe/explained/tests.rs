//! Calls and deaths that find each other.

use super::*;

fn failed(code: Code, worker: u32) -> Explanation {
    Explanation {
        number: 0,
        at: SystemTime::now(),
        request_id: Arc::from("r-1"),
        trace_id: None,
        agent_id: Some("a@1.0.0/x".to_owned()),
        version: Some("1.0.0".to_owned()),
        generation: Some(7),
        tenant: None,
        depth: 0,
        code,
        status: code.http(),
        cause: "because".to_owned(),
        worker: Some(worker),
        latency: Duration::from_micros(1_500),
        queued: Duration::ZERO,
        worked: Duration::ZERO,
        queue: None,
        in_flight: 1,
        traceback: None,
        output: Vec::new(),
        death: None,
    }
}

fn death(worker: u32) -> Obituary {
    Obituary {
        package: "a@1.0.0".to_owned(),
        generation: 7,
        worker,
        role: "worker",
        cause: "signal",
        detail: "the worker was killed by SIGSEGV".to_owned(),
        answered: 0,
        lived: Duration::from_secs(5),
        at: SystemTime::now(),
        stack: vec!["Current thread".to_owned()],
        output: Vec::new(),
    }
}

#[test]
fn a_call_is_explained_by_the_end_of_its_worker_whichever_comes_first() {
    let kept = Explanations::default();
    kept.explain(failed(Code::WorkerCrashed, 11));
    kept.mourn(death(11));
    kept.mourn(death(12));
    kept.explain(failed(Code::DeadlineExceeded, 12));
    let all = kept.list(|_| true);
    let workers: Vec<_> = all.iter().map(|one| one.death.as_ref().map(|death| death.worker)).collect();
    assert_eq!(workers, [Some(12), Some(11)]);
    assert_eq!(kept.counts(), (2, 2));
}

#[test]
fn a_death_explains_nothing_that_it_did_not_cause() {
    let kept = Explanations::default();
    kept.explain(failed(Code::AgentError, 11));
    kept.explain(failed(Code::WorkerCrashed, 12));
    kept.explain(Explanation { generation: Some(6), ..failed(Code::WorkerCrashed, 11) });
    let before = SystemTime::now() - Duration::from_secs(60);
    kept.explain(Explanation { at: before, ..failed(Code::WorkerCrashed, 11) });
    kept.mourn(death(11));
    assert!(kept.list(|_| true).iter().all(|one| one.death.is_none()));
}

#[test]
fn a_flood_of_one_code_does_not_push_out_another() {
    let kept = Explanations::default();
    kept.explain(failed(Code::WorkerCrashed, 11));
    for _ in 0..KEPT * 2 {
        kept.explain(failed(Code::QueueFull, 0));
    }
    let all = kept.list(|_| true);
    assert_eq!(all.len(), KEPT + 1);
    assert_eq!(all.last().map(|one| one.code), Some(Code::WorkerCrashed));
    assert_eq!(kept.list(|one| one.code == Code::QueueFull).len(), KEPT);
}

#[test]
fn long_texts_keep_their_ends() {
    let kept = Explanations::default();
    let traceback = Some(format!("{}end", "é".repeat(TEXT)));
    let output = vec!["x".repeat(TEXT), "y".repeat(100), "last".to_owned()];
    kept.explain(Explanation { traceback, output, ..failed(Code::AgentError, 1) });
    let one = kept.list(|_| true).remove(0);
    let traceback = one.traceback.unwrap();
    assert!(traceback.len() <= TEXT && traceback.ends_with("end"), "{}", traceback.len());
    assert_eq!(one.output, ["y".repeat(100), "last".to_owned()]);
}
