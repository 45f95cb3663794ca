// The level and lag meters on the page.
import { toScale } from "./meters.js";

const LONGEST_LAG_MS = 2000;
const SLOW_MS = 1000;

export class Gauges {
  constructor(element) {
    this.level = element("level");
    this.levelText = element("level-text");
    this.lag = element("lag");
    this.lagText = element("lag-text");
  }

  showLevel({ db, heldDb, clipped }) {
    const style = this.level.style;
    style.setProperty("--fill", toScale(db));
    style.setProperty("--hold", toScale(heldDb));
    this.level.dataset.tone = clipped ? "bad" : "good";
    this.level.setAttribute("aria-valuenow", Math.round(db));
    this.levelText.textContent = clipped ? "too loud" : `${minus(Math.round(heldDb))} dB`;
  }

  showLag(meter) {
    const { totalMs, serverMs, networkMs, waitingMs } = meter;
    if (totalMs === null) return;
    const shown = Math.round(totalMs);
    this.lag.style.setProperty("--fill", Math.min(1, Math.sqrt(totalMs / LONGEST_LAG_MS)));
    this.lag.dataset.tone = totalMs > SLOW_MS ? "bad" : "good";
    this.lag.setAttribute("aria-valuenow", Math.min(LONGEST_LAG_MS, shown));
    this.lag.setAttribute("aria-valuetext", durationOf(shown));
    this.lagText.textContent = durationOf(shown);
    const parts = [`server ${Math.round(serverMs)} ms`];
    if (networkMs !== null) parts.push(`network ${Math.round(networkMs)} ms`);
    if (waitingMs >= 100) parts.push(`waiting to be sent ${durationOf(Math.round(waitingMs))}`);
    this.lagText.title = parts.join(", ");
  }

  clear() {
    for (const bar of [this.level, this.lag]) {
      bar.style.setProperty("--fill", 0);
      bar.style.setProperty("--hold", 0);
    }
    this.levelText.textContent = this.lagText.textContent = "–";
    this.lagText.title = "";
  }
}

const minus = (value) => String(value).replace("-", "−");
const durationOf = (ms) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);
