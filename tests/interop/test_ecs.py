"""The files of `conf/ecs` as the cloud's own client reads them, registered with a server that behaves like it."""

from __future__ import annotations

import json
from typing import Any

import boto3
import botocore.exceptions
import manifests
import pytest
import yaml
from conftest import CHECKOUT
from moto import mock_aws

ECS = CHECKOUT / "conf" / "ecs"
REGION = "us-east-2"


def read(name: str) -> Any:
    """One of the files."""
    return json.loads((ECS / f"{name}.json").read_text())


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "opens-nothing")


def test_task_service_and_target_group_are_taken() -> None:
    with mock_aws():
        ec2 = boto3.client("ec2", REGION)
        network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(
                VpcId=network, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}"
            )
            for number, zone in enumerate("ab")
        ]
        balancers = boto3.client("elbv2", REGION)
        group = balancers.create_target_group(**read("target-group") | {"VpcId": network})
        (arn,) = [one["TargetGroupArn"] for one in group["TargetGroups"]]
        names = [one["Subnet"]["SubnetId"] for one in subnets]
        balancer = balancers.create_load_balancer(Name="par", Subnets=names)["LoadBalancers"][0]
        attributes = read("attributes")
        balancers.modify_target_group_attributes(TargetGroupArn=arn, Attributes=attributes["TargetGroup"])
        balancers.modify_load_balancer_attributes(
            LoadBalancerArn=balancer["LoadBalancerArn"], Attributes=attributes["LoadBalancer"]
        )
        ecs = boto3.client("ecs", REGION)
        ecs.create_cluster(clusterName="par")
        task = ecs.register_task_definition(**read("task-definition"))["taskDefinition"]
        assert task["family"] == "par" and task["status"] == "ACTIVE"
        service = read("service")
        service["loadBalancers"][0]["targetGroupArn"] = arn
        group_id = ec2.create_security_group(GroupName="par", Description="par", VpcId=network)["GroupId"]
        service["networkConfiguration"]["awsvpcConfiguration"] |= {
            "subnets": names,
            "securityGroups": [group_id],
        }
        assert ecs.create_service(**service)["service"]["desiredCount"] == 2


def test_a_word_that_the_client_does_not_know_would_be_noticed() -> None:
    with mock_aws(), pytest.raises(botocore.exceptions.ParamValidationError, match="stopTimeOut"):
        task = read("task-definition")
        task["containerDefinitions"][0]["stopTimeOut"] = 5
        boto3.client("ecs", REGION).register_task_definition(**task)


def test_the_times_of_task_and_balancer_fit_each_other() -> None:
    (one,) = read("task-definition")["containerDefinitions"]
    variables = {each["name"]: each["value"] for each in one["environment"]}
    delay = int(variables["SHUTDOWN_DELAY_SEC"])
    grace = int(variables["GRACEFUL_SHUTDOWN_TIMEOUT_SEC"])
    assert delay + grace + 5 <= one["stopTimeout"] <= 120
    group = read("target-group")
    every, checks = group["HealthCheckIntervalSeconds"], group["UnhealthyThresholdCount"]
    # Up to one interval until the first check, then all of them.
    assert delay >= every * (checks + 1)
    attributes = read("attributes")
    of_group = {each["Key"]: each["Value"] for each in attributes["TargetGroup"]}
    of_balancer = {each["Key"]: each["Value"] for each in attributes["LoadBalancer"]}
    assert int(of_group["deregistration_delay.timeout_seconds"]) >= delay + grace
    defaults = yaml.safe_load((CHECKOUT / "conf" / "par.yaml").read_text())
    kept = int(defaults["server"]["idle_timeout"].removesuffix("s"))
    assert grace < int(of_balancer["idle_timeout.timeout_seconds"]) < kept
    mounted = {each["sourceVolume"] for each in one["mountPoints"]}
    assert mounted == {each["name"] for each in read("task-definition")["volumes"]}
    assert read("service")["volumeConfigurations"][0]["name"] in mounted


def test_secrets_come_by_reference_and_variables_are_those_of_par() -> None:
    (one,) = read("task-definition")["containerDefinitions"]
    told = manifests.variables()
    names = [each["name"] for each in one["environment"] + one["secrets"]]
    assert [name for name in names if name not in told] == []
    assert all(each["valueFrom"].startswith("arn:aws:secretsmanager:") for each in one["secrets"])
