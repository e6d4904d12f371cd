// What an evaluation measured of an image: the box at each threshold, and how well it fits the true ones.
(camexp => {
  "use strict";
  const { bytes, Maps, unpack, whole, el, paint, outline, INK, heatOf, scaleOf, loadPhoto } = camexp;
  const SIDE = 260;

  /** The IoU of an image's box at each point of the grid of thresholds, in levels (page.perUnit to one); null: it has no true box. */
  const fitsOf = (item, method) => {
    const text = item.fits[method];
    if (text === undefined) return null;
    return (item.fitsRead ??= {})[method] ??= bytes(text);
  };

  /** The box [x0, y0, x1, y1] at a point of the grid, in the pixels of the photograph, corners inclusive; null: none.
   *  It was found at the size that the evaluation compares at. The item is whole. */
  const boxAt = (item, method, point) => {
    const measured = item.methods[method];
    if (!measured?.boxes) return null;
    const raw = measured.raw ??= bytes(measured.boxes), values = measured.values ??= measured.bytes === 2 ? new Uint16Array(raw.buffer) : raw;
    const [x0, y0, x1, y1] = values.subarray(4 * point, 4 * point + 4);
    if (!x1 && !y1 && !fitsOf(item, method)[point]) return null;
    const across = item.size[1] / item.scored[1], down = item.size[0] / item.scored[0];
    return [x0 * across, y0 * down, (x1 + 1) * across - 1, (y1 + 1) * down - 1];
  };

  /** The map that a method was measured by, at a point of the grid: { maps, k, label }; null: it was not run on this image. */
  const mapAt = (item, method, point) => {
    const measured = item.methods[method];
    if (!measured) return null;
    const which = measured.which ? (measured.whichRead ??= bytes(measured.which))[point] : 0, label = measured.labels[which];
    if (measured.maps) return { maps: measured.read ??= new Maps(measured.maps), k: which, label };
    const { maps, row } = unpack(item);
    return { maps, k: row.get(label), label };
  };

  /** The heat of such a map. */
  const measuredHeat = ({ maps, k }, meta) => heatOf(maps, k, scaleOf(meta.scale ?? "image", maps, k), { map: meta.colormap, opacity: meta.opacity });

  /** A small picture of a photograph, its map, its true boxes (dashed) and the box found. */
  const drawBoxes = async (canvas, item, method, point, meta) => {
    await whole(item);
    const photo = await loadPhoto(item.photo), [H, W] = item.size, factor = SIDE / Math.max(H, W), shown = mapAt(item, method, point);
    if (canvas.wanted !== `${item.path} ${method} ${point}`) return; // another one was asked for meanwhile
    [canvas.width, canvas.height] = [Math.max(1, Math.round(W * factor)), Math.max(1, Math.round(H * factor))];
    paint(canvas, photo, shown && measuredHeat(shown, meta));
    const context = canvas.getContext("2d"), found = boxAt(item, method, point);
    const rectangle = ([x0, y0, x1, y1], colour, dashed) => outline(context, // a box around all of the image stays within the picture
      [Math.max(2, x0 * factor), Math.max(2, y0 * factor), Math.min(canvas.width - 2, (x1 + 1) * factor), Math.min(canvas.height - 2, (y1 + 1) * factor)], colour, 2, dashed);
    for (const box of item.boxes) rectangle(box, INK.truth, true);
    if (found) rectangle(found, INK.box, false);
  };

  /** A row of such pictures, whose number stays as the images change: the focus does too. */
  class Strip {
    /** @param onopen called with the item that was clicked. */
    constructor(title, count, meta, onopen) {
      Object.assign(this, { meta, shown: [] });
      this.tiles = Array.from({ length: count }, (_, i) => {
        const canvas = el("canvas", { "aria-hidden": "true" }), score = el("span", { class: "name" }), file = el("span", { class: "file" });
        const button = el("button", { type: "button", class: "tile", onclick: () => onopen(this.shown[i].item) }, canvas, score, file);
        return { canvas, score, file, button, node: el("li", {}, button) };
      });
      this.node = el("section", {}, el("h3", {}, title), el("ol", { class: "strip" }, ...this.tiles.map(tile => tile.node)));
    }

    /** @param shown [{ item, iou }], the first one first. */
    show(shown, method, point) {
      this.shown = shown;
      this.tiles.forEach((tile, i) => {
        tile.node.hidden = i >= shown.length;
        if (tile.node.hidden) return;
        const { item, iou } = shown[i];
        tile.canvas.wanted = `${item.path} ${method} ${point}`;
        tile.score.textContent = `IoU ${iou.toFixed(2)}`;
        tile.file.textContent = `${this.meta.classes[item.truth]}, ${item.name}`;
        tile.button.title = item.path;
        drawBoxes(tile.canvas, item, method, point, this.meta);
      });
    }
  }

  Object.assign(camexp, { fitsOf, boxAt, mapAt, measuredHeat, Strip });
})(globalThis.camexp ??= {});
