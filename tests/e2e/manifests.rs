//! Every form of `agent.yaml` that is in use, each called through its handler.

use serde_json::{Value, json};

use crate::harness::{Package, Par, ParBuilder, par, scratch};

const HANDLER: &str = "def handler(context):\n    return {'got': context}\n";

/// A package of which only the manifest matters.
fn written(file: &str, manifest: &str) -> Package {
    Package::bare(file, "as-written")
        .file("agent.yaml", manifest)
        .file(".env", "")
        .file("main.py", HANDLER)
        .file("agent.py", "def hello(body):\n    return {'hello': body}\n")
        .file("src/__init__.py", "")
        .file("src/main.py", HANDLER)
}

async fn answers(par: &Par, id: &str) {
    let answer = par.http.invoke(id, &json!({"a": 1})).await;
    assert_eq!(answer.ok(), json!({"got": {"a": 1}}), "{id}");
}

fn of(manifests: &[(&str, &str)], directory: &std::path::Path) -> ParBuilder {
    manifests.iter().fold(par(), |par, (name, manifest)| par.source(written(name, manifest).apkg(directory)))
}

#[tokio::test]
async fn variant_a_of_the_kit_is_accepted() {
    let scratch = scratch();
    let manifest = "version: '1.0'\nname: kit\ndisplay_name: Kit\ndescription: d\nauthor: a\nlicense: MIT\n\
                    entrypoint: src.main:handler\nruntime: python3.11\nenvironment: {}\ndependencies: []\n\
                    mcp: {enabled: false, config_file: null}\nmetadata: {version: 0.1.0, homepage: null, tags: []}\n\
                    a2a: null\nrest: null\nui: null\nui_spec_version: null\nrequired_ui_capabilities: null\n";
    let par = of(&[("kit", manifest)], scratch.path()).start().await;
    answers(&par, "kit").await;
    answers(&par, "kit@1.0/default").await;
    assert!(par.package("kit@1.0").await.is_some(), "the id has the top-level version");
}

#[tokio::test]
async fn variant_b_of_the_sdk_is_accepted() {
    let scratch = scratch();
    let manifest = "version: null\nname: sdk\ndisplay_name: S\ndescription: d\nauthor: a\nlicense: MIT\n\
                    entrypoint: src.main:handler\nruntime: python3.11\nmetadata: {version: 0.3.0, author_email: a@b.c}\n\
                    permissions: {required: [], optional: []}\n\
                    data_access: {oauth_providers: [], user_data: [], external_apis: []}\n\
                    plan_mode: {supported: true, phases: [clarification, preview]}\n\
                    translation: {supported: true, default_language: en, supported_languages: [en]}\n";
    let par = of(&[("sdk", manifest)], scratch.path()).start().await;
    answers(&par, "sdk@0.3.0").await;
}

#[tokio::test]
async fn variant_c_with_dotted_handlers_and_names_is_accepted() {
    let scratch = scratch();
    let manifest = "name: test-agent\nversion: 1.0.0\ndescription: d\nruntime: {python: '>=3.8'}\n\
                    exports: [{name: hello, type: function, handler: agent.hello}]\n";
    let by_id = "name: by-id\nversion: 1.0.0\nruntime_version: 0.1.0\nmain_module: main\nexports:\n  - {id: exported, \
                 name: Exported, version: 1.0.0, description: d, handler: 'main:handler', private: false}\n";
    let par = of(&[("test-agent", manifest), ("by-id", by_id)], scratch.path()).start().await;
    for id in ["hello", "test-agent", "test-agent@1.0.0/hello"] {
        assert_eq!(par.http.invoke(id, &json!(1)).await.ok(), json!({"hello": 1}), "{id}");
    }
    answers(&par, "exported").await;
}

#[tokio::test]
async fn variant_d_with_sub_agents_is_accepted_with_and_without_descriptions() {
    let scratch = scratch();
    let manifest = "name: subs\nversion: '1.0'\nentrypoint: main:handler\nmetadata:\n  version: 1.0.0\n  sub_agents:\n\
                    \x20   - {name: bare}\n    - {name: full, description: d, endpoint: /x, capabilities: [a], public: true}\n\
                    \x20   - {name: hidden, description: d, public: false}\n";
    let par = of(&[("subs", manifest)], scratch.path()).start().await;
    for id in ["bare", "full", "subs/bare", "subs@1.0/full", "subs"] {
        answers(&par, id).await;
    }
    par.http.invoke("subs/hidden", &json!({})).await.problem(404, "agent_not_found");
}

