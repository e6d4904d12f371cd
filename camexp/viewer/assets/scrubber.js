// What became of an image while the network learnt: its maps at every step, beside the loss at that step.
(camexp => {
  "use strict";
  const { el, Viewer, Player, LineChart, unpack, heatOf, scaleOf, paint, loadPhoto, probability, readHash, writeHash } = camexp;
  const FRAMES = 9, THUMB = 200;

  /** For each watched image its steps, as items of a viewer: they share the photograph. */
  const filmOf = (images, records) => {
    const films = images.map(() => []);
    for (const record of records) films[record.image]?.push({ boxes: [], ...images[record.image], ...record });
    return films.map((items, i) => ({ ...images[i], items, highest: Math.max(...items.flatMap(item => item.maps.high)) })).filter(film => film.items.length);
  };

  class Scrubber {
    /** @param curves [{ title, y, series }]: the loss and the accuracy are drawn beside the maps.
     *  @param onstep called with the training's step that is seen. */
    constructor(films, meta, curves, { onstep = () => {} } = {}) {
      Object.assign(this, { films, meta, onstep });
      const state = readHash();
      this.number = Math.max(0, films.findIndex((_, i) => String(i) === state.image));
      const steps = this.film.items.map(item => item.step), wanted = steps.indexOf(+state.step);
      this.viewer = new Viewer(meta, { state: { scale: meta.scale ?? "all", ...state }, across: "step", step: by => { this.player.stop(); this.player.go(this.player.index + by); },
        highest: this.film.highest, onstate: view => { this.view = view; this.follow(); } });
      this.viewer.fields.scale.querySelector("option[value=all]").textContent = "0 to the maximum of all steps";
      if (this.viewer.label === null) this.viewer.label = this.film.labels[0] ?? null;
      this.player = new Player(steps, { index: wanted < 0 ? steps.length - 1 : wanted, onstep: () => this.show() });
      this.strip = el("div", { class: "strip", role: "group", "aria-label": "Maps of some steps" });
      this.viewer.pictures.after(this.player.node, this.strip);
      this.tabs = el("div", { class: "row tabs", role: "group", "aria-label": "Watched images", hidden: films.length < 2 },
        ...films.map(({ name }, i) => el("button", { type: "button", "aria-pressed": String(i === this.number), onclick: () => this.choose(i) }, name)));
      const chart = (title, y, series, ydomain) => new LineChart({ title, x: "step", y, series, height: 168, ydomain, xdomain: [0, null], stops: steps, oncursor: step => this.player.near(step) });
      const [loss, accuracy] = ["Loss", "Accuracy"].map(title => curves.find(curve => curve.title === title));
      this.accuracy = accuracy?.series ?? [];
      this.charts = [...(loss ? [chart("Loss", loss.y, loss.series, [0, null])] : []), chart("Accuracy, probability", "share", this.accuracy, [0, 1])];
      this.share = this.charts.at(-1);
      this.viewer.node.querySelector(".panel").prepend(...this.charts.map(one => one.node));
      this.node = el("section", { class: "scrubber", "aria-label": "Maps at every step" }, this.tabs, this.viewer.node);
      new ResizeObserver(() => requestAnimationFrame(() => this.frames())).observe(this.strip);
      queueMicrotask(() => this.show());
    }

    get film() { return this.films[this.number]; }
    get item() { return this.film.items[this.player.index]; }

    choose(number) {
      const step = this.player.step;
      this.number = number;
      [...this.tabs.children].forEach((tab, i) => tab.setAttribute("aria-pressed", String(i === number)));
      this.viewer.highest = this.film.highest;
      this.viewer.label = this.film.labels[0] ?? null;
      this.viewer.other = null;
      this.drawn = null;
      this.player.near(step);
    }

    async show() {
      this.viewer.live.setAttribute("aria-live", this.player.playing ? "off" : "polite");
      await this.viewer.show(this.item, { keep: true });
    }

    /** After whatever was changed in the viewer: the charts, the strip, the address. */
    follow() {
      if (!this.player) return;
      const { label, state } = this.viewer, step = this.player.step, drawn = [this.number, label, state.scale, state.map, state.opacity, state.fade].join();
      if (this.drawn !== drawn) {
        if (this.label !== `${this.number}-${label}`) {
          this.label = `${this.number}-${label}`;
          const points = this.film.items.map(item => [item.step, unpack(item).chances[label]]);
          this.share.set([...this.accuracy, { name: `probability of ${this.meta.classes[label]}`, points }]);
        }
        this.drawn = drawn;
        this.frames();
      }
      for (const chart of this.charts) chart.cursor(step);
      for (const frame of this.strip.children) frame.setAttribute("aria-current", String(+frame.dataset.step === step));
      this.onstep(step);
      clearTimeout(this.writing);
      if (!this.player.playing) this.writing = setTimeout(() => writeHash({ step, ...(this.films.length > 1 ? { image: this.number } : {}), ...this.view }), 150);
    }

    /** A film strip: some of the steps with the same class, colours and scale, the first and the last among them. */
    async frames() {
      const { label, state } = this.viewer, room = this.strip.clientWidth;
      if (label === null || !room) return;
      const items = this.film.items, count = Math.min(items.length, FRAMES, Math.max(3, Math.floor(room / 84)));
      const chosen = [...Array(count).keys()].map(i => items[count < 2 ? 0 : Math.round(i * (items.length - 1) / (count - 1))]);
      const photo = await loadPhoto(this.film.photo), [H, W] = this.film.size, factor = THUMB / Math.max(H, W);
      this.strip.style.gridTemplateColumns = `repeat(${count}, minmax(0, 140px))`;
      this.strip.replaceChildren(...chosen.map(item => {
        const { maps, row, chances } = unpack(item), k = row.get(label);
        const canvas = el("canvas", { width: Math.round(W * factor), height: Math.round(H * factor), "aria-hidden": "true" });
        if (k === undefined) paint(canvas, photo, null); // this step kept the maps of other classes
        else paint(canvas, photo, heatOf(maps, k, scaleOf(state.scale, maps, k, this.film.highest), state));
        return el("button", { type: "button", class: "frame", "data-step": item.step, "aria-current": String(item.step === this.player.step), "aria-label": `Step ${item.step}, probability ${probability(chances[label])}`,
          onclick: () => this.player.near(item.step) }, canvas, el("span", {}, String(item.step)), el("span", { class: "p muted" }, probability(chances[label])));
      }));
    }
  }

  Object.assign(camexp, { Scrubber, filmOf });
})(globalThis.camexp ??= {});
