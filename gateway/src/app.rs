//! `par serve`: a checked configuration in, a process that runs until it is told to stop.

use std::{
    io,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use par_pool::fleet::{ObituarySink, Pool, PoolSettings, ReloadRequest};
use pingora_core::server::RunArgs;
use prometheus::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    auth::{Accounts, AuthMetrics, Identity, adapters, operator::OperatorToken},
    billing::Billing,
    claim::claim,
    config::{BillingSettings, Config},
    control::{ControlState, Hook, Notice, Observatory, Verifier, router},
    edge::{Between, Door, Doors, Doorway, Edge, InFlight, Opening, RequestIds, server},
    exit::Exit,
    gathering::{gathering, metrics_routes, metrics_text},
    host, inner,
    lifecycle::{Ends, Leftovers, Lifecycle},
    limit::Limiter,
    live::{Live, Reloader},
    meter::{Collector, Meter},
    observe::{
        Explanations, LogSink, figures::Reading, log::Logging, metrics::EdgeMetrics, output, sample::Sampler,
        telemetry::Telemetry,
    },
    ports::{self, Ports},
    route::{self, Layout},
    service_manager::ServiceManager,
    single::{self, Boot, Container, Health},
    sockets::{Given, Use},
    tls::{Gate, TlsMetrics},
    ui::Shelf,
    upgrade::{self, Fallback, Kept, Upgrade},
    webhooks::{WebhookSettings, Webhooks},
};

/// Threads for everything that is not a call: packages, supervisors, management.
const BACKGROUND_THREADS: usize = 2;

/// The last of the log, of the ledger and of letters is written in far less, and then the process is another one.
const LAST_OF_ALL: Duration = Duration::from_secs(60);

/// Runs until the process is told to stop.
pub(crate) fn serve(config: Config, begin: Instant) -> ExitCode {
    // Before anything else opens a descriptor.
    let given = Given::by_former_self()
        .and_then(|kept| if kept.names().is_empty() { Given::by_service_manager() } else { Ok(kept) });
    let logging = match crate::observe::log::start(&config.log) {
        Ok(logging) => logging,
        Err(error) => {
            io::Write::write_fmt(
                &mut io::stderr(),
                format_args!("par: logging cannot be started: {error}\n"),
            )
            .ok();
            return Exit::Failed.into();
        }
    };
    let sink = logging.sink.clone();
    let failed = single::failed_boots(&config);
    let mut fallback = Fallback::default();
    let run = |mut given: Given| {
        fallback = Fallback::of(&mut given);
        run(config, given, fallback.clone(), logging, begin)
    };
    let code = match given.context("sockets that were given").and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fallback.take(&format!("{error:#}"), Some(&sink));
            let wait = failed.map(|failed| failed.count()).unwrap_or_default();
            tracing::error!(event = "start_failed", wait_seconds = wait.as_secs_f64(), "{error:#}");
            // Nobody has taken over the signals: they end the process at once.
            std::thread::sleep(wait);
            Exit::Failed.into()
        }
    };
    sink.flush(Duration::from_secs(1));
    code
}

/// The same in a place of its own, where it reaches nobody; it ends as soon as it answers.
pub(crate) fn rehearse(config: Config, place: &Path, begin: Instant) -> ExitCode {
    let config = upgrade::adapted(config, place);
    upgrade::watch(&config);
    serve(config, begin)
}

