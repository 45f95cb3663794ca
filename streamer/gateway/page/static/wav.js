// Reads WAV files piece by piece, however long they are (RIFF, Microsoft "Multiple Channel Audio Data and WAVE Files").
import { mixedDown, toInt16 } from "./pcm.js";

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;
const PIECE_SAMPLES = 1 << 16;
// Chunks that come before the sound are short; more of them is no audio file.
const MOST_CHUNKS = 64;

const READERS = {
  [`${PCM}/8`]: (view, at) => (view.getUint8(at) - 128) / 128,
  [`${PCM}/16`]: (view, at) => view.getInt16(at, true) / 32768,
  [`${PCM}/24`]: (view, at) => (view.getInt16(at + 1, true) * 256 + view.getUint8(at)) / 8388608,
  [`${PCM}/32`]: (view, at) => view.getInt32(at, true) / 2147483648,
  [`${FLOAT}/32`]: (view, at) => view.getFloat32(at, true),
  [`${FLOAT}/64`]: (view, at) => view.getFloat64(at, true),
};

// Returns `{ rate, samples, pieces }`, `pieces` an async iterator of mono Int16Arrays; null if it is no such file.
export async function openWav(file) {
  const found = await findChunks(file);
  const read = found && READERS[`${found.format.code}/${found.format.bits}`];
  if (!read) return null;
  const { format, start, bytes } = found;
  const frameBytes = (format.channels * format.bits) / 8;
  const samples = Math.floor(bytes / frameBytes);
  async function* pieces() {
    for (let at = 0; at < samples; at += PIECE_SAMPLES) {
      const count = Math.min(PIECE_SAMPLES, samples - at);
      const piece = file.slice(start + at * frameBytes, start + (at + count) * frameBytes);
      yield monoOf(new DataView(await piece.arrayBuffer()), count, format, read);
    }
  }
  return { rate: format.rate, samples, pieces };
}

function monoOf(view, count, { channels, bits }, read) {
  const bytes = bits / 8;
  const split = Array.from({ length: channels }, () => new Float32Array(count));
  for (let i = 0, at = 0; i < count; i++) {
    for (let c = 0; c < channels; c++, at += bytes) split[c][i] = read(view, at);
  }
  return toInt16(mixedDown(split));
}

async function findChunks(file) {
  const head = await viewOf(file, 0, 12);
  if (!head || tag(head, 0) !== "RIFF" || tag(head, 8) !== "WAVE") return null;
  let format = null;
  for (let at = 12, n = 0; n < MOST_CHUNKS; n++) {
    const chunk = await viewOf(file, at, 8);
    if (!chunk) return null;
    const bytes = chunk.getUint32(4, true);
    if (tag(chunk, 0) === "fmt ") format = await formatAt(file, at + 8, bytes);
    // Recorders that were cut off leave a length of nothing or of too much.
    if (tag(chunk, 0) === "data") return format && { format, start: at + 8, bytes: dataBytes(file, at + 8, bytes) };
    at += 8 + bytes + (bytes % 2);
  }
  return null;
}

const dataBytes = (file, start, bytes) => Math.min(bytes || Infinity, file.size - start);

async function formatAt(file, at, bytes) {
  const view = await viewOf(file, at, Math.min(bytes, 40));
  if (!view || bytes < 16) return null;
  const code = view.getUint16(0, true);
  const channels = view.getUint16(2, true);
  return {
    code: code === EXTENSIBLE && bytes >= 26 ? view.getUint16(24, true) : code,
    channels,
    rate: view.getUint32(4, true),
    // The container's size; `bits per sample` may be less.
    bits: channels ? (8 * view.getUint16(12, true)) / channels : 0,
  };
}

async function viewOf(file, at, bytes) {
  if (at + bytes > file.size) return null;
  return new DataView(await file.slice(at, at + bytes).arrayBuffer());
}

function tag(view, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
}
