"""A billing side that counts meter events as Stripe documents them: each name once."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

KEY = "sk_bench"


@dataclass
class BillingSide:
    """What was counted, by the names of meters."""

    port: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    # The same by customer and meter.
    by_customer: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeated: int = 0
    known: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        """An event, and what it is answered."""
        name, identifier = form["event_name"], form["identifier"]
        with self.lock:
            if identifier in self.known:
                self.repeated += 1
                return 400, {"error": {"code": "duplicate_meter_event", "message": "it is there already"}}
            self.known.add(identifier)
            value = int(form["payload[value]"])
            self.counted[name] += value
            self.by_customer[form.get("payload[stripe_customer_id]", ""), name] += value
        return 200, {"identifier": identifier}


@contextmanager
def billing_side() -> Iterator[BillingSide]:
    """Serves on a free port of loopback until the block ends."""
    side = BillingSide()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}
            known = self.headers["Authorization"] == f"Bearer {KEY}"
            status, answer = side.take(form) if known else (401, {})
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_arguments: object) -> None:
            """Whoever sends may be killed, and what is between may break."""

    server = Server(("127.0.0.1", 0), Handler)
    side.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield side
    finally:
        server.shutdown()
        thread.join()
