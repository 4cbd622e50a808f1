//! The promises of PAR, kept by the real binary. One module per area; names of tests are the promises.
//!
//! | promise | proven by |
//! |---|---|
//! | Sources: archive, directory, folder, list; `https://` with a checked certificate | [`packages`]: `an_archive_a_directory_and_a_folder_of_archives_are_sources`, `https_is_a_source_and_its_certificate_is_checked`, `a_download_that_fails_names_the_fetch_and_leaves_the_rest_alone` |
//! | Digests, versions of the runtime, `MAX_PACKAGES` | [`packages`]: `a_digest_after_the_source_…`, `versions_of_the_runtime_that_do_not_fit_…`, `more_packages_than_allowed_…` |
//! | A package that fails at any step: 422 with `step`, the others unaffected, the start goes on | [`packages`]: `packages_that_fail_at_any_step_do_not_stop_the_start_nor_the_others` |
//! | `par inspect`, `par check`, exit codes, taken ports | [`packages`]: `inspect_tells_…`, `check_tells_…`, `a_configuration_with_faults_…`, `a_port_that_is_taken_…` |
//! | All variants of `agent.yaml` | [`manifests`] |
//! | Hostile archives are refused whole, nothing is left | [`hostile`] |
//! | Environments in two layers, variables, wheelhouse, import path, interpreter | [`environments`] |
//! | What a package takes as a whole: processes and memory, counted, bounded, ended | [`cages`] |
//! | One container, one agent: boot, ports, exit codes, health | [`single`] |
//! | Fork, spawn and why; growth, reaping, crash loop; cancelling; no orphans | [`workers`] |
//! | Both invoke routes, deadlines, bounded queue, headers | [`calls`] |
//! | Items one by one as events or lines, flow control, failures in the middle, leaving, deadlines | [`streams`] |
//! | Agents that call agents: ids, private ones, roles, deadlines, items, cycles, costs | [`agent_calls`] |
//! | Files of forms, who may read them, when they go; files as results; forms that are wrong | [`files`] |
//! | Rules of handlers and results | [`rules`] |
//! | Schemas of inputs and results, refused where they are endless, bounded where inputs are | [`schemas`] |
//! | Forms of ids, precedence, conflicts, no interference | [`ids`] |
//! | Health, lists, OpenAPI | [`status`] |
//! | Load, upload, delete, enable, logs, shutdown, command line, watching | [`management`] |
//! | `PAR_SOCKET`: calls, streams, management, surfaces, for the same user and no agent | [`local_socket`] |
//! | Loaded, enabled and owned survive a restart | [`survival`] |
//! | Log lines, access lines, metrics, no secrets | [`observation`] |
//! | Levels changed while it runs, fewer lines under load, a reader that stalls | [`logs`] |
//! | Every 5xx explains itself: stacks, tracebacks, output, queue | [`explained`] |
//! | Traces: spans of requests, queues, workers, calls between agents and handlers; W3C context; gRPC and HTTP, by TLS too; a receiver that is away or not trusted | [`traces`] |
//! | Metrics pushed by OTLP with exemplars, to the daemon of StatsD, to DogStatsD by UDP and Unix socket; a receiver that is away | [`metrics_push`] |
//! | Invalid JSON, content types, sizes, slow bodies, no body; unknown, private, disabled | [`bad_input`] |
//! | Handlers that raise, exit, crash, hang, leak, write garbage: only their own call | [`faults`] |
//! | Tokens of a certified OpenID provider: flows, claims, several issuers; rotation, floods, an issuer that is away | [`identity`] |
//! | Issuers over TLS of their own authorities; how often they are asked | [`issuers`] |
//! | Attacks on tokens, one row each | [`jwt_attacks`] |
//! | Roles on calls, lists and management; strangers learn no names, not even by time | [`roles`] |
//! | TLS: versions, ALPN, reload without a lost call, self-signed, plain HTTP, faults | [`tls`] |
//! | Certificates of clients: off, optional, required; expired, foreign; who they are; authorities taken away | [`client_certificates`] |
//! | The process that serves surfaces: beside the workers, replaced, dismissed in order, kits | [`primaries`] |
//! | Files, processes, system calls, networks and limits of agents and of builds; permissions, levels | [`sandbox`] |
//! | Secrets by reference; nothing secret in logs, answers and letters; `Authorization` only where asked for | [`secrets`] |
//! | Pages of other origins, answers that tell nothing of what made them, our own headers from outside | [`web`] |
//! | Operator token, web pages, tracebacks | [`security`] |
//! | Agents at the runtime's sockets, ports and frames, and at each other | [`insiders`] |
//! | An index in a folder, on the web, in S3: polled, conditional, reloaded | [`discovery`] |
//! | An index that is wrong, empty or away; half of all names gone | [`registry_faults`] |
//! | Lazy packages are mounted by their first call, whose deadline counts | [`lazy`] |
//! | The registry's webhook: in every form, and 401 for what is wrong, old or replayed | [`webhooks_in`] |
//! | S3 and https over lines that break: retries, resumption, limits, single flight | [`fetching`] |
//! | Adapters of identity: shared secret, file of keys, introspection, check elsewhere, client certificates, alone and combined | [`adapters`] |
//! | OpenPGP signatures by real `gpg`, and what is refused before anything is unpacked | [`signatures`] |
//! | The store: limit, damage, two processes, `kill -9`, a full disk | [`store`] |
//! | Rollouts under load, failures that keep the former version, receipts, the queue | [`rollouts`] |
//! | Generations that are gone leave no descriptor and no process | [`leftovers`] |
//! | Rollback by hand and by itself, pinned, parked, split traffic | [`rollback`] |
//! | Versions side by side | [`versions`] |
//! | Webhooks out: signed, in order, durable, dead letters | [`webhooks_out`] |
//! | Completions, pages of the manual, colours and progress for people, none of it in a pipe | [`terminal`] |
//! | `par doctor`: each thing that can be wrong with a host or a configuration, broken for real | [`doctor`] |
//! | Signals, delay, grace, second signal | [`lifecycle`] |
//! | `par upgrade`: under load, with calls and streams that run, refused binaries, ways back, `kill -9`, one agent | [`upgrade`] |
//! | The service manager: sockets that were given, what it is told, signs of life; the units | [`service`] |
//! | Sessions: state, order, whose they are, every way to end and that it is told once; restarts, rollouts, caps, memory | [`sessions`] |
//! | Rates, calls at once, quotas by tenant and agent; what a refusal costs and tells | [`limits`] |
//! | Tokens that agents report are paid for, however a call ends and whoever left | [`tokens`] |
//! | What tenants have used is billed once each, to the customer that a file or their tokens name: lost answers, refusals, crashes, days that pass, notices; verification in sum and by the hour; rounds by the hour | [`billing`] |
//! | What calls use is recorded once and summed up; own tenants, kept how long, damage, full disks, clocks that jump, workers that die, `kill -9` | [`usage`] |
//! | Turns and shares of tenants: nobody waits behind the backlog of another | [`fair_share`] |
//! | SIGHUP: what changes at once, under load; one fault or one key for a restart keeps everything back | [`config_reload`] |
//! | Limits, clocks and hygiene of connections; who the client is; which host | [`connections`] |
//! | Smuggled requests, paths, injected headers, sizes, drips, floods of HTTP/2 | [`http_attacks`] |
//! | Packages of other languages: JavaScript by our own worker with the promises of Python, loaders of somebody else | [`loaders`] |
//! | Pages of packages in a real browser | [`browser`] |
//! | The dashboard in a real browser: every view, rollouts under way, changes that ask first, forms, tokens, the keyboard alone, accessibility, a day, its policy | [`dashboard`] |
//! | REST surfaces: paths, prefixes, headers, streams both ways, aborts, deadlines, crashes, rollouts | [`rest`] |
//! | Roles, limits and identity at surfaces; strangers learn no names | [`surfaces`] |
//! | WebSockets of REST surfaces | [`websockets`] |
//! | UIs: caching, ranges, packed forms, pages of their own, nothing else | [`ui`] |
//! | The gRPC service of every package: forms of requests, results, names, identity, health, reflection | [`a2a`] |
//! | Packages' own gRPC services, passed on: every kind of method, metadata, details, deadlines, leaving | [`grpc`] |
//! | Executed Python: state by session, output, errors, figures, tables, limits; who gets the adapter, the data kit | [`python_agent`] |
//! | The Python client: sessions, files and streams over the local socket and over TLS; the README's example | [`client`] |
//! | The README's commands | [`readme`] |

