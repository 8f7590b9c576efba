"""The files of ``deploy/`` are well formed, closed, and agree with the code.

That they work is shown by ``tests/stack/test_deploy.py``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from docnats.config import NatsConfig, machine
from docnats.names import Names
from docs.hooks.generate import SETTINGS
from tests.deployment import (
    DEPLOY,
    ROOT,
    SECRETS,
    compose,
    compose_as_written,
    dockerfile,
    health_check,
    manifests,
    of_the_image,
    seconds_of_grace,
)

GIB = 1024**3
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|CREDENTIAL")
VARIABLES = {
    variable
    for model in SETTINGS.values()
    for names in model.variables().values()
    for variable in names
}
TO_SETTLE = 10
"""Seconds to hand back what is not done after the grace, and to close connections."""


def program(name: str) -> str:
    """Return a program beside Python, or on PATH."""
    beside = Path(sys.executable).parent / name
    found = beside if beside.exists() else shutil.which(name)
    assert found, f"no {name}: pip install -e '.[test]'"
    return str(found)


def pod() -> dict[str, Any]:
    """Return what a worker's pod is made of."""
    spec: dict[str, Any] = manifests()["Deployment"]["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    """Return the only container of a worker's pod."""
    (only,) = pod()["containers"]
    found: dict[str, Any] = only
    return found


# docker


def test_the_compose_file_follows_the_compose_specification() -> None:
    subprocess.run(
        [
            program("check-jsonschema"),
            "--builtin-schema=vendor.compose-spec",
            DEPLOY / "compose.yaml",
        ],
        check=True,
        timeout=60,
    )


@pytest.mark.parametrize("missing", SECRETS)
def test_compose_refuses_to_start_without_a_secret(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        compose({**SECRETS, missing: ""})


def test_the_example_names_every_secret_and_gives_no_value() -> None:
    lines = (DEPLOY / "env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [
        f"{name}=" for name in SECRETS
    ]


def test_no_secret_is_written_in_the_compose_file() -> None:
    for service in compose_as_written()["services"].values():
        for name, value in service["environment"].items():
            assert not SECRET.search(name) or re.fullmatch(r'"?\$\{\w+:\?[^}]+\}"?', value), name


def test_services_are_published_on_this_machine_only() -> None:
    services = compose()["services"]
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published == ["127.0.0.1:4222:4222", "127.0.0.1:8333:8333"]


def test_of_seaweedfs_only_s3_listens_to_others() -> None:
    command = compose()["services"]["s3"]["command"]
    assert "-ip.bind=127.0.0.1" in command
    assert [flag for flag in command if "0.0.0.0" in flag] == ["-s3.ip.bind=0.0.0.0"]  # noqa: S104


def test_the_dockerfile_has_nothing_that_hadolint_objects_to() -> None:
    subprocess.run([program("hadolint"), DEPLOY / "Dockerfile"], check=True, timeout=60)


def test_the_image_runs_as_a_user_without_rights() -> None:
    (user,) = of_the_image("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user.arguments)
    security = pod()["securityContext"]
    assert user.arguments == f"{security['runAsUser']}:{security['runAsGroup']}"


def test_the_image_is_slim_of_two_stages_and_of_a_supported_python() -> None:
    first, *later = [i.arguments for i in dockerfile() if i.word == "FROM"]
    python = re.fullmatch(r"python:(3\.\d+)-slim-\w+ AS base", first)
    assert python
    assert later == ["base AS build", "base"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {python[1]}" in project["classifiers"]


def test_the_image_takes_nothing_from_elsewhere_and_no_secret() -> None:
    instructions = dockerfile()
    assert not [i for i in instructions if i.word in ("ADD", "ARG")]
    assert not [i for i in instructions if i.word == "ENV" and SECRET.search(i.arguments)]


def test_the_image_has_the_extras_that_settings_ask_for() -> None:
    (run,) = [i.arguments for i in dockerfile() if i.word == "RUN" and "pip install" in i.arguments]
    extras = re.search(r"'\.\[([a-z,]+)\]'", run)
    assert extras
    wanted = {"llm", "nkeys", "otel"}
    assert set(extras[1].split(",")) == wanted
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert wanted <= project["optional-dependencies"].keys()


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    copies = [i.arguments.split()[:-1] for i in dockerfile() if i.word == "COPY"]
    copied = [name for names in copies for name in names if not name.startswith(("--", "/"))]
    assert all((ROOT / name).exists() for name in copied)
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    everything, *seen, caches = [line for line in lines if not line.startswith("#")]
    assert (everything, caches) == ("*", "**/__pycache__")
    assert set(seen) == {f"!{name}" for name in copied}


def test_a_stopped_container_has_time_to_hand_its_jobs_back() -> None:
    worker = compose()["services"]["worker"]
    allowed = float(worker["stop_grace_period"].removesuffix("s"))
    assert allowed >= seconds_of_grace(worker["command"]) + TO_SETTLE


def test_the_health_check_is_that_of_the_command_line() -> None:
    assert health_check() == ["docnats", "health"]


def test_the_probes_are_where_the_worker_serves_them() -> None:
    (port,) = container()["ports"]
    given = manifests()["ConfigMap"]["data"]
    assert str(port["containerPort"]) == given["DOCNATS_METRICS_PORT"]
    assert given["DOCNATS_METRICS_HOST"] == "0.0.0.0"  # noqa: S104 - in a pod
    probes = {kind: container()[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness")}
    assert probes == {
        "liveness": {"path": "/healthz", "port": port["name"]},
        "readiness": {"path": "/readyz", "port": port["name"]},
    }


# Kubernetes


@pytest.mark.parametrize(
    "kind",
    [
        "ConfigMap",
        "Deployment",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ServiceAccount",
    ],
)
def test_an_object_follows_the_schema_of_kubernetes(kind: str) -> None:
    latest = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifests()[kind], latest, strict=True)


def test_there_are_no_other_objects_but_the_scaling_and_the_list_of_all() -> None:
    assert set(manifests()) == {
        "ConfigMap",
        "Deployment",
        "Kustomization",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ScaledObject",
        "ServiceAccount",
    }


def test_the_list_names_every_file_and_the_image() -> None:
    listed = manifests()["Kustomization"]
    files = {file.name for file in (DEPLOY / "kubernetes").iterdir()}
    assert set(listed["resources"]) == files - {"kustomization.yaml"}
    assert [image["name"] for image in listed["images"]] == [container()["image"]]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert [image["newTag"] for image in listed["images"]] == [version]


def test_pods_keep_to_the_restricted_standard() -> None:
    """What the Pod Security Standards of Kubernetes ask for under this name."""
    assert manifests()["Namespace"]["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted"
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod().keys()
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(volume.keys() == {"name", "emptyDir"} for volume in pod()["volumes"])
    assert pod()["automountServiceAccountToken"] is False


def test_secrets_are_named_and_never_given() -> None:
    for variable in container()["env"]:
        assert variable.keys() == {"name", "valueFrom"}
        assert variable["valueFrom"].keys() == {"secretKeyRef"}
    assert not [name for name in manifests()["ConfigMap"]["data"] if SECRET.search(name)]


def test_every_variable_is_one_that_docnats_reads() -> None:
    given = [variable["name"] for variable in container()["env"]]
    given += manifests()["ConfigMap"]["data"]
    given += compose()["services"]["worker"]["environment"]
    assert {"NATS_PASSWORD", "AWS_SECRET_ACCESS_KEY"} <= set(given) <= VARIABLES


def test_a_deleted_pod_has_time_to_hand_its_jobs_back() -> None:
    grace = seconds_of_grace(container()["args"])
    assert pod()["terminationGracePeriodSeconds"] >= grace + TO_SETTLE


def test_the_memory_is_enough_for_a_parser_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = container()["resources"]["limits"]
    cores, gibibytes = int(limits["cpu"]), int(limits["memory"].removesuffix("Gi"))
    given = compose()["services"]["worker"]["deploy"]["resources"]["limits"]
    assert given == {"cpus": str(cores), "memory": f"{gibibytes}G"}
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "memory", lambda: gibibytes * GIB)
    assert machine.most_parsers() == cores


@pytest.mark.parametrize("kind", ["Deployment", "NetworkPolicy", "PodDisruptionBudget"])
def test_what_selects_workers_finds_them(kind: str) -> None:
    labels = manifests()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    spec = manifests()[kind]["spec"]
    assert (spec.get("selector") or spec["podSelector"])["matchLabels"] == labels


def test_only_monitoring_reaches_workers_and_they_do_not_reach_the_metadata_service() -> None:
    policy = manifests()["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = policy["ingress"]
    (source,) = rule["from"]
    assert source["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "monitoring"
    }
    assert [port["port"] for port in rule["ports"]] == [container()["ports"][0]["containerPort"]]
    blocks = [to["ipBlock"] for rule in policy["egress"] for to in rule["to"] if "ipBlock" in to]
    assert [block["except"] for block in blocks] == [["169.254.0.0/16"]]
    assert all(rule["to"] and rule["ports"] for rule in policy["egress"])


def test_the_scaling_follows_the_queue_of_the_code() -> None:
    """KEDA's own schema is not at hand: these are the fields that its documentation names."""
    scaling = manifests()["ScaledObject"]
    assert scaling["apiVersion"] == "keda.sh/v1alpha1"
    spec = scaling["spec"]
    assert spec["scaleTargetRef"]["name"] == manifests()["Deployment"]["metadata"]["name"]
    assert "replicas" not in manifests()["Deployment"]["spec"]
    assert 1 <= spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "nats-jetstream"
    metadata = trigger["metadata"]
    assert all(isinstance(value, str) for value in metadata.values())
    names = Names(NatsConfig().namespace)
    assert metadata["stream"] == names.jobs_stream
    assert metadata["consumer"] == names.consumer()
    assert metadata["account"] == "$G"
    assert int(metadata["lagThreshold"]) == 2 * int(container()["resources"]["limits"]["cpu"])
    assert metadata.keys() == {
        "account",
        "consumer",
        "lagThreshold",
        "natsServerMonitoringEndpoint",
        "stream",
    }
