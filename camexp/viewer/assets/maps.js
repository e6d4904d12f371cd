// The mathematics of maps, without a page: what camexp.cam computes in Python, number for number.
(camexp => {
  "use strict";

  /** Base64 text as bytes. */
  const bytes = text => {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  };

  /** Base64 text as 32-bit floats. */
  const floats = text => new Float32Array(bytes(text).buffer);

  /** The maps of one image: K classes of h × w values, one byte each over the map's own range. */
  class Maps {
    constructor({ shape, low, high, data, limits = null }) {
      [this.count, this.height, this.width] = shape;
      Object.assign(this, { low, high, data, limits, cache: new Map() }); // limits: what the colours span of a map by itself, if not its range
    }

    /** Map number k as h × w floats. */
    values(k) {
      if (!this.cache.has(k)) {
        if (typeof this.data === "string") this.data = bytes(this.data);
        const size = this.height * this.width, step = (this.high[k] - this.low[k]) / 255, out = new Float32Array(size);
        for (let i = 0; i < size; i++) out[i] = this.low[k] + this.data[k * size + i] * step;
        this.cache.set(k, out);
      }
      return this.cache.get(k);
    }
  }

  /** Where each of `want` samples lies among `have` old ones, and how much the next one counts (no aligned corners). */
  const positions = (have, want) => {
    const first = new Int32Array(want), share = new Float64Array(want);
    for (let i = 0; i < want; i++) {
      const at = Math.max(0, (i + 0.5) * have / want - 0.5);
      first[i] = Math.min(Math.floor(at), have - 1);
      share[i] = at - first[i];
    }
    return { first, share };
  };

  /** Calls visit(y, row) with each row of a map at H × W; the row is used again for the next one. */
  const eachRow = (values, h, w, H, W, visit) => {
    const across = positions(w, W), down = positions(h, H), wide = new Float64Array(h * W), row = new Float32Array(W);
    for (let y = 0; y < h; y++)
      for (let x = 0; x < W; x++) {
        const i = across.first[x], a = values[y * w + i], b = values[y * w + Math.min(i + 1, w - 1)];
        wide[y * W + x] = a + (b - a) * across.share[x];
      }
    for (let y = 0; y < H; y++) {
      const above = down.first[y] * W, below = Math.min(down.first[y] + 1, h - 1) * W, share = down.share[y];
      for (let x = 0; x < W; x++) row[x] = wide[above + x] + (wide[below + x] - wide[above + x]) * share;
      visit(y, row);
    }
  };

  /** A map of h × w at H × W, bilinear: camexp.cam.upsample. */
  const upsample = (values, h, w, H, W) => {
    const out = new Float32Array(H * W);
    eachRow(values, h, w, H, W, (y, row) => out.set(row, y * W));
    return out;
  };

  /** The largest value of a map at H × W. */
  const peak = (values, h, w, H, W) => {
    let most = -Infinity;
    eachRow(values, h, w, H, W, (_, row) => { for (const value of row) if (value > most) most = value; });
    return most;
  };

  /** The value of a map of h × w at a place of the image, both shares of its sides in [0, 1]. */
  const valueAt = (values, h, w, x, y) => {
    const place = (at, have) => {
      const position = Math.min(Math.max(0, at * have - 0.5), have - 1), first = Math.floor(position);
      return [first, Math.min(first + 1, have - 1), position - first];
    };
    const [left, right, a] = place(x, w), [top, bottom, b] = place(y, h);
    const across = row => values[row * w + left] * (1 - a) + values[row * w + right] * a;
    return across(top) * (1 - b) + across(bottom) * b;
  };

  /** The connected parts (8 neighbours) of what exceeds a level at H × W, the largest first.
   *  Each has a box [x0, y0, x1, y1] with inclusive corners, an area in pixels, and its runs [y, x0, x1]. */
  const parts = (values, h, w, H, W, level) => {
    const ys = [], starts = [], ends = [], parent = [];
    const find = i => { while (parent[i] !== i) i = parent[i] = parent[parent[i]]; return i; };
    let from = 0, until = 0; // the runs of the row above
    eachRow(values, h, w, H, W, (y, row) => {
      const begin = starts.length;
      let above = from;
      for (let x = 0; x < W; x++) {
        if (!(row[x] > level)) continue;
        const start = x;
        while (x + 1 < W && row[x + 1] > level) x++;
        const run = starts.length;
        ys.push(y); starts.push(start); ends.push(x); parent.push(run);
        while (above < until && ends[above] < start - 1) above++;
        for (let i = above; i < until && starts[i] <= x + 1; i++) {
          const one = find(i), other = find(run);
          parent[Math.max(one, other)] = Math.min(one, other); // the first run found stands for the part
        }
      }
      [from, until] = [begin, starts.length];
    });
    const found = new Map();
    for (let i = 0; i < starts.length; i++) {
      const root = find(i);
      if (!found.has(root)) found.set(root, { box: [W, H, -1, -1], area: 0, runs: [] });
      const part = found.get(root), box = part.box;
      part.area += ends[i] - starts[i] + 1;
      part.runs.push([ys[i], starts[i], ends[i]]);
      part.box = [Math.min(box[0], starts[i]), Math.min(box[1], ys[i]), Math.max(box[2], ends[i]), Math.max(box[3], ys[i])];
    }
    return [...found.values()].sort((a, b) => b.area - a.area); // of equal ones the first found, as in Python
  };

  /** Intersection over union of two boxes with inclusive corners. */
  const iou = (a, b) => {
    const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]) + 1, height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]) + 1;
    const area = box => (box[2] - box[0] + 1) * (box[3] - box[1] + 1), both = Math.max(0, width) * Math.max(0, height);
    return both / (area(a) + area(b) - both);
  };

  /** The stretches [from, to) of a mask's pixels, row after row, as camexp.viewer.items.pack_mask wrote them. */
  const stretches = packed => {
    const lengths = new Uint32Array(bytes(packed).buffer), out = [];
    let at = 0;
    lengths.forEach((length, i) => { if (i % 2 && length) out.push([at, at + length]); at += length; });
    return out;
  };
  const covered = some => some.reduce((sum, [from, to]) => sum + to - from, 0);

  /** How many pixels two lists of stretches share; both in order. */
  const shared = (some, others) => {
    let sum = 0;
    for (let i = 0, j = 0; i < some.length && j < others.length;) {
      sum += Math.max(0, Math.min(some[i][1], others[j][1]) - Math.max(some[i][0], others[j][0]));
      if (some[i][1] < others[j][1]) i++; else j++;
    }
    return sum;
  };

  /** Intersection over union of all parts found in an image W wide with its true mask; pixels to ignore count in neither. */
  const maskIou = (found, W, mask, ignored = []) => {
    const some = found.flatMap(part => part.runs.map(([y, x0, x1]) => [y * W + x0, y * W + x1 + 1])).sort((a, b) => a[0] - b[0]);
    const both = shared(some, mask), either = covered(some) - shared(some, ignored) + covered(mask) - both;
    return either ? both / either : 0;
  };

  /** Probabilities of logits. */
  const softmax = logits => {
    const most = Math.max(...logits), powers = Float64Array.from(logits, value => Math.exp(value - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map(value => value / sum);
  };

  Object.assign(camexp, { bytes, floats, Maps, upsample, peak, valueAt, parts, iou, stretches, maskIou, softmax });
})(globalThis.camexp ??= {});
