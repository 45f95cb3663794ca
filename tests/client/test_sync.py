"""The client for programs without an event loop, against a gateway over a fake host."""

from __future__ import annotations

import _thread
import io
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from streamer.client import Client, Config, Microphone, Reconnect
from streamer.client.background import Background
from streamer.errors import InvalidRequest, ModelFault, Overloaded
from streamer.session.messages import Audio, End, Vad
from tests.client.test_microphone import Card
from tests.client.test_wav import wav
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import CONFIG, gateway_of

every_transport = pytest.mark.parametrize("transport", ["grpc", "websocket"])
NO_RETRY = Reconnect(give_up_after_s=0.001)


@contextmanager
def served(host, transport="websocket"):
    """A client of a gateway that runs on a thread of its own; leaves no thread behind."""
    background = Background("test-server")
    gateway = background.run(made(host))
    try:
        addresses = background.run(gateway.start())
        with Client(getattr(addresses, transport), reconnect=NO_RETRY) as client:
            yield client
    finally:
        background.run(gateway.stop())
        background.close()


async def made(host):
    return gateway_of(host)


def heard(host):
    """The bytes of audio of the last stream, and its last message."""
    got = host.streams[-1].got
    return b"".join(message.data for message in got if isinstance(message, Audio)), got[-1]


@every_transport
def test_chunks_of_any_size_become_a_stream(transport):
    """Cut to whole samples and to frames that a server takes; results come while it goes on."""
    host, sound = FakeHost(), bytes(range(250)) * 40
    chunks = [sound[:3], sound[3:4], b"", sound[4:9999], sound[9999:]]
    with served(host, transport) as client:
        results = list(client.stream(chunks, CONFIG))
    assert heard(host) == (sound, End())
    assert sum(int(result.text) for result in results) == len(sound)
    assert all(int(result.text) % 2 == 0 and int(result.text) <= 3200 for result in results)
    assert host.streams[0].got[0].resumable


def test_results_come_before_the_last_chunk():
    """A source that waits for an answer gets it."""
    answered = threading.Event()

    def chunks():
        yield b"12"
        assert answered.wait(20)
        yield b"3456"

    texts = []
    with served(FakeHost()) as client:
        for result in client.stream(chunks(), CONFIG):
            texts.append(result.text)
            answered.set()
    assert texts == ["2", "4"]


def test_half_a_sample_at_the_end_is_for_the_server_to_refuse():
    """It is sent as it is, not dropped."""
    host = FakeHost()
    with served(host) as client:
        list(client.stream([b"123"], CONFIG))
    assert heard(host) == (b"123", End())


@every_transport
def test_errors_of_the_server_are_raised(transport):
    """When the stream is opened, and in its middle."""
    host = FakeHost()
    with served(host, transport) as client:
        host.error = Overloaded("full", 0.5)
        with pytest.raises(Overloaded, match=r"^full$"):
            list(client.stream([b"12"], CONFIG))
        host.error = None
        results = client.stream(forever(), CONFIG)
        next(results)
        host.streams[-1].end(ModelFault("step failed"))
        with pytest.raises(ModelFault, match=r"^step failed$"):
            list(results)


def forever():
    while True:
        yield b"12"


def test_errors_of_the_source_are_raised():
    """And the server is left."""
    host = FakeHost()

    def chunks():
        yield b"12"
        raise FloatingPointError("no more sound")

    with served(host) as client:
        with pytest.raises(FloatingPointError, match=r"^no more sound$"):
            list(client.stream(chunks(), CONFIG))
        assert aborted(host)


def aborted(host):
    """Whether the gateway has noticed within some seconds that the client has left."""
    for _ in range(1000):
        if host.streams[-1].aborted.is_set():
            return True
        threading.Event().wait(0.01)
    return False


def test_leaving_the_loop_hangs_up():
    """The source is not asked for much more, and the client can go on with another stream."""
    host = FakeHost()
    with served(host) as client:
        for _ in client.stream(forever(), CONFIG):
            break
        assert aborted(host)
        assert [result.text for result in client.stream([b"1234"], CONFIG)] == ["4"]


def test_an_interrupt_hangs_up():
    """Ctrl-C while waiting for results ends the stream and leaves the client usable."""
    host = FakeHost()

    def chunks():
        yield b"12"
        _thread.interrupt_main()
        threading.Event().wait(20)

    with served(host) as client:
        with pytest.raises(KeyboardInterrupt):
            list(client.stream(chunks(), CONFIG))
        assert aborted(host)
        assert [result.text for result in client.stream([b"1234"], CONFIG)] == ["4"]


def test_closing_ends_everything():
    """Also streams that are being read on another thread; twice is once."""
    host = FakeHost()
    before = threading.active_count()
    with served(host) as client:
        results = client.stream(forever(), CONFIG)
        next(results)
        raised = []
        reader = threading.Thread(target=lambda: raised.append(error_of(results)))
        reader.start()
        client.close()
        client.close()
        reader.join(20)
        assert [str(error) for error in raised] == ["the client is closed"]
        with pytest.raises(RuntimeError, match=r"^the client is closed$"):
            client.models()
    assert "streamer-client" not in {thread.name for thread in threading.enumerate()}
    assert threading.active_count() <= before + 1


