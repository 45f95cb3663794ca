// Draws spectra side by side while they come, over a scale of seconds, with a line where the sound is heard.
import { Spectrum } from "./spectrum.js";

// What the picture holds: short sounds do not fill it, long ones pass by in it.
const SHORTEST_S = 4;
const LONGEST_S = 15;
const SCALE_PX = 18;
// The line is this far from the left edge of long sounds.
const SEEN_BEFORE = 0.4;
const TICKS_S = [0.5, 1, 2, 5];
const LEAST_TICK_PX = 70;

export class Spectrogram {
  constructor(canvas) {
    this.canvas = canvas;
    this.image = document.createElement("canvas");
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", () => this.#repaint());
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.clear(24_000);
  }

  clear(rate) {
    this.spectrum = new Spectrum(rate);
    this.columns = [];
    this.painted = 0;
    this.heardS = null;
    this.image.width = 512;
    this.image.height = this.spectrum.bands;
    this.draw();
  }

  // Takes 16-bit samples that follow the ones before.
  take(samples) {
    this.columns.push(...this.spectrum.take(samples));
  }

  // The sound is heard up to here; null if nothing is played.
  show(heardS) {
    this.heardS = heardS;
    this.draw();
  }

  draw() {
    this.#paintNew();
    const { canvas } = this;
    const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight - SCALE_PX, devicePixelRatio];
    if (width <= 0 || height <= 0) return;
    canvas.width = width * scale;
    canvas.height = canvas.clientHeight * scale;
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(canvas);
    pen.fillStyle = style.getPropertyValue("--sunk");
    pen.fillRect(0, 0, width, height);
    const { startS, lengthS } = this.#shown();
    const { hopS, bands } = this.spectrum;
    const xOf = (seconds) => ((seconds - startS) / lengthS) * width;
    const [first, last] = [Math.floor(startS / hopS), Math.min(this.painted, Math.ceil((startS + lengthS) / hopS))];
    if (last > first) pen.drawImage(this.image, first, 0, last - first, bands, xOf(first * hopS), 0, ((last - first) * hopS * width) / lengthS, height);
    this.#drawScale(pen, style, width, height, startS, lengthS, xOf);
    if (this.heardS === null) return;
    pen.fillStyle = style.getPropertyValue("--record");
    pen.fillRect(xOf(this.heardS) - 1, 0, 2, height);
  }

  get lengthS() {
    return this.columns.length * this.spectrum.hopS;
  }

  #shown() {
    const total = this.lengthS;
    const lengthS = Math.min(LONGEST_S, Math.max(SHORTEST_S, total));
    const wanted = (this.heardS ?? 0) - SEEN_BEFORE * lengthS;
    return { startS: Math.max(0, Math.min(wanted, total - lengthS)), lengthS };
  }

  #drawScale(pen, style, width, height, startS, lengthS, xOf) {
    const tickS = TICKS_S.find((seconds) => (seconds / lengthS) * width >= LEAST_TICK_PX) ?? TICKS_S.at(-1);
    pen.font = `${0.75 * parseFloat(getComputedStyle(document.documentElement).fontSize)}px ${style.getPropertyValue("--mono")}`;
    pen.textBaseline = "bottom";
    for (let s = Math.ceil(startS / tickS) * tickS; s < startS + lengthS; s += tickS) {
      const x = Math.round(xOf(s));
      pen.fillStyle = style.getPropertyValue("--edge");
      pen.fillRect(x, height, 1, 5);
      pen.fillStyle = style.getPropertyValue("--soft");
      const text = `${tickS < 1 ? s.toFixed(1) : s.toFixed(0)} s`;
      if (x + 4 + pen.measureText(text).width <= width) pen.fillText(text, x + 4, height + SCALE_PX);
    }
  }

  // Paints what came since the last time.
  #paintNew() {
    const count = this.columns.length - this.painted;
    if (!count) return;
    const { bands } = this.spectrum;
    this.#makeRoom();
    const pen = this.image.getContext("2d");
    const picture = pen.createImageData(count, bands);
    const palette = this.#palette();
    for (let x = 0; x < count; x++) {
      const column = this.columns[this.painted + x];
      for (let band = 0; band < bands; band++) {
        const at = 4 * ((bands - 1 - band) * count + x);
        picture.data.set(palette[column[band]], at);
      }
    }
    pen.putImageData(picture, this.painted, 0);
    this.painted = this.columns.length;
  }

  #makeRoom() {
    if (this.columns.length <= this.image.width) return;
    const pen = this.image.getContext("2d");
    const kept = this.painted ? pen.getImageData(0, 0, this.painted, this.image.height) : null;
    this.image.width = Math.max(2 * this.image.width, this.columns.length);
    if (kept) pen.putImageData(kept, 0, 0);
  }

  #repaint() {
    this.painted = 0;
    this.draw();
  }

  // From the colour of silence over the accent to that of ink: as the theme has them.
  #palette() {
    const style = getComputedStyle(this.canvas);
    const [low, middle, high] = ["--sunk", "--wave-done", "--ink"].map((name) => rgbOf(style.getPropertyValue(name).trim()));
    return Array.from({ length: 256 }, (_, level) => {
      const share = level / 255;
      const [from, to, part] = share < 0.6 ? [low, middle, share / 0.6] : [middle, high, (share - 0.6) / 0.4];
      return [...from.map((value, i) => Math.round(value + (to[i] - value) * part)), 255];
    });
  }
}

const rgbOf = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
