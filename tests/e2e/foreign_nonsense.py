"""What clients of others' protocols might send that no client should: requests, events and files, mutated."""

from __future__ import annotations

import base64
import functools
import io
import json
import random
from dataclasses import dataclass
from urllib.parse import quote

import soundfile
from hypothesis import strategies as st

from streamer.gateway.deepgram.query import COMMON, LIVE, PRERECORDED
from streamer.gateway.riva import messages as riva
from tests.audio.compressed import container, flac, opus, silent_flac, speech
from tests.e2e.nonsense import mutated


@dataclass(frozen=True)
class Request:
    """One HTTP request as bytes, in pieces; `ends` says whether the client then listens, hangs up or just stops."""

    pieces: tuple[bytes, ...]
    ends: str


@dataclass(frozen=True)
class Frames:
    """What is sent over one WebSocket to `path`, one TCP connection or one call of the method `path`."""

    path: str
    frames: tuple[str | bytes, ...]
    leaves: bool


_WORD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["\ud800", "\x00", "a\r\nb: c", "\x1b[31m", "\u202e", "%s{0}", "x" * 3000, "../../etc/passwd"]),
)
_NUMBER = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([0, 1, 2, 8000, 16000, 48000, 1e308]))
_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBER, _WORD),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=5,
)
_RARELY = st.integers(0, 7).map(lambda n: n == 7)
_MODELS = st.sampled_from(["counter-asr", "counter-asr", "counter-asr", "counter-asr@1.0.0", "whisper-1", "../x", "\n"])
_PCM = st.builds(
    lambda size, seed: random.Random(seed).randbytes(size),
    st.sampled_from([0, 1, 2, 640, 641, 6400, 70_000]),
    st.integers(0, 9),
)


@functools.cache
def files() -> tuple[bytes, ...]:
    """Half a second of sound in every format that uploads may have, and what decodes to much more than it weighs."""
    sound = speech(8000)
    return (
        _written(sound, "WAV"),
        _written(sound, "MP3"),
        _written(sound, "OGG"),
        flac(sound, 16000),
        opus(speech(24000, 48000)),
        container("webm", "libopus", speech(24000, 48000), 48000),
        container("mp4", "aac", sound, 16000),
        silent_flac(40),
    )


def _written(samples: object, form: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, 16000, format=form)
    return data.getvalue()


@st.composite
def _file(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from(files()))
    return bytes(draw(mutated(data))) if draw(st.booleans()) else data


# OpenAI REST

_FIELDS = st.one_of(
    st.tuples(st.just("response_format"), st.sampled_from(["json", "text", "srt", "vtt", "verbose_json", "xml"])),
    st.tuples(st.just("stream"), st.sampled_from(["true", "false", "1"])),
    st.tuples(st.just("timestamp_granularities[]"), st.sampled_from(["word", "segment", "letter"])),
    st.tuples(st.just("keywords[]"), _WORD),
    st.tuples(st.just("language"), st.sampled_from(["en", "en-US", "xx", "\u202e"])),
    st.tuples(st.just("temperature"), st.sampled_from(["0", "1", "nan", "1e999"])),
    st.tuples(st.just("channel"), st.sampled_from(["0", "1", "-1", "\u0661"])),
    st.tuples(_WORD, _WORD),
)
_CHARSETS = st.sampled_from(
    ["", "", "", "; charset=utf-8", "; charset=idna", "; charset=unicode_escape", "; charset=x"]
)
_BOUNDARIES = st.sampled_from([b"limit", b"limit", b"limit", b"", b"-" * 70, b"x" * 300, b"\r\n", b'"a b"'])


