// Boxes as the threshold moves: curves, figures, and the images that fit worst and best there.
(camexp => {
  "use strict";
  const { el, select, slider, LineChart, Strip, Compare, fitsOf, mapAt, peak, upsample, whole } = camexp;
  const IOUS = [0.3, 0.5, 0.7], TILES = 8;

  class ThresholdPart {
    /** @param page methods, thresholds, points and perUnit of the evaluation.
     *  @param options state { at, method, iou }, onstate(), onviewer(item, settings): the image in the viewer. */
    constructor(items, page, { state, onstate, onviewer }) {
      this.methods = page.methods.filter(name => items.some(item => item.fits[name] !== undefined));
      Object.assign(this, { page, items, onstate, onviewer, last: page.points - 1 });
      const method = this.methods.includes(state.method) ? state.method : this.methods[0], asked = Number.parseFloat(state.at);
      this.state = { method, iou: IOUS.includes(+state.iou) ? +state.iou : 0.5,
        at: Number.isFinite(asked) ? this.grid(asked) : null };
      this.rows = new Map(this.methods.map(name => [name, items.filter(item => item.fits[name] !== undefined)]));
      this.state.at ??= this.bestPoint(method);
      this.build();
      this.update();
    }

    grid(threshold) { return Math.max(0, Math.min(this.last, Math.round(threshold * this.last))); }

    /** The share of a method's images whose box fits by at least `iou`, at a point of the grid. */
    share(method, iou, point, rows = this.rows.get(method)) {
      const least = Math.round(iou * this.page.perUnit);
      return rows.length ? rows.filter(item => fitsOf(item, method)[point] >= least).length / rows.length : null;
    }

    /** The point of the grid that the evaluation chose elsewhere, or where most of a method's boxes are right (IoU ≥ 0.5). */
    bestPoint(method) {
      if (this.page.elsewhere) return this.grid(this.page.thresholds[method]);
      const shares = Array.from({ length: this.page.points }, (_, point) => this.share(method, 0.5, point));
      return shares.indexOf(Math.max(...shares));
    }

    build() {
      const { methods, state, last } = this, percent = value => `${value.toFixed(1)} %`, several = methods.length > 1;
      const points = (method, iou) => Array.from({ length: this.page.points }, (_, i) => [i / last, 100 * this.share(method, iou, i)]);
      const chart = title => new LineChart({ title, x: "threshold", y: "right, %", height: 260, xdomain: [0, 1], ydomain: [0, 100],
        text: percent, oncursor: x => this.move(this.grid(x)) });
      this.charts = [[chart("One method, three IoUs"), () => IOUS.map(iou => ({ name: `${this.state.method}, IoU ≥ ${iou}`, points: points(this.state.method, iou) }))]];
      if (several) this.charts.push([chart("All methods at one IoU"), () => methods.map(name => ({ name: `${name}, IoU ≥ ${this.state.iou}`, points: points(name, this.state.iou) }))]);
      const lines = () => { for (const [one, series] of this.charts) one.set(series()); this.update(); };
      this.slide = slider("Threshold", { min: 0, max: 1, step: 1 / last, value: state.at / last }, value => this.move(this.grid(value)), value => value.toFixed(2));
      this.slide.querySelector("input").classList.add("wide");
      this.figures = el("tbody", {});
      const open = item => { this.chosen = item; this.compare.show(item, this.state.at).then(() => { this.compare.title.focus(); this.compare.node.scrollIntoView({ block: "nearest" }); }); };
      this.worst = new Strip("Worst boxes at this threshold", TILES, this.page.meta, open);
      this.best = new Strip("Best boxes at this threshold", TILES, this.page.meta, open);
      this.compare = new Compare({ ...this.page, methods }, { step: by => this.step(by), oncursor: point => this.move(point), onviewer: item => this.view(item) });
      this.node = el("section", {},
        el("div", { class: "controls sticky" }, this.slide,
          el("button", { type: "button", onclick: () => this.move(this.bestPoint(this.state.method)) }, this.page.elsewhere ? "To the chosen threshold" : "To the best threshold"),
          several ? select("Method of the boxes below", methods.map(name => [name, name]), state.method, name => { state.method = name; lines(); }) : null,
          several ? select("All methods at", IOUS.map(iou => [iou, `IoU ≥ ${iou}`]), state.iou, iou => { state.iou = +iou; lines(); }) : null),
        el("p", { class: "muted small" }, `The page knows boxes in steps of ${1 / last} of the threshold; the figures above are of steps of 0.001: `
          + `${methods.map(name => `${name} ${this.page.thresholds[name]}`).join(", ")}. IoU is that of the largest part's box.`),
        el("div", { class: "charts" }, ...this.charts.map(([one]) => one.node),
        el("div", { class: "table-box plain", tabIndex: 0, role: "region", "aria-label": "Right boxes at this threshold" }, el("table", {}, el("caption", {}, "Images with a right box at this threshold, %"),
          el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Method"), ...IOUS.map(iou => el("th", { scope: "col", class: "number" }, `IoU ≥ ${iou}`)),
            el("th", { scope: "col", class: "number" }, "mean IoU"), el("th", { scope: "col", class: "number" }, "images"))), this.figures))),
        this.worst.node, this.best.node, this.compare.node);
      for (const [one, series] of this.charts) one.set(series());
    }

    /** The threshold to a point of the grid. */
    move(point) {
      this.state.at = point;
      this.waiting ??= requestAnimationFrame(() => { this.waiting = null; this.update(); });
    }

    update() {
      const { method, at } = this.state, unit = this.page.perUnit;
      this.slide.set(at / this.last);
      for (const [one] of this.charts) one.cursor(at / this.last);
      this.figures.replaceChildren(...this.methods.map(name => {
        const rows = this.rows.get(name), mean = rows.reduce((sum, item) => sum + fitsOf(item, name)[at], 0) / rows.length / unit;
        const cells = [...IOUS.map(iou => (100 * this.share(name, iou, at)).toFixed(1)), mean.toFixed(3), rows.length];
        return el("tr", {}, el("th", { scope: "row" }, name), ...cells.map(text => el("td", { class: "number" }, String(text))));
      }));
      this.ranked = this.rows.get(method).map(item => ({ item, iou: fitsOf(item, method)[at] / unit })).sort((a, b) => a.iou - b.iou);
      const half = Math.max(1, Math.min(TILES, Math.floor(this.ranked.length / 2)));
      this.worst.show(this.ranked.slice(0, half), method, at);
      this.best.show(this.ranked.slice(half).slice(-half).reverse(), method, at);
      if (this.chosen) this.compare.show(this.chosen, at);
      this.onstate({ at: at / this.last, method, iou: this.state.iou });
    }

    step(by) {
      const place = this.ranked.findIndex(row => row.item === this.chosen) + by;
      this.chosen = this.ranked[Math.max(0, Math.min(this.ranked.length - 1, place))].item;
      this.compare.show(this.chosen, this.state.at);
    }

    /** The viewer takes a share of the maximum; the evaluation's threshold is one between minimum and maximum. */
    async view(item) {
      await whole(item);
      const shown = mapAt(item, this.state.method, this.state.at), { maps, k, label } = shown, [H, W] = item.size;
      const full = upsample(maps.values(k), maps.height, maps.width, H, W), high = peak(maps.values(k), maps.height, maps.width, H, W);
      const low = full.reduce((least, value) => Math.min(least, value), Infinity), share = high > 0 ? (low + this.state.at / this.last * (high - low)) / high : 0;
      this.onviewer(item, label, Math.max(0, Math.min(0.95, share)));
    }
  }

  Object.assign(camexp, { ThresholdPart });
})(globalThis.camexp ??= {});
