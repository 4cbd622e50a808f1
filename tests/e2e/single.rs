//! One container, one agent: configuration, boot, readiness, surfaces and ends of single mode.
//!
//! Every line of the contract of the container (its steps 0 to 10 with statements, guardrails and tests), and what shows
//! it. Where the contract of the runtime says it otherwise, that counts, and the row says so.
//!
//! | line | shown by |
//! |---|---|
//! | **contract** environment: `AGENT_APP_ID`, `DEPLOYMENT_ID`, ports, `AWS_REGION`, `S3_BUCKET`, `BASE_PATH`, `PACKAGE_URL` with their defaults | unit `config::check::single`: `the_two_that_are_needed_are_enough`, `every_variable_of_single_mode_has_its_effect` |
//! | ports on 0.0.0.0: 8080, 50051, 3000 | [`network`]: `without_a_network_…` (listeners of its own network) |
//! | `/health` is 200 when ready; gRPC health (contract: asked by us, too) | [`boot`]: `health_is_503_…`; [`surfaces`]: `what_describes_the_container_…` |
//! | boot: environment → fetch → extract, install → load → serve → ready | [`boot`]: `the_log_tells_every_phase_in_order_…` (contract: download, verify, extract, install, load, serve, ready; the environment belongs to install) |
//! | no database, no service discovery, no ECS | `scripts/test_bans.py`; [`network`] |
//! | **0** reads, checks, defaults, normalises; clear errors when something is missing | [`configuration`]: `the_identity_and_the_package_…`, `all_faults_are_told_at_once_…`, `the_path_of_the_agent_is_normalised` (contract: exit 64, all at once) |
//! | 0 guard: no or empty `AGENT_APP_ID` fails, nothing is made up | [`configuration`]: `the_identity_and_the_package_are_needed_and_never_made_up` |
//! | 0 guard: only numeric ports, never random ones | [`configuration`]: `ports_are_numbers_…`, `a_port_that_is_taken_…` |
//! | 0 guard, test: `BASE_PATH` without doubled or trailing slashes | unit `config::single`: `base_paths_are_normalised`; `config::check::single`: `an_empty_base_path_…` (contract: any path is allowed) |
//! | 0 test: missing identity, invalid ports: non-zero and told | [`configuration`]: both above |
//! | 0 negative: `REST_PORT=0`, no number | [`configuration`]: `ports_are_numbers_from_1_to_65535_and_distinct` |
//! | **1** `REST_PORT` on 0.0.0.0; `/health` 503, then 200 | [`boot`]: `health_is_503_and_other_ports_are_shut_until_all_is_ready`; [`network`] |
//! | 1 routes under `BASE_PATH`, at `/` if wanted (contract: `ROOT_ROUTES`) | [`surfaces`]: `every_surface_is_below_…`, `the_root_has_agent_routes_only_where_that_is_wanted` |
//! | 1 guard: a port that cannot be bound fails the start | [`configuration`]: `a_port_that_is_taken_ends_the_start_and_no_other_is_chosen` |
//! | 1 guard, negative: never 200 before handlers are mounted | [`boot`]: `health_is_503_…`; every test of [`exits`] asks until the end |
//! | 1 guard, negative: prefix exactly once, `{BASE_PATH}{BASE_PATH}` is 404 | [`surfaces`]: `every_surface_is_below_the_base_path_and_on_its_port` |
//! | 1 test: not ready → 503, ready → 200 | [`boot`]: `health_is_503_…` (contract: readiness is found out, not switched by a variable) |
//! | 1 test: `{BASE_PATH}/api/…` is routed, the root stays clean | [`surfaces`]: `every_surface_is_below_…`; unit `route::table` |
//! | **2** `s3://` and `https://` | [`sources`]: `a_package_comes_from_s3_…`, `https_is_a_source_…` |
//! | 2 retries with back-off, size, time, digest; test: transient errors | [`sources`]: `errors_that_pass_…`, `a_package_larger_…`, `a_server_that_says_nothing_…`, `https_is_a_source_…`; unit `package::fetch` |
//! | 2 guard: only GetObject and GET | [`network`]: `from_start_to_ready_only_s3_is_spoken_to`; [`sources`]: `what_s3_refuses_…` (methods asked) |
//! | 2 guard: largest size, whole time, told | [`sources`]: `a_package_larger_than_allowed_is_not_run`, `a_server_that_says_nothing_…` |
//! | 2 negative: 403, 404, time: bounded tries, clear error | [`sources`]: `what_s3_refuses_or_does_not_have_is_tried_three_times_…` (contract: exit 69) |
//! | **3** extraction, manifest, `pyproject`/`setup.py` before requirements | [`exits`]: `archives_and_manifests_…`; [`installs`]: `projects_and_requirements_are_recognised` |
//! | 3 guard: required fields of the manifest | [`exits`]: `archives_and_manifests_that_are_none_end_it_with_65` |
//! | 3 guard, negative: no way out of the archive | the same, row `a way out of the archive`; `hostile.rs` has all of them |
//! | 3 test: only `setup.py`, only `requirements.txt` | [`installs`]: `projects_and_requirements_are_recognised` |
//! | 3 test: no manifest → non-zero, told | [`exits`]: row `no manifest` (contract: exit 65) |
//! | **4** environment of its own, installs, wheelhouse | [`installs`]; [`network`]: `without_a_network_…` (contract: by `uv`, else `pip`; an environment is shared by equal requirements) |
//! | 4 guard, negative: never into the system's Python | [`installs`]: `what_is_installed_is_importable_there_and_nowhere_else` |
//! | 4 guard, negative: installs have an end | [`exits`]: `what_cannot_be_installed_ends_it_with_74` |
//! | 4 test: packages are in the environment, `import` works | [`installs`]: `what_is_installed_is_importable_there_and_nowhere_else` |
//! | 4 failure: bad requirements: logged, exit, unhealthy | [`exits`]: `what_cannot_be_installed_…` |
//! | **5** REST, A2A, UI by the manifest; `BASE_PATH`; UI on its port or below REST; gRPC on `A2A_PORT` | [`surfaces`]: all; `tests/interop/test_single_mode.py` (packages of both tools) |
//! | 5 guard, negative: missing handler: 503, told, exit | [`exits`]: `code_that_cannot_be_used_ends_it_with_65`; [`bad_surfaces`] |
//! | 5 guard: gRPC on 0.0.0.0, no updates of load balancers | [`network`]: `without_a_network_…` |
//! | 5 test: `GET {BASE_PATH}/api/ping` | [`surfaces`]: `every_surface_is_below_…` |
//! | 5 test: a gRPC service with a unary method | [`surfaces`]: `a_call_over_grpc_is_answered_…`; `e2e/grpc.rs` |
//! | 5 test: `{BASE_PATH}/ui/` | [`surfaces`]: `every_surface_is_below_…` |
//! | **6** ready only when all is served; `/health` 200 only then | [`boot`]: `health_is_503_…`; [`bad_surfaces`]: `surfaces_that_cannot_be_served_…` |
//! | 6 guard: REST and, if declared, A2A are asked first; packages with one surface become ready | [`surfaces`]: `packages_with_one_surface_become_ready_too` |
//! | 6 guard: back to 503 if something dies | [`bad_surfaces`]: `a_surface_that_dies_for_good_…`, `a_ui_whose_page_goes_…` |
//! | 6 test: A2A accepts only after the service has started | [`boot`]: `health_is_503_and_other_ports_are_shut_…`, [`surfaces`]: `a_call_over_grpc_…` |
//! | 6 negative: A2A fails to start: 503, non-zero | [`bad_surfaces`]: rows `an A2A service that raises`, `a gRPC server with a port of its own` |
//! | **7** JSON lines with identity and deployment | [`boot`]: `the_log_tells_every_phase_in_order_with_its_time_and_whose_it_is`; unit `observe::line` |
//! | 7 guard, negative: no secrets, not even verbose | [`secrets`]: `nothing_secret_is_said_however_much_is_said` |
//! | 7 guard: one schema | [`boot`]: the same |
//! | 7 test: sequence of markers | [`boot`]: the same |
//! | **8** download retried, bounded; fail fast, non-zero | [`sources`], [`exits`] |
//! | 8 guard, negative: no clients of ECS, ELB, discovery, databases | `scripts/test_bans.py`, in `make lint` and `make test` |
//! | 8 guard: repeated failures wait before the exit | [`failures`] (contract: counted in the data directory and from outside) |
//! | 8 test: corrupt zip: exit, told, 503 until then | [`exits`]: `archives_and_manifests_…` |
//! | 8 test: S3 403: retry, exit, chain of errors | [`sources`]: `what_s3_refuses_…` |
//! | **9** boot time, budget, warning with phases | [`boot`]: `a_boot_over_its_budget_…`, `a_boot_is_compared_with_the_budget_of_the_contract` |
//! | **10** end to end with all surfaces; no calls but to S3 | [`surfaces`]: `every_surface_is_below_…`; [`network`]: `from_start_to_ready_only_s3_is_spoken_to` |
//! | 10 negative: outbound connections are watched | [`network`]: both |