#[expect(clippy::too_many_lines, reason = "what is started, in its order: parts would need most of it")]
fn run(
    mut config: Config,
    mut given: Given,
    fallback: Fallback,
    logging: Logging,
    begin: Instant,
) -> anyhow::Result<()> {
    let manager = ServiceManager::of_environment();
    let is_kept = given.is_kept();
    let kept = Kept::new(is_kept, fallback.clone());
    ports::follow(&mut config, &given);
    let config = Arc::new(config);
    // Whoever installs first wins; pingora would install the same.
    drop(rustls::crypto::ring::default_provider().install_default());
    announce(&config, begin);
    let _lock = claim(&config)?;
    let ports = Ports::open(&config, &mut given)?;
    let ((open_a2a, grpc_opens), (open_ui, page_opens)) = (oneshot::channel(), oneshot::channel());

    let background = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("par-background")
        .enable_all()
        .build()?;
    let entered = background.enter();
    // Until somebody listens, this signal would end the process.
    let hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    par_pool::process::adopt_orphans().context("becoming the reaper of orphaned processes")?;
    if config.sandbox.mode != par_pool::process::SandboxMode::Off {
        par_pool::process::prepare_cages();
    }
    let registry = Registry::new();
    let edge_metrics = EdgeMetrics::register(&registry)?;
    let left_out = Sampler::register(&registry)?;
    let receivers = config.webhooks.iter().flat_map(|receiver| &receiver.secrets);
    let others = config.telemetry.secrets().chain(config.billing.iter().flat_map(BillingSettings::secrets));
    for secret in config.registry_secrets.iter().chain(receivers).chain(others) {
        logging.sink.redact(secret.reveal());
    }
    let ids = Arc::new(RequestIds::new()?);
    let mut telemetry = Telemetry::start(&config.telemetry, &registry, ids.process()).context("telemetry")?;
    let webhooks = webhooks(&config, &registry, &logging.sink).context("starting webhooks")?;
    let mut settings: PoolSettings = (&*config).into();
    if let Some(webhooks) = &webhooks {
        settings.events = webhooks.sink();
    }
    let explanations = Explanations::default();
    let explained = explanations.clone();
    settings.obituaries = ObituarySink(Arc::new(move |death| explained.mourn(death)));
    let by_claim = config.billing.as_ref().is_some_and(|billing| billing.by_claim);
    let accounts = by_claim.then(Arc::<Accounts>::default);
    let authentication =
        authentication(&config, accounts.clone(), &registry, &logging.sink).context("identity")?;
    let pool = Pool::new(settings, &registry, output(&logging)).context("starting the pool")?;
    let tls = tls(&config, &registry)?;
    let meter = Meter::of(&config, &registry).context("the usage of calls")?;
    let observatory = Observatory::new(Reading::source(registry.clone(), logging.sink.clone()));
    let billing = Billing::start(&config, meter.as_ref(), accounts, &registry).context("billing")?;
    let gather =
        gathering(registry, Arc::clone(&pool), logging.sink.clone(), edge_metrics.clone(), tls.clone());
    telemetry.push(&config.telemetry, &gather, ids.process()).context("telemetry")?;
    let metrics = metrics_text(gather);
    let operator = operator_token(&config, &logging.sink)?;
    let lifecycle = Lifecycle::new();
    let container =
        config.single.as_ref().map(|single| Arc::new(Container::new(single, &config, Arc::clone(&pool))));
    match &container {
        Some(container) => {
            let container = Arc::clone(container);
            lifecycle.promise(move || container.health() == Health::Healthy);
        }
        None => {
            let pool = Arc::clone(&pool);
            lifecycle.promise(move || pool.is_settled());
        }
    }
    let local = given.take(Use::Local);
    // What somebody else has made is somebody else's to take away.
    let own_socket = (local.is_none() || given.owns_file()).then(|| config.socket.clone());
    let local = inner::local(&config.socket, local);
    let local = local.with_context(|| format!("listening on {}", config.socket.display()))?;
    let in_flight = InFlight::default();
    let listening = ports.each().chain([(Use::Local, &local as _)]);
    let runs = (in_flight.clone(), config.shutdown.grace);
    let upgrade = Upgrade::of_process(listening, own_socket.is_some(), &config.data_dir, runs);
    let upgrade = Arc::new(upgrade.context("keeping sockets for a successor")?);
    let Ports { http, metrics: metrics_port, a2a, ui } = ports;
    let routes = router(ControlState {
        container: container.clone(),
        pool: Arc::new(Arc::clone(&pool)),
        rollouts: Arc::new(Arc::clone(&pool)),
        sessions: Arc::new(Arc::clone(&pool)),
        config: Arc::clone(&config),
        redactor: logging.sink.redactor(),
        recent: Arc::clone(&logging.recent),
        explanations: explanations.clone(),
        levels: logging.levels.clone(),
        observatory,
        lifecycle: Arc::clone(&lifecycle) as Arc<dyn crate::control::ShutdownSwitch>,
        metrics: Arc::clone(&metrics),
        upgrade: Some(Arc::clone(&upgrade)),
        hook: Arc::new(hook(&config, &pool)?),
        webhooks: webhooks.clone(),
        billing: billing.clone(),
        started: SystemTime::now(),
    });
    let (control, control_path) =
        inner::control(&config.data_dir.join("run")).context("the control socket")?;
    let metrics_port = tokio::net::TcpListener::from_std(metrics_port.into())?;
    background.spawn(inner::serving("control", axum::serve(control, routes).into_future()));
    let metrics_server = axum::serve(metrics_port, metrics_routes(metrics))
        .with_graceful_shutdown(upgrade.begun().cancelled_owned());
    background.spawn(inner::serving("metrics", metrics_server.into_future()));

    let limiter =
        Limiter::start(&config.allowances, config.quotas_file()).context("the quotas of the day")?;
    let sampler = config.log.sampling.map(|rule| Arc::new(Sampler::new(rule, left_out.clone())));
    let identity_on = authentication.is_some();
    let live = Arc::new(ArcSwap::from_pointee(Live { limiter, authentication, sampler }));
    let reloader = Reloader {
        config: Arc::clone(&config),
        live: Arc::clone(&live),
        levels: logging.levels.clone(),
        sink: logging.sink.clone(),
        left_out,
        manager: manager.clone(),
    };
    background.spawn(reloader.obey(hangup));
    let current = Arc::clone(&live);
    background.spawn(Limiter::keep(move || current.load().limiter.clone()));
    let edge = Edge {
        pool: Arc::clone(&pool),
        limits: config.limits,
        live: Arc::clone(&live),
        meter: meter.clone(),
        connections: Arc::new(config.connections.clone()),
        dev: config.dev,
        expose_errors: config.expose_errors,
        validate_output: config.validate_output,
        operator: operator.clone(),
        identity_on,
        cors: config.cors.clone().map(Arc::new),
        control: control_path.clone(),
        layout: Arc::new(layout(&config)),
        door: Door::Http,
        shelf: Arc::new(Shelf::new()),
        metrics: edge_metrics,
        tracer: telemetry.tracer.clone(),
        sink: logging.sink.clone(),
        levels: logging.levels.clone(),
        explanations,
        identity: Arc::clone(&logging.identity),
        ids,
        in_flight: in_flight.clone(),
        leaving: lifecycle.leaving(),
        draining: lifecycle.draining(),
    };
    pool.connect_by(Arc::new(Between(edge.clone())));
    pool.charge_by(Arc::new(Collector::new(Arc::clone(&live), meter.clone())));
    // One agent's ports accept when there is an agent.
    let grpc_opens = if config.single.is_some() { Opening::Told(grpc_opens) } else { kept.opening() };
    let mut doorways = vec![
        Doorway { door: Door::Http, address: config.http, socket: http, opens: kept.opening() },
        Doorway { door: Door::Grpc, address: config.a2a, socket: a2a, opens: grpc_opens },
    ];
    doorways.extend(config.single.as_ref().zip(ui).map(|(single, socket)| {
        let (address, opens) = (single.ui, Opening::Told(page_opens));
        Doorway { door: Door::Ui { port: address.port() }, address, socket, opens }
    }));
    let local_opens = kept.opening();
    let doors = Doors { ports: doorways, local, local_opens, leaves_local: upgrade.begun() };
    let (server, started) = server(&edge, doors, config.threads, config.shutdown.grace, tls.as_ref());
    background.spawn(Arc::clone(&lifecycle).obey_signals());
    let asked = Arc::clone(&lifecycle) as Arc<dyn crate::control::ShutdownSwitch>;
    background.spawn(manager.clone().keep_told(asked, config.socket.clone(), is_kept));
    background.spawn(kept.clone().open_in_time());
    let ends = Ends {
        pool: Arc::clone(&pool),
        in_flight,
        live,
        meter,
        billing,
        webhooks,
        telemetry,
        sink: logging.sink,
        manager: manager.clone(),
        leftovers: Leftovers { control: control_path, local: own_socket },
        upgrade: Arc::clone(&upgrade),
        fallback,
    };
    let end = Arc::clone(&lifecycle).end(config.shutdown, ends);
    background.spawn(end);
    match container {
        Some(container) => {
            let (config, lifecycle) = (Arc::clone(&config), Arc::clone(&lifecycle));
            let boot = Boot { config, pool, container, lifecycle, open_a2a, open_ui, kept, begin };
            background.spawn(boot.run(started));
        }
        None => {
            let course = (kept, Arc::clone(&lifecycle));
            drop(background.spawn(host::boot(Arc::clone(&config), pool, tls, operator, course, started)));
        }
    }
    drop(entered);
    server.run(RunArgs { shutdown_signal: lifecycle.signal() });
    // The lifecycle ends the process; pingora is through first only if the grace is over.
    std::thread::sleep(if upgrade.chosen().is_some() { LAST_OF_ALL } else { Duration::from_secs(1) });
    Ok(())
}

