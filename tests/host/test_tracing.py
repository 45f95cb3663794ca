"""Spans of streams: what they say, what they never say, and whose trace they continue."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from websockets.asyncio.client import connect as connect_websocket

from streamer.client import connect
from streamer.config import Settings, TracingSection
from streamer.errors import InvalidRequest, TooFast, UnknownBundle
from streamer.gateway.server import Gateway
from streamer.host.assemble import running_host
from streamer.host.tracing import NoTracing, OpenTelemetry, traceparent, tracing_of
from streamer.session.messages import Config, Done, Limits, Ready, Result
from tests.gateway.serving import with_loop
from tests.toys import write_counter_asr

CONFIG = Config("pcm_s16le", 16000, 1, language="en")
READY = Ready("s1", "toy@1.0.0", 16000, 16000, 320.0, 320.0, Limits(1, 1, 1, 1, None))
SECTION = TracingSection(endpoint="http://127.0.0.1:9/v1/traces")


def result(segment: int, is_final: bool) -> Result:
    return Result(segment, 0, "a secret", 8, is_final, False, 0, 1600, 1.0)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> OpenTelemetry:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetry(provider)


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def test_a_span_tells_the_course_of_a_stream(tracing: OpenTelemetry, exporter: InMemorySpanExporter) -> None:
    """Who, which model, when ready, the first interim and every final, how much audio: and no text."""
    trace = tracing.begin("s1", "kiosk")
    trace.admitted(CONFIG, "toy@1.0.0")
    for message in (READY, result(0, False), result(0, False), result(0, True), result(1, False), Done(32000, 1)):
        trace.said(message)
    trace.ended(None)
    span = only(exporter)
    assert span.name == "stream"
    assert [event.name for event in span.events] == ["ready", "first interim", "final"]
    assert span.attributes == {
        "streamer.session": "s1",
        "streamer.key": "kiosk",
        "streamer.encoding": "pcm_s16le",
        "streamer.sample_rate": 16000,
        "streamer.mode": "live",
        "streamer.task": "transcribe",
        "streamer.language": "en",
        "streamer.model": "toy@1.0.0",
        "streamer.audio_samples": 32000,
        "streamer.segments": 1,
    }
    assert "secret" not in span.to_json()


def test_an_error_is_the_status_of_the_span(tracing: OpenTelemetry, exporter: InMemorySpanExporter) -> None:
    """The error's name is the one that clients get."""
    tracing.begin("s1", "").ended(TooFast("audio is 11 s ahead"))
    span = only(exporter)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "audio is 11 s ahead")
    assert span.attributes["error.type"] == "too_fast"


def test_a_span_continues_the_trace_of_its_client(tracing: OpenTelemetry, exporter: InMemorySpanExporter) -> None:
    """The identifiers of `traceparent` are the span's trace and parent."""
    token = traceparent.set("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    try:
        tracing.begin("s1", "").ended(None)
    finally:
        traceparent.reset(token)
    span = only(exporter)
    assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"


def test_a_bad_traceparent_begins_a_trace(tracing: OpenTelemetry, exporter: InMemorySpanExporter) -> None:
    """What a client sends there can do no harm."""
    token = traceparent.set("00-zz-zz-zz")
    try:
        tracing.begin("s1", "").ended(None)
    finally:
        traceparent.reset(token)
    assert only(exporter).parent is None


def test_off_unless_asked_for() -> None:
    """Without the section nothing is traced, and nothing of the extra is needed."""
    assert isinstance(tracing_of(None), NoTracing)


def test_without_the_extra_tracing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(InvalidRequest, match=r"expected the extra otel: pip install 'streamer-speech\[otel\]'$"):
        tracing_of(SECTION)


@with_loop
async def test_streams_of_both_transports_are_traced(
    exporter: InMemorySpanExporter, tracing: OpenTelemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a client's `traceparent` to the outcome, over the wire, refused streams included."""
    monkeypatch.setattr("streamer.host.host.tracing_of", lambda _: tracing)
    write_counter_asr(tmp_path)
    settings = Settings(bundle_path=(tmp_path,), models=("counter-asr",), grpc_port=0, http_port=0)
    parent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    async with running_host(settings) as host:
        gateway = Gateway(host, settings)
        addresses = await gateway.start()
        try:
            async with connect_websocket(f"{addresses.websocket}/v1/stream", additional_headers=parent) as connection:
                await connection.send('{"type":"config","encoding":"pcm_s16le","sample_rate":16000,"channels":1}')
                await connection.send('{"type":"end"}')
                _ = [frame async for frame in connection]
            async with connect(addresses.grpc, Config("pcm_s16le", 16000, 1)) as stream:
                await stream.end()
                _ = [message async for message in stream]
            with pytest.raises(UnknownBundle):
                async with connect(addresses.grpc, Config("pcm_s16le", 16000, 1, model="x")):
                    pass
            await host.until_empty()
        finally:
            await gateway.stop()
    spans = exporter.get_finished_spans()
    told = {(f"{span.context.trace_id:032x}", span.attributes.get("error.type")) for span in spans}
    assert len(told) == 3
    assert ("0af7651916cd43dd8448eb211c80319c", None) in told
    assert {error for _, error in told} == {None, "unknown_model"}
