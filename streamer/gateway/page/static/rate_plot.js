// Bits on the wire: how many there are in each part of a second, and a picture of them.

const BIN_S = 0.5;
const GAUGE_BINS = 2;
const BAR_GAP_PX = 2;
const LEAST_BARS = 24;

// Counts the bits of packets by the time that their audio has, not by when they came.
export class RateMeter {
  // `packetS` seconds of audio are in a packet.
  constructor(packetS) {
    this.packetS = packetS;
    this.bins = []; // { payload, framing, lost }: bits, and packets that never arrived
    this.packets = 0;
    this.lost = 0;
    this.bytes = 0;
    this.payloadBytes = 0;
  }

  take({ bytes, payload }, isSent) {
    const bin = this.#bin(Math.floor((this.packets * this.packetS) / BIN_S));
    bin.payload += 8 * payload;
    bin.framing += 8 * (bytes.length - payload);
    bin.seconds += this.packetS;
    if (!isSent) {
      bin.lost++;
      this.lost++;
    }
    this.packets++;
    this.bytes += bytes.length;
    this.payloadBytes += payload;
  }

  // Bits per second of the last second, and of all.
  get now() {
    const latest = this.bins.slice(-GAUGE_BINS);
    const seconds = latest.reduce((sum, bin) => sum + bin.seconds, 0);
    return seconds ? latest.reduce((sum, bin) => sum + bin.payload + bin.framing, 0) / seconds : 0;
  }

  get mean() {
    return this.#perSecond(this.bytes);
  }

  get payload() {
    return this.#perSecond(this.payloadBytes);
  }

  #perSecond(bytes) {
    return this.packets ? (8 * bytes) / (this.packets * this.packetS) : 0;
  }

  #bin(index) {
    while (this.bins.length <= index) this.bins.push({ payload: 0, framing: 0, lost: 0, seconds: 0 });
    return this.bins[index];
  }
}

// A bar for each half second: payload, what frames it on top of that, and a mark below where packets were lost.
export class RatePlot {
  constructor(canvas) {
    this.canvas = canvas;
    this.meter = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(meter) {
    this.meter = meter;
    this.draw();
  }

  // The bits per second that the top of the picture stands for.
  get top() {
    const rates = (this.meter?.bins ?? []).map(rateOf);
    const most = Math.max(1000, ...rates);
    return Math.ceil(most / 1000) * 1000;
  }

  draw() {
    const { canvas } = this;
    const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio];
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const bins = this.meter?.bins ?? [];
    const step = width / Math.max(LEAST_BARS, bins.length);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name);
    const markHeight = 5;
    const space = height - markHeight - 2;
    bins.forEach((bin, index) => {
      const x = index * step;
      const bar = Math.max(1, step - BAR_GAP_PX);
      const toPx = (bits) => (bin.seconds ? (bits / bin.seconds / this.top) * space : 0);
      const [payload, framing] = [toPx(bin.payload), toPx(bin.framing)];
      pen.fillStyle = colour("--wave-done");
      pen.fillRect(x, space - payload, bar, payload);
      pen.fillStyle = colour("--wave-waiting");
      pen.fillRect(x, space - payload - framing, bar, framing);
      pen.fillStyle = colour("--record");
      if (bin.lost) pen.fillRect(x, height - markHeight, bar, markHeight);
    });
  }
}

const rateOf = ({ payload, framing, seconds }) => (seconds ? (payload + framing) / seconds : 0);
