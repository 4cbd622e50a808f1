//! Two clients of gRPC that others made, grpcio and grpc-js, which call any service; and messages by hand.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Par, command::shared_cache, issuer::node, repository};

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcClient {
    /// grpcio, of Google's C core.
    Python,
    /// `@grpc/grpc-js`, on Node.
    Node,
}

/// Both of them.
pub(crate) const CLIENTS: [GrpcClient; 2] = [GrpcClient::Python, GrpcClient::Node];

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    kind: &'static str,
    path: String,
    requests: Vec<Vec<u8>>,
    metadata: Vec<(String, String)>,
    timeout: Option<f64>,
    take: Option<usize>,
    pause: f64,
}

impl Rpc {
    /// One message there, one back.
    pub(crate) fn unary(path: &str, request: impl Into<Vec<u8>>) -> Self {
        Self::of("unary", path, vec![request.into()])
    }

    /// One message there, many back.
    pub(crate) fn server(path: &str, request: impl Into<Vec<u8>>) -> Self {
        Self::of("server", path, vec![request.into()])
    }

    /// Many messages there, one back.
    pub(crate) fn client(path: &str, requests: Vec<Vec<u8>>) -> Self {
        Self::of("client", path, requests)
    }

    /// Many messages each way.
    pub(crate) fn bidi(path: &str, requests: Vec<Vec<u8>>) -> Self {
        Self::of("bidi", path, requests)
    }

    fn of(kind: &'static str, path: &str, requests: Vec<Vec<u8>>) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            requests,
            metadata: vec![],
            timeout: Some(30.0),
            take: None,
            pause: 0.0,
        }
    }

    /// With one more entry of metadata; a binary one in base64.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    /// For an agent, named by metadata.
    pub(crate) fn to(self, agent: &str) -> Self {
        self.with("x-agent-id", agent)
    }

    /// With a token.
    pub(crate) fn bearing(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// With a deadline in seconds.
    pub(crate) fn within(mut self, seconds: f64) -> Self {
        self.timeout = Some(seconds);
        self
    }

    /// Leaves after so many answers.
    pub(crate) fn taking(mut self, answers: usize) -> Self {
        self.take = Some(answers);
        self
    }

    /// With so many seconds between its messages.
    pub(crate) fn pausing(mut self, seconds: f64) -> Self {
        self.pause = seconds;
        self
    }

    fn json(&self) -> Value {
        let requests: Vec<String> = self.requests.iter().map(|request| STANDARD.encode(request)).collect();
        let (kind, path, metadata) = (self.kind, &self.path, &self.metadata);
        json!({"kind": kind, "path": path, "requests": requests, "metadata": metadata, "timeout": self.timeout,
            "take": self.take, "pause": self.pause})
    }
}

/// What came of a call.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// The status: 0 is well.
    pub(crate) code: u64,
    /// Its text.
    pub(crate) details: String,
    /// The messages.
    pub(crate) responses: Vec<Vec<u8>>,
    /// When each came, in seconds.
    pub(crate) times: Vec<f64>,
    /// How long it took.
    pub(crate) seconds: f64,
    metadata: Vec<(String, String)>,
}

