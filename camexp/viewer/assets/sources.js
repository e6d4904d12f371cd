// Where explore's images come from: dropped, pasted, chosen, taken by the camera, or out of the folder.
(camexp => {
  "use strict";
  const { el } = camexp;
  const LISTED = 200;

  class Sources {
    /** @param page what the server told: images, folder, limits.
     *  @param onimages called with a list of { name, blob } or { name, index }.
     *  @param tell called with a sentence when something cannot be had. */
    constructor(page, onimages, tell) {
      Object.assign(this, { page, onimages, tell });
      this.file = el("input", { type: "file", accept: "image/*", multiple: true, class: "sr", id: "files",
        onchange: () => { this.take([...this.file.files]); this.file.value = ""; } });
      this.zone = el("div", { class: "drop" },
        el("p", {}, el("b", {}, "Drop images here"), ", paste one, or"),
        el("div", { class: "row" },
          el("label", { class: "button", for: "files" }, "Choose images"), this.file,
          el("button", { type: "button", onclick: () => this.openCamera() }, "Camera")));
      this.node = el("div", { class: "sources" }, this.zone, page.images.length ? this.list() : null);
      addEventListener("paste", event => { const files = [...event.clipboardData?.files ?? []]; if (files.length) { event.preventDefault(); this.take(files); } });
      addEventListener("dragover", event => { event.preventDefault(); this.zone.classList.add("over"); });
      addEventListener("dragleave", event => { if (!event.relatedTarget) this.zone.classList.remove("over"); });
      addEventListener("drop", event => { event.preventDefault(); this.zone.classList.remove("over"); this.take([...event.dataTransfer.files]); });
    }

    /** Files, less those that are too large or too many. */
    take(files) {
      const { images, megabytes } = this.page.limits, told = [];
      if (files.length > images) told.push(`${files.length} images are more than are taken at once (${images}, limits.images): the first ${images} are shown.`);
      const few = files.slice(0, images), small = few.filter(file => file.size <= megabytes * 1e6);
      for (const file of few) if (!small.includes(file)) told.push(`${file.name} has more than ${megabytes} MB (limits.megabytes).`);
      this.tell(told.join(" "));
      if (small.length) this.onimages(small.map(file => ({ name: file.name || "pasted image", blob: file })));
    }

    /** The folder's images by name: a list that a few letters make short. */
    list() {
      const { images, folder, limits } = this.page, rows = el("ul", { class: "folder", "aria-label": `Images of ${folder}` }), count = el("p", { class: "muted small", role: "status" });
      let found = [];
      const filter = text => {
        found = images.map((name, index) => ({ name, index })).filter(one => one.name.toLowerCase().includes(text.toLowerCase()));
        rows.replaceChildren(...found.slice(0, LISTED).map(one => el("li", {}, el("button", { type: "button", class: "quiet", onclick: () => this.onimages([one]) }, one.name))));
        count.textContent = `${found.length} of ${images.length} images${found.length > LISTED ? `, the first ${LISTED} are listed` : ""}`;
        several.textContent = `Show the first ${Math.min(12, limits.images, found.length)}`;
      };
      const several = el("button", { type: "button", onclick: () => this.onimages(found.slice(0, Math.min(12, limits.images))) });
      const node = el("details", { open: innerWidth > 860 }, el("summary", {}, `Folder ${folder}`),
        el("div", { class: "row" }, el("label", { class: "field" }, el("span", {}, "Name contains"), el("input", { type: "search", oninput: event => filter(event.target.value) })), several),
        rows, count);
      filter("");
      return node;
    }

    async openCamera() {
      if (!navigator.mediaDevices?.getUserMedia) return this.tell("A browser gives the camera to pages of this machine only: open the page at 127.0.0.1.");
      let stream;
      try { stream = await navigator.mediaDevices.getUserMedia({ video: true }); }
      catch (error) { return this.tell(`The camera cannot be used (${error.message}).`); }
      const video = el("video", { autoplay: true, muted: true, playsInline: true, "aria-label": "Camera" });
      video.srcObject = stream;
      const end = () => { for (const track of stream.getTracks()) track.stop(); dialog.remove(); };
      const dialog = el("dialog", { class: "camera", "aria-label": "Camera", onclose: end }, video, el("div", { class: "row" },
        el("button", { type: "button", onclick: async () => {
          const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
          canvas.getContext("2d").drawImage(video, 0, 0);
          const blob = await new Promise(resolve => canvas.toBlob(resolve, "image/jpeg", 0.92));
          dialog.close();
          if (blob) this.onimages([{ name: `camera ${new Date().toLocaleTimeString()}`, blob }]);
        } }, "Take the photograph"),
        el("button", { type: "button", onclick: () => dialog.close() }, "Close (Esc)")));
      document.body.append(dialog);
      dialog.showModal();
    }
  }

  Object.assign(camexp, { Sources });
})(globalThis.camexp ??= {});
