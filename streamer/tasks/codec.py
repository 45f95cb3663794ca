"""What the manifest of a neural codec says: its graphs, its rates, and how its codes are written."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.audio.snc1 import MAX_BITS_PER_BOOK, MAX_BOOKS, NETWORK, RAW, TABLES, Header
from streamer.bundle.manifest import Audio, Graph, Manifest
from streamer.errors import BundleError, InvalidRequest
from streamer.tasks.code_network import weights_of
from streamer.tasks.code_tables import CodeTables
from streamer.tasks.roles import Roles
from streamer.work import Array

PROGRAM = "codec"
# What a frame that is decoded may be.
ORDINARY, LOST, SILENT = range(3)
_MODES = {"": RAW, "raw": RAW, "tables": TABLES, "network": NETWORK}


@dataclass(frozen=True, slots=True)
class EntropyNetwork:
    """The integer network that tells how likely each code of the first `books` books is.

    Roles of a graph with a state, called once per frame: `entropy_previous` (input, int64 `[books]`, the codes of the
    frame before, -1 where there are none) and `entropy_context` (output, int32 `[width]`). Of a graph without:
    `entropy_next_context` (input, that output), `entropy_codes` (input, int64 `[books]`, the codes of the frame as far
    as they are known), `entropy_book` (input, int64 `[]`) and `entropy_logits` (output, int32 `[codes]`, 1/8 bit).
    The other books are written by `tables`.
    """

    graph: Graph
    previous: str
    context: str
    next_graph: Graph
    next_context: str
    codes: str
    book: str
    logits: str
    books: int
    weights: Array
    tables: CodeTables


@dataclass(frozen=True, slots=True)
class Predictor:
    """Makes up the codes that were not sent, at the decoder.

    Roles, all of one graph that is called once per frame: `predict_codes` (input, int64 `[books]`, -1 where there is
    none), `predict_uniform` (input, float32 `[books]`, numbers from 0 to 1 to draw by) and `predict_filled` (output,
    int64 `[books]`).
    """

    graph: Graph
    codes: str
    uniform: str
    filled: str


@dataclass(frozen=True, slots=True)
class CodecModel:
    """A codec, checked against its manifest.

    Roles: `pcm` (input, float32 `[frames, frame_samples]`) and `codes` (output, int64 `[frames, books]`) of one graph;
    `received_codes` (input, int64 `[frames, books]`, -1 where a book is not there), `frame_kind` (input, int64
    `[frames]`: 0 ordinary, 1 lost, 2 silent) and `decoded` (output, float32 `[frames, frame_samples]`) of another; and
    those of `EntropyNetwork` and `Predictor` if there are any. Parameters: `frame_samples`, `books`, `bits_per_book`,
    `delay_samples` (how much later a sample leaves the decoder than it entered the encoder, a frame's time aside),
    `rates` ("1500:3,3000:6", bits per second and their books), `default_rate`, `coarse_books` (of the network) and
    optionally `silence_dbfs`. Asset: `tables`, if codes may be written by tables or by the network.
    """

    name: str
    encode: Graph
    pcm: str
    codes: str
    decode: Graph
    received: str
    kind: str
    decoded: str
    audio: Audio
    sample_rate: int
    frame_samples: int
    books: int
    bits: int
    delay_samples: int
    rates: Mapping[int, int]
    default_rate: int
    silence_dbfs: float | None
    tables: CodeTables | None
    network: EntropyNetwork | None
    predictor: Predictor | None

    @classmethod
    def of(cls, manifest: Manifest, folder: Path) -> CodecModel | None:
        """Read the bundle in `folder`, or return None for one that is no codec; raises `BundleError`."""
        if manifest.task.kind != "codec":
            return None
        if manifest.task.program != PROGRAM:
            raise BundleError(f"bundle {manifest.name}: expected the program {PROGRAM}, got {manifest.task.program}")
        roles = Roles(manifest, "task codec")
        frame, books = roles.integer("frame_samples", 1), roles.integer("books", 1)
        bits = roles.integer("bits_per_book", 1)
        if books > MAX_BOOKS or bits > MAX_BITS_PER_BOOK or frame > 0xFFFF:
            expected = f"at most {MAX_BOOKS} books of {MAX_BITS_PER_BOOK} bits and frames below 65536 samples"
            raise BundleError(f"bundle {manifest.name}: expected {expected}, got {books} of {bits} and {frame}")
        encode, pcm = roles.input("pcm", "TYPE_FP32", 2)
        decode, received = roles.input("received_codes", "TYPE_INT64", 2)
        codes = roles.output_of(encode, "codes", "TYPE_INT64", 2)
        kind = roles.input_of(decode, "frame_kind", "TYPE_INT64")
        decoded = roles.output_of(decode, "decoded", "TYPE_FP32", 2)
        for role, tensor, dims in (
            ("pcm", pcm, (-1, frame)),
            ("codes", codes, (-1, books)),
            ("received_codes", received, (-1, books)),
            ("frame_kind", kind, (-1,)),
            ("decoded", decoded, (-1, frame)),
        ):
            if tensor.dims != dims:
                got = list(tensor.dims)
                raise BundleError(f"bundle {manifest.name}: role {role}: expected {list(dims)}, got {got}")
        if encode.audio is None or encode.audio.input != pcm.name or manifest.sample_rate is None:
            raise BundleError(f"bundle {manifest.name}: role pcm: graph {encode.name} has no audio input {pcm.name}")
        if (encode.audio.chunk_samples, encode.audio.hop_samples) != (frame, frame):
            sizes = f"{encode.audio.chunk_samples} and {encode.audio.hop_samples}"
            raise BundleError(
                f"bundle {manifest.name}: role pcm: expected chunks and hops of a frame, {frame}, got {sizes}"
            )
        rates = _rates(manifest.name, roles.text("rates"), books)
        default = roles.integer("default_rate", 1)
        if default not in rates:
            raise BundleError(f"bundle {manifest.name}: default_rate: expected one of {list(rates)}, got {default}")
        arrays = _read_tables(manifest, folder)
        tables = None if arrays is None else _tables(manifest.name, arrays, books, 1 << bits)
        silence = roles.number("silence_dbfs", 0.0) if "silence_dbfs" in manifest.task.parameters else None
        return cls(
            name=manifest.name,
            encode=encode,
            pcm=pcm.name,
            codes=codes.name,
            decode=decode,
            received=received.name,
            kind=kind.name,
            decoded=decoded.name,
            audio=encode.audio,
            sample_rate=manifest.sample_rate,
            frame_samples=frame,
            books=books,
            bits=bits,
            delay_samples=roles.integer("delay_samples"),
            rates=rates,
            default_rate=default,
            silence_dbfs=silence,
            tables=tables,
            network=_network(roles, arrays, tables),
            predictor=_predictor(roles, books),
        )

    @property
    def fingerprint(self) -> bytes:
        """What marks the streams that this decoder understands, 8 bytes."""
        return bytes.fromhex(self.decode.sha256)[:8]

    def n_books(self, bitrate: int) -> int:
        """Return how many books make a rate in bits per second, the default rate's for 0; raises `InvalidRequest`."""
        books = self.rates.get(bitrate or self.default_rate)
        if books is None:
            known = ", ".join(map(str, self.rates))
            raise InvalidRequest(f"codec bitrate: expected one of {known} for model {self.name}, got {bitrate}")
        return books

    def mode(self, entropy: str) -> int:
        """Return the entropy mode of that name; raises `InvalidRequest` if the model does not have it."""
        mode = _MODES[entropy]
        self.check_mode(mode)
        return mode

    def check_mode(self, mode: int) -> None:
        """Raise `InvalidRequest` unless codes can be written and read in this mode."""
        has = {RAW: True, TABLES: self.tables is not None, NETWORK: self.network is not None}
        if not has.get(mode, False):
            names = {TABLES: "tables", NETWORK: "network"}
            lacks = names.get(mode, f"mode {mode}")
            raise InvalidRequest(f"codec entropy: model {self.name} has no {lacks} to code with")

    def check_header(self, header: Header) -> None:
        """Raise `InvalidRequest` unless packets under this header hold codes of this model."""
        for name, expected, got in (
            ("sample_rate", self.sample_rate, header.sample_rate),
            ("frame_samples", self.frame_samples, header.frame_samples),
            ("books", self.books, header.books),
            ("bits_per_book", self.bits, header.bits_per_book),
        ):
            if expected != got:
                raise InvalidRequest(f"expected packets of model {self.name} with {name} {expected}, got {got}")
        # No fingerprint: whoever made the stream does not know, or does not tell.
        if header.model not in (bytes(8), self.fingerprint):
            ours, theirs = self.fingerprint.hex(), header.model.hex()
            raise InvalidRequest(f"expected packets of model {self.name}, {ours}, got those of another, {theirs}")
        self.check_mode(header.entropy_mode)


def _rates(bundle: str, text: str, books: int) -> dict[int, int]:
    """Read "1500:3,3000:6"."""
    try:
        rates = {int(rate): int(count) for rate, _, count in (part.partition(":") for part in text.split(","))}
    except ValueError:
        raise BundleError(f"bundle {bundle}: rates: expected rate:books,rate:books, got {text!r}") from None
    if any(rate < 1 or not 1 <= count <= books for rate, count in rates.items()):
        raise BundleError(f"bundle {bundle}: rates: expected positive rates of 1 to {books} books, got {text!r}")
    return rates


def _read_tables(manifest: Manifest, folder: Path) -> dict[str, Array] | None:
    if "tables" not in manifest.task.assets:
        return None
    try:
        # Opened here: numpy leaves a file open that is no archive.
        with (folder / manifest.task.assets["tables"]).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"bundle {manifest.name}: cannot read the tables of codes: {error}") from None


