//! Attacks by what is sent over HTTP, one row each. After every row the runtime answers, and none reaches an
//! agent that it should not have reached.

mod drips;
mod floods;
mod size;
mod smuggling;
mod spelling;

use std::time::Duration;

use serde_json::json;

use crate::harness::{Package, Par, RawConnection, eventually, par, scratch, status_of};

/// How long a connection that is to be closed may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the witness says when it is called.
const CALLED: &str = "the witness was called";

/// The request that must never be served.
const SMUGGLED: &str = "POST /agents/witness/invoke HTTP/1.1\r\nHost: x\r\n\
    Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// The beginning of an honest call, up to its framing.
const CALL: &str = "POST /agents/echo/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

struct Target {
    par: Par,
    _packages: tempfile::TempDir,
}

impl Target {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let packages = scratch();
        let code = format!("def run(input):\n    print('{CALLED}', flush=True)\n    return 1\n");
        let witness = Package::with_main("witness", "1.0.0", &code).apkg(packages.path());
        let mut builder = par().production().agent("echo").source(witness);
        for (key, value) in settings {
            builder = builder.setting(key, *value);
        }
        Self { par: builder.start().await, _packages: packages }
    }

    async fn send(&self, bytes: &[u8]) -> RawConnection {
        let mut connection = RawConnection::open(self.par.port).await;
        // A refusal may come before all is sent.
        connection.send(bytes).await;
        connection
    }

    /// Sends a row that must end its connection with one of these answers, and with no second one.
    async fn refused(&self, name: &str, bytes: &[u8], statuses: &[u16]) {
        let told = self.send(bytes).await.read_to_close(PATIENCE).await;
        let told = told.unwrap_or_else(|| panic!("{name}: the connection stays open"));
        assert!(statuses.contains(&status_of(&told)), "{name}: {told}");
        assert_eq!(told.matches("HTTP/1.1 ").count(), 1, "{name}: more than one answer: {told}");
        let head = told.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        assert!(head.contains("application/problem+json"), "{name}: {told}");
        assert!(!head.contains("\r\nserver:"), "{name}: {told}");
        self.answers(name).await;
    }

    /// Sends a row that is answered by one of these and nothing else.
    async fn answered(&self, name: &str, bytes: &[u8], statuses: &[u16]) -> String {
        let told = self.send(bytes).await.read(PATIENCE).await;
        assert!(statuses.contains(&status_of(&told)), "{name}: {told}");
        self.answers(name).await;
        told
    }

    async fn answers(&self, name: &str) {
        let mut call = RawConnection::open(self.par.port).await;
        call.send(format!("{CALL}Content-Length: 1\r\n\r\n7")).await;
        let told = call.read(PATIENCE).await;
        assert!(status_of(&told) == 200 && told.ends_with('7'), "after {name}: {told}");
    }

    /// Calls the witness, and finds that this was the first time.
    async fn nobody_was_called(&self) {
        let calls = || self.par.lines().iter().filter(|line| line.mentions(CALLED)).count();
        assert_eq!(self.par.http.invoke("witness", &json!({})).await.ok(), json!(1));
        eventually("the witness speaks", async || (calls() > 0).then_some(())).await;
        assert_eq!(calls(), 1, "{}", self.par.everything_said());
    }
}
