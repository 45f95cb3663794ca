"""Commands about models, given at the admin port."""

from __future__ import annotations

import json

import httpx
import pytest
from structlog.testing import capture_logs

from streamer.errors import BundleError
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import gateway_of, serving, with_loop

BODY = 'expected {"model": "NAME"} or {"model": "NAME@VERSION"}, got another body'


@pytest.mark.parametrize(
    ("command", "body", "status", "answer"),
    [
        ("load", '{"model": "new"}', 200, {"loaded": "new@2.0.0"}),
        ("unload", '{"model": "new"}', 200, {"unloaded": "new@2.0.0"}),
        ("reload", "", 200, {"loaded": ["new@2.0.0"]}),
        ("load", '{"model": "old"}', 404, "unknown bundle 'old', expected one of new@2.0.0"),
        ("load", '{"model": "broken"}', 500, "bundle broken: manifest: field required"),
        ("load", "", 400, BODY),
        ("load", '["new"]', 400, BODY),
        ("load", '{"model": 1}', 400, BODY),
        ("load", '{"model": "new", "path": "/"}', 400, BODY),
        ("load", "[" * 4000, 400, BODY),
        ("load", json.dumps({"model": "n" * 5000}), 400, "expected a body of at most 4096 bytes, got more"),
    ],
)
def test_commands(command: str, body: str, status: int, answer: object) -> None:
    """What was done, or why not; a name is all that a command may say."""

    @with_loop
    async def run() -> None:
        async with serving(FakeHost(), admin_port=0) as addresses, httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{addresses.admin_port}/v1/models/{command}"
            got = await client.post(url, content=body)
            assert got.status_code == status
            assert (got.json() if status == 200 else got.json()["message"]) == answer

    run()


@with_loop
async def test_a_hangup_reloads_models() -> None:
    """What cannot be loaded is logged, and the server goes on."""
    host = FakeHost()
    gateway = gateway_of(host)
    await gateway.reload()
    host.rollout.error = BundleError("bundle new: file step.onnx is missing")
    with capture_logs() as logs:
        await gateway.reload()
    assert host.rollout.reloads == 2
    errors = [entry for entry in logs if entry["log_level"] == "error"]
    assert [(entry["event"], entry["reason"]) for entry in errors] == [
        ("models not reloaded", "bundle new: file step.onnx is missing")
    ]
