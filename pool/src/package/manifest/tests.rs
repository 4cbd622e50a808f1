//! Every form of `agent.yaml` that exists, and what is refused.

use std::{fs, time::Duration};

use super::*;
use crate::package::{
    Entry, Handler, Kit, Loader, LoaderWorker, PythonWanted, Runtime, SessionMode, StartMode,
};

fn check(yaml: &str) -> Result<(Package, Vec<String>), String> {
    let node = raw::parse(yaml).map_err(|error| error.to_string())?;
    variants::check(&node, &Loaders::default(), None).map_err(|faults| faults.join("; "))
}

fn package(yaml: &str) -> Package {
    check(yaml).unwrap().0
}

fn handler(text: &str) -> Handler {
    Handler::parse(text, &Runtime::Python(PythonWanted::Any)).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what may be None")]
fn function(text: &str) -> Option<Entry> {
    Some(Entry::Function(handler(text)))
}

fn ids(package: &Package) -> Vec<&str> {
    package.exports.iter().map(|export| export.id.as_str()).collect()
}

#[test]
fn versions_stay_as_they_are_written() {
    for (written, version) in [
        ("1.0", "1.0"),
        ("1.10", "1.10"),
        ("'1.0'", "1.0"),
        ("2024-01-02", "2024-01-02"),
        ("1e3", "1e3"),
        ("0x10", "0x10"),
        ("1", "1"),
        ("\"1.4.0+build.5\"", "1.4.0+build.5"),
    ] {
        let top = format!("name: a\nversion: {written}\nentrypoint: m:f\nmetadata: {{version: 9}}");
        assert_eq!(package(&top).id.version.as_str(), version);
        let nested = format!("name: a\nversion: null\nentrypoint: m:f\nmetadata:\n  version: {written}");
        assert_eq!(package(&nested).id.version.as_str(), version);
    }
}

#[test]
fn variant_a_as_the_kit_initialises_it() {
    let package = package(
        "version: '1.0'\nname: kit-all\ndisplay_name: Kit All\ndescription: d\nauthor: a\nlicense: MIT\n\
         entrypoint: src.main:handler\ncapabilities: []\nruntime: python3.11\nenvironment:\n  DEBUG: true\n  PORT: 8080\n  V: 1.10\n  E:\n\
         dependencies: [fastapi>=0.100, 'uvicorn>=0.2']\nmcp: {enabled: false}\nmetadata: {version: 0.1.0, tags: []}\n\
         a2a: {service: 'src.a2a.server:serve'}\nrest: {entry: 'src.rest.index:mount'}\nui: {path: ui}\nui_spec_version: null\n",
    );
    assert_eq!(package.id.to_string(), "kit-all@1.0");
    assert_eq!(package.runtime, Runtime::Python(PythonWanted::Minor(3, 11)));
    assert_eq!(ids(&package), ["default"]);
    assert_eq!(package.main_export.as_ref().unwrap().as_str(), "default");
    assert_eq!(package.exports[0].handler, handler("src.main:handler"));
    assert_eq!(package.author.as_deref(), Some("a"));
    assert_eq!((package.exports[0].name.as_str(), package.exports[0].description.as_str()), ("Kit All", "d"));
    assert_eq!(package.surfaces.rest, function("src.rest.index:mount"));
    assert_eq!(package.surfaces.a2a, function("src.a2a.server:serve"));
    assert_eq!(
        package.surfaces.ui.as_ref().map(|ui| (ui.path.as_str(), ui.base_path.as_str())),
        Some(("ui", "/"))
    );
    assert_eq!(package.surfaces.workers, 1);
    assert_eq!(package.dependencies, ["fastapi>=0.100", "uvicorn>=0.2"]);
    let environment: Vec<(&str, &str)> =
        package.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(environment, [("DEBUG", "true"), ("E", ""), ("PORT", "8080"), ("V", "1.10")]);
}

#[test]
fn variant_b_mirrors_its_keys() {
    let base = "name: a\nversion: 1\n";
    let surfaces = |yaml: &str| package(&format!("{base}{yaml}")).surfaces;
    let app = Some(Entry::Application(handler("main:app")));
    let http = surfaces("http_server: main:app\na2a: {http_server: 'main:app', entry: 'main:app'}");
    assert_eq!((http.rest, http.a2a), (app.clone(), None));
    let http = surfaces("http_server: main:app\na2a: {service: 's:f', entry: 's:f'}");
    assert_eq!((http.rest, http.a2a), (app, function("s:f")));
    let both = surfaces("http_server: main:app\nrest: {entry: 'r:mount'}");
    assert_eq!(both.rest, function("r:mount"));
    let short = package(&format!("{base}entrypoint: src.main:handler\nrest: {{entry: mount}}"));
    assert_eq!(short.surfaces.rest, function("src.main:mount"));
    let scopes = "entrypoint: m:f\npermissions: {required: [a], optional: []}\nplan_mode: {supported: true}";
    assert!(package(&format!("{base}{scopes}")).permissions.subprocess);
}

#[test]
fn variant_c_lists_exports() {
    let (package, warnings) = check(
        "name: test-agent\nversion: 0.1.0\ndescription: d\nruntime: {python: '>=3.8'}\nrole_required: staff\nexports:\n\
         - {name: hello, type: function, handler: agent.hello}\n\
         - {id: bye, name: Say bye, handler: 'agent:bye', private: true, role_required: admin, timeout: 120s, concurrency: 7, threads: 2, \
            input_schema: {type: object, required: [x]}, output_schema: true}\n\
         - {name: page, handler: http, path: /x}\n- {name: rpc, type: grpc, service: S}\n",
    )
    .unwrap();
    assert_eq!(package.runtime, Runtime::Python(PythonWanted::Range(">=3.8".to_owned())));
    assert_eq!(ids(&package), ["hello", "bye"]);
    assert_eq!((package.main_export, warnings.len()), (None, 2));
    let [hello, bye] = package.exports.as_slice() else { panic!() };
    assert_eq!(hello.handler, handler("agent:hello"));
    assert_eq!((hello.role_required.as_deref(), hello.concurrency, hello.threads), (Some("staff"), 100, 1));
    assert_eq!(
        (bye.name.as_str(), bye.private, bye.role_required.as_deref()),
        ("Say bye", true, Some("admin"))
    );
    assert_eq!((bye.timeout.unwrap().as_secs(), bye.concurrency, bye.threads), (120, 7, 2));
    assert_eq!(bye.input_schema.as_ref().unwrap().source()["required"][0], "x");
    let doc = "name: a\nversion: 1\nentrypoint: src.main:main\nmodes: {par: {}}\nexports: [{name: x, handler: http}]";
    assert_eq!(ids(&super::tests::package(doc)), ["default"]);
    let module = "name: a\nversion: 1\nmain_module: agent\nexports: [{name: x, handler: run}]";
    assert_eq!(super::tests::package(module).exports[0].handler, handler("agent:run"));
    let g3 = "name: a\nversion: 1\nexports: [{id: x, handler: 'm:f'}]\nrest: {enabled: true}\na2a: {}";
    let (g3, warnings) = check(g3).unwrap();
    assert_eq!((g3.surfaces.rest, g3.surfaces.a2a, warnings.len()), (None, None, 1));
    assert_eq!(g3.main_export.unwrap().as_str(), "x");
}

#[test]
fn variant_d_and_e_have_sub_agents() {
    let package = package(
        "name: paf-core-agent\nversion: 0.2.0\nentrypoint: src.par_adapter:mount\nrest: {entry: 'src.par_adapter:mount'}\n\
         a2a: {service: 'src.par_adapter:create_service'}\nmetadata:\n  version: 1.0.0\n  sub_agents:\n  - {name: inner, public: false}\n\
         \x20 - {name: upee, description: d, endpoint: /x, capabilities: [a]}\n  - name: chat\n    description: c\n",
    );
    assert_eq!(ids(&package), ["inner", "upee", "chat"]);
    assert_eq!(package.main_export.unwrap().as_str(), "upee");
    assert!(package.exports[0].private && !package.exports[1].private);
    assert!(package.exports.iter().all(|export| export.handler == handler("src.par_adapter:mount")));
    let orphans = "name: a\nversion: 1\nui: {path: ui}\nmetadata: {sub_agents: [{name: x}]}";
    assert!(check(orphans).unwrap().0.exports.is_empty());
}

#[test]
fn variant_f_has_a_service_only() {
    let package = package(
        "name: echo\nversion: 1.0.0\na2a: {http_server: 'src.agent:create_service'}\nrest: null\nui: ~\nexports:\nmetadata:\n",
    );
    assert_eq!(package.surfaces.a2a, function("src.agent:create_service"));
    assert!(package.exports.is_empty() && package.surfaces.rest.is_none() && package.surfaces.ui.is_none());
}

#[test]
fn defaults_are_those_of_the_contract() {
    let package = package("name: a\nversion: 1\nentrypoint: m:f");
    assert_eq!(package.runtime, Runtime::Python(PythonWanted::Any));
    assert_eq!(package.session.mode, SessionMode::None);
    assert_eq!((package.session.idle_ttl.as_secs(), package.session.max_ttl.as_secs()), (900, 28_800));
    assert_eq!((package.workers.min, package.workers.max, package.workers.memory_mb), (1, None, 1024));
    assert_eq!(package.workers.start, StartMode::Auto);
    assert_eq!((&package.permissions.net_connect, package.permissions.subprocess), (&None, true));
    assert!(!package.forward_authorization && package.healthcheck.is_none());
    let set = super::tests::package(
        "name: a\nversion: 1\nentrypoint: m:f\nhealthcheck: {input: {a: 1}, expect: ok}\nsession: {mode: isolated, idle_ttl: 1m, max_ttl: 90}\n\
         workers: {min: 2, max: 4, start: spawn, memory_mb: 64}\nsurfaces: {workers: 3}\nforward_authorization: yes\n\
         permissions: {fs_read: /data, net_connect: [443, 5432], subprocess: false}\nui: {path: ./web/, basePath: //app/, public: true}",
    );
    let check = set.healthcheck.unwrap();
    assert_eq!(
        (check.export.as_str(), check.input["a"].as_u64(), check.expect.unwrap().as_str()),
        ("default", Some(1), Some("ok"))
    );
    assert_eq!((set.session.mode, set.session.max_ttl.as_secs()), (SessionMode::Isolated, 90));
    assert_eq!(
        (set.workers.min, set.workers.max, set.workers.start, set.workers.memory_mb),
        (2, Some(4), StartMode::Spawn, 64)
    );
    assert_eq!(set.permissions.net_connect, Some(vec![443, 5432]));
    assert_eq!(set.permissions.net_bind, Some(vec![]), "nobody listens without having asked");
    assert_eq!(set.permissions.fs_read, ["/data"]);
    let ui = set.surfaces.ui.unwrap();
    assert_eq!(
        (ui.path.as_str(), ui.base_path.as_str(), ui.public, set.surfaces.workers),
        ("web", "/app", true, 3)
    );
}

#[test]
fn what_cannot_run_here_is_refused_with_its_reason() {
    for (yaml, reason) in [
        ("runtime: node20", "no loader is configured for node20"),
        ("runtime: go1.21", "no loader is configured for go1.21"),
        ("runtime: {node: '>=18'}", "no loader is configured for node"),
        ("runtime: python2.7", "no version of Python 3"),
        ("runtime: {python: latest}", "no version of Python 3"),
        ("runtime_version: 9.0.0", "the package needs PAR 9.0.0, this is PAR 0."),
        ("runtime_version: '>=0.0.1,<0.0.2'", "the package needs PAR >=0.0.1,<0.0.2, this is PAR 0."),
        ("runtime_version: new", "no list of comparisons"),
        (
            "exports: [{id: x, handler: 'a:b'}, {id: x, handler: 'c:d'}]",
            "an agent of this id is there already",
        ),
        ("exports: [{id: a/b, handler: 'a:b'}]", "agent id"),
        ("exports: [{handler: 'a:b'}]", "exports[0].name: is missing"),
        ("exports: {a: b}", "exports: a list is expected, not a mapping"),
        ("exports: [{id: x, handler: 'm:f', input_schema: [1]}]", "a JSON Schema is a mapping"),
        ("exports: [{id: x, handler: 'm:f', timeout: -1}]", "a time like"),
        ("healthcheck: {export: nobody}", "names no agent"),
        ("session: {mode: pinned}", "one of none, sticky, isolated"),
        ("workers: {min: 3, max: 2}", "is less than workers.min"),
        ("workers: {memory_mb: lots}", "a whole number"),
        ("environment: {'A=B': x}", "is no name of a variable"),
        ("environment: {A: [1]}", "text is expected, not a list"),
        ("ui: {path: ../etc}", "is no directory of the package"),
        ("ui: {path: /etc}", "is no directory of the package"),
        ("rest: {entry: 'a:b:c'}", "is not module:function"),
        ("permissions: {net_connect: [0]}", "any, none or a list of ports"),
        ("permissions: {net_bind: all}", "any, none or a list of ports"),
        ("forward_authorization: maybe", "true or false"),
    ] {
        let error = check(&format!("name: a\nversion: 1\nentrypoint: m:f\n{yaml}")).unwrap_err();
        assert!(error.contains(reason), "{yaml}: {error}");
    }
    for (yaml, reason) in [
        ("version: 1\nentrypoint: m:f", "name: is missing"),
        ("name: a\nentrypoint: m:f", "version: is missing"),
        ("name: a\nversion: 1", "no handler"),
        ("name: ../a\nversion: 1\nui: {path: x}", "package name"),
        ("name: a\nversion: 1/2\nui: {path: x}", "version \"1/2\""),
        ("name: a\nversion: 1\nentrypoint: handler", "is not module:function"),
    ] {
        let error = check(yaml).unwrap_err();
        assert!(error.contains(reason), "{yaml}: {error}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let error =
        check("name: A\nversion: 1/2\nruntime: node20\nentrypoint: x\nworkers: {min: -1}").unwrap_err();
    assert_eq!(error.split("; ").count(), 6, "{error}");
}

#[test]
fn runtime_versions_and_pythons_that_fit_are_accepted() {
    for yaml in [
        "runtime_version: 0.1.0",
        "runtime_version: '>=0.1,<1'",
        "runtime_version: 0.0.9",
        "runtime_version:",
    ] {
        package(&format!("name: a\nversion: 1\nentrypoint: m:f\n{yaml}"));
    }
    for (runtime, wanted) in [
        ("python3.9", PythonWanted::Minor(3, 9)),
        ("python3.10", PythonWanted::Minor(3, 10)),
        ("Python:3.12.4", PythonWanted::Minor(3, 12)),
        ("python3", PythonWanted::Any),
        ("python", PythonWanted::Any),
        ("{python: 3.10}", PythonWanted::Minor(3, 10)),
        ("{python: '>=3.9,<4'}", PythonWanted::Range(">=3.9,<4".to_owned())),
        ("{python: }", PythonWanted::Any),
        ("null", PythonWanted::Any),
    ] {
        let package = package(&format!("name: a\nversion: 1\nentrypoint: m:f\nruntime: {runtime}"));
        assert_eq!(package.runtime, Runtime::Python(wanted), "{runtime}");
    }
}

#[test]
fn a_runtime_with_a_loader_is_accepted_and_its_handlers_are_paths() {
    let worker = LoaderWorker::Node { program: "/bin/node".into() };
    let loaders = Loaders::new([Loader { name: "node20".to_owned(), worker }], "/bin/par".into());
    let check = |rest: &str| {
        let node = raw::parse(&format!("name: a\nversion: 1\n{rest}")).unwrap();
        variants::check(&node, &loaders, super::adapter::Adapter::named("python-executor"))
    };
    for runtime in ["node20", "{node: 20}"] {
        // An adapter that a rule gives is for packages of Python only.
        let rest = format!(
            "entrypoint: 'src/main.mjs:run'\nruntime: {runtime}\nexports: [{{id: x, handler: 'src/main.mjs:Agent.run'}}]"
        );
        let (package, warnings) = check(&rest).unwrap();
        assert_eq!(package.runtime, Runtime::Loader("node20".to_owned()));
        assert_eq!(package.exports.len(), 2);
        assert!(package.exports.iter().all(|export| export.handler.module == "src/main.mjs"));
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    let served = "runtime: node20\nrest: {entry: 'web:mount'}\nexports: [{id: x, handler: main.run}]";
    let faults = check(served).unwrap_err().join("; ");
    assert!(faults.contains("surfaces rest and a2a") && faults.contains("\"main.run\""), "{faults}");
    let adapted = "runtime: node20\nkits: [data]\nexports: [{id: x, adapter: python-executor}]";
    let faults = check(adapted).unwrap_err().join("; ");
    assert!(faults.contains("exports[0].adapter: a package of node20 cannot have an adapter"), "{faults}");
    assert!(faults.contains("kits: a package of node20 cannot have kits"), "{faults}");
    let other = check("runtime: go1.22\nentrypoint: main:run").unwrap_err().join("; ");
    assert!(other.contains("there are loaders for node20"), "{other}");
}

#[test]
fn a_ui_is_found_where_the_kit_packs_it() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("agent.yaml"), "name: a\nversion: 1\nui: {path: web}").unwrap();
    let path = || {
        read(root.path(), &Loaders::default(), &[])
            .map(|(package, warnings)| (package.surfaces.ui.unwrap().path, warnings.len()))
            .unwrap()
    };
    assert_eq!(path(), ("web".to_owned(), 1));
    fs::create_dir_all(root.path().join("dist/ui")).unwrap();
    assert_eq!(path(), ("dist/ui".to_owned(), 0));
    fs::create_dir_all(root.path().join("web")).unwrap();
    assert_eq!(path(), ("web".to_owned(), 0));
}

#[test]
fn a_file_that_is_no_manifest_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for (bytes, reason) in [
        (vec![0xff, 0xfe], "not UTF-8"),
        (vec![b' '; (MAX_BYTES + 1) as usize], "larger than 1 MiB"),
        (b"- a".to_vec(), "not a mapping"),
        (b"a: [".to_vec(), "not valid YAML"),
    ] {
        fs::write(root.path().join("agent.yaml"), bytes).unwrap();
        let error = read(root.path(), &Loaders::default(), &[]).unwrap_err();
        assert_eq!(error.step, Step::Manifest);
        assert!(error.detail.contains(reason), "{error}");
    }
}

#[test]
fn an_adapter_brings_handlers_sessions_and_kits() {
    let functions = |package: &Package| {
        let handlers = package.exports.iter().map(|export| &export.handler);
        handlers.map(|handler| format!("{}:{}", handler.module, handler.attribute)).collect::<Vec<_>>()
    };
    let ours = |function: &str| format!("pixell_runtime.adapters.python_executor:{function}");
    let agents = "metadata:\n  sub_agents: [{name: code-executor}, {name: stream-executor}, {name: other, public: false}]";
    let whole = package(&format!("name: a\nversion: 1\nentrypoint: m:f\nadapter: python-executor\n{agents}"));
    assert_eq!(functions(&whole), [ours("execute"), ours("stream"), ours("execute")]);
    assert!(whole.exports.last().unwrap().private);
    assert_eq!(whole.kits, [Kit::Data]);
    assert_eq!(whole.session.mode, SessionMode::Isolated);
    assert_eq!(whole.session.idle_ttl, Duration::from_secs(90 * 60));
    let own = package(
        "name: a\nversion: 1\nkits: [rest, data]\nsession: {mode: sticky}\nexports:\n  \
         - {id: run, adapter: python-executor, handler: stream}\n  - {id: mine, handler: 'm:f'}",
    );
    assert_eq!(functions(&own), [ours("stream"), "m:f".to_owned()]);
    assert_eq!(
        (own.kits.as_slice(), own.session.mode),
        ([Kit::Rest, Kit::Data].as_slice(), SessionMode::Sticky)
    );
    let alone = package("name: a\nversion: 1\nadapter: python-executor");
    assert_eq!((functions(&alone), ids(&alone)), (vec![ours("execute")], vec!["default"]));
}

#[test]
fn a_rule_gives_an_adapter_and_a_manifest_may_decline() {
    let rule = super::adapter::Adapter::named("python-executor");
    let of = |yaml: &str| variants::check(&raw::parse(yaml).unwrap(), &Loaders::default(), rule).unwrap().0;
    let module = |package: &Package| package.exports.first().unwrap().handler.module.clone();
    assert!(module(&of("name: a\nversion: 1\nentrypoint: m:f")).starts_with("pixell_runtime."));
    let declined = of("name: a\nversion: 1\nentrypoint: m:f\nadapter: none");
    assert_eq!(module(&declined), "m");
    assert_eq!((declined.kits.len(), declined.session.mode), (0, SessionMode::None));
    let own = of("name: a\nversion: 1\nentrypoint: m:f\nexports: [{id: x, handler: 'other:f'}]");
    assert_eq!(module(&own), "other");
}

#[test]
fn adapters_functions_and_kits_that_are_not_there_are_faults() {
    for (manifest, words) in [
        ("adapter: ruby", "adapter: there is no adapter \"ruby\"; there is python-executor"),
        ("exports: [{id: a, adapter: ruby}]", "exports[0].adapter: there is no adapter"),
        ("exports: [{id: a, adapter: python-executor, handler: fly}]", "exports[0].handler: is no function"),
        ("entrypoint: m:f\nkits: [physics]", "kits: there is no kit \"physics\""),
    ] {
        let fault = check(&format!("name: a\nversion: 1\n{manifest}")).unwrap_err();
        assert!(fault.contains(words), "{fault}");
    }
}
