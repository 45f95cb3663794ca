// The text while it is spoken: each word is marked when it is heard.

export class SpokenText {
  constructor(element) {
    this.element = element;
    this.clear("");
  }

  clear(text) {
    // The server counts characters of Unicode, strings here count halves of some.
    this.characters = Array.from(text);
    this.words = []; // { start_sample, end_sample, element }
    this.placed = 0;
    this.now = -1;
    this.rest = document.createTextNode(text);
    this.element.replaceChildren(this.rest);
  }

  // Takes words of a message `spoken`, which follow the ones before.
  take(words) {
    for (const { start_char: start, end_char: end, start_sample, end_sample } of words) {
      const element = document.createElement("span");
      element.textContent = this.#cut(start, end);
      this.rest.before(this.#cut(this.placed, start), element);
      this.placed = end;
      this.words.push({ start_sample, end_sample, element });
    }
    this.rest.data = this.#cut(this.placed);
  }

  // Marks the word that is heard at `sample`, and those before it.
  show(sample) {
    const now = this.words.findLastIndex(({ start_sample: start }) => start <= sample);
    for (let i = Math.max(0, Math.min(now, this.now)); i <= Math.max(now, this.now); i++) {
      const { element, end_sample: end } = this.words[i] ?? {};
      if (!element) continue;
      element.classList.toggle("now", i === now && sample < end);
      element.classList.toggle("said", i < now || (i === now && sample >= end));
    }
    this.now = now;
  }

  #cut(start, end) {
    return this.characters.slice(start, end).join("");
  }
}
