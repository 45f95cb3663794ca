// What the page is used for: transcribing, or the codec. The address says which, so that it can be linked to.

export class Views {
  constructor(element) {
    this.links = element("views");
    this.isThere = { transcribe: true, codec: false };
    window.addEventListener("hashchange", () => this.#show());
    this.#show();
  }

  // The server has a codec, or none.
  allowCodec(isThere) {
    this.isThere.codec = isThere;
    this.links.hidden = !isThere;
    this.#show();
  }

  #show() {
    const wanted = location.hash.slice(1);
    const view = this.isThere[wanted] ? wanted : "transcribe";
    document.body.dataset.view = view;
    for (const main of document.querySelectorAll("main")) main.hidden = main.dataset.view !== view;
    for (const link of this.links.querySelectorAll("a")) {
      if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
}
