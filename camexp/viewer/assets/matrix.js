// Which classes are taken for which: a matrix of few classes, a list of the pairs of many.
(camexp => {
  "use strict";
  const { el, SortableTable } = camexp;
  const MOST = 30, PAIRS = 500;

  /** How often each class was taken for each: a map of true class → map of predicted class → count. */
  const confusions = items => {
    const counts = new Map();
    for (const { truth, best } of items) {
      if (!counts.has(truth)) counts.set(truth, new Map());
      const row = counts.get(truth);
      row.set(best, (row.get(best) ?? 0) + 1);
    }
    return counts;
  };

  const total = row => [...(row ?? new Map()).values()].reduce((sum, count) => sum + count, 0);

  /** A table of counts, true classes down, predicted ones across, coloured by the share of the true class's images.
   *  Of many classes: the pairs that were confused. `onpair(truth, best)` follows a click. */
  const confusionTable = (items, classes, onpair) => {
    const counts = confusions(items), share = (truth, count) => Math.round(100 * count / total(counts.get(truth)));
    if (classes.length > MOST) {
      const pairs = [...counts].flatMap(([truth, row]) => [...row].filter(([best]) => best !== truth).map(([best, count]) => [truth, best, count]));
      pairs.sort((a, b) => b[2] - a[2]);
      const shown = pairs.slice(0, PAIRS);
      return new SortableTable({
        caption: `Pairs of classes that were confused${pairs.length > PAIRS ? `, the ${PAIRS} most frequent of ${pairs.length}` : ""}; a click shows the images`,
        columns: [{ name: "True class", type: "text" }, { name: "Predicted", type: "text" }, { name: "Images", type: "number" }, { name: "Of the true class, %", type: "number" }],
        rows: shown.map(([truth, best, count]) => [classes[truth], classes[best], count, share(truth, count)]),
        onrow: index => onpair(shown[index][0], shown[index][1]),
      }).node;
    }
    const head = label => el("th", { scope: "col", title: classes[label] }, el("span", {}, classes[label]));
    const cell = (truth, best) => {
      const count = counts.get(truth)?.get(best) ?? 0, node = el("td", { class: truth === best ? "right" : "wrong" });
      if (!count) return node;
      node.style.setProperty("--share", `${count / total(counts.get(truth)) * 85 + 15}%`);
      node.append(el("button", { type: "button", onclick: () => onpair(truth, best),
        title: `${classes[truth]} taken for ${classes[best]}: ${count} of ${total(counts.get(truth))}`,
        "aria-label": `true ${classes[truth]}, predicted ${classes[best]}: ${count} images, ${share(truth, count)} %` }, String(count)));
      return node;
    };
    const labels = [...classes.keys()];
    return el("div", { class: "table-box matrix", tabIndex: 0, role: "region", "aria-label": "Confusion matrix" }, el("table", {},
      el("caption", {}, "Images by true class (down) and predicted class (across); darker: a larger share of the true class. A click shows the images."),
      el("thead", {}, el("tr", {}, el("td", {}), ...labels.map(head))),
      el("tbody", {}, ...labels.filter(label => counts.has(label)).map(truth => el("tr", {}, el("th", { scope: "row" }, classes[truth]), ...labels.map(best => cell(truth, best)))))));
  };

  /** A table of classes: how many images of each were recognised, and how many of those taken for it are it.
   *  @param boxes [{ name, title, share(items): in [0, 1] or null }], further columns.
   *  @param onclass called with the class of a row. */
  const classTable = (items, classes, boxes, onclass) => {
    const counts = confusions(items), predicted = new Map(), own = new Map();
    for (const item of items) {
      predicted.set(item.best, (predicted.get(item.best) ?? 0) + 1);
      if (!own.has(item.truth)) own.set(item.truth, []);
      own.get(item.truth).push(item);
    }
    const labels = [...counts.keys()].sort((a, b) => a - b), percent = value => (100 * value).toFixed(1);
    const rows = labels.map(label => {
      const row = counts.get(label), right = row.get(label) ?? 0, wrong = [...row].filter(([best]) => best !== label).sort((a, b) => b[1] - a[1])[0];
      return [classes[label], total(row), right / total(row), predicted.get(label) ? right / predicted.get(label) : null,
        wrong ? `${classes[wrong[0]]} (${wrong[1]})` : null, ...boxes.map(box => box.share(own.get(label)))];
    });
    return new SortableTable({
      caption: "Classes; a click shows the images of one",
      columns: [{ name: "Class", type: "text" }, { name: "Images", type: "number" },
        { name: "Recall, %", type: "number", format: percent, title: "of its images, those that are recognised" },
        { name: "Precision, %", type: "number", format: percent, title: "of the images taken for it, those that are it" },
        { name: "Most often taken for", type: "text" },
        ...boxes.map(({ name, title }) => ({ name, title, type: "number", format: percent }))],
      rows, onrow: index => onclass(labels[index]),
    });
  };

  Object.assign(camexp, { confusionTable, classTable });
})(globalThis.camexp ??= {});
