"""The beta of OpenAI's own client, which many programs still use, against a fake host."""

from __future__ import annotations

import base64
from typing import Any

import openai
from openai import AsyncOpenAI

from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import serving, with_loop

OPTIONS: Any = {"proxy": None}


@with_loop
async def test_a_session_of_the_beta() -> None:
    """From its own kind of update to the text of an item."""
    async with serving(FakeHost()) as addresses:
        place = f"{addresses.host}:{addresses.http_port}/v1"
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with (
            AsyncOpenAI(
                api_key="none",
                base_url=f"http://{place}",
                # It would speak TLS otherwise, whatever the scheme of the other address.
                websocket_base_url=f"ws://{place}",
                http_client=http,
            ) as client,
            client.beta.realtime.connect(
                model="echo", extra_query={"intent": "transcription"}, websocket_connection_options=OPTIONS
            ) as connection,
        ):
            created = await connection.recv()
            await connection.transcription_session.update(
                session={"input_audio_format": "g711_ulaw", "turn_detection": None}  # type: ignore[typeddict-item]
            )
            updated = await connection.recv()
            await connection.input_audio_buffer.append(audio=base64.b64encode(bytes(8)).decode())
            await connection.input_audio_buffer.commit()
            events: list[Any] = [await connection.recv() for _ in range(4)]
    assert (created.type, updated.type) == ("transcription_session.created", "transcription_session.updated")
    assert updated.session.input_audio_format == "g711_ulaw"  # type: ignore[union-attr]
    assert [event.type.rpartition(".")[2] for event in events] == ["delta", "committed", "created", "completed"]
    assert events[-1].transcript == "8"
