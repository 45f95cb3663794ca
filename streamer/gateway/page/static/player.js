// Plays what was recorded, from a word on.

const LEAD_S = 0.08;

export class Player {
  constructor() {
    this.audio = new Audio();
    this.audio.ontimeupdate = () => this.audio.currentTime >= this.until && this.audio.pause();
    this.until = 0;
    this.url = null;
  }

  // The recording to play, a Blob; null takes it away.
  load(wav) {
    this.audio.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = wav && URL.createObjectURL(wav);
    if (wav) this.audio.src = this.url;
  }

  play(from_s, until_s) {
    if (!this.url) return;
    this.until = until_s;
    this.audio.currentTime = Math.max(0, from_s - LEAD_S);
    // Refused where no sound can be played; there is nothing to be done about that.
    this.audio.play().catch(() => {});
  }
}
