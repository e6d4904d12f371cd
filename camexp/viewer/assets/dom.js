// A few lines instead of a framework: elements, numbers as text, and what all pages share.
(camexp => {
  "use strict";

  /** An element with properties, attributes (`aria-…`, `role`, `for`, `list` …), listeners (`onclick`) and children.
   *  Text is always text: nothing is read as HTML. */
  const el = (tag, properties = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (value === undefined || value === null) continue;
      if (name === "class") node.className = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name in node && name !== "list" && name !== "role") node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children.filter(child => child !== undefined && child !== null));
    return node;
  };

  /** An SVG element. */
  const svg = (tag, attributes = {}, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  /** A number in about three digits, with a true minus sign. */
  const number = value => {
    const size = Math.abs(value);
    const text = value === 0 ? "0" : size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1)
      : size >= 0.01 ? value.toFixed(2) : value.toExponential(1);
    return text.replace("-", "−");
  };

  /** A probability: never 1.000 or 0.000 where it is not. */
  const probability = p => p > 0.9995 && p < 1 ? ">0.999" : p < 0.0005 && p > 0 ? "<0.001" : p.toFixed(3);

  /** The same as an equation: p = 0.540, p > 0.999. */
  const equation = p => probability(p).replace(/^([<>]?)/, (_, sign) => `p ${sign || "="} `);

  /** A select box; `options` are [value, text]. */
  const select = (label, options, value, onchange) => el("label", { class: "field" }, el("span", {}, label),
    el("select", { onchange: event => onchange(event.target.value) },
      ...options.map(([key, text]) => el("option", { value: key, selected: String(key) === String(value) }, text))));

  /** A slider with its value beside it. */
  const slider = (label, { min, max, step, value }, oninput, text = number) => {
    const shown = el("output", {}, text(value));
    const input = el("input", { type: "range", min, max, step, value, "aria-label": label,
      oninput: event => { shown.textContent = text(+event.target.value); oninput(+event.target.value); } });
    const field = el("label", { class: "field" }, el("span", {}, label, " ", shown), input);
    field.set = value => { input.value = value; shown.textContent = text(value); };
    return field;
  };

  /** A check box. */
  const check = (label, checked, onchange) => el("label", { class: "check" },
    el("input", { type: "checkbox", checked, onchange: event => onchange(event.target.checked) }), label);

  /** Light, dark, or as the system has it: a button for the corner of a page. */
  const themeButton = () => {
    const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const button = el("button", { type: "button", class: "quiet", onclick: () => {
      document.documentElement.dataset.theme = dark() ? "light" : "dark";
      button.textContent = dark() ? "Light" : "Dark";
      document.dispatchEvent(new Event("themechange"));
    } }, dark() ? "Light" : "Dark");
    return button;
  };

  /** The head of a page: its title, a line below, facts that can be opened. */
  const pageHead = (title, subtitle, facts = []) => el("header", { class: "head" },
    el("div", { class: "row" }, el("h1", {}, title), themeButton()),
    subtitle && el("p", { class: "muted" }, subtitle),
    facts.length ? el("details", {}, el("summary", {}, "How this was made"),
      el("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]))) : null);

  /** What the page was given: the JSON of a script element, which is data and never run. */
  const pageData = id => JSON.parse(document.getElementById(id).textContent);

  /** The items of all data blocks, in their order. What a wall of thousands need not hold at once, photographs and maps,
   *  lies in files beside the page: whole(item) is a promise of the item with all it has. */
  const files = new Map(), MOST_FILES = 40;
  let folder = null, all = [];
  const pageItems = from => {
    folder = from ?? null;
    for (const block of document.querySelectorAll("script.items")) { all.push(...JSON.parse(block.textContent)); block.remove(); }
    return all;
  };
  const fill = (number, parts) => { // called by data_0001.js …
    const own = all.filter(item => item.file === number);
    own.forEach((item, i) => Object.assign(item, parts[i]));
    files.get(number)?.done();
  };
  const whole = item => {
    if (!item.file || item.maps) return Promise.resolve(item);
    if (!files.has(item.file)) {
      for (const [number, old] of files) if (files.size >= MOST_FILES && old.filled) {
        for (const one of all) if (one.file === number) delete one.photo, delete one.maps, delete one.ready;
        files.delete(number);
      }
      const entry = { filled: false };
      entry.promise = new Promise((resolve, reject) => {
        const name = `data_${String(item.file).padStart(4, "0")}.js`;
        entry.done = () => { entry.filled = true; resolve(); };
        document.head.append(el("script", { src: `${encodeURIComponent(folder)}/${name}`, onerror: () => reject(new Error(`${folder}/${name} is missing: copy the folder with the page`)) }));
      });
      files.set(item.file, entry);
    }
    return files.get(item.file).promise.then(() => item);
  };

  /** The state that a link restores: `#class=3&view=two`. A link to another state of the page that is open loads it anew. */
  const readHash = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const followLinks = () => addEventListener("hashchange", () => location.reload());
  const writeHash = state => {
    const query = new URLSearchParams(Object.entries(state).filter(([, value]) => value !== undefined && value !== null && value !== ""));
    try { history.replaceState(null, "", "#" + query); } catch { /* pages inside other pages have no address of their own */ }
  };

  Object.assign(camexp, { el, svg, number, probability, equation, select, slider, check, themeButton, pageHead, pageData, pageItems, fill, whole, readHash, writeHash, followLinks });
})(globalThis.camexp ??= {});
