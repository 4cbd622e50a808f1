"""Kustomize and Helm: the same resources, right by their schemas, with numbers that fit each other."""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

import manifests
import pytest
import yaml
from conftest import CHECKOUT
from manifests import KUSTOMIZE, Resource, by_name, chart, container, faults, kustomize

OVERLAYS = ["overlays/production", "overlays/eks", "overlays/development", "base"]
# Whole charts in words of Helm: every branch of every template.
VALUES: list[dict[str, Any]] = [
    {},
    {"autoscaling": {"kind": "hpa"}, "serviceMonitor": {"enabled": True}, "ingress": {"enabled": True}},
    {"autoscaling": {"kind": "keda"}, "storage": {"className": "gp3"}, "networkPolicy": {"enabled": False}},
    {"env": [{"name": "LOG_LEVEL", "value": "debug"}], "image": {"digest": f"sha256:{'0' * 64}"}},
]
needs_kustomize = pytest.mark.skipif(
    not manifests.kustomizer(), reason="NOT CHECKED: neither kubectl nor kustomize is on this machine"
)
needs_helm = pytest.mark.skipif(
    sys.version_info < (3, 10), reason="NOT CHECKED: Helm's library needs Python 3.10"
)


@needs_kustomize
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_is_right_by_the_schemas(overlay: str) -> None:
    resources = kustomize(KUSTOMIZE / overlay)
    assert faults(resources) == []
    assert {"StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy"} <= {
        one["kind"] for one in resources
    }


@needs_helm
@pytest.mark.parametrize("values", VALUES, ids=lambda values: ",".join(values) or "defaults")
def test_the_chart_is_right_by_the_schemas(values: dict[str, Any]) -> None:
    assert faults(chart(**values)) == []


@needs_helm
def test_helm_finds_no_fault_in_the_chart_and_refuses_values_that_it_does_not_know() -> None:
    import helm_python

    told = helm_python.lint(str(manifests.CHART))
    # 1 is a hint.
    assert told["errors"] == [] and all(one["severity"] <= 1 for one in told["messages"]), told
    with pytest.raises(helm_python.HelmError, match="replica"):
        chart(replica=3)
    with pytest.raises(helm_python.HelmError, match="kind"):
        chart(autoscaling={"kind": "both"})


@needs_helm
@needs_kustomize
def test_the_chart_and_the_base_are_the_same() -> None:
    assert by_name(chart()) == by_name(kustomize(KUSTOMIZE / "base"))


@needs_helm
@needs_kustomize
@pytest.mark.parametrize(("overlay", "scaling"), [("production", "hpa"), ("eks", "keda")])
def test_the_chart_and_the_components_scale_and_scrape_the_same(overlay: str, scaling: str) -> None:
    made = by_name(chart(autoscaling={"kind": scaling}, serviceMonitor={"enabled": True}))
    built = by_name(kustomize(KUSTOMIZE / "overlays" / overlay))
    for kind in ("HorizontalPodAutoscaler par", "ScaledObject par", "ServiceMonitor par"):
        assert made.get(kind) == built.get(kind), kind
    assert "replicas" not in made["StatefulSet par"]["spec"]
    assert "replicas" not in built["StatefulSet par"]["spec"]


@needs_helm
@needs_kustomize
@pytest.mark.parametrize(("overlay", "example"), [("production", "nginx"), ("eks", "alb")])
def test_the_examples_of_the_chart_are_the_overlays(overlay: str, example: str) -> None:
    values = yaml.safe_load((manifests.CHART.parent / "examples" / f"{example}.yaml").read_text())
    built = by_name(kustomize(KUSTOMIZE / "overlays" / overlay))
    # Helm installs into a namespace that is there.
    built.pop("Namespace par", None)
    assert by_name(chart(**values)) == built


@needs_kustomize
def test_the_times_of_a_pod_and_its_balancer_fit_each_other() -> None:
    resources = kustomize(KUSTOMIZE / "overlays" / "eks")
    (ingress,) = [one for one in resources if one["kind"] == "Ingress"]
    told = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    _, one = container(resources)
    leaving, delay, grace = _stop(one)
    every = int(told["healthcheck-interval-seconds"])
    # Up to one interval until the first check, then all of them.
    assert delay >= every * (int(told["unhealthy-threshold-count"]) + 1)
    of_group = dict(each.split("=") for each in told["target-group-attributes"].split(","))
    assert int(of_group["deregistration_delay.timeout_seconds"]) >= leaving + delay + grace
    of_balancer = dict(each.split("=") for each in told["load-balancer-attributes"].split(","))
    defaults = yaml.safe_load((CHECKOUT / "conf" / "par.yaml").read_text())
    kept = int(defaults["server"]["idle_timeout"].removesuffix("s"))
    assert grace < int(of_balancer["idle_timeout.timeout_seconds"]) < kept


