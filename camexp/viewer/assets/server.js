// Talking to explore's own server: an image in, the maps of all classes out, errors as sentences.
(camexp => {
  "use strict";
  const { bytes } = camexp;

  const ask = async (path, options = {}) => {
    let answer, told = null;
    try { answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options }); }
    catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("There is no answer: is explore still running in its terminal?");
    }
    if (answer.ok) return answer;
    try { told = (await answer.json()).error; } catch { /* no sentence came */ }
    throw new Error(told ?? `The server answered ${answer.status}.`);
  };

  /** One item a network.
   *  @param image { blob } or { index } of the folder's images.
   *  @param query the settings, and: networks, classes, photo. */
  const explain = async (image, query, signal) => {
    const own = image.index === undefined ? {} : { image: image.index };
    const answer = await ask(`explain?${new URLSearchParams({ ...query, ...own })}`, {
      method: "POST", signal, headers: { "content-type": "application/octet-stream" }, body: image.index === undefined ? image.blob : null });
    return (await answer.json()).items;
  };

  const networks = async () => (await (await ask("networks")).json()).networks;
  const state = async () => (await ask("state")).json();
  const folderImage = async index => (await ask(`image/${index}`)).blob();

  /** An item with the maps of further classes of the same image. */
  const merge = (item, more) => {
    const all = [item.maps, more.maps].map(({ data }) => typeof data === "string" ? bytes(data) : data);
    const data = new Uint8Array(all[0].length + all[1].length);
    data.set(all[0]);
    data.set(all[1], all[0].length);
    const [count, height, width] = item.maps.shape;
    item.maps = { shape: [count + more.maps.shape[0], height, width], low: [...item.maps.low, ...more.maps.low], high: [...item.maps.high, ...more.maps.high], data };
    item.labels = [...item.labels, ...more.labels];
    delete item.ready;
  };

  Object.assign(camexp, { server: { explain, networks, state, folderImage }, merge });
})(globalThis.camexp ??= {});
