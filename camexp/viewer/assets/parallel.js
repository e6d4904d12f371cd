// Parallel coordinates: a line for each job, an axis for each option and each figure; a range of an axis can be chosen.
(camexp => {
  "use strict";
  const { el, svg, number } = camexp;
  const HEIGHT = 300, TOP = 62, FOOT = 30, ROOM = 132;

  class Parallel {
    /** @param columns { name, type: "number" | "text" }; rows lists of values, null: not known.
     *  @param by the number of the column that gives the colour.
     *  @param onchoose called with the set of rows within all chosen ranges; onrow with a row that is pointed at, or null. */
    constructor(columns, rows, { by, names, onchoose = () => {}, onrow = () => {} }) {
      Object.assign(this, { columns, rows, by, names, onchoose, onrow });
      this.axes = columns.map((column, i) => this.axis(column, rows.map(row => row[i]), i));
      this.plot = svg("svg", { class: "parallel", role: "group", "aria-label": "Jobs as lines over options and figures" });
      this.count = el("p", { class: "muted small", role: "status" });
      const known = rows.map(row => row[by]).filter(value => value !== null);
      this.span = [Math.min(...known), Math.max(...known)];
      this.node = el("div", {},
        el("div", { class: "row between" }, this.count, el("button", { type: "button", onclick: () => this.reset() }, "All jobs"),
          known.length ? el("p", { class: "small ramp-row" }, `${columns[by].name} ${number(this.span[0])}`, el("span", { class: "ramp", "aria-hidden": "true" }), number(this.span[1])) : null),
        el("div", { class: "parallel-box", tabIndex: 0, role: "region", "aria-label": "Parallel coordinates" }, this.plot));
      new ResizeObserver(() => requestAnimationFrame(() => { if (this.node.clientWidth !== this.width) this.draw(); })).observe(this.node);
      this.draw();
    }

    /** An axis: where a value lies on it, in [0, 1], and what is written beside it. */
    axis({ name, type }, values, i) {
      const known = values.filter(value => value !== null);
      if (type === "text") {
        const kinds = [...new Set(known)].sort();
        return { name, i, range: [0, 1], place: value => kinds.length < 2 ? 0.5 : kinds.indexOf(value) / (kinds.length - 1), ticks: kinds.slice(0, 12).map(kind => [kind, kind]), text: at => kinds[Math.round(at * (kinds.length - 1))] ?? "" };
      }
      const low = Math.min(...known), high = Math.max(...known), log = low > 0 && high / low >= 20;
      const [a, b] = log ? [Math.log(low), Math.log(high)] : [low, high], span = b - a;
      const back = at => log ? Math.exp(a + at * span) : a + at * span;
      const kinds = [...new Set(known)].sort((x, y) => x - y), marks = kinds.length <= 6 ? kinds : [0, 0.25, 0.5, 0.75, 1].map(back);
      return { name, i, range: [0, 1], place: value => span ? ((log ? Math.log(value) : value) - a) / span : 0.5, ticks: marks.map(value => [value, number(value)]), text: at => number(back(at)) };
    }

    get chosen() {
      return new Set(this.rows.map((_, r) => r).filter(r => this.axes.every(axis => {
        if (axis.range[0] <= 0 && axis.range[1] >= 1) return true;
        const value = this.rows[r][axis.i];
        if (value === null) return false;
        const at = axis.place(value);
        return at >= axis.range[0] - 1e-9 && at <= axis.range[1] + 1e-9;
      })));
    }

    reset() { for (const axis of this.axes) axis.range = [0, 1]; this.draw(); }

    x(i) { return this.axes.length < 2 ? this.wide / 2 : 58 + i * (this.wide - 116) / (this.axes.length - 1); }
    y(at) { return HEIGHT - FOOT - at * (HEIGHT - FOOT - TOP); }

    draw() {
      this.width = this.node.clientWidth || 800;
      this.wide = Math.max(this.width, this.axes.length * ROOM);
      this.plot.setAttribute("viewBox", `0 0 ${this.wide} ${HEIGHT}`);
      this.plot.setAttribute("width", this.wide);
      this.plot.setAttribute("height", HEIGHT);
      this.lines = this.rows.map((row, r) => {
        let pen = "M", d = "";
        row.forEach((value, i) => {
          if (value === null) { pen = "M"; return; }
          d += `${pen}${this.x(i).toFixed(1)} ${this.y(this.axes[i].place(value)).toFixed(1)}`;
          pen = "L";
        });
        const line = svg("path", { d, class: "job" }, svg("title", {}, this.names[r])), value = row[this.by];
        const share = value === null ? null : this.span[1] > this.span[0] ? (value - this.span[0]) / (this.span[1] - this.span[0]) : 1;
        line.style.stroke = share === null ? "var(--muted)" : `color-mix(in oklab, var(--s0) ${Math.round(100 * share)}%, var(--s1))`;
        line.addEventListener("pointerenter", () => { this.mark(r); this.onrow(r); });
        line.addEventListener("pointerleave", () => { this.mark(null); this.onrow(null); });
        return line;
      });
      this.plot.replaceChildren(svg("g", {}, ...this.lines), ...this.axes.map((axis, i) => this.drawAxis(axis, i)));
      this.choose();
    }

    drawAxis(axis, i) {
      const x = this.x(i), words = axis.name.length > 17 ? `…${axis.name.slice(-16)}` : axis.name;
      const band = svg("rect", { class: "band", x: x - 9, width: 18 });
      const place = event => Math.max(0, Math.min(1, (HEIGHT - FOOT - (event.clientY - this.plot.getBoundingClientRect().top)) / (HEIGHT - FOOT - TOP)));
      const ground = svg("rect", { class: "ground", x: x - 22, width: 44, y: TOP - 8, height: HEIGHT - FOOT - TOP + 16 });
      const handles = [0, 1].map(end => svg("path", { class: "handle", tabindex: 0, role: "slider", "aria-orientation": "vertical", "aria-label": `${axis.name}, ${end ? "at most" : "at least"}`, "aria-valuemin": 0, "aria-valuemax": 100, d: end ? "M-10 -7H10L0 3Z" : "M-10 7H10L0 -3Z" }));
      const follow = () => {
        const [low, high] = axis.range;
        band.setAttribute("y", this.y(high));
        band.setAttribute("height", Math.max(1, this.y(low) - this.y(high)));
        band.classList.toggle("all", low <= 0 && high >= 1);
        handles.forEach((handle, end) => {
          handle.setAttribute("transform", `translate(${x} ${this.y(axis.range[end]) + (end ? -3 : 3)})`);
          handle.setAttribute("aria-valuenow", Math.round(100 * axis.range[end]));
          handle.setAttribute("aria-valuetext", axis.text(axis.range[end]));
        });
        this.choose();
      };
      axis.follow = follow;
      handles.forEach((handle, end) => {
        handle.addEventListener("keydown", event => {
          const by = { ArrowUp: 0.05, ArrowDown: -0.05, PageUp: 0.25, PageDown: -0.25, Home: -1, End: 1 }[event.key];
          if (!by) return;
          axis.range[end] = Math.max(end ? axis.range[0] : 0, Math.min(end ? 1 : axis.range[1], +(axis.range[end] + by).toFixed(6)));
          follow();
          event.preventDefault();
        });
        handle.addEventListener("pointerdown", event => { handle.setPointerCapture(event.pointerId); event.stopPropagation(); });
        handle.addEventListener("pointermove", event => {
          if (!handle.hasPointerCapture(event.pointerId)) return;
          axis.range[end] = end ? Math.max(axis.range[0], place(event)) : Math.min(axis.range[1], place(event));
          follow();
        });
      });
      let from = null;
      ground.addEventListener("pointerdown", event => { from = place(event); ground.setPointerCapture(event.pointerId); });
      ground.addEventListener("pointermove", event => {
        if (from === null || Math.abs(place(event) - from) < 0.03) return;
        axis.range = [Math.min(from, place(event)), Math.max(from, place(event))];
        follow();
      });
      ground.addEventListener("pointerup", event => { if (Math.abs(place(event) - from) < 0.03) { axis.range = [0, 1]; follow(); } from = null; });
      const group = svg("g", { class: "axis-group" }, svg("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - FOOT, class: "axis" }), ground, band,
        svg("text", { x, y: 16 + 17 * (i % 2), "text-anchor": "middle", class: "axis-name" }, svg("title", {}, axis.name), words),
        ...axis.ticks.map(([value, text]) => svg("text", { x: x + 13, y: this.y(axis.place(value)) + 4, class: "tick" }, text.length > 12 ? text.slice(0, 11) + "…" : text)), ...handles);
      follow();
      return group;
    }

    choose() {
      if (!this.lines) return;
      const chosen = this.chosen;
      this.lines.forEach((line, r) => line.classList.toggle("out", !chosen.has(r)));
      this.count.textContent = `${chosen.size} of ${this.rows.length} jobs`;
      this.onchoose(chosen);
    }

    mark(row) {
      this.lines.forEach((line, r) => line.classList.toggle("marked", r === row));
      if (row !== null) this.lines[row].parentNode.append(this.lines[row]);
    }
  }

  Object.assign(camexp, { Parallel });
})(globalThis.camexp ??= {});
