// A wall of thumbnails with heat, of which only what is in view is drawn, however many there are.
(camexp => {
  "use strict";
  const { el, paint, unpack, whole, heatOf, scaleOf, loadPhoto, probability, select } = camexp;
  const TILE = 190, TEXT = 46, GAP = 12;

  const SORTS = {
    order: ["order of the input", (a, b) => a.index - b.index],
    sure: ["probability, highest first", (a, b) => b.p - a.p],
    unsure: ["probability, lowest first", (a, b) => a.p - b.p],
    predicted: ["predicted class", (a, b) => a.best - b.best || b.p - a.p],
    truth: ["true class", (a, b) => (a.truth ?? -1) - (b.truth ?? -1) || b.p - a.p],
    large: ["box, largest first", (a, b) => b.area - a.area],
    small: ["box, smallest first", (a, b) => a.area - b.area],
    path: ["path", (a, b) => a.item.path.localeCompare(b.item.path)],
  };

  class Wall {
    /** @param onopen called with the item of a tile that was clicked. */
    constructor(items, meta, { onopen, state = {}, onstate = () => {} }) {
      Object.assign(this, { items, meta, onopen, onstate });
      this.state = { sort: "order", class: "", outcome: "", text: "", ...state };
      this.rows = items.map((item, index) => ({ item, index, best: item.best, p: item.p, truth: item.truth, area: item.area ?? 0 }));
      const set = key => value => { this.state[key] = value; this.filter(); };
      const present = [...new Set(this.rows.flatMap(row => [row.best, row.truth]).filter(label => label !== null && label !== undefined))].sort((a, b) => a - b);
      const truths = this.rows.some(row => row.truth !== null && row.truth !== undefined);
      this.count = el("p", { class: "muted", role: "status" });
      this.tiles = el("div", { class: "tiles", role: "list", "aria-label": "Images" });
      this.node = el("section", { class: "wall" },
        el("div", { class: "controls" },
          el("label", { class: "field" }, el("span", {}, "Path contains"), el("input", { type: "search", value: this.state.text, oninput: event => set("text")(event.target.value) })),
          select("Class", [["", "all"], ...present.map(label => [label, meta.classes[label]])], this.state.class, set("class")),
          truths ? select("Outcome", [["", "all"], ["wrong", "wrong"], ["right", "right"]], this.state.outcome, set("outcome")) : null,
          select("Sort by", Object.entries(SORTS).filter(([key]) => truths || key !== "truth").map(([key, [text]]) => [key, text]), this.state.sort, set("sort"))),
        this.count, this.tiles);
      this.drawn = new Map();
      addEventListener("scroll", () => this.schedule(), { passive: true });
      new ResizeObserver(() => this.schedule()).observe(this.tiles);
      this.filter();
    }

    filter() {
      const { sort, outcome, text } = this.state, wanted = this.state.class === "" ? null : +this.state.class, needle = text.toLowerCase();
      this.shown = this.rows.filter(row => (wanted === null || row.best === wanted || row.truth === wanted)
        && (!outcome || (row.truth !== null && row.truth !== undefined && (row.best === row.truth) === (outcome === "right")))
        && row.item.path.toLowerCase().includes(needle)).sort((SORTS[sort] ?? SORTS.order)[1]);
      this.count.textContent = `${this.shown.length} of ${this.rows.length} images`;
      for (const tile of this.drawn.values()) tile.remove();
      this.drawn.clear();
      this.onstate(this.state);
      this.schedule();
    }

    /** The item before or after one, as they are shown. */
    neighbour(item, by) {
      const at = this.shown.findIndex(row => row.item === item);
      return this.shown[(at + by + this.shown.length) % this.shown.length]?.item ?? item;
    }

    schedule() {
      this.waiting ??= requestAnimationFrame(() => { this.waiting = null; this.layout(); });
    }

    layout() {
      const width = this.tiles.clientWidth;
      if (!width) return;
      const columns = Math.max(2, Math.floor((width + GAP) / (TILE + GAP))), side = (width - GAP * (columns - 1)) / columns, tall = side + TEXT + GAP;
      this.tiles.style.height = `${Math.ceil(this.shown.length / columns) * tall}px`;
      const top = this.tiles.getBoundingClientRect().top, from = Math.max(0, Math.floor((-top - tall) / tall)) * columns;
      const until = Math.min(this.shown.length, (Math.ceil((innerHeight - top) / tall) + 1) * columns);
      for (const [index, tile] of this.drawn) if (index < from || index >= until) { tile.remove(); this.drawn.delete(index); }
      for (let index = from; index < until; index++) {
        let tile = this.drawn.get(index);
        if (!tile) { tile = this.tile(this.shown[index]); this.drawn.set(index, tile); this.tiles.append(tile); }
        tile.style.left = `${(index % columns) * (side + GAP)}px`;
        tile.style.top = `${Math.floor(index / columns) * tall}px`;
        tile.style.width = `${side}px`;
      }
    }

    tile({ item, best, p, truth }) {
      const canvas = el("canvas", { width: 2 * TILE, height: 2 * TILE, "aria-hidden": "true" }), name = this.meta.classes[best];
      const known = truth !== null && truth !== undefined, verdict = !known ? "" : best === truth ? "right" : "wrong";
      const button = el("button", { type: "button", class: `tile ${verdict}`, title: item.path, onclick: () => this.onopen(item),
        "aria-label": `${item.name}: ${name}, probability ${probability(p)}${verdict && `, ${verdict}`}` },
        canvas, el("span", { class: "name" }, verdict === "wrong" ? `${name} ≠ ${this.meta.classes[truth]}` : name), el("span", { class: "p" }, probability(p)), el("span", { class: "file" }, item.name));
      this.paint(canvas, item, best);
      return el("div", { class: "slot", role: "listitem" }, button);
    }

    async paint(canvas, item, best) {
      await whole(item);
      const photo = await loadPhoto(item.photo), { maps, row, held } = unpack(item), [H, W] = item.size, factor = 2 * TILE / Math.max(H, W);
      [canvas.width, canvas.height] = [Math.max(1, Math.round(W * factor)), Math.max(1, Math.round(H * factor))];
      const k = row.get(row.has(best) ? best : held[0]);
      paint(canvas, photo, heatOf(maps, k, scaleOf(this.meta.scale ?? "image", maps, k), { map: this.meta.colormap, opacity: this.meta.opacity }));
    }
  }

  Object.assign(camexp, { Wall });
})(globalThis.camexp ??= {});
