// What was said: finals that stay, one interim text that changes, times in seconds of the recording.

export class Transcript {
  constructor() {
    this.segments = [];
    this.interim = null;
    this.model = "";
  }

  // Takes a result of a server's stream that began at sample `base` of the recording; returns the segment it became.
  apply(result, base, rate) {
    const segment = segmentOf(result, base, rate);
    if (result.is_final) {
      this.segments.push(segment);
      this.interim = null;
    } else {
      this.interim = segment;
    }
    return segment;
  }

  // Forgets the text that is not final, of a stream that will not finish it.
  dropInterim() {
    this.interim = null;
  }

  get text() {
    return this.segments.map((segment) => segment.text).join(" ");
  }

  get words() {
    return this.segments.flatMap((segment) => segment.words);
  }
}

function segmentOf(result, base, rate) {
  const at = (sample) => (base + sample) / rate;
  return {
    start_s: at(result.start_sample),
    end_s: at(result.end_sample),
    text: result.text,
    confidence: result.confidence,
    end_of_turn: result.end_of_turn,
    stable_chars: result.stable_chars,
    words: (result.words ?? []).map((word) => ({
      word: word.word,
      start_s: at(word.start_sample),
      end_s: at(word.end_sample),
      confidence: word.confidence,
    })),
    alternatives: result.alternatives ?? [],
  };
}

// Returns a segment's text as `{ text, word }` parts in order: words with what is known of them, and what is between.
export function partsOf(segment) {
  const parts = [];
  let at = 0;
  for (const word of segment.words) {
    const found = segment.text.indexOf(word.word, at);
    if (found < 0) continue;
    if (found > at) parts.push({ text: segment.text.slice(at, found), word: null });
    parts.push({ text: word.word, word });
    at = found + word.word.length;
  }
  if (at < segment.text.length) parts.push({ text: segment.text.slice(at), word: null });
  return parts;
}