def error_of(results):
    try:
        list(results)
    except Exception as error:
        return error
    return None


@every_transport
def test_a_wav_file_is_transcribed(tmp_path, transport):
    """From a path, from its bytes and from an open file; the words come in seconds."""
    content, host = wav(rate=8000, data=bytes(8000)), FakeHost()
    path = tmp_path / "talk.wav"
    path.write_bytes(content)
    with served(host, transport) as client, path.open("rb") as file:
        transcripts = [client.transcribe(source) for source in (path, str(path), content, file, io.BytesIO(content))]
        assert not file.closed
    config = host.streams[0].got[0]
    assert (config.encoding, config.sample_rate, config.mode) == ("pcm_s16le", 8000, "file")
    assert [transcript.text for transcript in transcripts] == ["1600 1600 1600 1600 1600"] * 5
    assert [transcript.file for transcript in transcripts] == [str(path)] * 2 + ["audio", str(path), "audio"]
    assert (transcripts[0].duration_s, transcripts[0].model) == (0.5, "echo@1")
    assert [segment.start_s for segment in transcripts[0].segments] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_wishes_reach_the_server():
    """Model, language and phrases."""
    host = FakeHost()
    with served(host) as client:
        client.transcribe(wav(data=b"12"), model="echo", language="en", hotwords=["ada lovelace"])
    config = host.streams[0].got[0]
    assert (config.model, config.language) == ("echo", "en")
    assert [hotword.phrase for hotword in config.decoding.hotwords] == ["ada lovelace"]


def test_files_that_are_none_are_refused(tmp_path):
    """By what is wrong with them, before there is a stream."""
    host = FakeHost()
    with served(host, "grpc") as client:
        with pytest.raises(InvalidRequest, match=r"^audio: expected a file, got nothing$"):
            client.transcribe(b"")
        with pytest.raises(InvalidRequest, match=r"^audio: expected wav, flac or Ogg Opus over gRPC; "):
            client.transcribe(b"ID3 some mp3")
        with pytest.raises(FileNotFoundError):
            client.transcribe(tmp_path / "none.wav")
        with pytest.raises(TypeError, match=r"^audio: expected a binary file, got one of str$"):
            client.transcribe(io.StringIO("text"))
        with pytest.raises(TypeError, match=r"^audio: expected a path, bytes or a binary file, got int$"):
            client.transcribe(7)
    assert host.streams == []


def test_a_file_that_cannot_be_read_on_ends_the_transcription():
    """With its own error."""

    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 500:
                raise OSError("disk is gone")
            return super().read(min(size, 500))

    with served(FakeHost()) as client, pytest.raises(OSError, match=r"^disk is gone$"):
        client.transcribe(Broken(wav(data=bytes(50_000))))


@every_transport
def test_the_microphone_is_transcribed_until_it_is_stopped(transport):
    """What was recorded before stopping is heard to its end."""
    host = FakeHost()
    card = Card(b"12" * 640, b"34" * 640)
    source = Microphone(16_000, open_input=card)
    with served(host, transport) as client:
        texts = []
        for result in client.microphone(source=source, language="en"):
            texts.append(result.text)
            source.stop()
    assert texts == ["1280", "1280"]
    assert heard(host) == (b"12" * 640 + b"34" * 640, End())
    assert host.streams[0].got[0].language == "en"
    assert card.calls == ["stop", "close"]


def test_leaving_the_microphone_gives_it_back():
    """When the loop is left, the sound card is free."""
    card = Card(b"12" * 640)
    with served(FakeHost()) as client:
        results = client.microphone(source=Microphone(open_input=card))
        next(results)
        results.close()
        for _ in range(1000):
            if card.calls == ["stop", "close"]:
                break
            threading.Event().wait(0.01)
        assert card.calls == ["stop", "close"]


@every_transport
def test_models_are_listed(transport):
    """By name and version."""
    with served(FakeHost(), transport) as client:
        assert [model.key for model in client.models()] == ["echo@1"]


def test_bad_urls_are_refused_at_once():
    """Not when the first stream is opened."""
    with pytest.raises(InvalidRequest, match=r"^url: expected one of "):
        Client("http://127.0.0.1:8080")


@pytest.mark.parametrize("gate", [False, True])
def test_only_gated_streams_are_not_resumable(gate):
    """A gate is asked for on one connection, speech events outlive it."""
    host = FakeHost()
    with served(host) as client:
        list(client.stream([b"1234"], replace(CONFIG, vad=Vad(events=True, gate=gate))))
    assert host.streams[0].got[0].resumable is not gate


def test_compressed_chunks_are_not_resumable():
    """They are sent as they come, in frames that a server takes."""
    host = FakeHost()
    with served(host) as client:
        list(client.stream([bytes(40_000)], Config("flac", 16000, 1)))
    assert not host.streams[0].got[0].resumable
    assert [len(message.data) for message in host.streams[0].got[1:-1]] == [4096] * 9 + [3136]
