//! `GET /runtime/openapi.json`: OpenAPI 3.1 of everything that is served here, and of the invoke routes, which the
//! edge answers itself.

use std::sync::LazyLock;

use axum::response::Response;
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        self, HttpMethod, RefOr,
        path::{OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        response::ResponseBuilder,
        schema::{ObjectBuilder, Schema},
    },
};

use super::{
    agents, asker::Caller, billing, body, dashboard, deliveries, errors, health, levels, load, logs,
    packages, reload, rollouts, runtime, sessions, single, upgrade, upload, usage, webhook,
};
use crate::problem::PROBLEM_JSON;

#[derive(OpenApi)]
#[openapi(
    info(title = "Pixell Agent Runtime", description = "Agents are called below `/agents`, the runtime is managed \
        below `/runtime`. Every error is a problem document (RFC 9457) with a `code`."),
    paths(
        health::ready_in_milliseconds, health::ready, health::live, single::meta, single::a2a, single::ui,
        runtime::info, runtime::metrics, runtime::shutdown, upgrade::upgrade,
        packages::list, packages::unload, load::load, upload::upload,
        rollouts::list, rollouts::one, rollouts::rollback, rollouts::traffic, reload::reload, webhook::registry,
        sessions::list, sessions::end,
        agents::list, agents::one, agents::enable,
        logs::logs, levels::shown, levels::change, levels::reset, errors::list, errors::one, errors::workers,
        dashboard::page, dashboard::figures,
        usage::usage, usage::request, billing::status, billing::retry, billing::verify, billing::notice,
        deliveries::deliveries, document,
    ),
    components(schemas(Problem)),
    tags(
        (name = "agents", description = "Call and switch agents"),
        (name = "packages", description = "Mount and unmount packages; for operators"),
        (name = "rollouts", description = "Versions that replace each other"),
        (name = "sessions", description = "What callers keep between their calls"),
        (name = "runtime", description = "The runtime itself"),
        (name = "usage", description = "What tenants use, and what they are billed"),
        (name = "health", description = "For load balancers"),
    )
)]
struct Document;

/// Every error.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what problem.rs writes")]
struct Problem {
    /// `urn:par:error:<code>`
    #[schema(rename = "type")]
    kind: String,
    /// The same for every occurrence of a code.
    title: String,
    /// The HTTP status.
    status: u16,
    /// One sentence about this occurrence.
    detail: String,
    /// From a closed set.
    code: String,
    /// Also in `X-Request-ID` and in the log.
    request_id: String,
    /// `input_invalid`: `path` (a JSON Pointer into the input), `message`, `schema_path`.
    #[schema(value_type = Option<Vec<Object>>)]
    errors: Option<()>,
    /// `package_invalid`: the step that failed.
    step: Option<String>,
    /// `agent_error`: `type`, `message`.
    #[schema(value_type = Option<Object>)]
    error: Option<()>,
}

/// `GET /runtime/openapi.json`
#[utoipa::path(get, path = "/runtime/openapi.json", tag = "runtime", responses((status = 200, body = Object)))]
pub(super) async fn document(_: Caller) -> Response {
    static WHOLE: LazyLock<openapi::OpenApi> = LazyLock::new(whole);
    body::answer(&*WHOLE)
}

