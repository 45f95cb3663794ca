"""What can be known of images, compose file, manifests and dashboards without an engine or a cluster."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml
from dockerfile_parse import DockerfileParser
from prometheus_client import CollectorRegistry

from streamer.config import load_settings
from streamer.engine.metrics import EngineMetrics
from streamer.host.metrics import HostMetrics

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
MANIFESTS = sorted(path.name for path in (DOCKER / "kubernetes").glob("*.yaml"))
# Of tools that are not in the bundled schemas.
CUSTOM = {"kustomization.yaml", "autoscaling.yaml"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


@pytest.fixture(scope="module")
def instructions() -> list[dict[str, Any]]:
    lines = DockerfileParser(str(DOCKER / "Dockerfile"), cache_content=True).structure
    return [line for line in lines if line["instruction"] != "COMMENT"]


@pytest.fixture(scope="module")
def compose() -> Any:
    return read(DOCKER / "compose.yaml")


@pytest.fixture(scope="module")
def deployment() -> Any:
    return read(DOCKER / "kubernetes" / "deployment.yaml")


@pytest.fixture(scope="module")
def metric_names() -> set[str]:
    """Every series that a server exposes, by the suffixes of its kind."""
    registry = CollectorRegistry()
    EngineMetrics(registry)
    of_host = HostMetrics(registry)
    suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}
    return {
        metric.name + suffix
        for metric in (*registry.collect(), *of_host.by_key.collect())
        for suffix in suffixes[metric.type]
    }


def stage(instructions: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The instructions of one stage."""
    starts = [index for index, each in enumerate(instructions) if each["instruction"] == "FROM"]
    for start, end in pairwise([*starts, len(instructions)]):
        if instructions[start]["value"].endswith(f" AS {name}"):
            return instructions[start:end]
    raise AssertionError(f"no stage {name}")


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_images_run_without_rights(instructions: list[dict[str, Any]], name: str) -> None:
    """The last word of an image is a user that is not root, by number, which Kubernetes can check."""
    last = stage(instructions, name)[-1]
    assert (last["instruction"], last["value"]) == ("USER", "10001:10001")


@pytest.mark.parametrize(("name", "runtime"), [("cpu", "cpu"), ("gpu", "gpu")])
def test_images_install_extras_that_exist(instructions: list[dict[str, Any]], name: str, runtime: str) -> None:
    """Each image has exactly one ONNX Runtime, and every extra that it asks for is in pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (run,) = [each["value"] for each in stage(instructions, name) if each["instruction"] == "RUN"]
    asked = re.search(r"\[([\w,]+)\]", run).group(1).split(",")
    assert {"cpu", "gpu"} & set(asked) == {runtime}
    assert set(asked) <= set(extras)


def test_images_are_asked_for_their_health(instructions: list[dict[str, Any]]) -> None:
    """The stage that both share has a health check and stops by SIGTERM, which drains."""
    base = {each["instruction"]: each["value"] for each in stage(instructions, "base")}
    assert "streamer-healthcheck" in base["HEALTHCHECK"]
    assert base["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(base["ENTRYPOINT"]) == ["streamer"]


def test_what_images_copy_is_there(instructions: list[dict[str, Any]]) -> None:
    """Every source of a COPY exists and is let through by .dockerignore."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [
        source.removeprefix("./")
        for each in instructions
        if each["instruction"] == "COPY"
        for source in each["value"].split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed, source


@pytest.mark.parametrize("file", ["docker/streamer.toml", "docker/kubernetes/streamer.toml"])
def test_settings_of_containers_are_valid(file: str) -> None:
    """The server reads them without complaint and listens beyond its container."""
    settings = load_settings(ROOT / file, {}, {})
    assert (settings.host, settings.grpc_port, settings.http_port) == ("0.0.0.0", 50051, 8080)