#[tokio::test]
async fn variants_with_floats_and_nulls_are_accepted_as_they_were_meant() {
    let scratch = scratch();
    let par = of(
        &[
            ("float", "name: float\nversion: 1.0\nentrypoint: main:handler\n"),
            ("trailing", "name: trailing\nversion: 1.10\nentrypoint: main:handler\n"),
            ("whole", "name: whole\nversion: 2\nentrypoint: main:handler\n"),
            ("nulls", "name: nulls\nversion: 1.0.0\nentrypoint: main:handler\nrest: null\na2a: {}\nui: null\nexports: null\nenvironment: null\nmetadata: null\nsurfaces: null\n"),
            ("dotted", "name: dotted\nversion: 1.0.0\nentrypoint: main.handler\n"),
            ("disabled", "name: disabled\nversion: 1.0.0\nentrypoint: main:handler\nrest: {enabled: false}\n"),
            ("date", "name: date\nversion: 2026-01-02\nentrypoint: main:handler\n"),
        ],
        scratch.path(),
    )
    .allow("package_warning")
    .start()
    .await;
    for id in [
        "float@1.0",
        "trailing@1.10",
        "whole@2",
        "nulls@1.0.0",
        "dotted@1.0.0",
        "disabled@1.0.0",
        "date@2026-01-02",
    ] {
        answers(&par, id).await;
    }
}

#[tokio::test]
async fn unknown_keys_are_no_reason_to_refuse() {
    let scratch = scratch();
    let manifest = "name: future\nversion: 1.0.0\nentrypoint: main:handler\nmodes: {par: {}, standalone: {}}\n\
                    something_new: [1, 2]\nworkers: {min: 1, unheard_of: true}\n";
    let par = of(&[("future", manifest)], scratch.path()).allow("package_warning").start().await;
    answers(&par, "future").await;
}

#[tokio::test]
async fn surfaces_are_listed_for_every_way_to_declare_them() {
    let scratch = scratch();
    let surfaced = |name: &str, manifest: &str| {
        Package::new(name, "1.0.0", &format!("entrypoint: main:handler\n{manifest}"))
            .file("main.py", format!("{HANDLER}\ndef mount(app):\n    pass\ndef serve():\n    return None\n"))
            .file("ui/index.html", "<h1>hello</h1>")
    };
    let cases = [
        (
            "kit-all",
            "rest: {entry: 'main:mount'}\na2a: {service: 'main:serve'}\nui: {path: ui}",
            json!(["rest", "a2a", "ui"]),
        ),
        ("sdk-grpc", "a2a: {entry: 'main:serve', service: 'main:serve'}", json!(["a2a"])),
        ("sdk-bare", "rest: {entry: mount}", json!(["rest"])),
        ("based", "ui: {path: ui, basePath: /app}", json!(["ui"])),
        ("none", "rest: null\nui: null", json!([])),
    ];
    for (name, manifest, surfaces) in cases {
        let mut command = crate::harness::par_command();
        command.arg("inspect").arg(surfaced(name, manifest).apkg(scratch.path())).arg("--json");
        let output = crate::harness::Output::of(command).await;
        assert_eq!(output.code, 0, "{name}: {output:?}");
        let told: Value = output.json();
        let listed: Vec<&str> = ["rest", "a2a", "ui"]
            .into_iter()
            .filter(|surface| !told["surfaces"][surface].is_null())
            .collect();
        assert_eq!(json!(listed), surfaces, "{name}: {told}");
    }
}

#[tokio::test]
async fn names_and_ids_that_could_be_paths_are_refused() {
    let scratch = scratch();
    let cases = [
        ("slash", "name: a/b\nversion: 1.0.0\nentrypoint: main:handler\n"),
        ("dots", "name: ..\nversion: 1.0.0\nentrypoint: main:handler\n"),
        ("capital", "name: Capital\nversion: 1.0.0\nentrypoint: main:handler\n"),
        ("version-path", "name: ok\nversion: ../../x\nentrypoint: main:handler\n"),
        ("export-path", "name: ok\nversion: 1.0.0\nexports: [{id: a/b, handler: 'main:handler'}]\n"),
        ("handler-path", "name: ok\nversion: 1.0.0\nentrypoint: '/etc/passwd:handler'\n"),
        ("no-yaml", "name: [unclosed\n"),
        ("list", "- name: x\n"),
        ("empty", ""),
        (
            "aliases",
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n",
        ),
    ];
    let par = of(&cases, scratch.path()).agent("echo").allow("package_failed").start().await;
    for (name, _) in cases {
        let failure =
            par.failure(&format!("{name}-as-written")).await.unwrap_or_else(|| panic!("{name} is refused"));
        assert_eq!(failure["step"], "manifest", "{failure}");
    }
    assert_eq!(par.http.invoke("echo", &json!(1)).await.ok(), json!(1));
}
