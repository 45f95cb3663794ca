"""The protocol of vosk-server's WebSocket, for Asterisk, FreeSWITCH, Jigasi and others that speak it."""

from streamer.gateway.vosk.connection import routes

__all__ = ["routes"]
