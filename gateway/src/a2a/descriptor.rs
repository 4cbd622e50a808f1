//! Descriptions of services as clients ask for them by reflection: serialized files in, an index of what is in them.
//!
//! Files of packages are a stranger's bytes: what cannot be read of them is left out, and nests only so deep.

use std::{collections::HashSet, sync::LazyLock};

use super::{
    path::Service,
    wire::{Fields, Malformed},
};

/// Our own files: a serialized `FileDescriptorSet` of `proto/**/*.proto`.
const OWN: &[u8] = include_bytes!("../../../proto/services.binpb");

/// How deep messages may stand in messages. Real ones have three levels; each costs stack.
const DEPTH: usize = 32;

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let files = Fields::of(OWN).filter_map(|field| File::read(field.ok()?.1.bytes().ok()?).ok()).collect();
    Library { files, services: Service::NAMES.map(str::to_owned).to_vec() }
});

/// Files with what is in them, and the services that are offered.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    files: Vec<File>,
    services: Vec<String>,
}

impl Library {
    /// What every package has.
    pub(crate) fn own() -> &'static Self {
        &LIBRARY
    }

    /// With the services of a package, which come before ours where they have the same name.
    pub(crate) fn of_package(files: impl Iterator<Item = Vec<u8>>, services: &[String]) -> Self {
        let files = files.filter_map(|bytes| File::read(&bytes).ok());
        let others = LIBRARY.services.iter().filter(|own| !services.contains(own));
        Self {
            files: files.chain(LIBRARY.files.iter().cloned()).collect(),
            services: services.iter().chain(others).cloned().collect(),
        }
    }

    /// Names of services, each once.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(String::as_str)
    }

    /// A file and all that it needs, by its name.
    pub(super) fn named(&self, name: &str) -> Option<Vec<&[u8]>> {
        self.find(|file| file.name == name)
    }

    /// The same by something that it defines.
    pub(super) fn defining(&self, symbol: &str) -> Option<Vec<&[u8]>> {
        let symbol = symbol.strip_prefix('.').unwrap_or(symbol);
        self.find(|file| file.symbols.contains(symbol))
    }

    /// The same by an extension of a message.
    pub(super) fn extending(&self, message: &str, number: u64) -> Option<Vec<&[u8]>> {
        self.find(|file| file.extensions.iter().any(|(of, own)| of == message && *own == number))
    }

    /// Numbers of a message's extensions; none if nobody knows the message.
    pub(super) fn extensions(&self, message: &str) -> Option<Vec<u64>> {
        let own = self.files.iter().flat_map(|file| &file.extensions).filter(|(of, _)| of == message);
        let numbers: Vec<u64> = own.map(|(_, number)| *number).collect();
        let is_known = !numbers.is_empty() || self.files.iter().any(|file| file.symbols.contains(message));
        is_known.then_some(numbers)
    }

    fn find(&self, wanted: impl Fn(&File) -> bool) -> Option<Vec<&[u8]>> {
        let first = self.files.iter().find(|file| wanted(file))?;
        let (mut found, mut at) = (vec![first], 0);
        while let Some(file) = found.get(at) {
            for need in &file.needs {
                let needed = self.files.iter().find(|file| file.name == *need);
                found.extend(needed.filter(|file| found.iter().all(|known| known.name != file.name)));
            }
            at += 1;
        }
        Some(found.into_iter().map(|file| file.bytes.as_slice()).collect())
    }
}

/// A `FileDescriptorProto`.
#[derive(Debug, Clone, Default)]
struct File {
    name: String,
    needs: Vec<String>,
    /// Full names of what is defined in it.
    symbols: HashSet<String>,
    /// What it adds to messages: full name and number.
    extensions: Vec<(String, u64)>,
    bytes: Vec<u8>,
}