//! What is sent or done wrong in calls that stream, remember, carry files and call each other:
//!
//! | bad input | what it gets | proven by |
//! |---|---|---|
//! | A generator that raises in the middle, or yields what JSON cannot hold | the error as the last thing said | `streams`: `what_fails_in_the_middle_is_the_last_thing_said` |
//! | A generator that never yields, or falls silent | its deadline | `streams`: `the_deadline_is_for_the_first_item_and_then_for_each_silence` |
//! | Items without end for a reader that hardly reads, or leaves | its generator waits, or is closed | `streams`: `a_slow_reader_stops_its_producer_and_nobody_else`, `streams`: `a_caller_that_leaves_ends_its_generator_at_once`, `streams`: `returned` |
//! | A session id of 10 MB, with spaces or control characters | 400 | `sessions`: `keys`: `an_id_that_is_too_long_or_not_visible_is_refused` |
//! | Two callers with one session id | 404 for the second | `sessions`: `keys`: `somebody_elses_session_is_not_there` |
//! | A call into a session that is over | 410, once | `sessions`: `ends` |
//! | A session that calls itself | 409 | `sessions`: `nested`: `a_session_that_comes_back_to_itself_is_told_so_at_once` |
//! | A bomb as upload | a file as large as it is packed | `files`: `refused`: `a_bomb_is_as_large_as_it_is_packed` |
//! | A form with a wrong boundary or without an end, 10,000 parts, a length that lies, drips | 400, 413, 408 | `files`: `refused` |
//! | An agent that calls itself for ever; agents whose workers all wait | an error that says so | `agent_calls`: `an_agent_that_calls_itself_for_ever_is_told_so`, `agent_calls`: `workers_that_wait_for_each_other_are_told_instead_of_waiting` |
//! | Calls by who is past its deadline, or whose call is over | refused | `agent_calls`: `deadlines` |
//! | A worker that uses an id while it is taken | it is replaced | `agent_calls`: `broken` |
//! | Code that forks, closes descriptors, replaces `sys.stdout`, starts threads that outlive the call, ends its process | at most its own call | `faults`: `what_a_handler_does_to_its_process_costs_no_other_call`, `faults`: `a_handler_that_exits_costs_only_its_own_call`, `python_agent`: `what_code_does_to_its_output_is_over_with_the_call`, `python_agent`: `code_that_ends_the_process_loses_its_session_and_says_so` |

