// Heat over photographs: colours, scales, drawing.
(camexp => {
  "use strict";
  const { bytes, upsample, el, number } = camexp;
  const tables = new Map();

  /** The colour maps: name → 256 × RGB, from the page's own block. */
  const colourMaps = () => {
    if (!tables.size) {
      const packed = JSON.parse(document.getElementById("colour-maps").textContent);
      for (const [name, data] of Object.entries(packed)) tables.set(name, bytes(data));
    }
    return tables;
  };
  const colourMap = name => colourMaps().get(name) ?? colourMaps().values().next().value;

  const SCALES = [["image", "0 to this image's maximum"], ["whole", "this image, negative values too"],
    ["all", "0 to the maximum of all images"], ["map", "each map by itself"]];

  /** The range of values that the colours span: [low, high].
   *  A class that the network does not see stays cold, unless each map is spread over all colours by itself. */
  const scaleOf = (scale, maps, k, highest) => {
    if (scale === "map") return maps.limits?.[k] ?? [maps.low[k], maps.high[k]];
    const low = Math.min(...maps.low), high = scale === "all" && highest ? highest : Math.max(...maps.high);
    return scale === "whole" || high <= 0 ? [low, high] : [0, high];
  };

  /** Map number k of an image as heat that camexp.paint takes.
   *  @param range [low, high] that the colours span; style { map, opacity, fade }. */
  const heatOf = (maps, k, [low, high], { map, opacity, fade = true }) => (
    { values: maps.values(k), height: maps.height, width: maps.width, low, high, table: colourMap(map), opacity, fade });

  /** The outline of a place on a canvas, light on dark, so that it is seen on any photograph. */
  const outline = (context, [left, top, right, bottom], colour, line, dashed) => {
    for (const [ink, width] of [["rgb(0 0 0 / 65%)", line + 2], [colour, line]]) {
      context.strokeStyle = ink;
      context.lineWidth = width;
      context.setLineDash(dashed ? [3 * line, 2 * line] : []);
      context.strokeRect(left, top, right - left, bottom - top);
    }
    context.setLineDash([]);
  };

  /** Fill pixels x0 … x1 of row y of an image that is drawn sx × sy as large: rows meet at whole pixels, so that none is filled twice. */
  const fillRun = (context, y, x0, x1, sx, sy) => {
    const top = Math.round(y * sy), left = Math.round(x0 * sx);
    context.fillRect(left, top, Math.round((x1 + 1) * sx) - left, Math.round((y + 1) * sy) - top);
  };

  /** The outline of stretches of pixels in an image of H × W, drawn over all of a canvas. */
  const outlineMask = (canvas, some, [H, W], colour, line) => {
    const layer = () => el("canvas", { width: canvas.width, height: canvas.height });
    const [sx, sy] = [canvas.width / W, canvas.height / H], [solid, ring] = [layer(), layer()], [pen, round] = [solid, ring].map(one => one.getContext("2d"));
    for (const [from, to] of some)
      for (let y = Math.floor(from / W); y * W < to; y++)
        fillRun(pen, y, Math.max(from - y * W, 0), Math.min(to - y * W, W) - 1, sx, sy);
    // the mask moved to all sides without the mask itself is a line around it
    const around = width => {
      round.globalCompositeOperation = "source-over";
      for (let i = 0; i < 16; i++) round.drawImage(solid, width * Math.cos(i * Math.PI / 8), width * Math.sin(i * Math.PI / 8));
    };
    const tint = ink => {
      round.globalCompositeOperation = "source-in";
      round.fillStyle = ink;
      round.fillRect(0, 0, ring.width, ring.height);
      round.globalCompositeOperation = "destination-out";
      round.drawImage(solid, 0, 0);
      canvas.getContext("2d").drawImage(ring, 0, 0);
      round.clearRect(0, 0, ring.width, ring.height);
    };
    for (const [ink, width] of [["rgb(0 0 0 / 65%)", line + 1.5], [colour, line]]) { around(width); tint(ink); }
  };
  const INK = { box: "#ffffff", truth: "#39ff6a" };

  /** Draw a photograph with heat over it.
   *  @param canvas its width and height are the drawing's.
   *  @param photo an image, or null: heat alone.
   *  @param heat { values, height, width, low, high, table, opacity, fade }, or null: the photograph alone.
   *         With `fade` the heat's share grows with its value, so that cold places show the photograph. */
  const paint = (canvas, photo, heat) => {
    const context = canvas.getContext("2d"), { width: W, height: H } = canvas;
    context.globalAlpha = 1;
    if (photo) context.drawImage(photo, 0, 0, W, H);
    else context.clearRect(0, 0, W, H);
    if (!heat) return;
    const full = upsample(heat.values, heat.height, heat.width, H, W), scale = heat.high > heat.low ? 255 / (heat.high - heat.low) : 0;
    const pixels = new ImageData(W, H), rgba = pixels.data, table = heat.table;
    for (let i = 0, to = 0; i < full.length; i++, to += 4) {
      const level = Math.max(0, Math.min(255, Math.floor((full[i] - heat.low) * scale + 0.5)));
      rgba[to] = table[3 * level];
      rgba[to + 1] = table[3 * level + 1];
      rgba[to + 2] = table[3 * level + 2];
      rgba[to + 3] = heat.fade ? Math.min(255, 2 * level) : 255;
    }
    const layer = paint.layer ??= document.createElement("canvas");
    layer.width = W;
    layer.height = H;
    layer.getContext("2d").putImageData(pixels, 0, 0);
    context.globalAlpha = photo ? heat.opacity : 1;
    context.drawImage(layer, 0, 0);
    context.globalAlpha = 1;
  };

  /** A colour bar in the map's own units, zero marked; `mark(value)` shows a value on it. */
  class ColourBar {
    constructor() {
      this.canvas = el("canvas", { width: 256, height: 1, class: "bar", "aria-hidden": "true" });
      this.ticks = el("div", { class: "ticks", "aria-hidden": "true" });
      this.pointer = el("div", { class: "pointer", hidden: true });
      this.node = el("div", { class: "colourbar" }, el("div", { class: "bar-box" }, this.canvas, this.pointer), this.ticks);
    }

    show(low, high, table) {
      [this.low, this.high] = [low, high];
      const pixels = new ImageData(256, 1);
      for (let i = 0; i < 256; i++) pixels.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
      this.canvas.getContext("2d").putImageData(pixels, 0, 0);
      const zero = low < 0 && high > 0 ? [0] : [];
      this.ticks.replaceChildren(...[low, ...zero, high].map(value => {
        const share = high > low ? (value - low) / (high - low) : 0;
        const tick = el("span", { class: value === 0 ? "zero" : "" }, number(value));
        if (value !== low && value !== high && (share < 0.12 || share > 0.88)) tick.textContent = "";
        tick.style.left = `${100 * share}%`;
        return tick;
      }));
    }

    mark(value) {
      this.pointer.hidden = value === null;
      if (value !== null) this.pointer.style.left = `${100 * Math.max(0, Math.min(1, (value - this.low) / (this.high - this.low || 1)))}%`;
    }
  }

  /** A photograph's file data as an image that can be drawn; one promise a text. */
  const photos = new Map();
  const loadPhoto = source => {
    if (!photos.has(source)) {
      if (photos.size > 200) photos.delete(photos.keys().next().value);
      const image = new Image();
      image.src = source;
      photos.set(source, image.decode().then(() => image));
    }
    return photos.get(source);
  };

  Object.assign(camexp, { colourMaps, colourMap, SCALES, scaleOf, heatOf, outline, outlineMask, fillRun, INK, paint, ColourBar, loadPhoto });
})(globalThis.camexp ??= {});
