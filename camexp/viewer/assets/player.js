// Play and drag through the steps of a training, as a film.
(camexp => {
  "use strict";
  const { el, select, check } = camexp;
  const SPEEDS = [1, 2, 5, 10, 20]; // steps a second

  class Player {
    /** @param steps the training steps there are, in their order.
     *  @param onstep called with the number of the one that is to be seen now. */
    constructor(steps, { onstep, index = steps.length - 1 }) {
      Object.assign(this, { steps, onstep, index, timer: null, repeat: false });
      this.speed = SPEEDS.find(speed => steps.length / speed <= 8) ?? SPEEDS.at(-1);
      this.button = el("button", { type: "button", class: "play", onclick: () => this.toggle() });
      this.slider = el("input", { type: "range", min: 0, max: steps.length - 1, step: 1, "aria-label": "Step", oninput: event => { this.stop(); this.go(+event.target.value); } });
      this.readout = el("output", { class: "step" });
      this.node = el("div", { class: "player", role: "group", "aria-label": "Steps of the training" },
        this.button, this.slider, this.readout,
        select("Speed", SPEEDS.map(speed => [speed, `${speed} ${speed === 1 ? "step" : "steps"} a second`]), this.speed, value => { this.speed = +value; if (this.timer) this.start(); }),
        check("repeat", false, on => { this.repeat = on; }));
      document.addEventListener("keydown", event => {
        if (event.key !== " " || event.target.closest?.("button, input, select, textarea, summary, a")) return;
        this.toggle();
        event.preventDefault();
      });
      this.show();
    }

    get step() { return this.steps[this.index]; }
    get playing() { return this.timer !== null; }

    go(index) {
      this.index = Math.max(0, Math.min(this.steps.length - 1, index));
      this.show();
      this.onstep(this.index);
    }

    /** To the step nearest to one of the training's. */
    near(step) {
      this.stop();
      this.go(this.steps.reduce((best, one, i) => Math.abs(one - step) < Math.abs(this.steps[best] - step) ? i : best, 0));
    }

    toggle() { if (this.playing) this.stop(); else { if (this.index === this.steps.length - 1) this.go(0); this.start(); } }

    start() {
      clearInterval(this.timer);
      this.timer = setInterval(() => {
        const last = this.index >= this.steps.length - 1;
        if (last && !this.repeat) this.stop();
        else this.go(last ? 0 : this.index + 1);
      }, 1000 / this.speed);
      this.show();
    }

    stop() {
      clearInterval(this.timer);
      const played = this.playing;
      this.timer = null;
      this.show();
      if (played) this.onstep(this.index);
    }

    show() {
      this.slider.value = this.index;
      this.slider.setAttribute("aria-valuetext", `step ${this.step}`);
      this.readout.textContent = `step ${this.step}`;
      this.button.textContent = this.playing ? "❚❚ Pause" : "▶ Play";
      this.button.title = "Space";
    }
  }

  Object.assign(camexp, { Player });
})(globalThis.camexp ??= {});
