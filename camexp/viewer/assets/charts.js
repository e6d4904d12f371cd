// Lines over steps or thresholds: SVG, read with the eyes, a pointer or the keys.
(camexp => {
  "use strict";
  const { el, svg, number } = camexp;
  const DASHES = ["", "7 4", "2 3", "9 3 2 3", "14 4", "4 2 1 2"]; // a line is known by its dashes too, not by colour alone
  const FEW = 40; // points of a line, up to which each has its mark

  /** Round values in [low, high], about `count` of them. */
  const ticks = (low, high, count) => {
    const rough = (high - low) / Math.max(1, count), power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 5, 10].find(factor => factor * power >= rough * 0.999) ?? 10);
    const out = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) out.push(i * step);
    return { values: out, step };
  };

  /** A tick's text: as many decimals as its distance to the next one needs. */
  const tickText = (value, step) => {
    if (Math.abs(value) < step * 1e-9) return "0";
    const decimals = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
    const text = decimals > 4 || Math.abs(value) >= 1e7 ? value.toExponential(1) : Math.abs(value) >= 1e4 && decimals === 0 ? value.toLocaleString("en-GB") : value.toFixed(decimals);
    return text.replace("-", "−");
  };

  /** The mark of series number i at a place: a circle, a square, a triangle, a diamond. */
  const mark = (i, x, y, r = 3.5) => {
    const d = [`M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`, `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}Z`,
      `M0 ${-1.3 * r}L${1.2 * r} ${r}H${-1.2 * r}Z`, `M0 ${-1.4 * r}L${1.4 * r} 0L0 ${1.4 * r}L${-1.4 * r} 0Z`][i % 4];
    return svg("path", { d, transform: `translate(${x} ${y})`, class: `mark s${i % 6}` });
  };

  /** The point of a line that is nearest to x. */
  const nearest = (points, x) => points.reduce((best, point) => !best || Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best, null);

  class LineChart {
    /** @param series [{ name, points: [[x, y], …] }], y null where there is a gap.
     *  @param x, y what the axes show, in words.
     *  @param oncursor called with the x of a point that was chosen: by click, by dragging, by ← → Home End.
     *  @param xdomain, ydomain [low, high] where they are not what the points span; null in one place: as the points have it.
     *  @param stops the only x that can be chosen; null: those of all points.
     *  @param text how a value is written. */
    constructor({ title, x, y, series = [], oncursor = null, height = 220, xdomain = null, ydomain = null, stops = null, text = number }) {
      Object.assign(this, { title, x, y, series, oncursor, height, xdomain, ydomain, stops, text, at: null, hover: null });
      this.legend = el("ul", { class: "legend" });
      this.plot = svg("svg", { class: "plot", tabindex: 0, role: "slider", "aria-label": `${title}, by ${x}` });
      this.node = el("figure", { class: "chart" }, el("figcaption", {}, el("b", {}, title), y ? el("span", { class: "muted small" }, `  ${y}`) : null), this.legend, this.plot);
      const place = (event, xs) => this.snap(this.toX(event.clientX - this.plot.getBoundingClientRect().left), xs);
      this.plot.addEventListener("pointermove", event => {
        if (this.plot.hasPointerCapture(event.pointerId)) this.choose(place(event, this.stops));
        else { this.hover = place(event); this.point(); }
      });
      this.plot.addEventListener("pointerdown", event => { this.plot.setPointerCapture(event.pointerId); this.choose(place(event, this.stops)); });
      this.plot.addEventListener("pointerleave", () => { this.hover = null; this.point(); });
      this.plot.addEventListener("keydown", event => this.key(event));
      this.set(series);
      new ResizeObserver(() => requestAnimationFrame(() => { if (this.plot.clientWidth !== this.width) this.draw(); })).observe(this.node);
    }

    /** Other lines in the same axes. */
    set(series) {
      this.series = series.map(({ name, points }) => ({ name, points, real: points.filter(point => point[1] !== null) }));
      this.xs = [...new Set(this.series.flatMap(one => one.real.map(point => point[0])))].sort((a, b) => a - b);
      this.legend.replaceChildren(...this.series.map(({ name }, i) => el("li", {},
        svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, svg("path", { d: "M1 6H25", class: `line s${i % 6}`, "stroke-dasharray": DASHES[i % 6] }), mark(i, 13, 6, 3)),
        el("span", {}, name), el("output", { class: "p" }))));
      this.draw();
    }

    /** Show a place on the x axis, as when another part of the page has moved there; null: none. */
    cursor(x) { this.at = x; this.point(); }

    choose(x) {
      if (x === null) return;
      this.cursor(x);
      this.oncursor?.(x);
    }

    snap(x, xs) { xs ??= this.xs; return xs.length ? nearest(xs.map(one => [one]), x)[0] : null; }
    toX(pixel) { return this.left + (pixel - this.edge) / this.wide * (this.right - this.left); }
    fromX(x) { return this.edge + (x - this.left) / (this.right - this.left) * this.wide; }
    fromY(y) { return this.foot - (y - this.low) / (this.high - this.low) * this.tall; }

    key(event) {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity }[event.key];
      const xs = this.stops ?? this.xs;
      if (!by || !xs.length || event.ctrlKey || event.metaKey || event.altKey) return;
      const now = this.at === null ? (by > 0 ? -1 : xs.length) : xs.indexOf(this.snap(this.at, xs));
      this.choose(xs[Math.max(0, Math.min(xs.length - 1, now + by))]);
      event.preventDefault();
      event.stopPropagation();
    }

    span(values, domain) {
      const known = values.filter(Number.isFinite);
      let [low, high] = known.length ? [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))] : [0, 1];
      low = domain?.[0] ?? low;
      high = domain?.[1] ?? high;
      return high > low ? [low, high] : [low - (Math.abs(low) || 1) * 0.5, low + (Math.abs(low) || 1) * 0.5];
    }

    draw() {
      const width = this.width = this.plot.clientWidth || 480, height = this.height;
      const ys = this.series.flatMap(one => one.real.map(point => point[1]));
      [this.left, this.right] = this.span(this.xs, this.xdomain);
      [this.low, this.high] = this.span(ys, this.ydomain);
      const down = ticks(this.low, this.high, Math.max(2, height / 50)), labels = down.values.map(value => tickText(value, down.step));
      this.edge = 12 + 7.2 * Math.max(2, ...labels.map(label => label.length));
      this.wide = Math.max(20, width - this.edge - 14);
      this.foot = height - 36;
      this.tall = this.foot - 20;
      const across = ticks(this.left, this.right, Math.max(2, this.wide / 80)), parts = [];
      down.values.forEach((value, i) => parts.push(
        svg("line", { x1: this.edge, x2: width - 14, y1: this.fromY(value), y2: this.fromY(value), class: "grid" }),
        svg("text", { x: this.edge - 6, y: this.fromY(value) + 4, "text-anchor": "end" }, labels[i])));
      for (const value of across.values) {
        const place = this.fromX(value);
        parts.push(svg("line", { x1: place, x2: place, y1: this.foot, y2: this.foot + 4, class: "axis" }),
          svg("text", { x: place, y: this.foot + 17, "text-anchor": place > width - 24 ? "end" : "middle" }, tickText(value, across.step)));
      }
      parts.push(svg("line", { x1: this.edge, x2: width - 14, y1: this.foot, y2: this.foot, class: "axis" }),
        svg("text", { x: width - 14, y: height - 3, "text-anchor": "end" }, this.x));
      this.series.forEach(({ points, real }, i) => {
        let pen = "M", d = "";
        for (const [x, y] of points) {
          if (y === null) { pen = "M"; continue; }
          d += `${pen}${this.fromX(x).toFixed(1)} ${this.fromY(y).toFixed(1)}`;
          pen = "L";
        }
        parts.push(svg("path", { d, class: `line s${i % 6}`, "stroke-dasharray": DASHES[i % 6] }));
        if (real.length <= FEW) for (const [x, y] of real) parts.push(mark(i, this.fromX(x), this.fromY(y), 2.5));
      });
      this.pen = svg("g", { class: "cursor" });
      this.plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.plot.setAttribute("height", height);
      this.plot.replaceChildren(...parts, this.pen);
      this.point();
    }

    /** The cursor: a line, the points nearest to it, their values in the legend. */
    point() {
      const x = this.hover ?? this.at, spoken = [], marks = [], outputs = this.legend.querySelectorAll("output");
      this.series.forEach(({ name, real }, i) => {
        const found = x === null ? null : nearest(real, x), value = found ? this.text(found[1]) : "";
        outputs[i].textContent = value;
        if (found) { spoken.push(`${name} ${value}`); marks.push(mark(i, this.fromX(found[0]), this.fromY(found[1]), 4.5)); }
      });
      const place = x === null ? 0 : this.fromX(Math.max(this.left, Math.min(this.right, x)));
      this.pen.replaceChildren(...(x === null ? [] : [svg("line", { x1: place, x2: place, y1: this.foot - this.tall, y2: this.foot }),
        svg("text", { x: Math.min(place + 5, this.width - 14), y: this.foot - this.tall - 6, "text-anchor": place > this.width - 70 ? "end" : "start" }, `${this.x} ${+x.toPrecision(6)}`), ...marks]));
      const now = this.at ?? this.left;
      for (const [key, value] of [["min", this.left], ["max", this.right], ["now", now]]) this.plot.setAttribute(`aria-value${key}`, +value.toPrecision(6));
      this.plot.setAttribute("aria-valuetext", x === null ? "no point chosen" : `${this.x} ${+x.toPrecision(6)}: ${spoken.join(", ")}`);
    }
  }

  Object.assign(camexp, { LineChart, ticks, tickText });
})(globalThis.camexp ??= {});
