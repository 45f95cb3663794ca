// Plays sound while it comes, piece after piece without gaps, and knows what is heard right now.

// Between the order to play and the sound: what comes too late leaves a gap.
const LEAD_S = 0.08;

export class SpeechPlayer {
  #pieces = []; // { from, until: seconds of the context, sample: the first one, source }
  #samples = 0;
  #until = 0;

  // Call it while a button is pressed: browsers play nothing that nobody asked for.
  constructor(rate) {
    this.rate = rate;
    this.context = new AudioContext({ sampleRate: rate });
    this.context.resume();
  }

  // Takes 16-bit samples that follow the ones before.
  take(samples) {
    const { context } = this;
    const buffer = context.createBuffer(1, samples.length, this.rate);
    const floats = buffer.getChannelData(0);
    samples.forEach((sample, i) => (floats[i] = sample / 32768));
    const from = this.#until > context.currentTime ? this.#until : context.currentTime + LEAD_S;
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    source.start(from);
    this.#until = from + samples.length / this.rate;
    this.#pieces.push({ from, until: this.#until, sample: this.#samples, source });
    this.#samples += samples.length;
  }

  // The sample that is heard now: the first one that is not, between two pieces.
  get heard() {
    const now = this.context.currentTime - (this.context.outputLatency || 0);
    const piece = this.#pieces.findLast(({ from }) => from <= now);
    if (!piece) return 0;
    return piece.sample + Math.round(Math.min(now - piece.from, piece.until - piece.from) * this.rate);
  }

  get isOver() {
    return this.heard >= this.#samples;
  }

  // Silence at once.
  stop() {
    for (const { source } of this.#pieces) source.stop();
    if (this.context.state !== "closed") this.context.close();
  }
}