@needs_kustomize
def test_a_balancer_outside_of_the_cluster_is_let_in() -> None:
    resources = kustomize(KUSTOMIZE / "overlays" / "eks")
    (policy,) = [one for one in resources if one["kind"] == "NetworkPolicy"]
    calls, scrapes = policy["spec"]["ingress"]
    assert {"ipBlock": {"cidr": "10.0.0.0/8"}} in calls["from"] and len(scrapes["from"]) == 1
    (namespace,) = [one for one in resources if one["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"] == {"elbv2.k8s.aws/pod-readiness-gate-inject": "enabled"}


def _all() -> dict[str, list[Resource]]:
    found = {}
    if manifests.kustomizer():
        found |= {overlay: kustomize(KUSTOMIZE / overlay) for overlay in OVERLAYS}
    if sys.version_info >= (3, 10):
        found |= {f"chart {json.dumps(values)}": chart(**values) for values in VALUES}
        slow = {"preStopSeconds": 7, "delaySeconds": 20, "graceSeconds": 120, "marginSeconds": 9}
        found["chart that stops slowly"] = chart(stop=slow)
    return found


def _stop(one: Resource) -> tuple[int, int, int]:
    """Seconds of preStop, of the delay and of the grace."""
    variables = _environment(one)
    leaving: int = one["lifecycle"]["preStop"]["sleep"]["seconds"]
    return leaving, int(variables["SHUTDOWN_DELAY_SEC"]), int(variables["GRACEFUL_SHUTDOWN_TIMEOUT_SEC"])


def _environment(one: Resource) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in one["env"]}


def test_a_pod_has_the_time_that_its_end_takes() -> None:
    for name, resources in _all().items():
        pod, one = container(resources)
        leaving, delay, grace = _stop(one)
        # Five seconds for the end of workers and of the ledger.
        assert pod["terminationGracePeriodSeconds"] >= leaving + delay + grace + 5, name
        probe = one["readinessProbe"]
        assert delay >= probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"], name
        assert (probe["httpGet"]["path"], one["livenessProbe"]["httpGet"]["path"]) == (
            "/health",
            "/runtime/live",
        )


def test_a_pod_has_no_rights_and_writes_only_where_it_may() -> None:
    for name, resources in _all().items():
        pod, one = container(resources)
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        writable = {each["mountPath"] for each in one["volumeMounts"] if not each.get("readOnly")}
        assert writable == {"/var/lib/par", "/tmp"}, name
        (claim,) = [each for each in resources if each["kind"] == "StatefulSet"][0]["spec"][
            "volumeClaimTemplates"
        ]
        assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"], name


def test_secrets_come_by_reference_only() -> None:
    for name, resources in _all().items():
        _, one = container(resources)
        secret = {each["name"] for each in one["env"] if "secretKeyRef" in each.get("valueFrom", {})}
        assert secret == {"PAR_OPERATOR_TOKEN", "STRIPE_KEY", "REGISTRY_WEBHOOK_SECRET"}, name
        assert not [each for each in resources if each["kind"] == "Secret"], name


def test_every_variable_and_key_is_one_of_par() -> None:
    told = manifests.variables()
    known = yaml.safe_load((CHECKOUT / "conf" / "par.yaml").read_text())
    for name, resources in _all().items():
        _, one = container(resources)
        unknown = [variable for variable in _environment(one) if variable not in told]
        assert unknown == [], name
        for config in (each["data"]["par.yaml"] for each in resources if each["kind"] == "ConfigMap"):
            assert _keys(yaml.safe_load(config)) <= _keys(known), name


def _keys(tree: Any, path: str = "") -> set[str]:
    if not isinstance(tree, dict):
        return {path}
    return {path} | {key for name, each in tree.items() for key in _keys(each, f"{path}.{name}")}


@needs_kustomize
def test_a_fault_in_a_manifest_would_be_noticed() -> None:
    resources = copy.deepcopy(kustomize(KUSTOMIZE / "overlays" / "eks"))
    (set_,) = [one for one in resources if one["kind"] == "StatefulSet"]
    set_["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
    (scaled,) = [one for one in resources if one["kind"] == "ScaledObject"]
    scaled["spec"]["triggers"][0]["metadata"] = {"threshold": 1}
    told = faults(resources)
    assert len(told) == 2 and "readinessprobe" in told[0] and "ScaledObject" in told[1], told
