// 16-bit samples: from floats, to a WAV file, and how loud they are.

// Returns the 16-bit samples of floats in [-1, 1]; the inverse of division by 32768, clipped.
export function toInt16(floats) {
  const samples = new Int16Array(floats.length);
  for (let i = 0; i < floats.length; i++) {
    samples[i] = Math.max(-32768, Math.min(32767, Math.round(floats[i] * 32768)));
  }
  return samples;
}

// Returns the mean of channels (Float32Arrays of one length), channel 0 itself if it is alone.
export function mixedDown(channels) {
  if (channels.length === 1) return channels[0];
  const mixed = new Float32Array(channels[0].length);
  for (const channel of channels) {
    for (let i = 0; i < mixed.length; i++) mixed[i] += channel[i] / channels.length;
  }
  return mixed;
}

// Returns the largest magnitude and the root mean square of 16-bit samples, both from 0 to 1.
export function loudness(samples) {
  let peak = 0;
  let squares = 0;
  for (const sample of samples) {
    const value = Math.abs(sample);
    if (value > peak) peak = value;
    squares += value * value;
  }
  return { peak: peak / 32768, rms: samples.length ? Math.sqrt(squares / samples.length) / 32768 : 0 };
}

// Returns a WAV file of 16-bit mono samples; `parts` (typed arrays or blobs) are joined as they are.
export function wavFile(parts, samples, rate) {
  const bytes = 2 * samples;
  const header = new DataView(new ArrayBuffer(44));
  const name = (at, text) => [...text].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  name(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  name(8, "WAVE");
  name(12, "fmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // mono
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  name(36, "data");
  header.setUint32(40, bytes, true);
  return new Blob([header, ...parts], { type: "audio/wav" });
}
