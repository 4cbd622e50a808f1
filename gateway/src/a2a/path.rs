//! Which service and method a path of gRPC names.

/// A call by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// The service with its package.
    pub(crate) service: &'a str,
    /// The method.
    pub(crate) method: &'a str,
}

/// Services that the runtime answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Calls.
    Agent,
    /// Whether something answers.
    Health,
    /// What there is to call.
    Reflection,
}

impl Service {
    /// Every name.
    pub(crate) const NAMES: [&'static str; 4] = [
        "pixell.agent.AgentService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];

    /// The service of a name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "pixell.agent.AgentService" => Some(Self::Agent),
            "grpc.health.v1.Health" => Some(Self::Health),
            "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection" => {
                Some(Self::Reflection)
            }
            _ => None,
        }
    }
}

/// Reads `/{service}/{method}`. None: it is something else.
pub(crate) fn wanted(path: &str) -> Option<Wanted<'_>> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let is_call = !service.is_empty() && !method.is_empty() && !method.contains('/');
    is_call.then_some(Wanted { service, method })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_and_a_method() {
        assert_eq!(wanted("/p.S/M"), Some(Wanted { service: "p.S", method: "M" }));
        for path in ["", "/", "/p.S", "/p.S/", "//M", "/p.S/M/x", "p.S/M"] {
            assert_eq!(wanted(path), None, "{path}");
        }
    }

    #[test]
    fn every_name_of_ours_is_a_service() {
        assert!(Service::NAMES.iter().all(|name| Service::of(name).is_some()));
        assert_eq!(Service::of("pixell.agent.agentservice"), None);
    }
}
