// How loud sound is at each pitch: short-time spectra, summed into bands of the mel scale (O'Shaughnessy 1987).

const WINDOW = 1024;
// For each rate about a hundred spectra per second.
const HOP_S = 0.01;
const BANDS = 80;
// Bands of speech are rarely louder or softer.
const LOWEST_DB = -80;
const HIGHEST_DB = -15;

const melOf = (hz) => 2595 * Math.log10(1 + hz / 700);
const hzOf = (mel) => 700 * (10 ** (mel / 2595) - 1);

// Takes 16-bit samples as they come and gives out a column of levels for each hop.
export class Spectrum {
  constructor(rate) {
    this.hop = Math.round(HOP_S * rate);
    this.hopS = this.hop / rate;
    this.bands = BANDS;
    this.topHz = rate / 2;
    this.filters = filtersOf(rate);
    this.window = Float32Array.from({ length: WINDOW }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW));
    this.recent = new Float32Array(WINDOW); // a ring, `at` its oldest sample
    this.at = 0;
    this.untilNext = this.hop;
    this.real = new Float32Array(WINDOW);
    this.imaginary = new Float32Array(WINDOW);
  }

  // Returns the columns that `samples` complete: Uint8Arrays, a level from 0 to 255 for each band, low ones first.
  take(samples) {
    const columns = [];
    for (const sample of samples) {
      this.recent[this.at] = sample / 32768;
      this.at = (this.at + 1) % WINDOW;
      if (--this.untilNext) continue;
      this.untilNext = this.hop;
      columns.push(this.#column());
    }
    return columns;
  }

  #column() {
    for (let i = 0; i < WINDOW; i++) this.real[i] = this.recent[(this.at + i) % WINDOW] * this.window[i];
    this.imaginary.fill(0);
    transform(this.real, this.imaginary);
    return Uint8Array.from(this.filters, ({ first, weights }) => {
      let power = 0;
      weights.forEach((weight, i) => (power += weight * (this.real[first + i] ** 2 + this.imaginary[first + i] ** 2)));
      // A sine of full scale has a magnitude of a quarter of the window in its bin.
      const db = 10 * Math.log10(power / (WINDOW / 4) ** 2 + 1e-12);
      return Math.max(0, Math.min(255, Math.round((255 * (db - LOWEST_DB)) / (HIGHEST_DB - LOWEST_DB))));
    });
  }
}

// Triangles between equally spaced points of the mel scale; narrow ones still hold the bin that is nearest to them.
function filtersOf(rate) {
  const top = melOf(rate / 2);
  const edges = Array.from({ length: BANDS + 2 }, (_, i) => (hzOf((top * i) / (BANDS + 1)) * WINDOW) / rate);
  return Array.from({ length: BANDS }, (_, band) => {
    const [low, middle, high] = edges.slice(band, band + 3);
    const weightOf = (bin) => Math.max(0, Math.min((bin - low) / (middle - low), (high - bin) / (high - middle)));
    const first = Math.ceil(low);
    const weights = Array.from({ length: Math.max(0, Math.floor(high) - first + 1) }, (_, i) => weightOf(first + i));
    return weights.some(Boolean) ? { first, weights } : { first: Math.round(middle), weights: [1] };
  });
}

// The Fourier transform of a power of two of complex numbers, in place (Cooley and Tukey 1965).
export function transform(real, imaginary) {
  const length = real.length;
  for (let i = 1, j = 0; i < length; i++) {
    let bit = length >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= length; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const angle = (-2 * Math.PI * k) / size;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      for (let a = k; a < length; a += size) {
        const b = a + size / 2;
        const [x, y] = [c * real[b] - s * imaginary[b], c * imaginary[b] + s * real[b]];
        [real[b], imaginary[b]] = [real[a] - x, imaginary[a] - y];
        real[a] += x;
        imaginary[a] += y;
      }
    }
  }
}
