// Plays one of two recordings of the same sound, and changes over between them without losing the place.

export class AbPlayer {
  // `on` has playing(isPlaying) and at(seconds).
  constructor(on) {
    this.on = on;
    this.chosen = "original";
    this.audio = { original: this.#made(), decoded: this.#made() };
    this.urls = {};
  }

  // A WAV file as a Blob; null takes it away.
  load(which, wav) {
    const audio = this.audio[which];
    audio.pause();
    if (this.urls[which]) URL.revokeObjectURL(this.urls[which]);
    this.urls[which] = wav && URL.createObjectURL(wav);
    if (wav) audio.src = this.urls[which];
    else audio.removeAttribute("src");
  }

  choose(which) {
    if (which === this.chosen) return;
    const [old, next] = [this.audio[this.chosen], this.audio[which]];
    const wasPlaying = !old.paused;
    old.pause();
    this.chosen = which;
    if (!this.urls[which]) return;
    next.currentTime = old.currentTime;
    if (wasPlaying) this.#play();
  }

  toggle() {
    const audio = this.audio[this.chosen];
    if (!this.urls[this.chosen]) return;
    if (!audio.paused) audio.pause();
    else this.#play();
  }

  stop() {
    Object.values(this.audio).forEach((audio) => audio.pause());
  }

  #play() {
    // Refused where no sound can be played; there is nothing to be done about that.
    this.audio[this.chosen].play().catch(() => this.on.playing(false));
  }

  #made() {
    const audio = new Audio();
    const isChosen = () => audio === this.audio[this.chosen];
    audio.onplay = () => isChosen() && this.on.playing(true);
    audio.onpause = () => isChosen() && this.on.playing(false);
    audio.ontimeupdate = () => isChosen() && this.on.at(audio.currentTime);
    return audio;
  }
}
