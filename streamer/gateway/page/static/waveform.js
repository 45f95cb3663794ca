// Draws the latest sound as bars; those that the server has dealt with are in colour.

const BAR_S = 0.05;
const BAR_PX = 3;
const STEP_PX = 5;
const MOST_BARS = 1000;
const LEAST_HEIGHT_PX = 2;
// Speech is rarely above a third of full scale; the root makes quiet sound visible too.
const EXPONENT = 0.6;

export class Waveform {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear(16_000);
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.drawnAt = 0;
  }

  clear(rate) {
    this.barSamples = Math.round(BAR_S * rate);
    this.bars = []; // { end: position on the tape, peak }
    this.end = 0;
    this.peak = 0;
    this.processed = 0;
    this.draw();
  }

  // Takes 16-bit samples that follow the ones before.
  take(samples) {
    for (const sample of samples) {
      const value = Math.abs(sample);
      if (value > this.peak) this.peak = value;
      if (++this.end % this.barSamples === 0) this.#addBar();
    }
    this.#drawSoon();
  }

  // The server has dealt with everything before this position on the tape.
  reach(position) {
    if (position <= this.processed) return;
    this.processed = position;
    this.#drawSoon();
  }

  draw() {
    const { canvas } = this;
    const scale = devicePixelRatio;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== width * scale || canvas.height !== height * scale) {
      canvas.width = width * scale;
      canvas.height = height * scale;
    }
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const colours = { done: style.getPropertyValue("--wave-done"), waiting: style.getPropertyValue("--wave-waiting") };
    const count = Math.ceil(width / STEP_PX);
    const shown = this.bars.slice(-count);
    for (let i = 0; i < count; i++) {
      const bar = shown[shown.length - count + i];
      const tall = bar ? Math.max(LEAST_HEIGHT_PX, bar.peak ** EXPONENT * height) : LEAST_HEIGHT_PX;
      pen.fillStyle = bar && bar.end <= this.processed ? colours.done : colours.waiting;
      pen.beginPath();
      pen.roundRect(width - (count - i) * STEP_PX, (height - tall) / 2, BAR_PX, tall, BAR_PX / 2);
      pen.fill();
    }
  }

  #addBar() {
    this.bars.push({ end: this.end, peak: this.peak / 32768 });
    this.peak = 0;
    if (this.bars.length > 2 * MOST_BARS) this.bars.splice(0, MOST_BARS);
  }

  // Once per picture of the screen; whoever wants less motion gets two a second.
  #drawSoon() {
    if (this.waiting) return;
    this.waiting = true;
    const draw = () => {
      this.waiting = false;
      this.draw();
    };
    if (this.calm.matches) setTimeout(draw, 500);
    else requestAnimationFrame(draw);
  }
}
