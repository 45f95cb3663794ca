"""Several processes seen as one: merged metrics, readiness, commands to all."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from streamer.gateway.fleet import Answer, Ask, Question, asking, fleet_app, merge_metrics
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import serving, with_loop


def exposed(streams: int) -> bytes:
    """The metrics of a process."""
    registry = CollectorRegistry()
    Gauge("open_streams", "Streams connected now", registry=registry).set(streams)
    Counter("streams", "Streams ended", ["outcome"], registry=registry).labels("ok").inc(streams)
    Histogram("lag_seconds", "Lag", buckets=(0.1, 1.0), registry=registry).observe(0.5)
    return generate_latest(registry)


def member(answers: Mapping[str, Answer], asked: list[Question]) -> Ask:
    async def ask(question: Question) -> Answer:
        asked.append(question)
        if question.path not in answers:
            raise ConnectionRefusedError("gone")
        return answers[question.path]

    return ask


def test_series_keep_their_values_and_get_a_process() -> None:
    """Every sample of every kind is there once per process."""
    text = merge_metrics({"0": exposed(3).decode(), "1": exposed(5).decode()}).decode()
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    for process, streams in (("0", 3), ("1", 5)):
        label = ("process", process)
        assert found.pop(("open_streams", (label,))) == streams
        assert found.pop(("streams_total", (("outcome", "ok"), label))) == streams
        assert [found.pop(("lag_seconds_bucket", (("le", le), label))) for le in ("0.1", "1.0", "+Inf")] == [0, 1, 1]
        assert found.pop(("lag_seconds_count", (label,))) == 1
        assert found.pop(("lag_seconds_sum", (label,))) == 0.5
    assert found == {}
    assert text.count("# TYPE streams_total counter") == 1


def test_a_process_that_is_gone_is_missing_and_not_ready() -> None:
    """The others' metrics are there; readiness is that of all."""
    answers = {"/metrics": Answer(200, exposed(1)), "/readyz": Answer(200, b"{}")}
    members = {"0": member(answers, []), "1": member({}, [])}
    client = TestClient(fleet_app(lambda: members))
    assert 'open_streams{process="0"} 1.0' in client.get("/metrics").text
    assert 'process="1"' not in client.get("/metrics").text
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "processes": {"0": True, "1": False}})
    del members["1"]
    assert client.get("/readyz").status_code == 200
    del members["0"]
    assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize("path", ["/v1/models/load", "/v1/models/unload", "/v1/models/reload", "/v1/keys/reload"])
def test_commands_go_to_all(path: str) -> None:
    """Each process gets body and credential; the worst status is the answer's, with what each said."""
    asked: list[Question] = []
    members = {
        "0": member({path: Answer(200, b'{"loaded": "a"}')}, asked),
        "1": member({path: Answer(404, b"unknown")}, asked),
    }
    client = TestClient(fleet_app(lambda: members))
    answer = client.post(path, content=b'{"model":"a"}', headers={"authorization": "Bearer k"})
    assert asked == [Question(path, b'{"model":"a"}', "Bearer k", 300.0)] * 2
    assert answer.status_code == 404
    assert answer.json() == {"processes": {"0": {"loaded": "a"}, "1": "unknown"}}


def test_a_command_that_is_too_long_reaches_nobody() -> None:
    """It is refused as at one server."""
    asked: list[Question] = []
    client = TestClient(fleet_app(lambda: {"0": member({}, asked)}))
    answer = client.post("/v1/models/load", content=b"x" * 5000)
    assert (answer.status_code, answer.json()["message"]) == (400, "expected a body of at most 4096 bytes, got more")
    assert asked == []


@with_loop
async def test_processes_are_asked_over_their_admin_ports() -> None:
    """Metrics of a real one; what is refused keeps its status; who is gone is an OSError."""
    async with serving(FakeHost(), admin_port=0) as addresses:
        ask = asking(f"http://127.0.0.1:{addresses.admin_port}")
        assert (await ask(Question("/metrics"))).status == 200
        assert (await ask(Question("/v1/models/load", b'{"model": "new"}'))).body == b'{"loaded":"new@2.0.0"}'
        assert (await ask(Question("/v1/models/load", b"{}"))).status == 400
    with pytest.raises(OSError, match="refused"):
        await ask(Question("/metrics"))


@with_loop
async def test_a_page_of_another_site_gives_no_commands_to_a_fleet() -> None:
    """What a browser says of the page behind a command reaches every process, which refuses it."""
    async with serving(FakeHost(), admin_port=0) as addresses:
        ask = asking(f"http://127.0.0.1:{addresses.admin_port}")
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(fleet_app(lambda: {"0": ask})), base_url="http://here.example"
        ) as client:
            for headers, status in (({}, 200), ({"origin": "https://there.example"}, 403), ({"origin": "null"}, 403)):
                assert (await client.post("/v1/keys/reload", headers=headers)).status_code == status
