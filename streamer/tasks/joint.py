"""What a bundle offers to a beam search: its encoder's frames, its joiner, and a language model if it has one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamer.bundle.manifest import Graph, Manifest
from streamer.errors import BundleError
from streamer.tasks.lexicon import WordModel
from streamer.tasks.ngram import NGramModel
from streamer.tasks.recogniser import read_calibration
from streamer.tasks.roles import Roles
from streamer.tasks.tokens import Vocabulary
from streamer.tasks.words import Calibration

PROGRAM = "beam_search"
# Weights of a bundle that does not state its own.
_LM_SCALE, _TOKEN_BONUS = 0.3, 0.0


@dataclass(frozen=True, slots=True)
class Joint:
    """The joiner of a transducer with a stateless predictor, checked against its manifest.

    Roles: `encoded` (output of the graph that takes PCM, float32 `[frames, joint]`), and of a second graph
    `joint_encoded` (input, float32 `[joint]`), `joint_contexts` (input, int64 `[-1, context_size]`, the last tokens of
    each hypothesis, oldest first, -1 for none) and `log_probs` (output, float32 `[-1, vocabulary]`). Parameters:
    `context_size`, and optionally `lm_scale`, `token_bonus` (at that scale), and both of
    `beam_confidence_slope` and `beam_confidence_bias`. Assets of the language model, both or none: `words`, a
    word a line, and `ngrams`.
    """

    step: Graph
    graph: Graph
    encoded: str
    entry: str
    contexts: str
    log_probs: str
    context_size: int
    lm_scale: float
    token_bonus: float
    has_language_model: bool
    calibration: Calibration | None

    @classmethod
    def of(cls, manifest: Manifest) -> Joint | None:
        """Read the roles, or return None for a bundle without the program; raises `BundleError`."""
        if manifest.task.program != PROGRAM:
            return None
        roles = Roles(manifest, f"program {PROGRAM}")
        step, encoded = roles.output("encoded", "TYPE_FP32", 2)
        graph, entry = roles.input("joint_encoded", "TYPE_FP32")
        contexts_graph, contexts = roles.input("joint_contexts", "TYPE_INT64", 2)
        scores_graph, scores = roles.output("log_probs", "TYPE_FP32", 2)
        if {contexts_graph.name, scores_graph.name} != {graph.name} or step.name == graph.name:
            raise BundleError(
                f"bundle {manifest.name}: expected encoded in one graph and the joiner's roles in another"
            )
        assets = {"words", "ngrams"} & set(manifest.task.assets)
        if len(assets) == 1:
            raise BundleError(f"bundle {manifest.name}: expected the assets words and ngrams, got only {assets.pop()}")
        names = (encoded.name, entry.name, contexts.name, scores.name)
        weights = roles.number("lm_scale", _LM_SCALE), roles.number("token_bonus", _TOKEN_BONUS)
        calibration = read_calibration(manifest, "beam_confidence")
        return cls(step, graph, *names, roles.integer("context_size", 1), *weights, bool(assets), calibration)

    def bonus_at(self, lm_scale: float) -> float:
        """The bonus of a token: it makes up for the language model, so it grows and vanishes with its weight."""
        return self.token_bonus * lm_scale / self.lm_scale if self.lm_scale else self.token_bonus

    def start_context(self, blank: int) -> list[int]:
        """The context of a text that has not begun: blank, and nothing before."""
        return [-1] * (self.context_size - 1) + [blank]


def read_language_model(manifest: Manifest, folder: Path, vocabulary: Vocabulary) -> WordModel | None:
    """Load the language model of a bundle, None if it has none; raises `BundleError`."""
    if "ngrams" not in manifest.task.assets:
        return None
    ngrams = NGramModel.load(folder / manifest.task.assets["ngrams"])
    try:
        words = (folder / manifest.task.assets["words"]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"bundle {manifest.name}: cannot read the word list: {error}") from None
    if len(words) != len(ngrams.unigrams):
        got = f"{len(words)} words and {len(ngrams.unigrams)} unigrams"
        raise BundleError(f"bundle {manifest.name}: expected a word for every unigram, got {got}")
    return WordModel(words, ngrams, vocabulary)
