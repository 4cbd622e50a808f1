"""Debian's Prometheus with the rules of `conf/`, and what its API answers."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from conftest import CHECKOUT, free_ports

CONF = CHECKOUT / "conf" / "prometheus"
DASHBOARD = CHECKOUT / "conf" / "grafana" / "par.json"
# What Prometheus adds to every series that it scrapes.
ADDED = {"job", "instance", "__name__"}


def rules() -> list[dict[str, Any]]:
    """Every rule of `conf/prometheus/rules`, in the order of its groups."""
    files = sorted(CONF.glob("rules/*.yml"), key=lambda path: path.name != "recording.yml")
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_expressions() -> dict[str, str]:
    """What the panels and annotations of the dashboard ask, by their titles; its variables replaced."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }
    found |= {note["name"]: note["expr"] for note in dashboard["annotations"]["list"]}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            (asked,) = re.findall(r"label_values\((.+), \w+\)", variable["query"]["query"])
            found[variable["name"]] = asked
    values = {"$__rate_interval": "1m", "$__range": "1h", "$job": ".*", "$package": ".*"}
    for title, expression in found.items():
        for name, value in values.items():
            expression = expression.replace(name, value)
        found[title] = expression
    return found


def scaling_expressions() -> dict[str, str]:
    """What autoscalers ask, by their files."""
    folder = CHECKOUT / "conf" / "kubernetes" / "components"
    files = [folder / "hpa" / "prometheus-adapter.yaml", folder / "keda" / "scaledobject.yaml"]
    asking = r"^ *(?:- )?(?:query|seriesQuery|metricsQuery): (?:>-\n)?(.+)$"
    return {path.name: "\n".join(re.findall(asking, path.read_text(), re.MULTILINE)) for path in files}


def names(expression: str) -> set[str]:
    """The metrics that an expression asks for: those of `par` and those that rules record."""
    return set(re.findall(r"\b(?:par_|par:)[a-z0-9_:]+", expression))


def labels(expression: str) -> set[str]:
    """The labels that an expression matches, groups by or makes."""
    matched = {label for part in re.findall(r"\{([^}]*)\}", expression) for label in _matched(part)}
    grouped = {
        label.strip() for part in re.findall(r"\bby \(([^)]*)\)", expression) for label in part.split(",")
    }
    return matched | grouped


def _matched(selector: str) -> list[str]:
    return re.findall(r"(\w+) *(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', selector))


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of its API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=20) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def values(self, expression: str) -> list[float]:
        """The values of every series of an expression, now."""
        return [float(one["value"][1]) for one in self.ask("query", query=expression)["result"]]

    def series(self) -> dict[str, set[str]]:
        """The names of everything scraped or recorded, with the labels that each has."""
        found: dict[str, set[str]] = {}
        for one in self.ask("series", **{"match[]": '{__name__=~"par.+|up"}'}):
            found.setdefault(one["__name__"], set()).update(one)
        return found


@contextmanager
def prometheus(targets: Sequence[int], directory: Path) -> Iterator[Prometheus]:
    """One that scrapes these ports as the example says, only more often, until the end of the block."""
    (port,) = free_ports(1)
    config = yaml.safe_load((CONF / "prometheus.yml").read_text())
    config["global"] |= {
        "scrape_interval": "500ms",
        "scrape_timeout": "500ms",
        "evaluation_interval": "500ms",
    }
    config["rule_files"] = [str(CONF / path) for path in config["rule_files"]]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{target}" for target in targets]}]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    log = directory / "prometheus.log"
    with log.open("w") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        running = Prometheus(port)
        deadline = time.monotonic() + 30
        while not _up(running, len(targets)):
            assert child.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield running
    finally:
        child.terminate()
        try:
            child.wait(timeout=20)
        finally:
            child.kill()


def _up(running: Prometheus, targets: int) -> bool:
    try:
        return running.values("up") == [1.0] * targets
    except OSError:
        return False
