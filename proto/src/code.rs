//! The closed set of error codes that clients see, with total maps to HTTP, gRPC and a title.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $http:literal, $grpc:ident, $title:literal;)*) => {
        /// Why a request was not answered with a result. The text is the `code` of a problem document and the
        /// label of metrics; the HTTP status and the gRPC status follow from it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code once, for tests and for metrics that register their labels at start.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code of a text.
            pub fn of(text: &str) -> Option<Code> {
                Self::ALL.iter().copied().find(|code| code.text() == text)
            }

            /// The `code` of a problem document and the label of metrics.
            pub const fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status.
            pub const fn http(self) -> u16 {
                match self { $(Code::$name => $http,)* }
            }

            /// The gRPC status.
            pub const fn grpc(self) -> Grpc {
                match self { $(Code::$name => Grpc::$grpc,)* }
            }

            /// The `title` of a problem document: the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

/// The gRPC statuses that codes map to; numbers as in the gRPC specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Grpc {
    /// CANCELLED
    Cancelled = 1,
    /// INVALID_ARGUMENT
    InvalidArgument = 3,
    /// DEADLINE_EXCEEDED
    DeadlineExceeded = 4,
    /// NOT_FOUND
    NotFound = 5,
    /// ALREADY_EXISTS
    AlreadyExists = 6,
    /// PERMISSION_DENIED
    PermissionDenied = 7,
    /// RESOURCE_EXHAUSTED
    ResourceExhausted = 8,
    /// FAILED_PRECONDITION
    FailedPrecondition = 9,
    /// UNIMPLEMENTED
    Unimplemented = 12,
    /// INTERNAL
    Internal = 13,
    /// UNAVAILABLE
    Unavailable = 14,
    /// UNAUTHENTICATED
    Unauthenticated = 16,
}

codes! {
    /// The request cannot be understood.
    BadRequest = "bad_request", 400, InvalidArgument, "Bad request";
    /// The body is not JSON.
    BadJson = "bad_json", 400, InvalidArgument, "The body is not valid JSON";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", 408, InvalidArgument, "The request took too long to arrive";
    /// The path is too long.
    UriTooLong = "uri_too_long", 414, InvalidArgument, "The path is too long";
    /// The headers are too large.
    HeadersTooLarge = "headers_too_large", 431, InvalidArgument, "The headers are too large";
    /// Nobody, or somebody whose token does not hold.
    Unauthenticated = "unauthenticated", 401, Unauthenticated, "Authentication is required";
    /// A webhook whose signature does not hold.
    BadSignature = "bad_signature", 401, Unauthenticated, "The signature does not hold";
    /// Somebody without the role.
    Forbidden = "forbidden", 403, PermissionDenied, "Not allowed";
    /// No such agent, or none for this caller.
    AgentNotFound = "agent_not_found", 404, NotFound, "No such agent";
    /// No such package.
    PackageNotFound = "package_not_found", 404, NotFound, "No such package";
    /// No such session, or somebody else's.
    SessionNotFound = "session_not_found", 404, NotFound, "No such session";
    /// No such route.
    NotFound = "not_found", 404, NotFound, "Not found";
    /// The route exists for another method.
    MethodNotAllowed = "method_not_allowed", 405, InvalidArgument, "Method not allowed";
    /// No representation that the caller accepts.
    NotAcceptable = "not_acceptable", 406, InvalidArgument, "Not acceptable";
    /// The state of the resource forbids it.
    Conflict = "conflict", 409, AlreadyExists, "Conflict";
    /// The body is over its limit.
    TooLarge = "too_large", 413, InvalidArgument, "The body is too large";
    /// A body of a type that is not taken here.
    UnsupportedMediaType = "unsupported_media_type", 415, InvalidArgument, "Unsupported media type";
    /// A range outside the file.
    RangeNotSatisfiable = "range_not_satisfiable", 416, InvalidArgument, "Range not satisfiable";
    /// The session reached the end of its time.
    SessionExpired = "session_expired", 410, FailedPrecondition, "The session has expired";
    /// The session's worker is gone.
    SessionLost = "session_lost", 410, FailedPrecondition, "The session was lost";
    /// The input does not fit the agent.
    InputInvalid = "input_invalid", 422, InvalidArgument, "The input does not fit the agent";
    /// The package failed at a step.
    PackageInvalid = "package_invalid", 422, InvalidArgument, "The package was refused";
    /// Over a rate.
    RateLimited = "rate_limited", 429, ResourceExhausted, "Too many requests";
    /// Over a quota.
    QuotaExceeded = "quota_exceeded", 429, ResourceExhausted, "Quota exceeded";
    /// The caller left first: log and metric only.
    ClientClosed = "client_closed", 499, Cancelled, "The client closed the request";
    /// The agent raised, or returned what cannot be sent.
    AgentError = "agent_error", 500, Internal, "The agent failed";
    /// A fault of our own.
    Internal = "internal", 500, Internal, "Internal error";
    /// The worker died with the call.
    WorkerCrashed = "worker_crashed", 502, Unavailable, "The agent's worker died";
    /// More calls wait than may.
    QueueFull = "queue_full", 503, Unavailable, "Too many calls are waiting";
    /// Not ready yet.
    NotReady = "not_ready", 503, Unavailable, "Not ready";
    /// Switched off by an operator.
    AgentDisabled = "agent_disabled", 503, Unavailable, "The agent is disabled";
    /// The package's workers die again and again.
    CrashLoop = "crash_loop", 503, Unavailable, "The agent's workers keep dying";
    /// The runtime is going down.
    Stopping = "stopping", 503, Unavailable, "The runtime is stopping";
    /// The identity provider cannot be asked.
    IdentityUnavailable = "identity_unavailable", 503, Unavailable, "Identity cannot be checked";
    /// Usage cannot be recorded.
    MeteringUnavailable = "metering_unavailable", 503, Unavailable, "Usage cannot be recorded";
    /// The deadline passed.
    DeadlineExceeded = "deadline_exceeded", 504, DeadlineExceeded, "The deadline passed";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_a_text_of_its_own_and_an_error_status() {
        let texts: HashSet<_> = Code::ALL.iter().map(|code| code.text()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.http())));
    }
}