impl File {
    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut file = Self { bytes: bytes.to_vec(), ..Self::default() };
        let mut package = "";
        for field in Fields::of(bytes) {
            match field? {
                (1, value) => value.text()?.clone_into(&mut file.name),
                (2, value) => package = value.text()?,
                (3, value) => file.needs.push(value.text()?.to_owned()),
                _ => {}
            }
        }
        for field in Fields::of(bytes) {
            match field? {
                (4, value) => file.message(package, value.bytes()?, DEPTH)?,
                (5, value) => file.list(package, value.bytes()?, package)?,
                (6, value) => {
                    let service = value.bytes()?;
                    let name = joined(package, name(service)?);
                    file.list(package, service, &name)?;
                }
                (7, value) => file.extension(package, value.bytes()?)?,
                _ => {}
            }
        }
        Ok(file)
    }

    /// A `DescriptorProto`.
    fn message(&mut self, scope: &str, message: &[u8], depth: usize) -> Result<(), Malformed> {
        let own = joined(scope, name(message)?);
        for field in Fields::of(message) {
            match field? {
                (2 | 8, value) => {
                    self.symbols.insert(joined(&own, name(value.bytes()?)?));
                }
                (3, value) if depth > 0 => self.message(&own, value.bytes()?, depth - 1)?,
                (4, value) => self.list(&own, value.bytes()?, &own)?,
                (6, value) => self.extension(&own, value.bytes()?)?,
                _ => {}
            }
        }
        self.symbols.insert(own);
        Ok(())
    }

    /// An `EnumDescriptorProto`, whose values stand beside it, or a `ServiceDescriptorProto`, whose methods stand in it.
    fn list(&mut self, scope: &str, list: &[u8], items: &str) -> Result<(), Malformed> {
        self.symbols.insert(joined(scope, name(list)?));
        for field in Fields::of(list) {
            if let (2, value) = field? {
                self.symbols.insert(joined(items, name(value.bytes()?)?));
            }
        }
        Ok(())
    }

    /// A `FieldDescriptorProto` that extends a message.
    fn extension(&mut self, scope: &str, extension: &[u8]) -> Result<(), Malformed> {
        let (mut of, mut number) = ("", 0);
        for field in Fields::of(extension) {
            match field? {
                (2, value) => of = value.text()?,
                (3, value) => number = value.number()?,
                _ => {}
            }
        }
        self.symbols.insert(joined(scope, name(extension)?));
        self.extensions.push((of.trim_start_matches('.').to_owned(), number));
        Ok(())
    }
}

/// The name of a descriptor: its first field, whatever it describes.
fn name(descriptor: &[u8]) -> Result<&str, Malformed> {
    let mut name = "";
    for field in Fields::of(descriptor) {
        if let (1, value) = field? {
            name = value.text()?;
        }
    }
    Ok(name)
}

fn joined(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::{super::wire::Message, *};

    #[test]
    fn our_own_files_describe_every_service_of_ours() {
        let own = Library::own();
        assert_eq!(own.files.len(), Service::NAMES.len());
        for symbol in Service::NAMES.into_iter().chain([
            "pixell.agent.AgentService.Invoke",
            "pixell.agent.ActionRequest.parameters",
            "pixell.agent.ActionRequest.ParametersEntry",
            ".grpc.health.v1.HealthCheckResponse.ServingStatus",
            "grpc.health.v1.HealthCheckResponse.SERVING",
            "grpc.reflection.v1.ServerReflectionRequest.message_request",
        ]) {
            assert_eq!(own.defining(symbol).map(|files| files.len()), Some(1), "{symbol}");
        }
        assert!(own.defining("pixell.agent.Nothing").is_none());
        assert!(own.named("pixell/agent.proto").is_some());
    }

    fn file(name: &str, needs: &[&str], message: &[u8]) -> Vec<u8> {
        let file = Message::default().message(4, message).text(1, name).text(2, "p");
        needs.iter().fold(file, |file, need| file.text(3, need)).bytes()
    }

    #[test]
    fn files_come_with_all_that_they_need_each_once() {
        let message = Message::default().text(1, "M").bytes();
        let files = [
            file("a.proto", &["b.proto", "c.proto"], &message),
            file("b.proto", &["c.proto", "a.proto", "missing.proto"], &[]),
            file("c.proto", &[], &[]),
        ];
        let library = Library::of_package(files.iter().cloned(), &[]);
        assert_eq!(library.defining("p.M"), Some(files.iter().map(Vec::as_slice).collect()));
    }

    #[test]
    fn extensions_are_found_by_the_message_that_they_extend() {
        let extension = Message::default().text(1, "more").text(2, ".q.Base").number(3, 100).bytes();
        let bytes = Message::default().text(1, "x.proto").text(2, "p").message(7, &extension).bytes();
        let library = Library::of_package([bytes].into_iter(), &[]);
        assert!(library.extending("q.Base", 100).is_some() && library.extending("q.Base", 1).is_none());
        assert_eq!(library.extensions("q.Base"), Some(vec![100]));
        assert_eq!(library.extensions("pixell.agent.Pong"), Some(vec![]));
        assert_eq!(library.extensions("q.Nothing"), None);
        assert!(library.defining("p.more").is_some());
    }

    #[test]
    fn a_package_that_has_a_service_of_ours_itself_is_named_once() {
        let services = ["p.Own".to_owned(), Service::NAMES[0].to_owned()];
        let library = Library::of_package([b"\xff".to_vec()].into_iter(), &services);
        let named: Vec<&str> = library.services().collect();
        assert_eq!(named.len(), 5);
        assert_eq!(named[..2], ["p.Own", Service::NAMES[0]]);
    }

    #[test]
    fn messages_that_nest_without_an_end_are_not_followed() {
        let nested = (0..10_000).fold(Message::default().text(1, "M").bytes(), |inner, _| {
            Message::default().text(1, "M").message(3, &inner).bytes()
        });
        let library = Library::of_package([file("deep.proto", &[], &nested)].into_iter(), &[]);
        assert!(library.named("deep.proto").is_some());
        assert!(library.defining("p.M.M.M").is_some());
    }
}
