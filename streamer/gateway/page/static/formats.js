// Writes transcripts as text, SubRip, WebVTT and JSON, to the letter as the server's command line does.
import { cuesOf } from "./cues.js";

// Each takes `{ file, duration_s, model, segments }` and returns the text of the file.
export const FORMATS = {
  txt: { type: "text/plain", render: ({ segments }) => segments.map((segment) => `${segment.text}\n`).join("") },
  srt: { type: "application/x-subrip", render: srt },
  vtt: { type: "text/vtt", render: vtt },
  json: { type: "application/json", render: json },
};

function srt({ segments }) {
  // SubRip has no escapes. An arrow in the text would be read as a line of times.
  const text = (cue) => cue.lines.join("\n").replaceAll("-->", "->");
  return cuesOf(segments).map((cue, index) => `${index + 1}\n${timing(cue, ",")}\n${text(cue)}\n`).join("\n");
}

function vtt({ segments }) {
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const cues = cuesOf(segments).map((cue) => `\n${timing(cue, ".")}\n${escaped(cue.lines.join("\n"))}\n`);
  return `WEBVTT\n${cues.join("")}`;
}

function json({ file, duration_s, model, segments }) {
  const plain = {
    file,
    text: segments.map((segment) => segment.text).join(" "),
    duration_s: rounded(duration_s),
    model,
    words: segments.flatMap((segment) => segment.words.map(plainWord)),
    segments: segments.map(plainSegment),
  };
  return `${JSON.stringify(plain, null, 2)}\n`;
}

function plainWord({ word, start_s, end_s, confidence }) {
  return { word, start_s: rounded(start_s), end_s: rounded(end_s), confidence: rounded(confidence) };
}

function plainSegment({ start_s, end_s, text, confidence, end_of_turn, alternatives }) {
  const plain = { start_s: rounded(start_s), end_s: rounded(end_s), text, confidence: rounded(confidence), end_of_turn };
  if (!alternatives.length) return plain;
  return { ...plain, alternatives: alternatives.map((one) => ({ text: one.text, confidence: rounded(one.confidence) })) };
}

// To three decimals. `toFixed` is exact but for ties, which go to even elsewhere; only sixteenths can be ties.
function rounded(value) {
  if (Number.isInteger(value * 16)) return roundedToEven(value * 1000) / 1000;
  return Number(value.toFixed(3));
}

function timing(cue, point) {
  return `${clock(cue.start_s, point)} --> ${clock(cue.end_s, point)}`;
}

function clock(seconds, point) {
  // Rounded to whole milliseconds first, so that 59.9996 s becomes a minute and not "59.1000".
  const ms = roundedToEven(1000 * seconds);
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const fraction = String(ms % 1000).padStart(3, "0");
  return `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}${point}${fraction}`;
}

function roundedToEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}
