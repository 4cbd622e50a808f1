//! The agents of a manifest: `exports`, `entrypoint` and `metadata.sub_agents` enter, one list of exports leaves.

use std::collections::HashSet;

use par_proto::ids::{ExportId, IdError};

use super::{
    adapter::{self, Adapter},
    checked::{Export, Handler, Runtime},
    raw::Node,
    schema::{PatternRoom, Schema},
    section::Section,
};

/// Default of `concurrency`.
const CONCURRENCY: u64 = 100;
/// Default of `threads`.
const THREADS: u64 = 1;

/// What a manifest says about agents.
#[derive(Debug)]
pub(super) struct Agents {
    /// In the order of the manifest.
    pub(super) exports: Vec<Export>,
    /// What the bare package id names.
    pub(super) main: Option<ExportId>,
    /// The entrypoint, also where entries of surfaces take their module from.
    pub(super) entrypoint: Option<Handler>,
    /// Those whose functions are among the handlers, each once.
    pub(super) adapters: Vec<Adapter>,
}

/// `adapter` is what a package of Python gets unless it says otherwise.
pub(super) fn read(
    root: &Section<'_>,
    role_required: Option<&str>,
    runtime: &Runtime,
    adapter: Option<Adapter>,
) -> Agents {
    let entrypoint = root.text("entrypoint").and_then(|text| {
        let handler = Handler::parse(text, runtime);
        if handler.is_none() {
            root.fault("entrypoint", &format!("{text:?} is not module:function"));
        }
        handler
    });
    let mut reader = Reader {
        exports: Vec::new(),
        seen: HashSet::new(),
        role_required,
        runtime,
        entrypoint: entrypoint.as_ref(),
        adapter: chosen(root, runtime, adapter),
        adapters: Vec::new(),
        room: PatternRoom::default(),
    };
    let main_module = root.text("main_module").or(entrypoint.as_ref().map(|handler| handler.module.as_str()));
    for section in root.sections("exports") {
        reader.export(&section, main_module);
    }
    let main = reader.of_entrypoint(root);
    let (exports, adapters) = (reader.exports, reader.adapters);
    let main = main.or_else(|| match exports.as_slice() {
        [only] => Some(only.id.clone()),
        _ => None,
    });
    Agents { exports, main, entrypoint, adapters }
}

/// The adapter that the key `adapter` names, none if that is what it says, the other one if there is no such key.
/// Adapters are functions of Python, so packages for a loader have none.
fn chosen(section: &Section<'_>, runtime: &Runtime, otherwise: Option<Adapter>) -> Option<Adapter> {
    let named = section.text("adapter").filter(|name| *name != adapter::NONE);
    if let Runtime::Loader(of) = runtime {
        if named.is_some() {
            section.fault("adapter", &format!("a package of {of} cannot have an adapter"));
        }
        return None;
    }
    let Some(name) = section.text("adapter") else { return otherwise };
    let adapter = Adapter::named(name);
    if adapter.is_none() && name != adapter::NONE {
        let known: Vec<&str> = Adapter::names().collect();
        section.fault("adapter", &format!("there is no adapter {name:?}; there is {}", known.join(", ")));
    }
    adapter
}

struct Reader<'a> {
    exports: Vec<Export>,
    seen: HashSet<ExportId>,
    role_required: Option<&'a str>,
    runtime: &'a Runtime,
    entrypoint: Option<&'a Handler>,
    /// The package's.
    adapter: Option<Adapter>,
    adapters: Vec<Adapter>,
    room: PatternRoom,
}

