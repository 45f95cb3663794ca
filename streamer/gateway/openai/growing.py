"""Text that only grows, out of results that are revised: pieces of it, put together, are the whole."""

from __future__ import annotations

from streamer.session.messages import Result


class GrowingText:
    """The text of a sequence of segments, given out in pieces that are never taken back.

    Of an interim result only the part that is promised to stay is given out; the rest follows with the final.
    """

    def __init__(self) -> None:
        # The finals so far; with the promised part of the open segment; how much of that was given out.
        self._finals = ""
        self._whole = ""
        self._given = 0

    @property
    def text(self) -> str:
        """The text of the segments that are final."""
        return self._finals

    def take(self, result: Result) -> None:
        """Take the next result of the stream."""
        text = result.text if result.is_final else result.text[: result.stable_chars]
        whole = f"{self._finals} {text}" if self._finals and text else self._finals or text
        if result.is_final:
            self._finals = whole
        if result.is_final or len(whole) > len(self._whole):
            self._whole = whole

    def piece(self) -> str:
        """Return what has come since the last piece; empty if nothing has."""
        piece = self._whole[self._given :]
        self._given += len(piece)
        return piece
