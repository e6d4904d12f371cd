// A page of images: the wall, and the viewer that a click opens. One image needs no wall.
(camexp => {
  "use strict";
  const { el, Viewer, Wall, readHash, writeHash } = camexp;

  class Gallery {
    /** @param highest value of all images' maps: what one scale for all of them spans. */
    constructor(items, meta, highest) {
      Object.assign(this, { items, meta });
      const state = readHash();
      this.viewer = new Viewer(meta, { state, highest, step: items.length > 1 ? by => this.open(this.next(by), true) : null,
        onstate: view => { this.view = view; this.remember(); } });
      this.position = el("p", { class: "muted" });
      const wall = Object.fromEntries(Object.entries(state).filter(([key]) => key.startsWith("wall.")).map(([key, value]) => [key.slice(5), value]));
      this.wall = items.length > 1 ? new Wall(items, meta, { onopen: item => this.open(item), state: wall, onstate: () => this.remember() }) : null;
      if (this.wall) {
        this.dialog = el("dialog", { class: "lightbox", "aria-label": "Viewer", onclose: () => { this.item = null; this.remember(); } },
          el("div", { class: "row" },
            el("button", { type: "button", onclick: () => this.open(this.next(-1), true) }, "← Previous"),
            el("button", { type: "button", onclick: () => this.open(this.next(1), true) }, "Next →"),
            this.position, el("button", { type: "button", class: "quiet close", onclick: () => this.dialog.close() }, "Close (Esc)")),
          this.viewer.node);
        this.node = el("div", {}, this.wall.node, this.dialog);
      } else this.node = el("div", {}, this.viewer.node);
      camexp.followLinks();
      const first = this.wall ? items[state.image] : items[0];
      if (first) queueMicrotask(() => this.open(first));
    }

    next(by) { return this.wall.neighbour(this.item, by); }

    async open(item, keep = false) {
      this.item = item;
      if (this.dialog && !this.dialog.open) this.dialog.showModal();
      this.position.textContent = this.wall ? `${this.wall.shown.findIndex(row => row.item === item) + 1} of ${this.wall.shown.length}` : "";
      await camexp.whole(item);
      await this.viewer.show(item, { keep });
      if (this.dialog) this.viewer.node.querySelector("[aria-pressed=true]")?.focus({ preventScroll: true });
    }

    /** The address of the page follows what is seen, so that it can be sent. */
    remember() {
      const wall = this.wall ? Object.fromEntries(Object.entries(this.wall.state).map(([key, value]) => ["wall." + key, value])) : {};
      const open = this.item || !this.wall;
      writeHash({ ...(this.wall && this.item ? { image: this.items.indexOf(this.item) } : {}), ...(open ? this.view : {}), ...wall });
    }
  }

  Object.assign(camexp, { Gallery });
})(globalThis.camexp ??= {});
