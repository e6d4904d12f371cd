// One picture in the viewer: a photograph with the heat of a class, boxes and masks over it, its colour bar below.
(camexp => {
  "use strict";
  const { el, paint, outline, outlineMask, fillRun, INK, parts, peak, ColourBar } = camexp;

  class Stage {
    /** @param onpoint called with a place, both shares in [0, 1], or null. */
    constructor(onpoint) {
      this.canvas = el("canvas", { role: "img", tabIndex: 0, class: "picture" });
      this.caption = el("figcaption", {});
      this.bar = new ColourBar();
      this.node = el("figure", { class: "stage" }, this.canvas, this.bar.node, this.caption);
      const place = event => {
        const box = this.canvas.getBoundingClientRect();
        return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map(v => Math.max(0, Math.min(1, v)));
      };
      this.canvas.addEventListener("pointermove", event => onpoint(...place(event)));
      this.canvas.addEventListener("pointerdown", event => onpoint(...place(event)));
      this.canvas.addEventListener("pointerleave", () => onpoint(null));
    }

    /** Draw it.
     *  @param size [H, W] of the photograph in its own pixels, in which boxes are counted.
     *  @param heat as camexp.paint takes it, or null.
     *  @param shapes { level, kind: "largest" | "all" | "masks" | "none", truth: boxes, mask: stretches } */
    draw(photo, size, heat, shapes, caption, label) {
      const [H, W] = size, room = this.node.clientWidth || 640, dense = Math.min(2, globalThis.devicePixelRatio || 1);
      const width = Math.min(room, (globalThis.innerHeight || 900) * 0.66 * W / H);
      this.canvas.width = Math.max(1, Math.round(Math.min(width * dense, 1200)));
      this.canvas.height = Math.max(1, Math.round(this.canvas.width * H / W));
      this.canvas.style.width = `${width}px`;
      this.bar.node.style.width = `${width}px`;
      paint(this.canvas, photo, heat);
      this.bar.node.hidden = !heat;
      if (heat) this.bar.show(heat.low, heat.high, heat.table);
      this.found = heat && shapes.level !== null ? this.partsOf(heat, H, W, shapes.level) : [];
      this.outline(size, shapes);
      this.caption.textContent = caption;
      this.canvas.setAttribute("aria-label", label);
    }

    /** The parts above a share of the maximum, at the photograph's own size; the last ones are kept. */
    partsOf({ values, height, width }, H, W, level) {
      if (this.peakOf !== values) { this.peakOf = values; this.peak = peak(values, height, width, H, W); this.levelOf = null; }
      if (this.levelOf !== level) {
        this.levelOf = level;
        this.parts = this.peak > 0 ? parts(values, height, width, H, W, level * this.peak) : [];
      }
      return this.parts;
    }

    outline([H, W], { kind, truth, mask = null }) {
      const context = this.canvas.getContext("2d"), sx = this.canvas.width / W, sy = this.canvas.height / H;
      const line = Math.max(2, this.canvas.width / 300);
      const rectangle = ([x0, y0, x1, y1], colour, dashed) => outline(context, [x0 * sx, y0 * sy, (x1 + 1) * sx, (y1 + 1) * sy], colour, line, dashed);
      if (kind === "masks") {
        context.fillStyle = "rgb(255 255 255 / 35%)";
        for (const part of this.found) for (const [y, x0, x1] of part.runs) fillRun(context, y, x0, x1, sx, sy);
      }
      if (mask && (kind === "masks" || !truth.length)) outlineMask(this.canvas, mask, [H, W], INK.truth, line);
      else for (const box of truth) rectangle(box, INK.truth, true);
      const shown = kind === "all" ? this.found.slice(0, 50) : kind === "largest" ? this.found.slice(0, 1) : [];
      for (const part of shown) rectangle(part.box, INK.box, false);
    }

    /** A cross at a place, on top of what is drawn. */
    cross(x, y) {
      this.mark ??= el("div", { class: "cross", "aria-hidden": "true" });
      if (x === null) return this.mark.remove();
      this.mark.style.left = `${this.canvas.offsetLeft + x * this.canvas.clientWidth}px`;
      this.mark.style.top = `${this.canvas.offsetTop + y * this.canvas.clientHeight}px`;
      this.node.append(this.mark);
    }
  }

  Object.assign(camexp, { Stage });
})(globalThis.camexp ??= {});
