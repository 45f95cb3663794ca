// Figures to be shown: how loud it is and how far the text is behind.

const FLOOR_DB = -60;
const HOLD_MS = 1200;
const QUIET_DB = -50;
const QUIET_MS = 4000;
const CLIPPED = 0.999;
const KEPT_TRIPS = 10;
const KEPT_SENDS = 2000;

export const toDb = (value) => (value > 0 ? Math.max(FLOOR_DB, 20 * Math.log10(value)) : FLOOR_DB);

// From 0 to 1 on the meter's scale.
export const toScale = (db) => 1 - db / FLOOR_DB;

// The level of the sound, with a peak that is held, and what is wrong with it.
export class LevelMeter {
  constructor() {
    this.db = FLOOR_DB;
    this.heldDb = FLOOR_DB;
    this.clipped = false;
    this.heldAt = 0;
    this.loudAt = null;
  }

  // Takes the loudness of a frame at `now` ms.
  take({ peak, rms }, now) {
    this.loudAt ??= now;
    this.db = toDb(rms);
    const peakDb = toDb(peak);
    if (peakDb >= this.heldDb || now - this.heldAt > HOLD_MS) {
      this.heldDb = peakDb;
      this.heldAt = now;
      this.clipped = peak >= CLIPPED;
    }
    if (peakDb > QUIET_DB) this.loudAt = now;
    this.now = now;
  }

  // Nothing but faint noise for seconds: probably the wrong microphone.
  get isSilent() {
    return this.loudAt !== null && this.now - this.loudAt > QUIET_MS;
  }
}

// How far text is behind speech: the server's own lag, the way there and back, and what waits here.
export class LagMeter {
  constructor() {
    this.serverMs = null;
    this.waitingMs = 0;
    this.trips = [];
    this.sends = [];
  }

  // Sample `position` of the server's stream has been handed to the connection at `now` ms.
  sent(position, now) {
    this.sends.push({ position, now });
    if (this.sends.length > KEPT_SENDS) this.sends.splice(0, KEPT_SENDS / 2);
  }

  // A `Flow` that arrived at `now` ms; what it says was received is as old as its way here and the sample's way there.
  flow({ received_sample, lag_ms }, now) {
    this.serverMs = lag_ms;
    const index = this.sends.findIndex(({ position }) => position >= received_sample);
    if (index < 0) return;
    if (this.sends[index].position === received_sample) this.trips.push(now - this.sends[index].now);
    this.sends.splice(0, index);
    if (this.trips.length > KEPT_TRIPS) this.trips.shift();
  }

  // Another connection: what was on its way is not any more.
  reset() {
    this.sends = [];
    this.trips = [];
  }

  // A sample may have waited at the server for the message to be sent, so the shortest trip is nearest to the truth.
  get networkMs() {
    return this.trips.length ? Math.min(...this.trips) : null;
  }

  // Null until the server has said something.
  get totalMs() {
    return this.serverMs === null ? null : this.serverMs + (this.networkMs ?? 0) + this.waitingMs;
  }
}
