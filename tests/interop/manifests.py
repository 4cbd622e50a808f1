"""The manifests of `conf/` as the real tools make them, and what they have to keep."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from conftest import CACHE, CHECKOUT, run

CONF = CHECKOUT / "conf"
KUSTOMIZE = CONF / "kubernetes"
CHART = CONF / "helm" / "par"
# Where `make tools` puts the schemas of operators.
SCHEMAS = CACHE / "tools" / "kubernetes"
# Groups whose resources are checked by the schemas of their operators.
OPERATORS = {"monitoring.coreos.com", "keda.sh", "gateway.networking.k8s.io"}
# Envoy Gateway publishes no schema that can be installed: its one resource is only built, not checked.
UNCHECKED = {"gateway.envoyproxy.io"}

Resource = dict[str, Any]


def kustomizer() -> list[str] | None:
    """The command that builds a folder, if this machine has one."""
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return ["kustomize", "build"] if shutil.which("kustomize") else None


def kustomize(folder: Path) -> list[Resource]:
    """The resources of a folder."""
    command = kustomizer()
    assert command
    return [one for one in yaml.safe_load_all(run(*command, folder)) if one]


def chart(**values: Any) -> list[Resource]:
    """The resources of the chart with these values, rendered by Helm itself."""
    import helm_python

    with helm_python.Chart.load(str(CHART)) as loaded:
        made = loaded.render(values, name="par", namespace="par")
    return [one for text in made.values() for one in yaml.safe_load_all(text) if one]


def faults(resources: list[Resource]) -> list[str]:
    """What the schemas of Kubernetes 1.30 and of the operators find wrong."""
    import kubernetes_validate

    found = []
    foreign = []
    for one in resources:
        group = one["apiVersion"].partition("/")[0]
        if group in OPERATORS:
            foreign.append(one)
        elif group not in UNCHECKED:
            try:
                kubernetes_validate.validate(one, "1.30", strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{one['kind']}: {'.'.join(map(str, error.path))}: {error.message}")
    return found + _operators_faults(foreign)


def _operators_faults(resources: list[Resource]) -> list[str]:
    script = CHECKOUT / "tests" / "interop" / "kubernetes" / "check.mjs"
    environment = {**os.environ, "PATH": f"{CACHE / 'tools' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["node", str(script), str(SCHEMAS)],
        input=json.dumps(resources),
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    told = json.loads(done.stdout)
    return [f"{one['kind']}: {word}" for one, word in zip(resources, told, strict=True) if word]


def by_name(resources: list[Resource]) -> dict[str, Resource]:
    """Resources by kind and name, without what only says which tool made them."""
    found = {}
    for one in resources:
        text = re.sub(r"par-config-[a-z0-9]{10}\b", "par-config", json.dumps(one))
        plain = json.loads(text)
        plain["metadata"].pop("labels", None)
        plain["metadata"].pop("namespace", None)
        template = plain.get("spec", {}).get("template", {}).get("metadata", {})
        template.pop("annotations", None)
        for one_container in plain.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            one_container["env"].sort(key=lambda variable: variable["name"])
        for claim in plain.get("spec", {}).get("volumeClaimTemplates", []):
            claim["metadata"].pop("labels", None)
        if plain["kind"] == "ConfigMap":
            plain["data"] = {key: yaml.safe_load(value) for key, value in plain["data"].items()}
        found[f"{plain['kind']} {plain['metadata']['name']}"] = plain
    return found


def variables() -> str:
    """Where PAR names its own variables: the documented configuration, and what is never passed on to agents."""
    files = [CONF / "par.yaml", CHECKOUT / "gateway" / "src" / "config" / "pass_env.rs"]
    return "\n".join(path.read_text() for path in files)


def container(resources: list[Resource]) -> tuple[Resource, Resource]:
    """The pod and its container."""
    (pod,) = [one["spec"]["template"]["spec"] for one in resources if one["kind"] == "StatefulSet"]
    (only,) = pod["containers"]
    return pod, only