def test_compose_waits_for_the_drain(compose: Any) -> None:
    """Docker kills a server only after its streams had the time that its settings give them."""
    deadline = load_settings(DOCKER / "streamer.toml", {}, {}).drain_deadline_s
    servers = {name: each for name, each in compose["services"].items() if name.startswith("streamer")}
    assert set(servers) == {"streamer", "streamer-gpu"}
    for server in servers.values():
        assert seconds(server["stop_grace_period"]) >= deadline + 5
        assert server["read_only"] is True
        assert server["cap_drop"] == ["ALL"]


def test_compose_names_what_exists(compose: Any, instructions: list[dict[str, Any]]) -> None:
    """Bind mounts, build targets and named volumes of the compose file are there; ports stay on loopback."""
    stages = {each["value"].split()[-1] for each in instructions if each["instruction"] == "FROM"}
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DOCKER / source).is_dir() if source.startswith(".") else source in compose["volumes"], volume
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        if "build" in service:
            assert service["build"]["target"] in stages
            assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert not service["image"].endswith(":latest")


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name not in CUSTOM])
def test_manifests_fit_the_schema_of_kubernetes(name: str) -> None:
    """Strictly: a key that Kubernetes does not know is an error."""
    kubernetes_validate.validate(read(DOCKER / "kubernetes" / name), "1.33", strict=True)


def test_kustomization_names_every_manifest() -> None:
    """What `kubectl apply -k` applies is there, and nothing but the autoscaler is left out."""
    listed = read(DOCKER / "kubernetes" / "kustomization.yaml")
    assert {*listed["resources"]} | CUSTOM == set(MANIFESTS)
    for generator in listed["configMapGenerator"]:
        assert all((DOCKER / "kubernetes" / file).is_file() for file in generator["files"])


def test_selectors_find_the_pods(deployment: Any) -> None:
    """Deployment, service, disruption budget, network policy and autoscaler mean the same pods."""
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    folder = DOCKER / "kubernetes"
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert read(folder / "service.yaml")["spec"]["selector"] == labels
    assert read(folder / "disruption.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert read(folder / "network.yaml")["spec"]["podSelector"]["matchLabels"] == labels
    target = read(folder / "autoscaling.yaml")["spec"]["scaleTargetRef"]
    assert target["name"] == deployment["metadata"]["name"]


def test_pods_drain_before_they_are_killed(deployment: Any) -> None:
    """The grace period covers the pause before SIGTERM, the drain, and the last words."""
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    deadline = load_settings(DOCKER / "kubernetes" / "streamer.toml", {}, {}).drain_deadline_s
    assert pod["terminationGracePeriodSeconds"] >= pause + deadline + 10
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_pods_set_only_what_the_server_knows(deployment: Any) -> None:
    """Every variable of the container is a setting, and one that all pods must share is there."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: "x" * 32 for each in container["env"]}
    settings = load_settings(None, variables, {})
    assert settings.resume.secret is not None


def test_pods_get_no_variables_of_services(deployment: Any) -> None:
    """Kubernetes would name them like settings of the server, which refuses what it does not know."""
    assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard, the alerts and the autoscaler, with where it stands."""
    dashboard = json.loads((DOCKER / "grafana/dashboards/streamer.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"].replace("$__rate_interval", "1m")
    for group in read(DOCKER / "prometheus/alerts.yml")["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    for trigger in read(DOCKER / "kubernetes/autoscaling.yaml")["spec"]["triggers"]:
        yield "autoscaling", trigger["metadata"]["query"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_queries_ask_for_series_that_exist(where: str, expression: str, metric_names: set[str]) -> None:
    """Each query is PromQL, and the server exposes every series in it (`up` is Prometheus' own)."""
    promql_parser.parse(expression)
    asked = set(re.findall(r"\bstreamer_\w+", expression))
    assert asked or "up{" in expression, where
    assert asked <= metric_names, where


def test_dashboard_is_what_grafana_provisions() -> None:
    """Its data source is the provisioned one, its panels have places of their own."""
    dashboard = json.loads((DOCKER / "grafana/dashboards/streamer.json").read_text())
    (source,) = read(DOCKER / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    taken = [
        (x, y)
        for panel in dashboard["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
