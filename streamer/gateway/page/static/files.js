// Audio files of any kind that the browser can decode, as 16-bit mono samples.
import { mixedDown, toInt16 } from "./pcm.js";
import { openWav } from "./wav.js";

// What the server takes (streamer/audio/pcm.py).
const RATES = { least: 8000, most: 48_000 };
// Browsers decode a compressed file as a whole, into memory.
const LONGEST_DECODED_S = 90 * 60;
const LARGEST_DECODED_BYTES = 400e6;
const PIECE_SAMPLES = 1 << 16;

export class FileError extends Error {}

// Returns `{ rate, samples, pieces }` of a file; compressed ones are decoded at `rate`. Raises `FileError`.
export async function openAudio(file, rate) {
  if (!file.size) throw new FileError("The file is empty.");
  const wav = await openWav(file);
  if (wav && wav.rate >= RATES.least && wav.rate <= RATES.most) {
    if (!wav.samples) throw new FileError("The file holds no sound.");
    return wav;
  }
  await checkLength(file);
  return decoded(await decode(file, rate), rate);
}

async function decode(file, rate) {
  try {
    return await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new FileError("This browser cannot decode it. WAV, FLAC, MP3, Ogg, WebM and M4A usually work.");
  }
}

function decoded(buffer, rate) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
  async function* pieces() {
    for (let at = 0; at < buffer.length; at += PIECE_SAMPLES) {
      const piece = channels.map((channel) => channel.subarray(at, at + PIECE_SAMPLES));
      yield toInt16(mixedDown(piece));
    }
  }
  return { rate, samples: buffer.length, pieces };
}

async function checkLength(file) {
  const seconds = await durationOf(file);
  const advice = "Convert it to WAV, which is read piece by piece, or use the command line.";
  if (seconds > LONGEST_DECODED_S) {
    throw new FileError(`It lasts ${Math.round(seconds / 60)} minutes; a compressed file may last 90. ${advice}`);
  }
  if (file.size > LARGEST_DECODED_BYTES) {
    throw new FileError(`It has ${Math.round(file.size / 1e6)} MB; a compressed file may have 400. ${advice}`);
  }
}

// In seconds; 0 if the file does not say, or is not understood.
function durationOf(file) {
  const url = URL.createObjectURL(file);
  const media = new Audio();
  return new Promise((resolve) => {
    media.onloadedmetadata = () => resolve(Number.isFinite(media.duration) ? media.duration : 0);
    media.onerror = () => resolve(0);
    media.preload = "metadata";
    media.src = url;
  }).finally(() => URL.revokeObjectURL(url));
}
