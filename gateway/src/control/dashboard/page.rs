//! The page: plain HTML, CSS and JavaScript in small files, put together into one answer that needs nothing else.

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

const SHELL: &str = include_str!("shell.html");

const STYLES: [&str; 4] = [
    include_str!("vendor/uplot.min.css"),
    include_str!("base.css"),
    include_str!("layout.css"),
    include_str!("views.css"),
];

const CHARTS: &str = include_str!("vendor/uplot.min.js");

/// Modules of ours, each behind those that it imports.
const MODULES: [&str; 16] = [
    include_str!("dom.mjs"),
    include_str!("format.mjs"),
    include_str!("api.mjs"),
    include_str!("series.mjs"),
    include_str!("live.mjs"),
    include_str!("chart.mjs"),
    include_str!("dialog.mjs"),
    include_str!("form.mjs"),
    include_str!("views/overview.mjs"),
    include_str!("views/packages.mjs"),
    include_str!("views/workers.mjs"),
    include_str!("views/sessions.mjs"),
    include_str!("views/usage.mjs"),
    include_str!("views/errors.mjs"),
    include_str!("views/tryit.mjs"),
    include_str!("main.mjs"),
];

/// The page and what goes with it, made at the first request.
struct Page {
    body: Bytes,
    policy: HeaderValue,
    tag: HeaderValue,
}

static PAGE: LazyLock<Page> = LazyLock::new(Page::make);

impl Page {
    fn make() -> Self {
        let style = STYLES.concat();
        let script = script();
        let body = SHELL.replace("/*STYLE*/", &style).replace("/*SCRIPT*/", &script);
        // Nothing but these two texts runs or looks like anything; nothing is sent anywhere but here.
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
             trusted-types 'none'",
            hash(&script),
            hash(&style),
        );
        let tag = format!("\"{}\"", hash(&body));
        // Base 64 and the words above are visible ASCII.
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("invalid"));
        Self { policy: value(&policy), tag: value(&tag), body: body.into() }
    }
}

/// One module out of all. Each keeps its own scope; what it exports is known to those behind it.
fn script() -> String {
    let mut parts = vec![CHARTS.to_owned()];
    for module in MODULES {
        let names = exports(module).collect::<Vec<_>>().join(", ");
        let lines = module.lines().filter(|line| !line.starts_with("import ") && !line.starts_with("//"));
        let body: Vec<&str> = lines.map(|line| line.strip_prefix("export ").unwrap_or(line)).collect();
        let body = body.join("\n");
        parts.push(format!("const {{ {names} }} = (() => {{\n{body}\nreturn {{ {names} }};\n}})();"));
    }
    parts.join("\n")
}

/// What a module exports, one name a line.
fn exports(module: &str) -> impl Iterator<Item = &str> {
    module.lines().filter_map(|line| line.strip_prefix("export ")).filter_map(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = ["function ", "const ", "class "].iter().find_map(|word| line.strip_prefix(word))?;
        rest.split(|character: char| !character.is_alphanumeric() && character != '_').next()
    })
}

fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

/// `GET /runtime/dashboard`: open, because there is nothing in it; what it shows it asks for with the viewer's token.
#[utoipa::path(get, path = "/runtime/dashboard", tag = "runtime", responses(
    (status = 200, content_type = "text/html", body = String, description = "a page for people")
))]
pub(in super::super) async fn page(headers: HeaderMap) -> Response {
    let page = &*PAGE;
    let known = headers.get(header::IF_NONE_MATCH) == Some(&page.tag);
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, page.policy.clone()),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        // The same page is not sent twice, and a new binary shows its own.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::ETAG, page.tag.clone()),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, page.body.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of what the contract of the page allows would leave no room to grow; more than that nobody needs.
    const LARGEST: usize = 300 << 10;

    #[test]
    fn the_page_is_small_and_needs_nothing_else() {
        let page = Page::make();
        let text = std::str::from_utf8(&page.body).unwrap();
        assert!(text.len() <= LARGEST, "{} bytes", text.len());
        let ours = text.replace(CHARTS, "");
        for outside in ["http://", "https://", "src=", "@import", "url(", " style=", "onclick", "innerHTML"] {
            let found = ours.find(outside).map(|at| ours.get(at.saturating_sub(60)..at + 40));
            assert_eq!(found, None, "{outside}");
        }
        assert!(!text.contains("/*STYLE*/") && !text.contains("/*SCRIPT*/"));
    }

    #[test]
    fn what_the_policy_allows_is_what_the_page_has() {
        let page = Page::make();
        let text = std::str::from_utf8(&page.body).unwrap();
        let between = |from: &str, to: &str| {
            let rest = text.split_once(from).unwrap().1;
            hash(rest.split_once(to).unwrap().0)
        };
        let policy = page.policy.to_str().unwrap();
        assert!(policy.contains(&between("<style>", "</style>")), "{policy}");
        assert!(policy.contains(&between("<script type=\"module\">", "</script>")), "{policy}");
        assert_eq!(text.matches("<script").count(), 1);
    }

    #[test]
    fn what_modules_import_is_exported_once_and_before() {
        let mut known: Vec<&str> = vec!["uPlot"];
        for module in MODULES {
            for import in module.lines().filter(|line| line.starts_with("import ")) {
                let names = import.split_once("{ ").unwrap().1.split_once(" }").unwrap().0;
                for name in names.split(", ") {
                    assert!(known.contains(&name), "{import}");
                }
            }
            for name in exports(module) {
                assert!(!known.contains(&name), "{name} is exported twice");
                known.push(name);
            }
        }
        assert!(known.len() > 30);
    }
}