@st.composite
def _form(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A content type and a body: fields in any order, parts that lack what parts have, boundaries of all kinds."""
    boundary = draw(_BOUNDARIES)
    parts = [_part("model", draw(_MODELS))]
    parts += [_part(name, value) for name, value in draw(st.lists(_FIELDS, max_size=3))]
    for _ in range(draw(st.sampled_from([1, 1, 1, 1, 0, 2]))):
        name = draw(st.sampled_from([b"file", b"file", b"file", b"file[]", b"model"]))
        file_name = draw(st.sampled_from([b"a.wav", b"\xff\r\n", b"../../a", b"", b"a" * 5000]))
        parts.append(_disposition(name, file_name) + draw(_file()))
    parts = draw(st.permutations(parts))
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    body += draw(st.sampled_from([b"--" + boundary + b"--\r\n", b"--" + boundary + b"--", b""]))
    return b"multipart/form-data; boundary=" + boundary + draw(_CHARSETS).encode(), body


def _part(name: str, value: str) -> bytes:
    head = b'Content-Disposition: form-data; name="' + name.encode(errors="surrogatepass") + b'"\r\n\r\n'
    return head + value.encode(errors="surrogatepass")


def _disposition(name: bytes, file_name: bytes) -> bytes:
    head = b'Content-Disposition: form-data; name="' + name + b'"; filename="' + file_name + b'"\r\n'
    return head + b"Content-Type: audio/wav\r\n\r\n"


_HEADERS = st.lists(
    st.sampled_from(
        [
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: identity, chunked",
            b"Content-Length: 5",
            b"Content-Length: -1",
            b"Content-Length: 99999999999999999999",
            b"Expect: 100-continue",
            b"Authorization: Bearer \xff\xfe",
            b"Origin: null",
            b"Traceparent: 00-zz-\xff-01",
            b"Upgrade: h2c",
            b"Cookie: " + b"a=b; " * 500,
            b"X-\xe9: 1",
            b" folded: 1",
            b"Range: bytes=0-0,1-1",
            b"Content-Encoding: gzip",
        ]
    ),
    max_size=2,
)


@st.composite
def uploads(draw: st.DrawFn) -> Request:
    """A transcription: most with a whole form, some damaged on the way, cut short, or shorter than they say."""
    kind, body = draw(_form())
    if draw(_RARELY):
        body = bytes(draw(mutated(body)))
    return draw(_sent("POST /v1/audio/transcriptions", kind, body))


@st.composite
def _sent(draw: st.DrawFn, line: str, kind: bytes, body: bytes) -> Request:
    target = line.encode("latin-1", "replace") + b" HTTP/1.1\r\n"
    head = [b"Host: localhost", b"Connection: close", b"Content-Type: " + kind]
    lie = draw(st.sampled_from([0, 0, 0, 0, 0, 1, -1, 10**7]))
    is_chunked = draw(_RARELY)
    if is_chunked:
        head.append(b"Transfer-Encoding: chunked")
        body = b"".join(
            b"%x\r\n%s\r\n" % (len(body[at : at + 5000]), body[at : at + 5000]) for at in range(0, len(body), 5000)
        )
        body += b"0\r\n\r\n"
    else:
        head.append(b"Content-Length: %d" % max(0, len(body) + lie))
    if draw(_RARELY):
        head += draw(_HEADERS)
    data = target + b"\r\n".join(draw(st.permutations(head))) + b"\r\n\r\n" + body
    if draw(_RARELY):
        data = bytes(draw(mutated(data)))
    cut = draw(st.integers(0, len(data)))
    ends = draw(st.sampled_from(["listens"] * 4 + ["hangs up", "stops"]))
    # A promise of more is never kept, so the client must not wait for the answer to it.
    return Request((data[:cut], data[cut:]), "stops" if ends == "listens" and (lie > 0) else ends)


# All that answers small requests: tickets, keys, commands, models, the page.

_PATHS = st.one_of(
    st.sampled_from(
        [
            "/v1/tickets",
            "/v1/models",
            "/v1/models/counter-asr",
            "/v1/models/%00",
            "/v1/models/load",
            "/v1/models/unload",
            "/v1/models/reload",
            "/v1/keys/reload",
            "/healthz",
            "/readyz",
            "/metrics",
            "/",
            "/page/index.html",
            "/page/../http.py",
            "/page/%2e%2e%2fhttp.py",
            "/page/..%5c..%5chttp.py",
            "/page//etc/passwd",
            "/page/%00",
            "/page/%ff%fe",
            "//etc/passwd",
            "/v1/stream",
            "/v1/realtime",
            "/vosk",
            "*",
            "http://other/v1/models",
        ]
    ),
    st.text(max_size=20).map(lambda text: "/" + quote(text, safe="/%?&=#")),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map(lambda text: "/" + text),
)
_COMMANDS = st.sampled_from(
    ["/v1/tickets", "/v1/models/load", "/v1/models/unload", "/v1/models/reload", "/v1/keys/reload"]
)
_QUERIES = st.sampled_from(["", "", "?ticket=t1.a.b", "?ticket=%ff", "?" + "a=b&" * 50, "?ticket=t1.%F0%9F%98%80.x"])
_METHODS = st.sampled_from(["GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "CONNECT", "X"])


@st.composite
def small_requests(draw: st.DrawFn) -> Request:
    """Any path by any method, with a body that may be a command."""
    body = draw(
        st.one_of(
            st.just(b""),
            st.fixed_dictionaries({"model": _VALUE}).map(lambda value: json.dumps(value).encode()),
            _VALUE.map(lambda value: json.dumps(value).encode()),
            st.sampled_from([b"[" * 3000, b"1" * 5000, b'{"model":"\\ud800"}', b"{" * 4096]),
        )
    )
    is_command = draw(st.booleans())
    line = f"POST {draw(_COMMANDS)}" if is_command else f"{draw(_METHODS)} {draw(_PATHS)}{draw(_QUERIES)}"
    return draw(_sent(line, b"application/json", body))


# OpenAI Realtime

_EVENT_TYPES = [
    "session.update",
    "transcription_session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "response.create",
    "conversation.item.create",
    "",
]
_SESSION_KEYS = [
    "type",
    "audio",
    "input",
    "format",
    "rate",
    "transcription",
    "model",
    "turn_detection",
    "noise_reduction",
]
_DETECTIONS = st.one_of(
    st.none(),
    st.just({"type": "server_vad"}),
    st.fixed_dictionaries({"type": st.just("server_vad"), "threshold": _NUMBER, "silence_duration_ms": _NUMBER}),
)
_SESSIONS = st.one_of(
    st.builds(
        lambda kind, detection: {
            "type": "transcription",
            "audio": {"input": {"format": {"type": kind}, "turn_detection": detection}},
        },
        st.sampled_from(["audio/pcm", "audio/pcmu", "audio/pcma", "audio/opus"]),
        _DETECTIONS,
    ),
    st.dictionaries(st.sampled_from(_SESSION_KEYS), _VALUE, max_size=4),
    st.builds(lambda audio: {"type": "transcription", "audio": {"input": audio}}, _VALUE),
)


@st.composite
def _event(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(_EVENT_TYPES))
    event: dict[str, object] = {"type": kind}
    if draw(_RARELY):
        event["event_id"] = draw(_VALUE)
    if kind.endswith("update"):
        event["session"] = draw(_SESSIONS)
    if kind.endswith("append"):
        audio = base64.b64encode(draw(_PCM)).decode()
        event["audio"] = draw(mutated(audio)) if draw(_RARELY) else draw(_VALUE) if draw(_RARELY) else audio
    text = json.dumps(event)
    return str(draw(mutated(text))) if draw(_RARELY) else text


_JUNK = st.one_of(_VALUE.map(json.dumps), st.text(max_size=30), st.sampled_from(["[" * 5000, "1" * 6000]), _PCM)


@st.composite
def realtime(draw: st.DrawFn) -> Frames:
    """Events of a Realtime session in any order, some of them damaged, and junk between."""
    query = draw(
        st.sampled_from(
            [""] * 5 + ["?model=counter-asr", "?model=%0a", "?intent=x", "?\ud800".encode("utf-8", "replace").decode()]
        )
    )
    frames = draw(st.lists(st.one_of(_event(), _event(), _event(), _JUNK), max_size=8))
    return Frames("/v1/realtime" + query, tuple(frames), draw(st.booleans()))


# vosk


_VOSK_CONFIGS = st.dictionaries(
    st.sampled_from(["sample_rate", "phrase_list", "words", "max_alternatives", "model", "x"]),
    st.one_of(_VALUE, st.sampled_from([16000, 8000.0, True, ["a b"], 3])),
    max_size=3,
)
_VOSK_TEXTS = st.one_of(
    st.just('{"config": {"sample_rate": 16000}}'),
    _VOSK_CONFIGS.map(lambda config: json.dumps({"config": config})),
    st.sampled_from(['{"eof" : 1}', '{"eof":1}', '{"reset":1}', '{"eof":1}{"eof":1}']),
)


@st.composite
def vosk(draw: st.DrawFn) -> Frames:
    """A likely beginning, then frames and texts in any order."""
    frames: list[str | bytes] = [draw(_VOSK_TEXTS)] if draw(st.booleans()) else ['{"config": {"sample_rate": 16000}}']
    frames += draw(st.lists(st.one_of(_PCM, _PCM, _VOSK_TEXTS, _JUNK), max_size=6))
    path = draw(st.sampled_from(["/", "/vosk"]))
    return Frames(path, tuple(frames), draw(st.booleans()))


# Wyoming

_AUDIO_FORMAT = {"rate": 16000, "width": 2, "channels": 1}
_WYOMING_TYPES = [
    "describe",
    "ping",
    "transcribe",
    "audio-start",
    "audio-chunk",
    "audio-chunk",
    "audio-stop",
    "select-program",
    "synthesize",
    "",
]
_LENGTHS = st.one_of(_VALUE, st.sampled_from([-1, 0, 1, 2**20 + 1, 2**63, True, 1.5]))


@st.composite
def _wyoming_event(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(_WYOMING_TYPES))
    is_audio = kind.startswith("audio") and not draw(_RARELY)
    data = _AUDIO_FORMAT if is_audio else draw(st.one_of(st.just({}), st.dictionaries(_WORD, _VALUE, max_size=2)))
    payload = draw(_PCM) if kind == "audio-chunk" else b""
    more = json.dumps(data).encode()
    header: dict[str, object] = {"type": kind, "data_length": len(more), "payload_length": len(payload)}
    if draw(_RARELY):
        header[draw(st.sampled_from(["data_length", "payload_length", "type", "data"]))] = draw(_LENGTHS)
    event = json.dumps(header).encode() + b"\n" + more + payload
    return bytes(draw(mutated(event))) if draw(_RARELY) else event


_BEGIN = json.dumps({"type": "audio-start", "data": _AUDIO_FORMAT}).encode() + b"\n"


@st.composite
def wyoming(draw: st.DrawFn) -> Frames:
    """Events in any order, in most cases after an `audio-start`; headers and lengths that do not agree."""
    frames = draw(st.lists(_wyoming_event(), max_size=6))
    if draw(st.booleans()):
        frames.insert(0, _BEGIN)
    return Frames("", tuple(frames), draw(st.booleans()))


# Riva

_ENCODINGS = st.sampled_from([*riva.ENCODINGS, 99])


@st.composite
def _recognition(draw: st.DrawFn) -> dict[str, object]:
    config: dict[str, object] = {
        "encoding": draw(st.sampled_from([1, 1, draw(_ENCODINGS)])),
        "sample_rate_hertz": draw(st.sampled_from([16000, 16000, 0, 8000, -1, 2**31 - 1])),
        "language_code": draw(st.sampled_from(["en-US", "en", "", "xx", "\n"])),
        "max_alternatives": draw(st.sampled_from([0, 1, 3, -1, 2**31 - 1])),
    }
    if draw(_RARELY):
        config["model"] = draw(st.sampled_from(["counter-asr", "../x", "\x1b"]))
    if draw(_RARELY):
        config["speech_contexts"] = [
            {"phrases": draw(st.lists(st.text(max_size=5), max_size=2)), "boost": draw(st.floats(width=32))}
        ]
    if draw(_RARELY):
        config["endpointing_config"] = {"stop_history": draw(st.integers(-(2**31), 2**31 - 1))}
    return config


@st.composite
def riva_streams(draw: st.DrawFn) -> Frames:
    """Requests of `StreamingRecognize` in any order, some of them damaged."""
    kind = riva.StreamingRecognizeRequest
    opening = kind(streaming_config={"config": draw(_recognition()), "interim_results": draw(st.booleans())})
    requests = [opening] if draw(st.booleans()) or draw(st.booleans()) else []
    requests += [kind(audio_content=draw(st.one_of(_PCM, _file()))) for _ in range(draw(st.integers(0, 4)))]
    if draw(_RARELY):
        requests.append(opening)
    frames = [request.SerializeToString() for request in requests]
    frames = [bytes(draw(mutated(frame))) if draw(_RARELY) else frame for frame in frames]
    return Frames("StreamingRecognize", tuple(frames), draw(st.booleans()))


@st.composite
def riva_calls(draw: st.DrawFn) -> Frames:
    """One `Recognize`, of audio or of a file, whole or damaged."""
    request = riva.RecognizeRequest(config=draw(_recognition()), audio=draw(st.one_of(_PCM, _file())))
    frame = request.SerializeToString()
    method = draw(st.sampled_from(["Recognize", "Recognize", "Recognize", "GetRivaSpeechRecognitionConfig"]))
    return Frames(method, (bytes(draw(mutated(frame))) if draw(_RARELY) else frame,), draw(_RARELY))


# Deepgram

_LISTEN_KEYS = st.sampled_from(sorted({*COMMON, *LIVE, *PRERECORDED, "callback", "x"}))
_LISTEN_VALUES = st.one_of(
    st.sampled_from(["true", "false", "16000", "1", "2", "linear16", "flac", "ogg-opus", "counter-asr", "en", "300"]),
    st.sampled_from(["", "-1", "nan", "1e999", "9" * 5000, "\u0661", "http://localhost/"]),
    st.text(max_size=9),
)
_LISTEN_QUERIES = st.lists(st.tuples(_LISTEN_KEYS, _LISTEN_VALUES), max_size=2).map(
    lambda items: "".join(f"&{key}={quote(value, errors='replace')}" for key, value in items)
)
_CONTROLS = st.one_of(
    st.sampled_from(["Finalize", "KeepAlive", "CloseStream", "Configure"]).map(lambda name: json.dumps({"type": name})),
    st.fixed_dictionaries({"type": st.sampled_from(["Finalize", "KeepAlive"])}, optional={"channel": _VALUE}).map(
        json.dumps
    ),
    _JUNK,
)


@st.composite
def deepgram_streams(draw: st.DrawFn) -> Frames:
    """Audio and controls in any order, to addresses that mostly can be served."""
    path = "/v1/listen?" + draw(st.sampled_from(["", "encoding=linear16&sample_rate=16000"]))
    if draw(st.booleans()):
        path += draw(_LISTEN_QUERIES)
    frames = draw(st.lists(st.one_of(_PCM, _PCM, _file(), _CONTROLS), max_size=6))
    return Frames(path, tuple(frames), draw(st.booleans()))


@st.composite
def deepgram_files(draw: st.DrawFn) -> Request:
    """One file, whole or damaged, to addresses that mostly can be served."""
    query = draw(_LISTEN_QUERIES) if draw(st.booleans()) else ""
    kind = draw(st.sampled_from([b"audio/wav", b"application/octet-stream", b"application/json", b"", b"\xff"]))
    body = draw(st.one_of(_file(), _PCM, st.just(b'{"url": "http://localhost/"}')))
    return draw(_sent(f"POST /v1/listen?{query}", kind, body))
