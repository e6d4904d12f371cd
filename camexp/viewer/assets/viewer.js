// The viewer: one image, the maps of all its classes.
(camexp => {
  "use strict";
  const { el, number, probability, equation, select, slider, check, Maps, floats, softmax, valueAt, iou, stretches, maskIou, Stage, colourMap, colourMaps, SCALES, scaleOf, heatOf, loadPhoto } = camexp;
  const VIEWS = [["overlay", "heat over the photograph"], ["beside", "photograph beside heat"], ["two", "two classes"], ["difference", "their difference"]];
  const SHAPES = [["largest", "box of the largest part"], ["all", "boxes of all parts"], ["masks", "masks"], ["none", "none"]];
  const BARS = 8;

  /** What a page holds of an image, ready to show: numbers unpacked once. */
  const unpack = item => {
    if (!item.ready) {
      const logits = floats(item.logits), chances = softmax(logits);
      const order = [...chances.keys()].sort((a, b) => chances[b] - chances[a]);
      const rank = new Map(order.map((label, i) => [label, i]));
      const held = [...item.labels].sort((a, b) => rank.get(a) - rank.get(b));
      const [mask, ignored] = [item.mask, item.ignored].map(packed => packed ? stretches(packed) : null);
      item.ready = { maps: new Maps(item.maps), logits, chances, order, held, mask, ignored: ignored ?? [], row: new Map(item.labels.map((label, k) => [label, k])) };
    }
    return item.ready;
  };

  class Viewer {
    /** @param meta what all images share: classes, method, identity, colormap, opacity, threshold (see camexp.viewer).
     *  @param options onstate(state) after each change; step(by) to another image, or what `across` calls it; highest of all images' maps. */
    constructor(meta, { state = {}, onstate = () => {}, step = null, across = "image", highest = null } = {}) {
      Object.assign(this, { meta, onstate, step, across, highest });
      this.state = { view: "overlay", opacity: meta.opacity ?? 0.5, threshold: meta.threshold ?? 0.2, map: meta.colormap,
        scale: meta.scale ?? "image", shapes: "largest", fade: true };
      for (const [key, value] of Object.entries(state)) if (key in this.state) this.state[key] = this.read(key, value);
      this.label = "class" in state ? +state.class : null;
      this.other = "with" in state ? +state.with : null;
      if (!colourMaps().has(this.state.map)) this.state.map = colourMaps().keys().next().value;
      this.build();
    }

    read(key, text) {
      const now = this.state[key];
      return typeof now === "number" ? (Number.isFinite(+text) ? +text : now) : typeof now === "boolean" ? text === true || text === "true" : String(text);
    }

    build() {
      this.stages = [0, 1].map(() => new Stage((x, y) => this.point(x, y)));
      this.pictures = el("div", { class: "pictures" }, ...this.stages.map(stage => stage.node));
      this.bars = el("div", { class: "bars", role: "group", "aria-label": "Classes, the most probable first" });
      this.places = el("div", { class: "places" });
      this.verdict = el("p", { class: "muted" });
      this.live = el("p", { class: "sr", role: "status" });
      this.names = el("datalist", { id: `classes-${Viewer.count = (Viewer.count ?? 0) + 1}` });
      const typing = (label, set) => el("label", { class: "field" }, el("span", {}, label),
        el("input", { type: "search", list: this.names.id, placeholder: "type a class", autocomplete: "off", onchange: event => {
          const label = this.meta.classes.indexOf(event.target.value);
          if (this.item && this.ready.row.has(label)) { set(label); event.target.value = ""; event.target.setCustomValidity(""); }
          else if (event.target.value) { event.target.setCustomValidity("This page holds no map of that class."); event.target.reportValidity(); }
        } }));
      this.search = typing("Any class", label => this.choose(label));
      this.second = typing("Second class", label => this.choose(this.label, label));
      const set = key => value => { this.state[key] = this.read(key, value); this.draw(); };
      this.fields = {
        view: select("View", VIEWS, this.state.view, value => { set("view")(value); this.list(); }),
        scale: select("Colour scale", SCALES, this.state.scale, set("scale")),
        map: select("Colour map", [...colourMaps().keys()].map(name => [name, name]), this.state.map, set("map")),
        opacity: slider("Heat", { min: 0, max: 1, step: 0.05, value: this.state.opacity }, set("opacity"), v => `${Math.round(100 * v)} %`),
        threshold: slider("Threshold", { min: 0, max: 0.95, step: 0.01, value: this.state.threshold }, set("threshold"), v => `${v.toFixed(2)} × maximum`),
        shapes: select("Outlines", SHAPES, this.state.shapes, set("shapes")),
        fade: check("cold places clear", this.state.fade, set("fade")),
      };
      const controls = el("div", { class: "controls" }, ...Object.values(this.fields));
      this.tie = el("span", {});
      const actions = el("div", { class: "row actions" },
        el("button", { type: "button", onclick: () => this.copy() }, "Copy as PNG"),
        el("button", { type: "button", onclick: () => this.link() }, "Copy link"));
      this.node = el("section", { class: "viewer", "aria-label": "Viewer" },
        el("div", {}, this.pictures, this.places),
        el("div", { class: "panel" }, this.verdict, this.bars, el("div", { class: "controls" }, this.search, this.second), this.names,
          controls, actions, el("p", { class: "muted small" }, this.meta.note ?? "", " ", this.tie),
          el("p", { class: "muted small" }, `Keys: ↑ ↓ class, ← → ${this.across}, v view, s scale, b outlines; on the picture, Shift and arrows move the cross.`)),
        this.live);
      this.node.addEventListener("keydown", event => this.key(event));
      new ResizeObserver(() => requestAnimationFrame(() => this.draw())).observe(this.pictures);
    }

    get ready() { return unpack(this.item); }

    /** Another image; the class stays where `keep` says so and the image has its map. */
    async show(item, { keep = false } = {}) {
      this.item = item;
      const { held, row } = this.ready;
      if (!keep && this.item.shown) this.label = this.other = null;
      item.shown = true;
      if (this.label === null || !row.has(this.label)) this.label = held[0];
      if (this.other === null || !row.has(this.other)) this.other = held.find(label => label !== this.label) ?? this.label;
      this.names.replaceChildren(...held.map(label => el("option", { value: this.meta.classes[label] })));
      this.photo = item.photo ? await loadPhoto(item.photo) : null;
      if (this.item !== item) return;
      this.list();
      this.draw();
    }

    choose(label, other = this.other) {
      [this.label, this.other] = [label, other];
      this.list();
      this.draw();
    }

    /** The bars: the most probable classes, those chosen among them. */
    list() {
      const { held, chances } = this.ready, two = this.state.view === "two" || this.state.view === "difference";
      const shown = held.slice(0, BARS);
      for (const label of two ? [this.label, this.other] : [this.label]) if (!shown.includes(label)) shown.push(label);
      const focused = this.bars.contains(document.activeElement);
      this.bars.replaceChildren(...shown.map(label => {
        const fill = el("span", { class: "fill" });
        fill.style.width = `${100 * chances[label]}%`;
        const mark = label === this.item.truth ? el("span", { class: "truth" }, "true class") : null;
        return el("button", { type: "button", class: "class" + (two && label === this.other ? " other" : ""), "aria-pressed": String(label === this.label),
          onclick: event => event.shiftKey ? this.choose(this.label, label) : this.choose(label) },
          fill, el("span", { class: "name" }, this.meta.classes[label]), mark, el("span", { class: "p" }, probability(chances[label])));
      }));
      if (focused) this.bars.querySelector("[aria-pressed=true]")?.focus();
      this.second.hidden = !two;
      const best = this.ready.order[0], truth = this.item.truth, name = label => this.meta.classes[label];
      this.verdict.textContent = `${this.item.name}: predicted ${name(best)} (${probability(chances[best])})`
        + (truth === null || truth === undefined ? "" : best === truth ? ", which is right" : `, but it is ${name(truth)} (${probability(chances[truth])})`);
    }

    heat(label) {
      const { maps, row } = this.ready, k = row.get(label);
      return heatOf(maps, k, scaleOf(this.state.scale, maps, k, this.highest), this.state);
    }

    difference() {
      const one = this.heat(this.label), two = this.heat(this.other);
      const key = `${this.label}-${this.other}`;
      if (this.differs?.key !== key || this.differs.item !== this.item) {
        const values = one.values.map((value, i) => value - two.values[i]);
        this.differs = { key, item: this.item, values, most: values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) };
      }
      return { ...one, values: this.differs.values, low: -this.differs.most, high: this.differs.most, table: colourMap("coolwarm"), fade: false };
    }

    draw() {
      if (!this.item || !this.photo && this.item.photo) return;
      this.tie.textContent = `The mean of a map is ${this.meta.identity ? "" : "not "}its class's logit.`;
      const { view, threshold, shapes, opacity } = this.state, { chances } = this.ready, name = label => this.meta.classes[label];
      const size = this.item.size, truth = this.item.boxes ?? [], { mask, ignored } = this.ready, [first, second] = this.stages;
      const outlines = { level: shapes === "none" ? null : threshold, kind: shapes, truth, mask }, bare = { level: null, kind: "none", truth, mask };
      const text = label => `${name(label)}, ${equation(chances[label])}`;
      const alt = (label, stage) => `Map of ${name(label)}, probability ${probability(chances[label])}, over ${this.item.name}`;
      this.pictures.classList.toggle("double", view === "beside" || view === "two");
      second.node.hidden = view === "overlay" || view === "difference";
      if (view === "difference") first.draw(this.photo, size, this.difference(), bare, `${name(this.label)} minus ${name(this.other)}: red speaks for ${name(this.label)}, blue for ${name(this.other)}`, `Map of ${name(this.label)} minus map of ${name(this.other)}`);
      else if (view === "beside") {
        first.draw(this.photo, size, null, bare, this.item.name, `Photograph ${this.item.name}`);
        second.draw(null, size, { ...this.heat(this.label), fade: false }, outlines, text(this.label), alt(this.label));
      } else {
        first.draw(this.photo, size, this.heat(this.label), outlines, text(this.label), alt(this.label));
        if (view === "two") second.draw(this.photo, size, this.heat(this.other), outlines, text(this.other), alt(this.other));
      }
      const heated = view === "beside" ? second : first, found = heated.found[0];
      this.overlap = found && truth.length ? Math.max(...truth.map(box => iou(found.box, box))) : null;
      if (this.overlap !== null) heated.caption.textContent += `, IoU with the true box ${this.overlap.toFixed(2)}`;
      this.maskOverlap = outlines.level !== null && view !== "difference" && mask ? maskIou(heated.found, size[1], mask, ignored) : null;
      if (this.maskOverlap !== null) heated.caption.textContent += `, IoU of all parts with the true mask ${this.maskOverlap.toFixed(2)}`;
      this.live.textContent = `${text(this.label)}, ${this.item.name}`;
      this.point(...(this.at ?? [null]));
      this.onstate(this.link.state = { class: this.label, ...(second.node.hidden && view !== "difference" ? {} : { with: this.other }), ...this.state });
    }

    /** What a place of the image says: the map's value there, and the classes it votes for. */
    point(x, y) {
      this.at = x === null ? null : [x, y];
      for (const stage of this.stages) if (!stage.node.hidden) { stage.cross(x, y); stage.bar.mark(null); }
      if (x === null) { this.places.replaceChildren(el("p", { class: "muted small" }, "Point at the image: its classes there.")); return; }
      const { maps, row, held } = this.ready, at = label => valueAt(maps.values(row.get(label)), maps.height, maps.width, x, y);
      const votes = held.map(label => [label, at(label)]).sort((a, b) => b[1] - a[1]).slice(0, 5);
      if (this.state.view === "difference") this.stages[0].bar.mark(at(this.label) - at(this.other));
      else for (const [stage, label] of [[this.stages[0], this.label], [this.stages[1], this.state.view === "two" ? this.other : this.label]]) stage.bar.mark(at(label));
      const [H, W] = this.item.size;
      this.places.replaceChildren(
        el("p", {}, `At ${Math.min(W - 1, Math.floor(x * W))}, ${Math.min(H - 1, Math.floor(y * H))} the map of `, el("b", {}, this.meta.classes[this.label]), ` is ${number(at(this.label))}`,
          this.meta.identity ? ` (its mean, the logit: ${number(this.ready.logits[this.label])}).` : "."),
        el("p", { class: "muted small" }, held.length === this.meta.classes.length ? "This place votes for" : `Of the ${held.length} maps held here the largest at this place`),
        el("ol", { class: "votes" }, ...votes.map(([label, value]) => el("li", {}, el("span", {}, this.meta.classes[label]), el("span", { class: "p" }, number(value))))));
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
      const { held } = this.ready, to = { ArrowUp: -1, ArrowDown: 1 }[event.key], across = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const next = (key, options) => this.set(key, options[(options.findIndex(([value]) => value === this.state[key]) + 1) % options.length][0]);
      if (event.shiftKey && (to || across) && event.target.matches("canvas")) {
        const [x, y] = this.at ?? [0.5, 0.5], within = v => Math.max(0, Math.min(1, v));
        this.point(within(x + 0.02 * (across ?? 0)), within(y + 0.02 * (to ?? 0)));
      } else if (to) this.choose(held[(held.indexOf(this.label) + to + held.length) % held.length]);
      else if (across && this.step) this.step(across);
      else if (event.key === "v") { next("view", VIEWS); this.list(); }
      else if (event.key === "s") next("scale", SCALES);
      else if (event.key === "b") next("shapes", SHAPES);
      else return;
      event.preventDefault();
    }

    set(key, value) {
      this.state[key] = value;
      const input = this.fields[key].querySelector("select, input");
      if (this.fields[key].set) this.fields[key].set(value);
      else if (input.type === "checkbox") input.checked = value;
      else input.value = value;
      this.draw();
    }

    async copy() {
      const stages = this.stages.filter(stage => !stage.node.hidden);
      await camexp.copyPicture(stages, this.item.name, text => { this.live.textContent = text; });
    }

    async link() {
      try { await navigator.clipboard.writeText(location.href); this.live.textContent = "Link copied."; }
      catch { prompt("The link of this view", location.href); }
    }
  }

  Object.assign(camexp, { Viewer, unpack });
})(globalThis.camexp ??= {});
