// Cuts transcripts into subtitles that can be read: at most two lines of 42 characters, at most six seconds.
// The same rules as the server's own subtitles (streamer/transcripts/cues.py); a test compares the two.

const LINE_CHARS = 42;
const MAX_S = 6;
// A subtitle that flashes by cannot be read; it may stay longer while nobody else speaks.
const MIN_S = 1;
// Silence within a segment that is worth an empty screen.
const PAUSE_S = 1;

// Returns the subtitles of segments as `{ start_s, end_s, lines }`, in order and without overlap.
export function cuesOf(segments) {
  return withoutFlashes(segments.flatMap((segment) => groupsOf(wordsOf(segment)).map(cueOf)));
}

// Breaks words into one or two balanced lines; null if they do not fit. One word alone always fits.
function wrap(words) {
  const whole = words.join(" ");
  if (lengthOf(whole) <= LINE_CHARS || words.length === 1) return [whole];
  let best = null;
  for (let at = 1; at < words.length; at++) {
    const lines = [words.slice(0, at).join(" "), words.slice(at).join(" ")];
    if (Math.max(...lines.map(lengthOf)) <= LINE_CHARS && (!best || unevenness(lines) < unevenness(best))) best = lines;
  }
  return best;
}

const unevenness = ([upper, lower]) => Math.abs(lengthOf(upper) - lengthOf(lower));
// Characters, not UTF-16 units.
const lengthOf = (text) => [...text].length;

// A model without word times gets them spread evenly over the segment.
function wordsOf(segment) {
  if (segment.words.length) return segment.words;
  const parts = segment.text.split(/\s+/).filter(Boolean);
  const share = (segment.end_s - segment.start_s) / Math.max(parts.length, 1);
  const time = (index) => segment.start_s + index * share;
  return parts.map((word, index) => ({ word, start_s: time(index), end_s: time(index + 1) }));
}

function groupsOf(words) {
  const groups = [];
  for (const word of words) {
    const group = groups.at(-1);
    if (group && belongs(word, group)) group.push(word);
    else groups.push([word]);
  }
  return groups;
}

function belongs(word, group) {
  return (
    word.end_s - group[0].start_s <= MAX_S &&
    word.start_s - group.at(-1).end_s < PAUSE_S &&
    wrap([...group, word].map((part) => part.word)) !== null
  );
}

function cueOf(group) {
  const start_s = group[0].start_s;
  const end_s = Math.min(group.at(-1).end_s, start_s + MAX_S);
  return { start_s, end_s, lines: wrap(group.map((word) => word.word)) };
}

function withoutFlashes(cues) {
  return cues.map((cue, index) => {
    const limit = index + 1 < cues.length ? cues[index + 1].start_s : Infinity;
    return { ...cue, end_s: Math.max(cue.start_s, Math.min(Math.max(cue.end_s, cue.start_s + MIN_S), limit)) };
  });
}
