// One image with the maps of several methods side by side, one cursor over all of them.
(camexp => {
  "use strict";
  const { el, Stage, LineChart, whole, loadPhoto, valueAt, number, fitsOf, boxAt, mapAt, measuredHeat } = camexp;

  class Compare {
    /** @param options step(by): to a worse or better image; onviewer(item): all classes of it; oncursor(point): another threshold. */
    constructor(page, { step, onviewer, oncursor }) {
      Object.assign(this, { page, meta: page.meta, item: null, place: null });
      this.stages = [null, ...page.methods].map(() => new Stage((x, y) => this.point(x, y)));
      this.title = el("h3", { tabIndex: -1 });
      this.live = el("p", { class: "sr", role: "status" });
      this.chart = new LineChart({ title: "IoU of this image's box", x: "threshold", y: "IoU", height: 190, xdomain: [0, 1], ydomain: [0, 1],
        text: value => value.toFixed(2), oncursor: x => oncursor(Math.round(x * (page.points - 1))) });
      this.node = el("section", { class: "compare", hidden: true, "aria-label": "One image, methods side by side" }, this.title,
        el("div", { class: "row" },
          el("button", { type: "button", onclick: () => step(-1) }, "← Worse"), el("button", { type: "button", onclick: () => step(1) }, "Better →"),
          el("button", { type: "button", onclick: () => onviewer(this.item) }, "All classes in the viewer")),
        el("div", { class: "side" }, ...this.stages.map(stage => stage.node)),
        el("p", { class: "muted small" }, "Dashed green: the true boxes; white: the box at the threshold. Point at a picture, or move the cross with Shift and the arrows: all maps are read at the same place."),
        this.chart.node, this.live);
      this.node.addEventListener("keydown", event => this.key(event));
      new ResizeObserver(() => requestAnimationFrame(() => this.draw())).observe(this.node);
    }

    /** An image at a point of the grid of thresholds. */
    async show(item, point) {
      this.wanted = item;
      await whole(item);
      const photo = await loadPhoto(item.photo);
      if (this.wanted !== item) return;
      const last = this.page.points - 1, unit = this.page.perUnit, another = this.item !== item;
      Object.assign(this, { item, at: point, photo });
      this.node.hidden = false;
      this.title.textContent = `${item.name}, ${this.meta.classes[item.truth]}`;
      if (another) this.chart.set(this.page.methods.filter(name => item.fits[name]).map(name => ({ name, points: [...fitsOf(item, name)].map((level, i) => [i / last, level / unit]) })));
      this.chart.cursor(point / last);
      this.draw();
    }

    draw() {
      if (!this.item || this.node.hidden) return;
      const { item, at, photo } = this, [first, ...others] = this.stages;
      first.draw(photo, item.size, null, { level: null, kind: "none", truth: item.boxes }, "photograph", `Photograph ${item.name}`);
      this.shown = this.page.methods.map(name => mapAt(item, name, at));
      others.forEach((stage, i) => {
        const name = this.page.methods[i], shown = this.shown[i], fits = fitsOf(item, name), box = shown && boxAt(item, name, at);
        const fit = fits ? `, IoU ${(fits[at] / this.page.perUnit).toFixed(2)}` : "";
        stage.draw(photo, item.size, shown && measuredHeat(shown, this.meta), { level: null, kind: "none", truth: item.boxes },
          shown ? `${name}: ${this.meta.classes[shown.label]}${fit}` : `${name}: not run on this image`, `Map by ${name} of ${item.name}${fit}`);
        stage.found = box ? [{ box }] : [];
        stage.outline(item.size, { kind: "largest", truth: [] });
      });
      this.point(...(this.place ?? [null]));
    }

    /** One place of the image in all pictures. */
    point(x, y) {
      this.place = x === null ? null : [x, y];
      this.stages.forEach((stage, i) => {
        const shown = i ? this.shown?.[i - 1] : null;
        stage.cross(x, y);
        if (!shown) return;
        const value = x === null ? null : valueAt(shown.maps.values(shown.k), shown.maps.height, shown.maps.width, x, y);
        stage.bar.mark(value);
        stage.value ??= el("output", { class: "p muted" });
        stage.value.textContent = value === null ? "" : `there ${number(value)}`;
        stage.node.append(stage.value);
      });
    }

    key(event) {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!by || !event.shiftKey || !event.target.matches("canvas")) return;
      const within = value => Math.max(0, Math.min(1, value)), [x, y] = this.place ?? [0.5, 0.5];
      this.point(within(x + 0.02 * by[0]), within(y + 0.02 * by[1]));
      this.live.textContent = this.page.methods.map((name, i) => `${name} ${this.stages[i + 1].value?.textContent ?? ""}`).join(", ");
      event.preventDefault();
    }
  }

  Object.assign(camexp, { Compare });
})(globalThis.camexp ??= {});
