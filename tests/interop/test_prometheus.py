"""Rules and dashboard of `conf/` on what a real `par` exposes, scraped by a real Prometheus."""

from __future__ import annotations

import http.client
import math
import ssl
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import prometheus
import pytest
from conftest import CHECKOUT, Par, free_ports, serving
from prometheus import (
    CONF,
    Prometheus,
    dashboard_expressions,
    labels,
    names,
    rules,
    scaling_expressions,
)

AGENTS = ["hello", "faulty", "sessions"]


@dataclass
class Scraped:
    """Two `par` and who scrapes them."""

    #: Does all that is counted.
    par: Par
    prometheus: Prometheus

    def traffic(self) -> None:
        """One call of every kind: one that answers, raises, ends its worker, remembers."""
        for agent in ("hello", "raises", "exits"):
            self.par.request("POST", f"/agents/{agent}/invoke", {})
        envelope = {"input": {"text": "hello"}, "session_id": "scraped"}
        self.par.request("POST", "/runtime/agents/chat/invoke", envelope)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """One with TLS, webhooks, billing and packages that do everything; another that asks who calls."""
    directory = tmp_path_factory.mktemp("prometheus")
    one, other = directory / "one", directory / "other"
    one.mkdir()
    other.mkdir()
    (nobody,) = free_ports(1)
    agents = [str(CHECKOUT / "tests" / "agents" / name) for name in AGENTS]
    everything = {
        "HOST": "127.0.0.1",
        "STRIPE_KEY": "sk_test_nobody",
        "STRIPE_API_URL": f"http://127.0.0.1:{nobody}",
        "WEBHOOK_URL": f"http://127.0.0.1:{nobody}/events",
        "WEBHOOK_SECRET": "nobody-listens-to-this-secret-at-all",
    }
    identity = {
        "HOST": "127.0.0.1",
        "OIDC_ISSUER": f"http://127.0.0.1:{nobody}",
        "OIDC_AUDIENCE": "agents",
    }
    with (
        serving(one, "--tls", "self-signed", *agents, **everything) as par,
        serving(other, agents[0], **identity) as asking,
        prometheus.prometheus([par.metrics, asking.metrics], directory) as running,
    ):
        _refused_for_its_size(par)
        _replaced(par, directory)
        yield Scraped(par, running)


def _refused_for_its_size(par: Par) -> None:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", par.port, timeout=20, context=ssl._create_unverified_context()
    )
    connection.putrequest("POST", "/agents/hello/invoke")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def _replaced(par: Par, directory: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        archive = directory / f"moving-{version}.apkg"
        with zipfile.ZipFile(archive, "w") as out:
            out.writestr("agent.yaml", f"name: moving\nversion: '{version}'\nentrypoint: main:run\n")
            out.writestr("main.py", f"def run(input):\n    return '{version}'\n")
        upload(par, archive)


def upload(par: Par, archive: Path) -> None:
    """Mount a package by its bytes, which needs no root for paths."""
    edge = "------------edge"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{archive.name}"\r\n\r\n'
    body = head.encode() + archive.read_bytes() + f"\r\n--{edge}--\r\n".encode()
    connection = http.client.HTTPSConnection(
        "127.0.0.1", par.port, timeout=120, context=ssl._create_unverified_context()
    )
    kind = {"Content-Type": f"multipart/form-data; boundary={edge}", "Authorization": f"Bearer {par.token}"}
    connection.request("POST", "/runtime/packages/upload", body, kind)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


def test_every_recording_rule_gives_values_of_a_real_par(scraped: Scraped) -> None:
    missing = {rule["record"] for rule in rules() if "record" in rule}
    deadline = time.monotonic() + 60
    while missing:
        assert time.monotonic() < deadline, f"no value of {sorted(missing)}"
        scraped.traffic()
        time.sleep(0.3)
        for name in sorted(missing):
            values = scraped.prometheus.values(name)
            if values and any(math.isfinite(value) for value in values):
                missing.discard(name)
    told = scraped.prometheus.ask("rules")["groups"]
    unwell = [rule for group in told for rule in group["rules"] if rule["health"] != "ok"]
    assert unwell == []


def test_rules_and_dashboard_name_nothing_that_par_does_not_expose(scraped: Scraped) -> None:
    asked = {rule.get("record") or rule["alert"]: rule["expr"] for rule in rules()} | dashboard_expressions()
    scaling = scaling_expressions()
    wanted = {name for expression in [*asked.values(), *scaling.values()] for name in names(expression)}
    assert all(names(expression) for expression in scaling.values())
    deadline = time.monotonic() + 60
    while wanted - scraped.prometheus.series().keys():
        known = scraped.prometheus.series().keys()
        every = asked | scaling
        faults = {title: names(text) - known for title, text in every.items() if names(text) - known}
        assert time.monotonic() < deadline, faults
        scraped.traffic()
        time.sleep(0.3)
    known_labels = scraped.prometheus.series()
    for title, expression in asked.items():
        made = {"package"} if "label_replace" in expression else set()
        of_all = [known_labels.get(name, set()) for name in names(expression)]
        has = set().union(*of_all) | made | prometheus.ADDED
        assert labels(expression) <= has, f"{title}: {labels(expression) - has}"
        scraped.prometheus.ask("query", query=expression)


def test_a_name_or_label_that_is_wrong_would_be_noticed() -> None:
    assert names('sum(rate(par_nothing_total{job="x"}[5m])) / par:no:rule') == {
        "par_nothing_total",
        "par:no:rule",
    }
    assert labels('sum by (job, where) (par_workers{state="busy", kind!~"a,b=c"})') == {
        "job",
        "where",
        "state",
        "kind",
    }


def test_no_alert_fires_on_a_par_that_is_well(tmp_path_factory: pytest.TempPathFactory) -> None:
    # A short name: the path of a socket is at most 107 bytes long.
    directory = tmp_path_factory.mktemp("well")
    with (
        serving(directory, "--dev", str(CHECKOUT / "tests" / "agents" / "hello")) as par,
        prometheus.prometheus([par.metrics], directory) as running,
    ):
        while not running.values("par:requests:rate5m > 0"):
            par.invoke("hello", {})
            time.sleep(0.3)
        assert running.ask("alerts")["alerts"] == []


def promtool(*arguments: str | Path, stdin: str | None = None) -> str:
    """What it says; its complaint is the test's."""
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, input=stdin, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_no_fault_in_configuration_rules_and_metrics(par: Par) -> None:
    promtool("check", "config", CONF / "prometheus.yml")
    promtool("check", "rules", *sorted(CONF.glob("rules/*.yml")))
    connection = http.client.HTTPConnection("127.0.0.1", par.metrics, timeout=20)
    connection.request("GET", "/metrics")
    promtool("check", "metrics", stdin=connection.getresponse().read().decode())
    connection.close()


def test_every_alert_fires_when_it_should_and_is_silent_when_not() -> None:
    files = sorted(CONF.glob("tests/*.yml"))
    promtool("test", "rules", *files)
    tested = "\n".join(path.read_text() for path in files)
    untested = [rule["alert"] for rule in rules() if "alert" in rule and rule["alert"] not in tested]
    assert untested == []
