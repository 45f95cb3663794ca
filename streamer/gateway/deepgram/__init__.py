"""What clients of Deepgram's API find at `/v1/listen`: live streams over WebSocket, and files by POST.

What is not supported is refused by name; nothing is accepted and then ignored.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from streamer.gateway import recognisers
from streamer.gateway.deepgram.live import routes as live_routes
from streamer.gateway.deepgram.prerecorded import routes as prerecorded_routes
from streamer.gateway.services import Services


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of this surface; raises `InvalidRequest` for an alias of a model that is not served."""
    recognisers.check_aliases("deepgram", services.settings.deepgram.aliases, recognisers.transcribers(services))
    return [*live_routes(services), *prerecorded_routes(services)]