impl Told {
    fn read(told: &Value) -> Self {
        let texts = |value: &Value| -> Vec<String> {
            let list = value.as_array().expect("a list");
            list.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
        };
        let pairs = |name: &str| -> Vec<(String, String)> {
            let list = told[name].as_array().expect("a list");
            list.iter().map(|pair| (texts(pair)[0].clone(), texts(pair)[1].clone())).collect()
        };
        Self {
            code: told["code"].as_u64().expect("a status"),
            details: told["details"].as_str().expect("a text").to_owned(),
            responses: texts(&told["responses"])
                .iter()
                .map(|response| STANDARD.decode(response).expect("base64"))
                .collect(),
            times: told["times"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect(),
            seconds: told["seconds"].as_f64().expect("a number"),
            metadata: pairs("initial").into_iter().chain(pairs("trailing")).collect(),
        }
    }

    /// The one message of a call that went well.
    #[track_caller]
    pub(crate) fn ok(&self) -> &[u8] {
        assert_eq!((self.code, self.responses.len()), (0, 1), "{self:?}");
        &self.responses[0]
    }

    /// That it was refused with this status; the text of it.
    #[track_caller]
    pub(crate) fn refused(&self, code: u64) -> &str {
        assert_eq!((self.code, self.responses.len()), (code, 0), "{self:?}");
        &self.details
    }

    /// An entry of its metadata, initial or trailing.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.metadata.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl GrpcClient {
    /// Makes calls one after the other, over one connection.
    pub(crate) async fn ask(self, par: &Par, calls: &[Rpc]) -> Vec<Told> {
        self.ask_at(&format!("127.0.0.1:{}", par.grpc_port), None, calls).await
    }

    /// One call.
    pub(crate) async fn one(self, par: &Par, call: Rpc) -> Told {
        self.ask(par, &[call]).await.remove(0)
    }

    /// The same at any place, over TLS if a certificate is to be trusted.
    pub(crate) async fn ask_at(self, target: &str, ca: Option<&str>, calls: &[Rpc]) -> Vec<Told> {
        let calls: Vec<Value> = calls.iter().map(Rpc::json).collect();
        let asked = json!({"target": target, "ca": ca, "calls": calls}).to_string();
        let place = repository().join("tests/harness/grpc");
        let command = match self {
            Self::Python => python(place.join("client.py")),
            Self::Node => {
                let modules = tools().join("grpc");
                assert!(modules.join("node_modules").is_dir(), "no grpc-js: run `make tools`");
                let mut command = Command::new(node());
                command.arg(place.join("client.mjs")).arg(modules);
                command
            }
        };
        let told: Value =
            serde_json::from_str(&output(command, asked).await).expect("what came of the calls");
        told.as_array().expect("a list").iter().map(Told::read).collect()
    }
}

/// A program of `tests/harness/grpc` with arguments; what it prints.
pub(crate) async fn grpc_program(name: &str, arguments: &[&str]) -> String {
    let mut command = python(repository().join("tests/harness/grpc").join(name));
    command.args(arguments);
    output(command, String::new()).await
}

fn tools() -> PathBuf {
    shared_cache().with_file_name("tools")
}

fn python(program: PathBuf) -> Command {
    let python = tools().join("venv/bin/python3");
    assert!(python.is_file(), "no {}: run `make tools`", python.display());
    let mut command = Command::new(python);
    command.arg(program).env("GRPC_VERBOSITY", "NONE");
    command
}

async fn output(mut command: Command, stdin: String) -> String {
    use std::io::Write as _;
    let running = tokio::task::spawn_blocking(move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the client starts");
        child.stdin.take().expect("stdin is piped").write_all(stdin.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    });
    let output = running.await.expect("it waited");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// A field of a message that is a text, bytes or a message.
pub(crate) fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [&[number << 3 | 2], varint(content.len()).as_slice(), content].concat()
}

/// A field of a message that is a number.
pub(crate) fn number(number: u8, value: usize) -> Vec<u8> {
    [&[number << 3], varint(value).as_slice()].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = vec![];
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
    bytes
}

/// The fields of a message: texts and numbers, by their numbers; others are passed over.
pub(crate) fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let read = |message: &mut &[u8]| {
        let mut value = 0;
        for place in 0.. {
            let byte = message[0];
            *message = &message[1..];
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        value
    };
    let mut fields = vec![];
    while !message.is_empty() {
        let tag = read(&mut message);
        if tag & 7 == 1 {
            message = &message[8..];
            continue;
        }
        let value = read(&mut message);
        match tag & 7 {
            0 => fields.push((tag >> 3, value.to_string().into_bytes())),
            2 => {
                let (content, rest) = message.split_at(usize::try_from(value).expect("a length"));
                fields.push((tag >> 3, content.to_vec()));
                message = rest;
            }
            kind => panic!("a field of kind {kind}"),
        }
    }
    fields
}

/// One field as text; empty if it is not there.
pub(crate) fn text_of(message: &[u8], number: u64) -> String {
    let found = fields(message).into_iter().find(|(own, _)| *own == number);
    found.map_or_else(String::new, |(_, content)| String::from_utf8(content).expect("text"))
}
