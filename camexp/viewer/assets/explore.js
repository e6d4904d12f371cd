// The page of explore: images come in, their maps are asked for, and one of them is in the viewer, or in two side by side.
(camexp => {
  "use strict";
  const { el, select, check, Viewer, Sources, server, merge, unpack, loadPhoto, probability, readHash, writeHash, pageHead, pageData } = camexp;
  const AT_ONCE = 6, LOOK = 2000, SIZES = [160, 224, 320, 448, 640]; // requests; milliseconds; pixels
  const SHARED = ["view", "opacity", "threshold", "map", "scale", "shapes", "fade"]; // what two viewers have in common

  class Explore {
    constructor(page) {
      this.page = page;
      this.networks = page.networks;
      this.images = [];
      this.round = 0; // counts changes of settings and networks: what is of an earlier one is out of date
      const state = readHash();
      this.settings = Object.fromEntries(Object.entries(page.settings).map(([key, value]) => [key, state[key] ?? value]));
      this.begin = state;
      this.sources = new Sources(page, images => this.add(images), text => this.tell(text));
      this.alert = el("p", { class: "alert", role: "alert", hidden: true });
      this.status = el("p", { class: "muted", role: "status" });
      this.thumbs = el("div", { class: "thumbs", role: "list", "aria-label": "Images" });
      this.sides = el("div", { class: "sides" });
      this.node = el("main", { class: "explore" },
        el("div", { class: "top" }, this.sources.node, this.controls()),
        this.alert, this.status, this.thumbs, this.sides);
      this.build();
      const index = Number(state.image ?? (page.images.length ? 0 : NaN));
      if (page.images[index] !== undefined) this.add([{ name: page.images[index], index }]);
      else this.report();
      if (this.networks.some(network => network.follows)) setInterval(() => document.hidden || this.look(), LOOK);
    }

    /** How maps are made. */
    controls() {
      const { size } = this.networks[0], set = key => value => { this.settings[key] = value; this.again(); };
      const own = this.settings.size, sizes = [["trained", `as trained${size ? ` (${size[0]} × ${size[1]})` : ""}`], ["own", "the image's own"], ...SIZES.map(side => [String(side), `${side} × ${side}`])];
      if (!sizes.some(([key]) => key === own)) sizes.push([own, own]);
      const scales = el("input", { type: "text", list: "scales", value: this.settings.scales, autocomplete: "off", onchange: event => set("scales")(event.target.value.trim() || "1") });
      this.more = el("input", { type: "search", list: "others", placeholder: "type a class", autocomplete: "off", onchange: event => this.another(event.target) });
      this.others = el("datalist", { id: "others" });
      this.moreField = el("label", { class: "field", hidden: true }, el("span", {}, "Ask for another class"), this.more, this.others);
      this.note = el("p", { class: "muted small" });
      return el("fieldset", { class: "settings" }, el("legend", {}, "How maps are made"), el("div", { class: "controls" },
        select("Method", this.page.methods.map(name => [name, name]), this.settings.method, set("method")),
        select("Image size", sizes, own, set("size")),
        el("label", { class: "field" }, el("span", {}, "Averaged over scales"), scales, el("datalist", { id: "scales" }, ...["1", "0.75,1,1.25", "0.5,1,1.5,2"].map(value => el("option", { value })))),
        check("and the mirror image", this.settings.flip === "1", on => set("flip")(on ? "1" : "0")),
        check("ten crops", this.settings.ten_crop === "1", on => set("ten_crop")(on ? "1" : "0")), this.moreField), this.note);
    }

    /** A viewer a network. */
    build() {
      this.viewers = this.networks.map((network, k) => new Viewer(network.meta, { state: this.view ?? this.begin, step: by => this.step(by), onstate: state => this.changed(k, state) }));
      this.titles = this.networks.map(() => el("h2", {}));
      this.sides.classList.toggle("two", this.viewers.length > 1);
      this.sides.replaceChildren(...this.viewers.map((viewer, k) => el("div", { hidden: true, class: "side" }, this.titles[k], viewer.node)));
      this.name();
    }

    name() {
      this.networks.forEach(({ name, step, follows }, k) => {
        this.titles[k].textContent = name + (step === null ? "" : `, step ${step}`) + (follows ? " (followed)" : "");
        this.viewers[k].node.setAttribute("aria-label", this.networks.length > 1 ? `Viewer ${k + 1}: ${name}` : "Viewer");
      });
    }

    add(images) {
      const added = images.map(({ name, blob, index }) => {
        const known = index !== undefined && this.images.find(one => one.index === index);
        if (known) return known;
        const image = { name, blob, index, items: null, error: null, round: -1, url: blob ? URL.createObjectURL(blob) : null };
        image.button = el("button", { type: "button", class: "thumb", onclick: () => this.open(image) }, image.picture = el("img", { alt: "", src: image.url }), image.label = el("span", { class: "name" }), image.told = el("span", { class: "told" }));
        image.node = el("div", { role: "listitem" }, image.button);
        image.label.textContent = name;
        this.thumbs.append(image.node);
        this.images.push(image);
        return image;
      });
      this.open(added[0]);
      this.work();
    }

    /** Ask for what is wanted, the open image first, a few at once. */
    work() {
      this.busy ??= new Set();
      const wanting = this.images.filter(image => image.round !== this.round && !this.busy.has(image) && (image === this.image || image.round < 0 || this.quick));
      wanting.sort((a, b) => (b === this.image) - (a === this.image));
      for (const image of wanting.slice(0, AT_ONCE - this.busy.size)) {
        this.busy.add(image);
        this.ask(image).finally(() => { this.busy.delete(image); this.work(); });
      }
      this.report();
    }

    /** Whether images that are not open are asked for again too: plain CAM costs one forward pass. */
    get quick() { const { method, scales, flip, ten_crop } = this.settings; return method === "cam" && scales === "1" && flip === "0" && ten_crop === "0"; }

    async ask(image) {
      const round = image.round = this.round;
      try {
        if (image.url === null) { image.url = URL.createObjectURL(await server.folderImage(image.index)); image.picture.src = image.url; }
        const shown = loadPhoto(image.url).then(() => true, () => false); // TIFF and JPEG 2000 are not for every browser
        let items = await server.explain(image, this.settings, image.stop?.signal);
        if (!await shown) items = await server.explain(image, { ...this.settings, photo: "1" });
        if (round !== this.round) { image.round = Math.min(image.round, round); return; }
        for (const item of items) Object.assign(item, { name: image.name, path: image.name, photo: item.photo || image.url });
        if (items[0].photo !== image.url) image.picture.src = items[0].photo;
        image.items = items;
        image.error = null;
      } catch (error) {
        if (round !== this.round) { image.round = Math.min(image.round, round); return; }
        image.error = error.message;
      }
      if (this.images.includes(image)) { this.label(image); if (image === this.image) this.show(true); }
    }

    label(image) {
      const name = (item, k) => [this.networks[k].meta.classes[item.best], probability(item.p)], said = (image.items ?? []).map(name);
      const rows = image.error !== null ? [[image.error, ""]] : said;
      image.told.replaceChildren(...rows.map(([text, p]) => el("span", { class: "said" }, el("span", { class: "name" }, text), el("span", { class: "p" }, p))));
      image.button.title = `${image.name}: ${image.error ?? said.map(pair => pair.join(" ")).join(" / ")}`;
      image.button.classList.toggle("failed", image.error !== null);
    }

    open(image) {
      this.image = image;
      for (const one of this.images) one.button.setAttribute("aria-pressed", String(one === image));
      image.node.scrollIntoView({ block: "nearest" });
      this.work();
      this.show(false);
    }

    step(by) {
      if (this.images.length > 1) this.open(this.images[(this.images.indexOf(this.image) + by + this.images.length) % this.images.length]);
    }

    /** The open image in the viewers. @param keep the class that was chosen. */
    async show(keep) {
      const { items, error } = this.image ?? {};
      for (const side of this.sides.children) side.hidden = !items || error !== null;
      this.report();
      if (!items || error !== null) return;
      await Promise.all(this.viewers.map((viewer, k) => {
        viewer.meta.identity = items[k].identity;
        viewer.highest = Math.max(...this.images.flatMap(image => image.items ? image.items[k].maps.high : []));
        if (!keep && viewer.item && viewer.item !== items[k]) viewer.label = viewer.other = null;
        return viewer.show(items[k], { keep: true });
      }));
      const missing = items.map((item, k) => this.networks[k].meta.classes.filter((_, label) => !unpack(item).row.has(label)));
      const others = [...new Set(missing.flat())];
      this.moreField.hidden = !others.length;
      this.others.replaceChildren(...others.map(value => el("option", { value })));
      this.note.textContent = others.length ? `The maps of ${items[0].labels.length} classes are here, the most probable ones; another one is asked for.` : "The maps of all classes are here: choosing one asks for nothing.";
    }

    /** The map of a class that is not held: asked for once. */
    async another(input) {
      const image = this.image, wanted = input.value;
      if (!wanted || !image?.items) return;
      input.value = "";
      try {
        await Promise.all(image.items.map(async (item, k) => {
          const label = this.networks[k].meta.classes.indexOf(wanted);
          if (label < 0 || unpack(item).row.has(label)) return;
          const [more] = await server.explain(image, { ...this.settings, networks: k, classes: label });
          if (image.items[k] === item) merge(item, more);
        }));
        if (image !== this.image) return;
        this.viewers.forEach((viewer, k) => { const label = this.networks[k].meta.classes.indexOf(wanted); if (unpack(image.items[k]).row.has(label)) viewer.label = label; });
        await this.show(true);
      } catch (error) { this.tell(error.message); }
    }

    /** Everything once more, as the controls say now. */
    again() {
      this.round++;
      this.tell("");
      for (const image of this.images) image.error = null;
      this.work();
      this.remember();
    }

    /** Whether a run has a newer checkpoint. */
    async look() {
      try {
        const { networks } = await server.state();
        if (networks.every(({ version }, k) => version === this.networks[k].version)) { if (this.lost) this.tell(""); this.lost = false; return; }
        const before = this.networks.map(network => network.meta.classes.join("\n"));
        this.networks = await server.networks();
        if (this.networks.some((network, k) => network.meta.classes.join("\n") !== before[k])) { for (const image of this.images) image.items = null; this.build(); }
        this.name();
        this.again();
      } catch (error) { this.lost = true; this.tell(error.message); }
    }

    /** One viewer changed: the other follows, and the address of the page. */
    changed(k, state) {
      if (k === 0) { this.view = state; this.remember(); }
      if (this.following || this.viewers.length < 2) return;
      this.following = true;
      try {
        const own = this.viewers[k], other = this.viewers[1 - k];
        if (!other.item) return;
        for (const key of SHARED) if (other.state[key] !== own.state[key]) other.set(key, own.state[key]);
        const there = label => other.meta.classes.indexOf(own.meta.classes[label]), held = label => other.ready.row.has(label) ? label : null;
        const [label, second] = [held(there(own.label)), held(there(own.other))];
        if (label !== null && (label !== other.label || second !== null && second !== other.other)) other.choose(label, second ?? other.other);
      } finally { this.following = false; }
    }

    remember() { writeHash({ image: this.image?.index, ...this.settings, ...this.view }); }

    tell(text) {
      this.alert.textContent = text;
      this.alert.hidden = !text;
    }

    report() {
      const left = this.images.filter(image => image.items === null && image.error === null).length, failed = this.image?.error;
      this.status.textContent = !this.images.length ? "No image yet." : failed ? `${this.image.name}: ${failed}` : left ? `Explaining: ${this.images.length - left} of ${this.images.length} done …`
        : this.busy?.size ? "Explaining again …" : `${this.images.length} image${this.images.length > 1 ? "s" : ""}`;
      this.status.classList.toggle("bad", Boolean(failed));
    }
  }

  const page = pageData("page");
  const explore = camexp.explore = new Explore(page);
  document.body.append(pageHead(page.title, null, page.facts), explore.node);
})(globalThis.camexp);