mod bad_surfaces;
mod boot;
mod configuration;
mod exits;
mod failures;
mod installs;
mod network;
mod secrets;
mod sources;
mod surfaces;

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Line, Package, Par, ParBuilder, eventually_within, par};

/// The identity that the tests use.
const ID: &str = "app-7f3a";

/// An agent that answers with a word.
fn saying(word: &str) -> Package {
    Package::saying("tiny", "1.0.0", word)
}

/// `par` for one package that lies in a file.
fn serving(package: &Package, place: &std::path::Path) -> ParBuilder {
    par().single(ID, package.apkg(place).to_string_lossy())
}

/// Events of boots that fail.
const FAILURES: [&str; 3] = ["boot_failed", "package_failed", "download_refused"];

/// The same, with the lines of a boot that fails.
fn failing(builder: ParBuilder) -> ParBuilder {
    FAILURES.iter().fold(builder, |builder, event| builder.allow(event))
}

/// The first line of an event, or the end of the test.
fn line(par: &Par, event: &str) -> Line {
    let found = par.lines().into_iter().find(|line| line.event() == event);
    found.unwrap_or_else(|| panic!("no {event} in {}", par.everything_said()))
}

/// What `/health` says while something is missing, if anybody answers.
async fn unready(par: &Par) -> Option<Value> {
    let request = par.http.request(reqwest::Method::GET, "/health");
    let answer = crate::harness::Answered::try_answer(request).await.ok()?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let health = answer.json();
    assert_eq!(health["ok"], false, "{health}");
    assert_eq!(health["surfaces"], serde_json::json!({"rest": false, "a2a": false, "ui": false}), "{health}");
    assert!(health["timestamp"].is_u64(), "{health}");
    Some(health)
}

/// Waits for the end of a boot that fails: health is never anything but 503. Returns the exit code.
async fn fails(par: &mut Par) -> i32 {
    let status = eventually_within(Duration::from_secs(60), "the failed boot ends", async || {
        unready(par).await;
        par.exited()
    })
    .await;
    par.exit().await;
    status.code().unwrap_or_else(|| panic!("it was killed: {status}"))
}
