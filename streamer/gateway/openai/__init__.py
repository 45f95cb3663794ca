"""What clients of OpenAI's API find here: transcriptions of files, speech, Realtime sessions, the models.

What is not supported is refused by name; nothing is accepted and then ignored.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from streamer.gateway.openai.models import check_aliases
from streamer.gateway.openai.models import routes as model_routes
from streamer.gateway.openai.realtime import routes as realtime_routes
from streamer.gateway.openai.speech import routes as speech_routes
from streamer.gateway.openai.transcriptions import routes as transcription_routes
from streamer.gateway.services import Services


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of this surface; raises `InvalidRequest` for an alias of a model that is not served."""
    check_aliases(services)
    return [
        *model_routes(services),
        *transcription_routes(services),
        *speech_routes(services),
        *realtime_routes(services),
    ]
