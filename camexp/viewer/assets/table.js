// A table that sorts by the columns whose heads are clicked.
(camexp => {
  "use strict";
  const { el } = camexp;
  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const missing = value => value === null || value === undefined || value === "" || Number.isNaN(value);

  class SortableTable {
    /** @param caption what is read out before the table, and shown above it.
     *  @param columns { name, type: "text" | "number", format(value), title: what the name means }.
     *  @param rows lists of values, one a column; null: not known, which sorts last either way.
     *  @param onrow called with a row's number (as given, however they are sorted now) when it is chosen. */
    constructor({ caption, columns, rows, onrow = null }) {
      Object.assign(this, { columns, rows, onrow, by: null, down: false, chosen: null });
      this.heads = columns.map((column, i) => {
        const button = el("button", { type: "button", class: "sort", title: column.title, onclick: () => this.sort(i) },
          el("span", {}, column.name), el("span", { class: "arrow", "aria-hidden": "true" }));
        return el("th", { scope: "col", class: column.type === "number" ? "number" : "", "aria-sort": "none" }, button);
      });
      this.body = el("tbody", {});
      this.node = el("div", { class: "table-box", tabIndex: 0, role: "region", "aria-label": caption },
        el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, ...this.heads)), this.body));
      this.lines = rows.map((row, index) => this.line(row, index));
      this.body.append(...this.lines);
    }

    line(row, index) {
      const { columns, onrow } = this;
      return el("tr", { class: onrow ? "choice" : "", onclick: onrow ? () => this.choose(index) : null },
        ...columns.map(({ type, format }, i) => {
          const value = row[i], text = missing(value) ? "–" : format ? format(value) : String(value);
          // a row is chosen with the keyboard by the button in its first cell; a click on it is the row's
          const content = i === 0 && onrow ? el("button", { type: "button", class: "row-name" }, text) : text;
          return el(i === 0 ? "th" : "td", { class: type === "number" ? "number" : "", scope: i === 0 ? "row" : null }, content);
        }));
    }

    choose(index) {
      this.mark(index);
      this.onrow(index);
    }

    /** Mark a row as chosen, or none. */
    mark(index) {
      this.chosen = index;
      for (const [i, line] of this.lines.entries()) {
        line.classList.toggle("chosen", i === index);
        line.querySelector(".row-name")?.setAttribute("aria-pressed", String(i === index));
      }
    }

    /** By column i: numbers from the highest, text from A; once more turns it round. */
    sort(i, down = this.by === i ? !this.down : this.columns[i].type === "number") {
      [this.by, this.down] = [i, down];
      const order = (a, b) => this.columns[i].type === "number" ? a - b : words.compare(a, b);
      const sorted = [...this.rows.keys()].sort((a, b) => {
        const [one, other] = [this.rows[a][i], this.rows[b][i]];
        return missing(one) - missing(other) || (missing(one) ? 0 : down ? order(other, one) : order(one, other)) || a - b;
      });
      this.heads.forEach((head, at) => {
        head.setAttribute("aria-sort", at !== i ? "none" : down ? "descending" : "ascending");
        head.querySelector(".arrow").textContent = at !== i ? "" : down ? "▼" : "▲";
      });
      this.body.append(...sorted.map(index => this.lines[index]));
    }
  }

  Object.assign(camexp, { SortableTable });
})(globalThis.camexp ??= {});
