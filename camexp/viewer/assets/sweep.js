// The report of a sweep: its jobs as lines, their maps at any step, their figures in a table.
(camexp => {
  "use strict";
  const { el, select, number, Player, Parallel, SortableTable, ColourBar, unpack, heatOf, colourMap, colourMaps, paint, loadPhoto, equation, readHash, writeHash } = camexp;
  const page = camexp.pageData("page"), { jobs, columns, rows } = page, TILE = 360, main = el("main", {}), state = readHash();
  for (const { job, steps } of camexp.pageItems()) if (steps.length) jobs[job].items = steps;
  const shown = jobs.map((job, i) => ({ ...job, row: rows[i], number: i })).filter(job => job.film && job.items);
  const nearest = (items, step) => items.reduce((best, item) => Math.abs(item.step - step) < Math.abs(best.step - step) ? item : best);

  /** The watched image in every job: small pictures of one step, of one class, on one scale. */
  class JobMaps {
    constructor() {
      const steps = [...new Set(shown.flatMap(job => job.items.map(item => item.step)))].sort((a, b) => a - b), wanted = steps.indexOf(+state.step);
      const names = [...new Set(shown.flatMap(job => page.classes[job.film.classes]))], first = shown[0].film;
      this.name = names.includes(state.class) ? state.class : page.classes[first.classes][first.labels[0] ?? unpack(shown[0].items.at(-1)).held[0]];
      this.map = colourMaps().has(state.map) ? state.map : page.meta.colormap;
      if (!colourMaps().has(this.map)) this.map = colourMaps().keys().next().value;
      this.own = new Map(shown.map(job => [job, Math.max(1e-9, ...job.items.flatMap(item => item.maps.high))]));
      const peaks = [...this.own.values()];
      this.highest = Math.max(...peaks);
      // one scale for all, unless the highest map would leave nothing to be seen of the others
      this.scale = ["all", "job"].includes(state.scale) ? state.scale : this.highest > 4 * Math.min(...peaks) ? "job" : "all";
      this.bar = new ColourBar();
      this.player = new Player(steps, { index: wanted < 0 ? steps.length - 1 : wanted, onstep: () => this.draw() });
      this.tiles = shown.map(job => {
        const canvas = el("canvas", { role: "img" }), caption = el("p", { class: "small p" });
        const options = columns.flatMap((column, i) => column.option && job.row[i] !== null ? [`${column.name}=${job.row[i]}`] : []);
        const best = job.row[page.best];
        return { job, canvas, caption, node: el("figure", { class: "job-tile" }, canvas, el("figcaption", {}, el("b", {}, `job ${job.name}`), best === null ? ` ${job.state}` : ` best accuracy ${best.toFixed(4)}`, el("p", { class: "small muted" }, options.join(", ")), caption)) };
      });
      this.node = el("section", { "aria-label": "The watched image in every job" }, this.player.node,
        el("div", { class: "controls" }, select("Class", names.map(name => [name, name]), this.name, name => { this.name = name; this.draw(); }),
          select("Colour map", [...colourMaps().keys()].map(name => [name, name]), this.map, map => { this.map = map; this.draw(); }),
          select("Colour scale", [["all", "0 to the maximum of all jobs and steps"], ["job", "0 to each job's maximum of all its steps"]], this.scale, scale => { this.scale = scale; this.draw(); }),
          el("div", { class: "scale" }, this.bar.node)),
        el("div", { class: "job-tiles" }, ...this.tiles.map(tile => tile.node)));
      document.addEventListener("themechange", () => this.draw());
      this.draw();
    }

    async draw() {
      this.bar.show(0, this.scale === "all" ? this.highest : 1, colourMap(this.map));
      const step = this.player.step;
      clearTimeout(this.writing);
      if (!this.player.playing) this.writing = setTimeout(() => writeHash({ step, class: this.name, map: this.map, scale: this.scale }), 150);
      for (const { job, canvas, caption } of this.tiles) {
        const item = nearest(job.items, step), label = page.classes[job.film.classes].indexOf(this.name), { maps, row, chances } = unpack(item), k = row.get(label);
        const photo = await loadPhoto(page.photos[job.film.photo]), [H, W] = job.film.size, factor = TILE / Math.max(H, W);
        if (step !== this.player.step) return; // a later one is drawn already
        [canvas.width, canvas.height] = [Math.max(1, Math.round(W * factor)), Math.max(1, Math.round(H * factor))];
        paint(canvas, photo, k === undefined ? null : heatOf(maps, k, [0, this.scale === "all" ? this.highest : this.own.get(job)], { map: this.map, opacity: page.meta.opacity }));
        const text = label < 0 ? "no such class" : `step ${item.step}, ${equation(chances[label])}${k === undefined ? ", no map kept" : this.scale === "job" ? `, 1 is ${number(this.own.get(job))}` : ""}`;
        caption.textContent = text;
        canvas.setAttribute("aria-label", `Map of ${this.name} in job ${job.name}: ${text}`);
      }
    }

    choose(chosen) { for (const tile of this.tiles) tile.node.hidden = !chosen.has(tile.job.number); }
    mark(row) { for (const tile of this.tiles) tile.node.classList.toggle("marked", tile.job.number === row); }
  }

  const maps = camexp.jobMaps = shown.length ? new JobMaps() : null;
  const table = new SortableTable({ caption: "Jobs, the best first", columns: [{ name: "job", type: "text" },
    ...columns.map(column => ({ name: column.name, type: column.type, format: column.type === "number" ? value => column.option ? String(value) : value.toFixed(4) : undefined })), { name: "state", type: "text" }],
    rows: jobs.map((job, i) => [job.name, ...rows[i], job.failure ? `failed: ${job.failure}` : job.state]),
    onrow: row => { camexp.parallel.mark(row); maps?.mark(row); maps?.tiles.find(tile => tile.job.number === row)?.node.scrollIntoView({ block: "nearest" }); } });
  const parallel = camexp.parallel = new Parallel(columns, rows, { by: page.best, names: jobs.map(job => `job ${job.name}`),
    onchoose: chosen => { maps?.choose(chosen); table.lines.forEach((line, i) => { line.hidden = !chosen.has(i); }); },
    onrow: row => { maps?.mark(row); table.mark(row); } });
  main.append(el("h2", {}, "Options and figures"), parallel.node, el("p", { class: "muted small" }, "Drag along an axis, or move its two marks with ↑ ↓: only the jobs within the range stay. A click on the axis takes all again."));
  if (maps) main.append(el("h2", {}, "Where each one looks"), maps.node);
  main.append(el("h2", {}, "Table"), table.node);
  document.body.append(camexp.pageHead(page.title, page.subtitle), main);
  camexp.followLinks();
})(globalThis.camexp);
