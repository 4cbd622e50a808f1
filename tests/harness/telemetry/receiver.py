"""A receiver of OTLP, of the official messages: by gRPC and by HTTP, on free ports.

The first line that it prints are its ports; then one line for each request that it takes, with what was in it. `--fail
N` turns the first N requests away, as a receiver does that is full. With `--certificate` and `--key` it speaks TLS, and
with `--client-authority` it asks for a certificate.
"""

from __future__ import annotations

import argparse
import gzip
import json
import ssl
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

_lock = threading.Lock()
_failing = 0


def say(what: dict[str, Any]) -> None:
    with _lock:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def fails() -> bool:
    global _failing
    with _lock:
        _failing -= 1
        return _failing >= 0


def value(any_value: Any) -> Any:
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(one) for one in any_value.array_value.values]
    if kind == "kvlist_value":
        return mapping(any_value.kvlist_value.values)
    return getattr(any_value, kind) if kind else None


def mapping(pairs: Any) -> dict[str, Any]:
    return {pair.key: value(pair.value) for pair in pairs}


def spans(request: Any) -> dict[str, Any]:
    if not any(whole.scope_spans for whole in request.resource_spans):
        return {"spans": []}
    (whole,) = request.resource_spans
    (scoped,) = whole.scope_spans
    return {
        "resource": mapping(whole.resource.attributes),
        "schema": scoped.schema_url,
        "scope": scoped.scope.name,
        "spans": [
            {
                "trace": span.trace_id.hex(),
                "id": span.span_id.hex(),
                "parent": span.parent_span_id.hex(),
                "state": span.trace_state,
                "name": span.name,
                "kind": trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                "begin": span.start_time_unix_nano,
                "end": span.end_time_unix_nano,
                "attributes": mapping(span.attributes),
                "failed": span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                "message": span.status.message,
            }
            for span in scoped.spans
        ],
    }


def point(one: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"attributes": mapping(one.attributes)}
    if hasattr(one, "as_double"):
        said["value"] = one.as_double
        return said
    said.update(
        count=one.count,
        sum=one.sum,
        buckets=list(one.bucket_counts),
        bounds=list(one.explicit_bounds),
        exemplars=[
            {"trace": kept.trace_id.hex(), "span": kept.span_id.hex(), "value": kept.as_double}
            for kept in one.exemplars
        ],
    )
    return said


def metrics(request: Any) -> dict[str, Any]:
    if not any(whole.scope_metrics for whole in request.resource_metrics):
        return {"metrics": {}}
    (whole,) = request.resource_metrics
    (scoped,) = whole.scope_metrics
    told = {}
    for metric in scoped.metrics:
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind)
        told[metric.name] = {
            "unit": metric.unit,
            "kind": kind,
            "cumulative": getattr(data, "aggregation_temporality", 0) == 2,
            "points": [point(one) for one in data.data_points],
        }
    return {"resource": mapping(whole.resource.attributes), "scope": scoped.scope.name, "metrics": told}


SIGNALS = {
    "traces": (
        trace_service_pb2.ExportTraceServiceRequest,
        trace_service_pb2.ExportTraceServiceResponse,
        spans,
    ),
    "metrics": (
        metrics_service_pb2.ExportMetricsServiceRequest,
        metrics_service_pb2.ExportMetricsServiceResponse,
        metrics,
    ),
}


def take(signal: str, via: str, request: Any, headers: dict[str, str], peer: str) -> None:
    say({"signal": signal, "via": via, "headers": headers, "peer": peer, **SIGNALS[signal][2](request)})


class Servicer:
    def __init__(self, signal: str) -> None:
        self.signal = signal

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        if fails():
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        headers = {key: text for key, text in context.invocation_metadata() if isinstance(text, str)}
        named = context.auth_context().get("x509_common_name", [b""])
        take(self.signal, "grpc", request, headers, named[0].decode())
        return SIGNALS[self.signal][1]()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        signal = self.path.rpartition("/")[2]
        if fails():
            self.answer(503, b"")
            return
        if signal not in SIGNALS or self.headers["content-type"] != "application/x-protobuf":
            self.answer(400, b"")
            return
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        headers = {key.lower(): text for key, text in self.headers.items()}
        message = SIGNALS[signal][0].FromString(body)
        take(signal, "http", message, {**headers, "path": self.path}, self.peer())
        self.answer(200, SIGNALS[signal][1]().SerializeToString())

    def peer(self) -> str:
        shown = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        return dict(pair for pairs in (shown or {}).get("subject", ()) for pair in pairs).get(
            "commonName", ""
        )

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stdout is for what was taken."""


class Web(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Whoever does not trust us breaks off."""


def main() -> None:
    global _failing
    parser = argparse.ArgumentParser()
    parser.add_argument("--fail", type=int, default=0)
    for name in ("--certificate", "--key", "--client-authority"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    _failing = asked.fail
    server = grpc.server(futures.ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer("traces"), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Servicer("metrics"), server)
    http = Web(("127.0.0.1", 0), Handler)
    if asked.certificate:
        known = asked.client_authority
        credentials = grpc.ssl_server_credentials(
            [(asked.key.read_bytes(), asked.certificate.read_bytes())],
            root_certificates=known.read_bytes() if known else None,
            require_client_auth=bool(known),
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(asked.certificate, asked.key)
        if known:
            tls.verify_mode = ssl.CERT_REQUIRED
            tls.load_verify_locations(known)
        # By the thread of the connection, and not by the one that waits for others.
        http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    threading.Thread(target=http.serve_forever, daemon=True).start()
    say({"grpc": port, "http": http.server_port})
    # Its end is that of whoever has started it.
    sys.stdin.read()


if __name__ == "__main__":
    main()
