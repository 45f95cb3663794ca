"""What several server processes on one port are to an operator: one place for metrics, readiness and commands."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from streamer.errors import StreamerError
from streamer.gateway.bodies import read_command
from streamer.gateway.refusals import refuse

_ANSWER_S = 5.0
# Loading and warming up a model takes a while.
_COMMAND_S = 300.0
_COMMANDS = ("/v1/models/load", "/v1/models/unload", "/v1/models/reload", "/v1/keys/reload")

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every process: GET, or POST if there is a body.

    `authorization` and `origin` are passed on, so that each refuses whom it would refuse itself: who has no key, and
    pages that a browser shows.
    """

    path: str
    body: bytes | None = None
    authorization: str = ""
    timeout_s: float = _ANSWER_S
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one process said."""

    status: int
    body: bytes


Ask = Callable[[Question], Awaitable[Answer]]
"""Asks one process; raises `OSError` if it does not answer."""


def asking(url: str) -> Ask:
    """Return what asks the admin port at `url`."""

    async def ask(question: Question) -> Answer:
        return await asyncio.to_thread(_fetch, url, question)

    return ask


def _fetch(url: str, question: Question) -> Answer:
    request = urllib.request.Request(url + question.path, question.body)
    for name, value in (("authorization", question.authorization), ("origin", question.origin)):
        if value:
            request.add_header(name, value)
    try:
        with _DIRECT.open(request, timeout=question.timeout_s) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as refusal:
        return Answer(refusal.code, refusal.read())


def fleet_app(members: Callable[[], Mapping[str, Ask]]) -> Starlette:
    """Return the app for operators of the processes that `members` returns, by name."""

    async def metrics(_: Request) -> Response:
        answers = await _ask_all(members(), Question("/metrics"))
        texts = {name: answer.body.decode() for name, answer in answers.items() if answer.status == 200}
        return Response(merge_metrics(texts), headers={"content-type": CONTENT_TYPE_LATEST})

    async def readyz(_: Request) -> Response:
        answers = await _ask_all(members(), Question("/readyz"))
        processes = {name: answer.status == 200 for name, answer in answers.items()}
        ready = bool(processes) and all(processes.values())
        return JSONResponse({"ready": ready, "processes": processes}, status_code=200 if ready else 503)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def command(request: Request) -> Response:
        authorization = request.headers.get("authorization", "")
        origin = request.headers.get("origin", "")
        question = Question(request.url.path, await read_command(request), authorization, _COMMAND_S, origin)
        answers = await _ask_all(members(), question)
        worst = max((answer.status for answer in answers.values()), default=503)
        processes = {name: _plain(answer.body) for name, answer in answers.items()}
        return JSONResponse({"processes": processes}, status_code=worst)

    routes = [Route("/metrics", metrics), Route("/readyz", readyz), Route("/healthz", healthz)]
    commands = [Route(path, command, methods=["POST"]) for path in _COMMANDS]
    return Starlette(routes=[*routes, *commands], exception_handlers={StreamerError: refuse})


def merge_metrics(texts: Mapping[str, str]) -> bytes:
    """Return the series of all processes in one text, each with the label `process`."""
    registry = CollectorRegistry()
    registry.register(_Merged(texts))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        merged: dict[str, Metric] = {}
        for process, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                metric = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    metric.samples.append(sample._replace(labels={**sample.labels, "process": process}))
        return merged.values()


async def _ask_all(members: Mapping[str, Ask], question: Question) -> dict[str, Answer]:
    """Ask all at once; who does not answer counts as 503."""
    answers = await asyncio.gather(*(ask(question) for ask in members.values()), return_exceptions=True)
    return {name: _answered(answer) for name, answer in zip(members, answers, strict=True)}


def _answered(answer: Answer | BaseException) -> Answer:
    if isinstance(answer, Answer):
        return answer
    if isinstance(answer, OSError):
        return Answer(503, b'{"error": "no answer"}')
    raise answer


def _plain(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