impl Reader<'_> {
    fn export(&mut self, section: &Section<'_>, main_module: Option<&str>) {
        let kind = section.text("type").unwrap_or("function");
        let handler = section.text("handler");
        if matches!(kind, "http" | "grpc") || matches!(handler, Some("http" | "grpc")) {
            section.warn("handler", "exports of HTTP or gRPC kind are surfaces (rest, a2a) and skipped here");
            return;
        }
        let id = id(section, if section.text("id").is_some() { "id" } else { "name" });
        let handler = match chosen(section, self.runtime, None) {
            Some(adapter) => self.of_adapter(section, adapter, handler, id.as_ref()),
            None => self.of_package(section, handler, main_module, id.as_ref()),
        };
        let export = self.build(section, id, handler);
        if let Some(export) = export
            && !self.take(export)
        {
            section.fault("id", "an agent of this id is there already");
        }
    }

    /// A function of the adapter that an export names: the one that it names, too, else the one for its id.
    fn of_adapter(
        &mut self,
        section: &Section<'_>,
        adapter: Adapter,
        function: Option<&str>,
        id: Option<&ExportId>,
    ) -> Option<Handler> {
        let handler = match function {
            Some(function) => adapter.handler(function),
            None => adapter.handler_of(id?),
        };
        if handler.is_none() {
            let known = adapter.functions().join(", ");
            section.fault("handler", &format!("is no function of the adapter; there are {known}"));
        }
        self.uses(adapter);
        handler
    }

    fn of_package(
        &mut self,
        section: &Section<'_>,
        handler: Option<&str>,
        main_module: Option<&str>,
        id: Option<&ExportId>,
    ) -> Option<Handler> {
        match handler {
            Some(text) => Handler::parse(text, self.runtime)
                .or_else(|| {
                    Handler::of(main_module?, text, self.runtime).filter(|_| !text.contains([':', '.']))
                })
                .or_else(|| {
                    section.fault("handler", &format!("{text:?} is not module:function"));
                    None
                }),
            None => self.own(id).or_else(|| {
                section.fault("handler", "is missing");
                None
            }),
        }
    }

    /// What is called for an agent that names no handler.
    fn own(&mut self, id: Option<&ExportId>) -> Option<Handler> {
        match self.adapter {
            Some(adapter) => {
                self.uses(adapter);
                adapter.handler_of(id?)
            }
            None => self.entrypoint.cloned(),
        }
    }

    fn uses(&mut self, adapter: Adapter) {
        if !self.adapters.contains(&adapter) {
            self.adapters.push(adapter);
        }
    }

    /// `metadata.sub_agents`, or the one agent `default`. Returns what the bare package id names.
    fn of_entrypoint(&mut self, root: &Section<'_>) -> Option<ExportId> {
        let metadata = root.section("metadata");
        let mut sub_agents = metadata.sections("sub_agents");
        sub_agents.extend(root.sections("sub_agents"));
        if self.entrypoint.is_none() && self.adapter.is_none() {
            if !sub_agents.is_empty() {
                metadata.warn("sub_agents", "they cannot be called without an entrypoint and are skipped");
            }
            return None;
        }
        let mut main = None;
        for section in &sub_agents {
            let id = id(section, if section.text("name").is_some() { "name" } else { "id" });
            let handler = self.own(id.as_ref());
            let Some(mut export) = self.build(section, id, handler) else { continue };
            if section.flag("public") == Some(false) {
                export.private = true;
            }
            let (id, private) = (export.id.clone(), export.private);
            if self.exports.iter().any(|known| known.id == id) {
                section.warn("name", "an export of this id is there already and is kept");
                continue;
            }
            self.take(export);
            if main.is_none() && !private {
                main = Some(id);
            }
        }
        if !sub_agents.is_empty() {
            return main.or_else(|| self.exports.first().map(|export| export.id.clone()));
        }
        let id: ExportId = "default".parse().ok()?;
        if self.exports.iter().any(|known| known.id == id) {
            return Some(id);
        }
        // Beside exports, an adapter alone makes no agent: it is there for them.
        if self.entrypoint.is_none() && !self.exports.is_empty() {
            return None;
        }
        let handler = self.own(Some(&id));
        let export = self.build(root, Some(id.clone()), handler)?;
        self.take(Export { private: false, ..export });
        Some(id)
    }

    fn build(
        &mut self,
        section: &Section<'_>,
        id: Option<ExportId>,
        handler: Option<Handler>,
    ) -> Option<Export> {
        let role_required = section.text("role_required").or(self.role_required).map(str::to_owned);
        let private = section.flag("private").unwrap_or(false);
        let timeout = section.duration("timeout");
        let concurrency = section.number("concurrency", 1..=100_000).unwrap_or(CONCURRENCY) as u32;
        let threads = section.number("threads", 1..=1024).unwrap_or(THREADS) as u32;
        let (input_schema, output_schema) = (
            schema(section, "input_schema", &mut self.room),
            schema(section, "output_schema", &mut self.room),
        );
        let id = id?;
        Some(Export {
            name: section
                .text("display_name")
                .or_else(|| section.text("name"))
                .unwrap_or(id.as_str())
                .to_owned(),
            id,
            description: section.text("description").unwrap_or_default().to_owned(),
            handler: handler?,
            private,
            role_required,
            input_schema,
            output_schema,
            timeout,
            concurrency,
            threads,
        })
    }

    fn take(&mut self, export: Export) -> bool {
        let new = self.seen.insert(export.id.clone());
        if new {
            self.exports.push(export);
        }
        new
    }
}

fn id(section: &Section<'_>, key: &str) -> Option<ExportId> {
    let Some(text) = section.text(key) else {
        section.fault(key, "is missing");
        return None;
    };
    text.parse().map_err(|error: IdError| section.fault(key, &error.to_string())).ok()
}

fn schema(section: &Section<'_>, key: &str, room: &mut PatternRoom) -> Option<Schema> {
    match section.get(key)? {
        node @ (Node::Map(_) | Node::Scalar { value: serde_json::Value::Bool(_), .. }) => {
            Schema::compile(node.json(), room).map_err(|fault| section.fault(key, &fault.to_string())).ok()
        }
        Node::Null | Node::List(_) | Node::Scalar { .. } => {
            section.fault(key, "a JSON Schema is a mapping");
            None
        }
    }
}
