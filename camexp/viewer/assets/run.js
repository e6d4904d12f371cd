// The report of a training run.
(camexp => {
  "use strict";
  const { el, LineChart, SortableTable } = camexp, page = camexp.pageData("page"), records = camexp.pageItems();
  const films = camexp.filmOf(page.images, records), main = el("main", {}), apart = films.length ? ["Loss", "Accuracy"] : [];
  const pages = [];
  const scrubber = camexp.scrubber = films.length ? new camexp.Scrubber(films, page.meta, page.curves, { onstep: step => { for (const chart of pages) chart.cursor(step); } }) : null;
  const stops = films[0]?.items.map(item => item.step) ?? null;
  for (const { title, y, series } of page.curves.filter(curve => !apart.includes(curve.title)))
    pages.push(new LineChart({ title, x: "step", y, series, ydomain: title === "Accuracy" ? [0, 1] : [0, null], xdomain: [0, null], stops,
      oncursor: step => scrubber ? scrubber.player.near(step) : pages.forEach(chart => chart.cursor(step)) }));
  if (scrubber) main.append(scrubber.node);
  if (pages.length) main.append(el("h2", {}, "Curves"), el("div", { class: "charts" }, ...pages.map(chart => chart.node)));

  const changed = page.options.filter(option => option.changed).length;
  const rows = page.options.map(({ name, value, default: usual, changed, given }) => [name, value, usual, changed ? (given ? "● given" : "○ differs") : ""]);
  if (rows.length) {
    const table = new SortableTable({ caption: `${changed} of ${rows.length} options differ from their defaults: those given by the command (●), and those that a data set or a preset brought (○)`,
      columns: [{ name: "option", type: "text" }, { name: "value", type: "text" }, { name: "default", type: "text" }, { name: "differs", type: "text" }], rows });
    page.options.forEach((option, i) => table.lines[i].classList.toggle("changed", option.changed));
    main.append(el("h2", {}, "Configuration"), table.node);
  }
  main.append(el("h2", {}, "Hardware, versions, command"),
    el("dl", { class: "facts" }, ...page.facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { class: name === "command" ? "code" : "" }, value)])));
  document.body.append(camexp.pageHead(page.title, page.subtitle), main);
  camexp.followLinks();
})(globalThis.camexp);
