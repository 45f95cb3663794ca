"""Word errors, sentence by sentence, so that they can be pooled, and drawn again for confidence."""

from collections.abc import Sequence

import jiwer


def word_errors(references: Sequence[str], texts: Sequence[str]) -> tuple[list[int], list[int]]:
    """Substitutions, deletions and insertions of each text, and the words of each reference."""
    found = [jiwer.process_words(reference, text) for reference, text in zip(references, texts, strict=True)]
    errors = [each.substitutions + each.deletions + each.insertions for each in found]
    return errors, [len(reference.split()) for reference in references]
