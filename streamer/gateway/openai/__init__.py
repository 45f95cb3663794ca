"""What clients of OpenAI's API find here: transcriptions of files, Realtime transcription sessions, the list of models.

What is not supported is refused by name; nothing is accepted and then ignored.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from streamer.gateway.openai import models, realtime, transcriptions
from streamer.gateway.services import Services


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of this surface; raises `InvalidRequest` for an alias of a model that is not served."""
    models.check_aliases(services)
    return [*models.routes(services), *transcriptions.routes(services), *realtime.routes(services)]
