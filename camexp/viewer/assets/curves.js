// The data set's curves: boxes of all parts, and pixels, as the threshold moves.
(camexp => {
  "use strict";
  const { el, select, LineChart } = camexp;

  class CurvesPart {
    /** @param curves see camexp.evaluation.pages.page_curves. */
    constructor({ ious, boxes, pixels }) {
      const percent = value => `${value.toFixed(1)} %`, whole = [0, 100], named = (some, points) => Object.entries(some).map(([name, one]) => ({ name, points: points(one) }));
      const over = values => values.map((value, i) => [i / (values.length - 1), 100 * value]);
      const chart = (title, x, y, series, xdomain = [0, 1]) => new LineChart({ title, x, y, series, height: 260, xdomain, ydomain: whole, text: percent });
      this.charts = [];
      const controls = el("div", { class: "controls" });
      if (Object.keys(boxes).length) {
        let iou = Math.max(0, ious.indexOf(0.5));
        const series = () => named(boxes, curves => over(curves[iou]));
        const all = chart("A box of any part is right (MaxBoxAccV2)", "threshold", "images, %", series());
        controls.append(select("Right is", ious.map((one, i) => [i, `IoU ≥ ${one}`]), iou, i => { iou = +i; all.set(series()); }));
        this.charts.push(all);
      }
      if (Object.keys(pixels).length) this.charts.push(
        chart("Pixels: precision and recall (PxAP)", "recall of pixels, %", "precision, %", named(pixels, one => one.recall.map((recall, i) => [100 * recall, 100 * one.precision[i]])), whole),
        chart("Pixels: IoU with the masks (PxIoU)", "threshold", "IoU, %", named(pixels, one => over(one.iou))));
      this.node = el("section", {}, controls, el("div", { class: "charts" }, ...this.charts.map(one => one.node)));
    }
  }

  Object.assign(camexp, { CurvesPart });
})(globalThis.camexp ??= {});
