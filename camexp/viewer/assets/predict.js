// The report of predict.
(camexp => {
  "use strict";
  const page = camexp.pageData("page"), items = camexp.pageItems(page.folder), { el } = camexp;
  const gallery = camexp.gallery = new camexp.Gallery(items, page.meta, page.highest);
  if (page.title) document.body.append(camexp.pageHead(page.title, page.subtitle, page.facts)); // none in a notebook
  document.body.append(el("main", {}, gallery.node));
})(globalThis.camexp);
