// What the page is used for: transcribing, speaking, or the codec. The address says which, so that it can be linked to.

export class Views {
  constructor(element) {
    this.links = element("views");
    this.isThere = { transcribe: true, speech: false, codec: false };
    window.addEventListener("hashchange", () => this.#show());
    this.#show();
  }

  // The server can do this, or cannot. One view alone needs no choice.
  allow(view, isThere) {
    this.isThere[view] = isThere;
    this.links.hidden = Object.values(this.isThere).filter(Boolean).length < 2;
    this.#show();
  }

  #show() {
    const wanted = location.hash.slice(1);
    const view = [wanted, ...Object.keys(this.isThere)].find((name) => this.isThere[name]) ?? "transcribe";
    document.body.dataset.view = view;
    for (const main of document.querySelectorAll("main")) main.hidden = main.dataset.view !== view;
    for (const link of this.links.querySelectorAll("a")) {
      link.hidden = !this.isThere[link.hash.slice(1)];
      if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
}
