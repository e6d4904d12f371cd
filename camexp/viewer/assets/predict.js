// The report of predict.
(camexp => {
  "use strict";
  const page = camexp.pageData("page"), items = camexp.pageItems(page.folder), { el } = camexp;
  const gallery = camexp.gallery = new camexp.Gallery(items, page.meta, page.highest);
  document.body.append(camexp.pageHead(page.title, page.subtitle, page.facts), el("main", {}, gallery.node));
})(globalThis.camexp);
