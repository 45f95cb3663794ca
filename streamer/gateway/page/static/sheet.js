// The transcript on the page: finals as words that can be visited, and the text that may still change.
import { partsOf } from "./transcript.js";

const UNSURE = 0.4;
const NEAR_END_PX = 80;

export const clockOf = (seconds) => {
  const whole = Math.floor(seconds);
  const two = (value) => String(value).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
};

export class Sheet {
  // `onword(word, segment)` is called when a word is chosen.
  constructor(element, onword) {
    this.finals = element("finals");
    this.interim = element("interim");
    this.empty = element("empty");
    this.info = element("word-info");
    this.onword = onword;
    this.known = new WeakMap(); // word elements to { word, segment }
    this.finals.addEventListener("pointerover", ({ target }) => this.#tell(target));
    this.finals.addEventListener("pointerleave", () => this.#tell(document.activeElement));
    this.finals.addEventListener("focusin", ({ target }) => this.#visit(target));
    this.finals.addEventListener("focusout", () => this.#tell(null));
    this.finals.addEventListener("click", ({ target }) => this.#choose(target));
    this.finals.addEventListener("keydown", (event) => this.#move(event));
  }

  clear() {
    this.finals.replaceChildren();
    this.showInterim(null);
    this.info.textContent = "";
    this.empty.hidden = false;
  }

  addFinal(segment) {
    if (!segment.text) return;
    const line = document.createElement("p");
    line.className = "segment";
    const words = document.createElement("span");
    words.className = "words";
    words.append(...partsOf(segment).map((part) => this.#partOf(part, segment)));
    line.append(timeOf(segment), words);
    this.#grow(() => this.finals.append(line));
    // One stop of the tab key for all words; the arrow keys go on from there.
    if (!this.finals.querySelector("[tabindex='0']")) this.#words[0]?.setAttribute("tabindex", "0");
  }

  showInterim(segment) {
    const [time, words] = this.interim.children;
    this.#grow(() => {
      this.interim.hidden = !segment?.text;
      if (!segment) return;
      time.textContent = clockOf(segment.start_s);
      const stable = document.createElement("span");
      stable.className = "stable";
      const characters = [...segment.text];
      stable.textContent = characters.slice(0, segment.stable_chars).join("");
      words.replaceChildren(stable, characters.slice(segment.stable_chars).join(""));
    });
  }

  #partOf({ text, word }, segment) {
    if (!word) return document.createTextNode(text);
    const element = document.createElement("span");
    element.className = word.confidence < UNSURE ? "word unsure" : "word";
    element.tabIndex = -1;
    element.textContent = text;
    this.known.set(element, { word, segment });
    return element;
  }

  // Follows the text as long as its end is in view.
  #grow(change) {
    const page = document.scrollingElement;
    const follows = page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_END_PX;
    change();
    this.empty.hidden = this.finals.hasChildNodes() || !this.interim.hidden;
    if (follows) page.scrollTop = page.scrollHeight;
  }

  get #words() {
    return [...this.finals.querySelectorAll(".word")];
  }

  #tell(target) {
    const found = this.known.get(target);
    if (!found) {
      this.info.textContent = "";
      return;
    }
    const { word } = found;
    const sure = Math.round(100 * word.confidence);
    this.info.textContent = `${word.start_s.toFixed(2)}–${word.end_s.toFixed(2)} s, ${sure} % sure`;
  }

  #visit(target) {
    if (!this.known.has(target)) return;
    this.finals.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
    target.setAttribute("tabindex", "0");
    target.setAttribute("aria-describedby", this.info.id);
    this.#tell(target);
  }

  #choose(target) {
    const found = this.known.get(target);
    if (found) this.onword(found.word, found.segment);
  }

  #move(event) {
    const words = this.#words;
    const at = words.indexOf(event.target);
    if (at < 0) return;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: words.length - 1 }[event.key];
    if (event.key === "Enter") this.#choose(event.target);
    else if (to === undefined) return;
    else words[Math.max(0, Math.min(words.length - 1, to))].focus();
    event.preventDefault();
  }
}

function timeOf(segment) {
  const time = document.createElement("span");
  time.className = "time";
  time.setAttribute("aria-hidden", "true");
  time.textContent = clockOf(segment.start_s);
  return time;
}