fn announce(config: &Config, begin: Instant) {
    for warning in &config.warnings {
        tracing::warn!(event = "configuration", "{warning}");
    }
    if config.is_public() && config.identity.is_none() {
        tracing::warn!(
            event = "identity_off",
            address = %config.http,
            "identity is off: everybody who reaches this address may call agents"
        );
    }
    tracing::info!(
        event = "config_read",
        data_dir = %config.data_dir.display(),
        sources = config.sources.len(),
        seconds = begin.elapsed().as_secs_f64(),
        version = env!("CARGO_PKG_VERSION")
    );
}

/// Where routes are.
fn layout(config: &Config) -> Layout {
    let Some(single) = &config.single else { return Layout::Host };
    Layout::Single(route::Single {
        id: single.agent_app_id.as_str().into(),
        base: single.base_path.prefix().into(),
        root: single.root_routes,
        multiplexed: single.multiplexed,
    })
}

/// What proves who calls, if identity is on.
fn authentication(
    config: &Config,
    accounts: Option<Arc<Accounts>>,
    registry: &Registry,
    sink: &LogSink,
) -> anyhow::Result<Option<Arc<Identity>>> {
    let Some(settings) = &config.identity else { return Ok(None) };
    for secret in settings.secrets() {
        sink.redact(secret.reveal());
    }
    let chain = adapters::chain(settings)?;
    let metrics = AuthMetrics::register(registry)?;
    Ok(Some(Arc::new(Identity::new(chain, settings.cached_tokens, metrics).noting(accounts))))
}

