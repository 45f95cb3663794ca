"""Traces of streams for OpenTelemetry (extra `otel`): one span from connection to end, without audio or text.

The span goes on from the trace that the client is in, if its request carried a `traceparent` (W3C Trace Context).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from streamer.errors import InvalidRequest, StreamerError, wire_code
from streamer.session.messages import Config, Done, Ready, Result, ServerMessage

if TYPE_CHECKING:
    from streamer.config import TracingSection

_NO_EXTRA = "tracing needs opentelemetry, expected the extra otel: pip install 'streamer-speech[otel]'"

traceparent: ContextVar[str] = ContextVar("traceparent", default="")
"""The header `traceparent` of the request that is being served, set by the gateway."""


class StreamTrace(Protocol):
    """What one stream tells its tracer. May be called from any thread, in order."""

    def admitted(self, config: Config, model: str) -> None:
        """A worker took the stream."""

    def said(self, message: ServerMessage) -> None:
        """The stream has a message for its client."""

    def ended(self, error: StreamerError | None) -> None:
        """The stream is over; nothing follows."""


class Tracing(Protocol):
    """Makes a trace per stream."""

    def begin(self, session_id: str, caller: str) -> StreamTrace:
        """A client has connected; belongs to the task that serves it."""

    def close(self) -> None:
        """Send what is left; may block for some seconds."""


class _NoTrace:
    def admitted(self, config: Config, model: str) -> None:
        pass

    def said(self, message: ServerMessage) -> None:
        pass

    def ended(self, error: StreamerError | None) -> None:
        pass


class NoTracing:
    """Traces nothing, at no cost."""

    _TRACE = _NoTrace()

    def begin(self, session_id: str, caller: str) -> StreamTrace:
        """Return what swallows everything."""
        return self._TRACE

    def close(self) -> None:
        """There is nothing to send."""


def tracing_of(section: TracingSection | None) -> Tracing:
    """Return what `section` asks for; raises `InvalidRequest` if the extra is not installed."""
    if section is None:
        return NoTracing()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ModuleNotFoundError:
        raise InvalidRequest(_NO_EXTRA) from None
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(section.ratio)),
        resource=Resource.create({"service.name": section.service_name}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=section.endpoint)))
    return OpenTelemetry(provider)


class OpenTelemetry:
    """Traces to an OpenTelemetry provider, which it owns."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("streamer")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, session_id: str, caller: str) -> StreamTrace:
        """Open the span of a stream, inside the trace of its client if that said so."""
        context = self._propagator.extract({"traceparent": traceparent.get()})
        attributes = {"streamer.session": session_id, "streamer.key": caller}
        return _SpanTrace(self._tracer.start_span("stream", context, attributes=attributes))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class _SpanTrace:
    """One span; finals and the first interim are events in it."""

    def __init__(self, span: Any) -> None:
        self._span = span
        self._is_first = True

    def admitted(self, config: Config, model: str) -> None:
        for key in ("encoding", "sample_rate", "mode", "task", "language"):
            self._span.set_attribute(f"streamer.{key}", getattr(config, key))
        self._span.set_attribute("streamer.model", model)

    def said(self, message: ServerMessage) -> None:
        match message:
            case Ready():
                self._span.add_event("ready", {"streamer.next_sample": message.next_sample})
            case Result():
                self._note(message)
            case Done():
                self._span.set_attribute("streamer.audio_samples", message.audio_samples)
                self._span.set_attribute("streamer.segments", message.segments)

    def ended(self, error: StreamerError | None) -> None:
        from opentelemetry.trace import StatusCode

        if error is not None:
            self._span.set_attribute("error.type", wire_code(error).name)
            self._span.set_status(StatusCode.ERROR, str(error))
        self._span.end()

    def _note(self, result: Result) -> None:
        if result.is_final or self._is_first:
            name = "final" if result.is_final else "first interim"
            self._span.add_event(name, {"streamer.segment": result.segment_id, "streamer.sample": result.end_sample})
            self._is_first = False
