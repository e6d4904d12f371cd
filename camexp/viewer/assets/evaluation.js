// The report of evaluate.
(camexp => {
  "use strict";
  const { el, number, readHash, writeHash, confusionTable, classTable, ThresholdPart } = camexp;
  const page = camexp.pageData("page"), items = camexp.pageItems(page.folder), OWN = "eval.";
  const own = Object.fromEntries(Object.entries(readHash()).filter(([key]) => key.startsWith(OWN)).map(([key, value]) => [key.slice(OWN.length), value]));

  /** The gallery's link keeps what the other parts of the page show, too. */
  class Gallery extends camexp.Gallery {
    remember() {
      super.remember();
      writeHash({ ...readHash(), ...Object.fromEntries(Object.entries(own).map(([key, value]) => [OWN + key, value])) });
    }
  }
  const gallery = camexp.gallery = new Gallery(items, page.meta, page.highest), { classes } = page.meta;

  /** The wall shows the images of a true class, those that were taken for another, or all. */
  const told = el("p", { class: "row", role: "status", tabIndex: -1 }), everything = gallery.wall?.rows;
  const clear = () => {
    Object.assign(gallery.wall.state, { class: "", outcome: "", text: "" });
    for (const input of [...gallery.wall.node.querySelectorAll(".controls input, .controls select")].slice(0, -1)) input.value = ""; // the last one sorts
  };
  const only = (truth, best, scroll = true) => {
    if (!gallery.wall) return;
    const some = Number.isInteger(truth), pair = Number.isInteger(best);
    [own.truth, own.best] = [some ? truth : undefined, pair ? best : undefined];
    Object.assign(gallery.wall, { rows: everything.filter(row => (!some || row.truth === truth) && (!pair || row.best === best)) });
    if (scroll && some) clear(); // what the wall was filtered by before would hide what was asked for now
    gallery.wall.filter();
    told.replaceChildren(...(some ? [el("b", {}, pair ? truth === best ? `${classes[truth]}, recognised` : `${classes[truth]}, taken for ${classes[best]}` : `True class ${classes[truth]}`),
      el("button", { type: "button", onclick: () => { only(); } }, "Show all images")] : []));
    if (scroll && some) { images.scrollIntoView({ block: "start" }); told.focus({ preventScroll: true }); }
  };

  const percent = value => (100 * value).toFixed(2);
  const figureTable = () => el("div", { class: "table-box plain", tabIndex: 0, role: "region", "aria-label": "Figures" }, el("table", {},
    el("caption", {}, page.methods.length > 1 ? "Shares in %; the best method of each line is bold" : "Shares in %"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Figure"), ...page.methods.map(name => el("th", { scope: "col", class: "number" }, name)), el("th", { scope: "col" }, "What it is"))),
    el("tbody", {}, ...page.figures.map(({ name, means, share, lower, values }) => {
      const known = values.filter(value => value !== null), best = lower ? Math.min(...known) : Math.max(...known);
      const bold = known.length > 1 && name !== "at the threshold" && known.some(value => value !== best);
      return el("tr", {}, el("th", { scope: "row" }, name), ...values.map(value => el("td", { class: `number${bold && value === best ? " best" : ""}` },
        value === null ? "–" : share ? percent(value) : value.toPrecision(3))), el("td", { class: "means" }, means));
    }))));

  const part = (title, ...children) => el("section", { class: "part" }, el("h2", {}, title), ...children);
  const images = part("Images", told, gallery.node), parts = [];
  if (page.figures) parts.push(part("Figures", figureTable()));
  const boxed = page.methods && items.some(item => Object.keys(item.fits).length);
  if (boxed) {
    const boxes = camexp.boxes = new ThresholdPart(items, page, { state: own,
      onstate: state => { Object.assign(own, state); gallery.remember(); },
      onviewer: async (item, label, threshold) => {
        await gallery.open(item);
        gallery.viewer.choose(label);
        gallery.viewer.set("threshold", threshold);
      } });
    parts.push(part("Boxes as the threshold moves", boxes.node));
  }
  if (page.curves && (Object.keys(page.curves.boxes).length || Object.keys(page.curves.pixels).length))
    parts.push(part("Curves of all images", (camexp.curves = new camexp.CurvesPart(page.curves)).node));
  const right = boxed ? camexp.boxes.methods.map(name => {
    const point = camexp.boxes.bestPoint(name);
    return { name: page.methods.length > 1 ? `Boxes right, % (${name})` : "Boxes right, %", title: `IoU ≥ 0.5 at the threshold ${(point / (page.points - 1)).toFixed(2)}`,
      share: some => camexp.boxes.share(name, 0.5, point, some.filter(item => item.fits[name] !== undefined)) };
  }) : [];
  if (classes.length > 1 && items.length) parts.push(part("Classes", el("div", { class: "classes" },
    classTable(items, classes, right, label => only(label)).node, confusionTable(items, classes, only))));
  document.body.append(camexp.pageHead(page.title, page.subtitle, page.facts), el("main", {}, ...parts, images));
  if (own.truth !== undefined) only(+own.truth, own.best === undefined ? undefined : +own.best, false);
})(globalThis.camexp);
