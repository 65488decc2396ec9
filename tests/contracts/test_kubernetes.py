"""The manifests have the shape that KubeRay wants and the safety that we promise.

Not validated against the CRD schemas, which are not at hand offline: the required keys are written down here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
import typer
import yaml

from cluster.commands.runs import run
from cluster.recipe.load import shipped
from serving.config import ReplicaConfig, ServingConfig
from serving.http.keys import new_key

MANIFESTS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in (resources.files("cluster") / "deploy" / "kubernetes").iterdir()
    if path.name.endswith(".yaml")
}
RAY = [name for name, manifest in MANIFESTS.items() if manifest["apiVersion"] == "ray.io/v1"]
CLUSTER_AT = {"RayCluster": ("spec",), "RayJob": ("spec", "rayClusterSpec"), "RayService": ("spec", "rayClusterConfig")}


def at(manifest: Any, *path: str) -> Any:
    for key in path:
        manifest = manifest[key]
    return manifest


def cluster_of(name: str) -> dict[str, Any]:
    return at(MANIFESTS[name], *CLUSTER_AT[MANIFESTS[name]["kind"]])


def pods(name: str) -> Iterator[dict[str, Any]]:
    cluster = cluster_of(name)
    yield cluster["headGroupSpec"]["template"]
    yield from (group["template"] for group in cluster["workerGroupSpecs"])


def test_there_is_one_of_each_kind() -> None:
    kinds = sorted(m["kind"] for m in MANIFESTS.values())
    assert kinds == ["NetworkPolicy", "PersistentVolumeClaim", "RayCluster", "RayJob", "RayService"]


@pytest.mark.parametrize("name", RAY)
def test_token_authentication_is_on_and_the_ray_version_is_the_pinned_one(name: str) -> None:
    cluster = cluster_of(name)
    assert cluster["authOptions"] == {"mode": "token"}
    lock = (resources.files("cluster").joinpath("..", "requirements", "gpu.txt")).read_text(encoding="utf-8")
    assert f"ray=={cluster['rayVersion']}\n" in lock


@pytest.mark.parametrize("name", RAY)
def test_nothing_of_ray_is_published_outside_the_cluster(name: str) -> None:
    assert cluster_of(name)["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert not any(pod["spec"].get("hostNetwork") for pod in pods(name))


@pytest.mark.parametrize("name", RAY)
def test_each_container_has_limits_equal_to_its_requests_and_cannot_gain_rights(name: str) -> None:
    for pod in pods(name):
        for container in pod["spec"]["containers"]:
            asked = container["resources"]
            assert asked["requests"] == asked["limits"]
            assert {"cpu", "memory"} <= asked["requests"].keys()
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("name", RAY)
def test_what_is_mounted_is_declared_and_the_head_comes_first(name: str) -> None:
    for pod in pods(name):
        declared = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        mounted = {m["name"] for c in pod["spec"]["containers"] for m in c.get("volumeMounts", [])}
        assert mounted == declared
    assert next(pods(name))["spec"]["containers"][0]["name"] == "ray-head"


@pytest.mark.parametrize("name", RAY)
def test_worker_groups_have_bounds_in_order_and_names_of_their_own(name: str) -> None:
    groups = cluster_of(name)["workerGroupSpecs"]
    assert len({g["groupName"] for g in groups}) == len(groups)
    for group in groups:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert "rayStartParams" in group


def test_the_cluster_scales_its_gpu_and_cpu_workers_apart() -> None:
    cluster = cluster_of("raycluster.yaml")
    assert cluster["enableInTreeAutoscaling"] is True
    assert {g["groupName"]: g["minReplicas"] < g["maxReplicas"] for g in cluster["workerGroupSpecs"]} == {
        "gpu": True,
        "cpu": True,
    }


def test_the_job_runs_a_command_and_a_recipe_that_exist_and_resumes() -> None:
    words = shlex.split(MANIFESTS["rayjob.yaml"]["spec"]["entrypoint"])
    assert words[:4] == ["python", "-m", "cluster", "run"]
    assert words[4] in shipped()
    app = typer.Typer()
    app.command()(run.main)
    context = typer.main.get_command(app).make_context("run", words[4:])
    assert context.params["resume"] is True
    assert str(context.params["run_dir"]).startswith("/runs/")


def test_the_service_hands_our_application_arguments_that_it_takes() -> None:
    config = yaml.safe_load(MANIFESTS["rayservice.yaml"]["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    assert application["import_path"] == "cluster.serve.server:build"
    arguments = dict(application["args"])
    assert arguments.pop("api_key_file").startswith("/keys/")
    ReplicaConfig.model_validate(arguments.pop("replicas"))
    _, record = new_key("test", "read")
    ServingConfig.model_validate({**arguments, "keys": (record,)})


def test_the_policy_shuts_every_port_of_ray_to_other_pods() -> None:
    policy = MANIFESTS["networkpolicy.yaml"]["spec"]
    ours = {"app.kubernetes.io/part-of": "interplay"}
    assert policy["podSelector"]["matchLabels"] == ours
    assert policy["policyTypes"] == ["Ingress"]
    assert all(pod["metadata"]["labels"] == ours for name in RAY for pod in pods(name))
    open_to_others = {
        label: [port["port"] for port in rule["ports"]]
        for rule in policy["ingress"]
        if "ports" in rule
        for peer in rule["from"]
        for label in peer["namespaceSelector"]["matchLabels"]
    }
    assert open_to_others == {"interplay/may-call": [8000], "interplay/may-scrape": [8080]}


def test_the_policy_lets_in_whom_a_job_and_a_service_need() -> None:
    ours, operator = (
        peer["podSelector"]["matchLabels"]
        for rule in MANIFESTS["networkpolicy.yaml"]["spec"]["ingress"]
        for peer in rule["from"]
        if "podSelector" in peer
    )
    # Helm names the operator otherwise than kustomize; both give it this component.
    assert operator == {"app.kubernetes.io/component": "kuberay-operator"}
    # KubeRay's own template for the pod that sends the job has no label of ours.
    assert MANIFESTS["rayjob.yaml"]["spec"]["submitterPodTemplate"]["metadata"]["labels"] == ours