//! What metering, billing, traces and the dashboard are faced with:
//!
//! | bad input | what it gets | proven by |
//! |---|---|---|
//! | A full disk under the ledger | calls go on unrecorded, or are refused, loudly | `usage`: `disk`: `with_a_full_disk_calls_go_on_unrecorded_and_loudly`, `with_a_full_disk_calls_are_refused_if_asked_and_every_answer_is_recorded` |
//! | A damaged ledger, a damaged end of the journal | set aside and built again; cut and told | `usage`: `disk`: `a_damaged_ledger_is_set_aside_loudly_and_built_again`, `a_damaged_tail_is_cut_and_told_and_the_rest_counts` |
//! | A clock that jumps ahead or back | told once; nothing is lost or counted twice | `usage`: `clocks`: `a_clock_that_jumps_loses_nothing_and_counts_nothing_twice` |
//! | A worker that dies in the middle of a call | its tokens count | `usage`: `deaths`: `what_a_call_had_told_before_its_worker_died_counts` |
//! | A tenant without customer | its usage waits, and is told | `billing`: `a_tenant_that_is_nobodys_customer_waits_until_it_is`, `customers`: `a_tenant_is_billed_to_the_customer_that_its_token_names` |
//! | A billing side that is away for two days | nothing is lost or billed twice; somebody is woken | `billing`: `later`: `two_days_without_the_billing_side_lose_nothing_and_wake_somebody` |
//! | Names of metrics that collide | told at the start, and kept apart | `metrics_push`: `names_that_would_be_one_are_told_at_the_start_and_kept_apart` |
//! | A receiver that is away, or that is not who it should be | nobody waits; what it misses is counted | `traces`: `a_receiver_that_is_away_holds_up_nobody_and_what_it_misses_is_counted`, `secure`: `a_receiver_whose_certificate_is_not_trusted_is_told_as_such_and_what_it_misses_is_counted` |
//! | A dashboard that is open for a day | keeps ten minutes, here and there | `dashboard`: `a_page_that_is_open_for_a_day_keeps_ten_minutes`, `a_day_of_points_is_no_more_than_five_minutes_of_them` |
//! | 10,000 tenants | are told apart in the ledger, billed once each, and no labels | `usage`: `tenants`: `ten_thousand_tenants_are_told_apart_in_the_ledger_and_not_in_metrics`, `billing`: `tenants`: `ten_thousand_tenants_are_billed_once_each`, `limits`: `ten_thousand_tenants_each_get_their_limit_and_little_memory` |

#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking, wherever it notices")]

#[path = "../harness/mod.rs"]
mod harness;

mod a2a;
mod adapters;
mod agent_calls;
mod bad_input;
mod billing;
mod browser;
mod cages;
mod calls;
mod client;
mod client_certificates;
mod config_reload;
mod connections;
mod dashboard;
mod discovery;
mod doctor;
mod environments;
mod explained;
mod fair_share;
mod faults;
mod fetching;
mod files;
mod grpc;
mod hostile;
mod http_attacks;
mod identity;
mod ids;
mod insiders;
mod issuers;
mod jwt_attacks;
mod lazy;
mod leftovers;
mod lifecycle;
mod limits;
mod loaders;
mod local_socket;
mod logs;
mod management;
mod manifests;
mod metrics_push;
mod observation;
mod packages;
mod primaries;
mod python_agent;
mod readme;
mod registry_faults;
mod rest;
mod roles;
mod rollback;
mod rollouts;
mod rules;
mod sandbox;
mod schemas;
mod secrets;
mod security;
mod service;
mod sessions;
mod signatures;
mod single;
mod status;
mod store;
mod streams;
mod surfaces;
mod survival;
mod terminal;
mod tls;
mod tokens;
mod traces;
mod ui;
mod upgrade;
mod usage;
mod versions;
mod web;
mod webhooks_in;
mod webhooks_out;
mod websockets;
mod workers;