def _tables(bundle: str, arrays: Mapping[str, Array], books: int, codes: int) -> CodeTables:
    tables = CodeTables.of(arrays)
    if (tables.books, tables.codes) != (books, codes):
        got = f"{tables.books} of {tables.codes}"
        raise BundleError(f"bundle {bundle}: expected tables of {books} books of {codes} codes, got {got}")
    return tables


def _network(roles: Roles, arrays: Mapping[str, Array] | None, tables: CodeTables | None) -> EntropyNetwork | None:
    if "entropy_logits" not in roles.manifest.task.roles:
        return None
    if arrays is None or tables is None:
        raise BundleError(f"bundle {roles.manifest.name}: expected the asset tables beside the network, got none")
    coarse = roles.integer("coarse_books", 1)
    if coarse > tables.books:
        roles.refuse("coarse_books", f"at most {tables.books}", coarse)
    graph, previous = roles.input("entropy_previous", "TYPE_INT64")
    next_graph, context = roles.input("entropy_next_context", "TYPE_INT32")
    return EntropyNetwork(
        graph=graph,
        previous=previous.name,
        context=roles.output_of(graph, "entropy_context", "TYPE_INT32").name,
        next_graph=next_graph,
        next_context=context.name,
        codes=roles.input_of(next_graph, "entropy_codes", "TYPE_INT64").name,
        book=roles.input_of(next_graph, "entropy_book", "TYPE_INT64", 0).name,
        logits=roles.output_of(next_graph, "entropy_logits", "TYPE_INT32").name,
        books=coarse,
        weights=weights_of(arrays),
        tables=tables,
    )


def _predictor(roles: Roles, books: int) -> Predictor | None:
    if "predict_filled" not in roles.manifest.task.roles:
        return None
    graph, codes = roles.input("predict_codes", "TYPE_INT64")
    uniform = roles.input_of(graph, "predict_uniform", "TYPE_FP32")
    filled = roles.output_of(graph, "predict_filled", "TYPE_INT64")
    if not codes.dims == uniform.dims == filled.dims == (books,):
        raise BundleError(f"bundle {roles.manifest.name}: expected predict_* of {books} books, got {list(codes.dims)}")
    return Predictor(graph, codes.name, uniform.name, filled.name)
