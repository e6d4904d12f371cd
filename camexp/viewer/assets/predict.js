// The report of predict.
(camexp => {
  "use strict";
  const page = camexp.pageData("page"), items = camexp.pageItems(), { el } = camexp;
  const gallery = new camexp.Gallery(items, page.meta);
  document.body.append(camexp.pageHead(page.title, page.subtitle, page.facts), el("main", {}, gallery.node));
})(globalThis.camexp);
