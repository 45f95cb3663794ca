"""Protobuf and messages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import InvalidRequest
from streamer.session.messages import Audio, Config, Decoding, Endpointing, Finalize, Hotword, KeepAlive, Update
from streamer.v1 import speech_pb2 as pb
from streamer.wire import protobuf
from tests.wire.examples import CLIENT_KINDS, client_messages, server_messages

FORMAT = {"encoding": pb.ENCODING_PCM_S16LE, "sample_rate": 16000, "channels": 1}


@settings(deadline=None)
@given(client_messages)
def test_client_messages_survive(message):
    """Every client message reads back from its bytes as it was written."""
    assert protobuf.parse_client(protobuf.encode_client(message).SerializeToString()) == message


@settings(deadline=None)
@given(server_messages)
def test_server_messages_survive(message):
    """Every server message reads back from its bytes as it was written."""
    data = protobuf.encode_server(message).SerializeToString()
    assert protobuf.decode_server(pb.ServerMessage.FromString(data)) == message


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_a_message_or_refused(data):
    """No bytes of a client raise anything but InvalidRequest."""
    try:
        assert isinstance(protobuf.parse_client(data), CLIENT_KINDS)
    except InvalidRequest as error:
        str(error).encode()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (pb.ClientMessage(config=pb.Config(**FORMAT)), Config("pcm_s16le", 16000, 1)),
        (
            pb.ClientMessage(config=pb.Config(**FORMAT, mode=pb.MODE_FILE, interim_results=False)),
            Config("pcm_s16le", 16000, 1, mode="file", interim_results=False),
        ),
        (
            pb.ClientMessage(config=pb.Config(**FORMAT, endpointing=pb.Endpointing(max_segment_s=0))),
            Config("pcm_s16le", 16000, 1, endpointing=Endpointing(max_segment_s=0.0)),
        ),
        (
            pb.ClientMessage(config=pb.Config(**FORMAT, decoding=pb.Decoding(hotwords=[pb.Hotword(phrase="ada")]))),
            Config("pcm_s16le", 16000, 1, decoding=Decoding(hotwords=(Hotword("ada"),))),
        ),
        (
            pb.ClientMessage(config=pb.Config(**FORMAT, decoding=pb.Decoding(lm_scale=0, beam=0, hotword_boost=0))),
            Config("pcm_s16le", 16000, 1, decoding=Decoding(lm_scale=0.0, beam=0, hotword_boost=0.0)),
        ),
        (
            pb.ClientMessage(
                config=pb.Config(**FORMAT, decoding=pb.Decoding(hotwords=[pb.Hotword(phrase="ada", boost=0)]))
            ),
            Config("pcm_s16le", 16000, 1, decoding=Decoding(hotwords=(Hotword("ada", 0.0),))),
        ),
        (pb.ClientMessage(config=pb.Config()), Config("", 0, 0)),
        (pb.ClientMessage(audio=pb.Audio(data=b"12")), Audio(b"12")),
        (pb.ClientMessage(audio=pb.Audio(data=b"12", first_sample=0)), Audio(b"12", 0)),
        (pb.ClientMessage(control=pb.Control(finalize=pb.Finalize(id="a"))), Finalize("a")),
        (pb.ClientMessage(control=pb.Control(keep_alive=pb.KeepAlive())), KeepAlive()),
        (
            pb.ClientMessage(control=pb.Control(update=pb.Update(endpointing=pb.Endpointing(enabled=False)))),
            Update(Endpointing(enabled=False)),
        ),
    ],
)
def test_absent_fields_take_their_defaults(message, expected):
    """A field that is left out means its documented default; a required format stays empty for the session to see."""
    assert protobuf.decode_client(message) == expected


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        (pb.ClientMessage(), "message: expected one of config, audio, text, control, got nothing"),
        (
            pb.ClientMessage(control=pb.Control()),
            "control: expected one of finalize, keep_alive, update, interrupt, cancel, end, got nothing",
        ),
        (
            pb.ClientMessage(config=pb.Config(encoding=9)),
            "config.encoding: expected one of "
            "pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw, flac, ogg_opus, snc1, text, got 9",
        ),
        (
            pb.ClientMessage(config=pb.Config(codec=pb.CodecOptions(output=9))),
            "config.codec.output: expected one of "
            "pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw, flac, ogg_opus, snc1, text, got 9",
        ),
        (
            pb.ClientMessage(config=pb.Config(synthesis=pb.SynthesisOptions(output_encoding=9))),
            "config.synthesis.output_encoding: expected one of "
            "pcm_s16le, pcm_f32le, pcm_mulaw, pcm_alaw, flac, ogg_opus, snc1, text, got 9",
        ),
        (pb.ClientMessage(config=pb.Config(mode=9)), "config.mode: expected one of live, file, got 9"),
        (
            pb.ClientMessage(config=pb.Config(endpointing=pb.Endpointing(max_segment_s=float("nan")))),
            "config.endpointing.max_segment_s: expected a finite number, got nan",
        ),
        (
            pb.ClientMessage(config=pb.Config(decoding=pb.Decoding(lm_scale=float("inf")))),
            "config.decoding.lm_scale: expected a finite number, got inf",
        ),
        (
            pb.ClientMessage(control=pb.Control(update=pb.Update())),
            "update.endpointing: expected a message, got nothing",
        ),
    ],
)
def test_refuses_what_means_nothing(message, refusal):
    """Each refusal names the field, what was expected and what was there."""
    with pytest.raises(InvalidRequest) as error:
        protobuf.decode_client(message)
    assert str(error.value) == refusal


def test_an_empty_task_is_that_of_the_service():
    """A service of one task fills it in, and leaves what is said alone."""
    nameless, named = pb.Config(**FORMAT), pb.Config(**FORMAT, task="transcribe")
    for config, task, expected in ((nameless, "codec", "codec"), (named, "codec", "transcribe"), (nameless, "", None)):
        message = protobuf.parse_client(pb.ClientMessage(config=config).SerializeToString(), task)
        assert message == Config("pcm_s16le", 16000, 1, task=expected or "transcribe")


def test_refuses_bytes_of_something_else():
    """Bytes that are no protobuf are the client's error."""
    with pytest.raises(InvalidRequest, match=r"^message: expected a streamer\.v1\.ClientMessage, got other bytes$"):
        protobuf.parse_client(b"\xff\xff\xff")


def test_a_client_cannot_name_other_encodings():
    """What the enum cannot say is refused before it is sent."""
    with pytest.raises(
        InvalidRequest,
        match=r"^config\.encoding: expected one of pcm_s16le, .*, flac, ogg_opus, snc1, text, got 'opus'$",
    ):
        protobuf.encode_client(Config("opus", 48000, 1))


def test_a_client_refuses_newer_kinds_of_messages():
    """An empty oneof is what an unknown kind of message looks like."""
    with pytest.raises(InvalidRequest, match="got another kind"):
        protobuf.decode_server(pb.ServerMessage())