/// Who is told what happens, if anybody is to be told.
fn webhooks(config: &Config, registry: &Registry, sink: &LogSink) -> io::Result<Option<Arc<Webhooks>>> {
    let Some(receiver) = &config.webhooks else { return Ok(None) };
    let settings = WebhookSettings::new(receiver.url.clone(), receiver.secrets.clone(), sink.redactor());
    Webhooks::start(settings, &config.data_dir, registry).map(|webhooks| Some(Arc::new(webhooks)))
}

/// What a message of the registry begins.
fn hook(config: &Config, pool: &Arc<Pool>) -> anyhow::Result<Hook> {
    let verifier = Verifier::new(&config.registry_secrets).context("REGISTRY_WEBHOOK_SECRET")?;
    let (pool, background) = (Arc::clone(pool), tokio::runtime::Handle::current());
    let kick = move |notice: Notice| {
        let pool = Arc::clone(&pool);
        // A name that cannot be one is no reason to miss the change.
        let package = notice.package.and_then(|name| name.parse().ok());
        let request = ReloadRequest { package, force: notice.force, poll: false };
        background.spawn(async move { pool.reload(request).await });
    };
    Ok(Hook::new(verifier, Arc::new(kick)))
}

fn operator_token(config: &Config, sink: &LogSink) -> anyhow::Result<OperatorToken> {
    let token = match &config.operator_token {
        Some(secret) => OperatorToken::given(secret.reveal()),
        None => OperatorToken::create(&config.operator_token_file()).context("writing the operator token")?,
    };
    sink.redact(token.reveal());
    Ok(token)
}

/// TLS of the HTTP port, if it is on.
fn tls(config: &Config, registry: &Registry) -> anyhow::Result<Option<Arc<Gate>>> {
    let Some(settings) = &config.tls else { return Ok(None) };
    let gate = Gate::start(settings, &config.data_dir, TlsMetrics::register(registry)?).context("TLS")?;
    let gate = Arc::new(gate);
    tokio::spawn(Arc::clone(&gate).follow());
    Ok(Some(gate))
}