/// What the macros have gathered, with what they cannot see.
fn whole() -> openapi::OpenApi {
    let mut document = Document::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let invoke = "Body in, result out: the JSON body (or `multipart/form-data`: fields and files) is the agent's input (empty: `{}`), the response body its \
        result. `Accept: text/event-stream` or `application/x-ndjson`: streamed, one event or line an item.";
    let envelope = "Envelope in and out: `{\"input\":{},\"context\"?,\"trace_id\"?,\"session_id\"?}` becomes \
        `{\"agent_id\",\"output\",\"duration_ms\",\"trace_id\",\"metadata\"}`.";
    let health = "200 if the agent answers calls, 503 if not, 404 if there is none.";
    let list = "The same as `GET /agents`.";
    for (method, path, summary, text) in [
        (HttpMethod::Post, "/agents/{id}/invoke", "Call an agent", invoke),
        (HttpMethod::Post, "/runtime/agents/{id}/invoke", "Call an agent with an envelope", envelope),
        (HttpMethod::Get, "/agents/{id}/health", "Health of an agent", health),
        (HttpMethod::Get, "/runtime/agents", "List agents", list),
    ] {
        document.paths.add_path_operation(path, vec![method], operation(path, summary, text));
    }
    let problem = RefOr::Ref(openapi::Ref::from_schema_name("Problem"));
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let content = openapi::ContentBuilder::new().schema(Some(problem.clone())).build();
            let response = ResponseBuilder::new().description("A problem").content(PROBLEM_JSON, content);
            operation.responses.responses.insert("default".to_owned(), response.build().into());
        }
    }
    document
}

fn operation(path: &str, summary: &str, text: &str) -> openapi::path::Operation {
    let any = || {
        let object = Schema::Object(ObjectBuilder::new().description(Some("any JSON")).build());
        openapi::ContentBuilder::new().schema(Some(object)).build()
    };
    let mut operation = OperationBuilder::new()
        .tag("agents")
        .summary(Some(summary))
        .description(Some(text))
        .response("200", ResponseBuilder::new().description("The result").content("application/json", any()));
    if path.contains("{id}") {
        let id = ParameterBuilder::new()
            .name("id")
            .parameter_in(ParameterIn::Path)
            .required(openapi::Required::True)
            .schema(Some(ObjectBuilder::new().schema_type(openapi::schema::Type::String)))
            .description(Some("any id of the agent, `/` and `@` raw or encoded"));
        operation = operation.parameter(id);
    }
    if path.ends_with("/invoke") {
        operation = operation.request_body(Some(
            RequestBodyBuilder::new()
                .content("application/json", any())
                .content("multipart/form-data", any())
                .build(),
        ));
    }
    operation.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_contract_is_described_as_openapi_3_1() {
        let document = serde_json::to_value(whole()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        for (method, path) in [
            ("post", "/agents/{id}/invoke"),
            ("post", "/runtime/agents/{id}/invoke"),
            ("get", "/agents"),
            ("get", "/runtime/agents"),
            ("get", "/agents/{id}"),
            ("get", "/agents/{id}/health"),
            ("get", "/health"),
            ("get", "/runtime/health"),
            ("get", "/runtime/live"),
            ("get", "/runtime/info"),
            ("get", "/runtime/packages"),
            ("post", "/runtime/packages/load"),
            ("post", "/runtime/packages/upload"),
            ("delete", "/runtime/packages/{id}"),
            ("post", "/runtime/packages/{name}/rollback"),
            ("put", "/runtime/packages/{name}/traffic"),
            ("get", "/runtime/rollouts"),
            ("get", "/runtime/rollouts/{id}"),
            ("post", "/runtime/reload"),
            ("get", "/runtime/sessions"),
            ("delete", "/runtime/sessions/{id}"),
            ("post", "/runtime/webhooks/registry"),
            ("get", "/runtime/webhooks/deliveries"),
            ("post", "/runtime/agents/{id}/enable"),
            ("get", "/runtime/logs"),
            ("get", "/runtime/logs/level"),
            ("put", "/runtime/logs/level"),
            ("delete", "/runtime/logs/level"),
            ("get", "/runtime/dashboard"),
            ("get", "/runtime/dashboard/stream"),
            ("get", "/runtime/errors"),
            ("get", "/runtime/errors/{request_id}"),
            ("get", "/runtime/workers"),
            ("get", "/runtime/webhooks/deliveries"),
            ("post", "/runtime/shutdown"),
            ("post", "/runtime/upgrade"),
            ("get", "/runtime/openapi.json"),
            ("get", "/metrics"),
        ] {
            let operation = &document["paths"][path][method];
            assert!(operation["responses"]["default"].is_object(), "{method} {path}: {operation}");
        }
        assert!(document["components"]["schemas"]["Problem"]["properties"]["type"].is_object());
    }
}
