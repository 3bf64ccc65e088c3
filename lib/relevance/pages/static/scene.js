"use strict";
// The playground of a printed page: unpacks the views that relevance/grid.py packed, and shows the one that is chosen.
(() => {
  if (window.relevanceScene) return;
  window.relevanceScene = true;

  const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

  // Where things are in the block; the order is that of _blocks in relevance/grid.py.
  class Views {
    constructor(spec, bytes) {
      const [channels, height, width] = spec.shape;
      const count = Object.fromEntries(Object.entries(spec.axes).map(([name, values]) => [name, values.length]));
      Object.assign(this, { spec, bytes, count, pixels: height * width, entries: channels * height * width });
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.bits = Math.ceil(this.pixels / 8);
      this.shares = 2 * spec.classes.length;
      this.cleanMap = this.pixels + count["top percent"] * this.bits;
      this.cleanSize = this.shares + count.rule * count.layer * this.cleanMap;
      this.mapSize = this.pixels + count["top percent"] * (this.bits + 4);
      this.stateSize = this.entries + this.shares + 4 + count.layer * this.mapSize;
      this.cleanStart = count.image * this.entries;
      this.stateStart = this.cleanStart + count.image * count.model * this.cleanSize;
      const whole = this.stateStart + product(["image", "model", "attack", "attack size", "rule"].map((n) => count[n])) * this.stateSize;
      if (whole !== bytes.length) throw new Error(`the views have ${bytes.length} bytes, not ${whole}`);
    }

    part(start, length) { return this.bytes.subarray(start, start + length); }
    number(at) { return this.view.getUint16(at, true) / 65535; }
    probabilities(at) { return this.spec.classes.map((_, k) => this.number(at + 2 * k)); }

    at(choice) {
      const { count } = this;
      const pair = choice.image * count.model + choice.model;
      const clean = this.cleanStart + pair * this.cleanSize;
      const cleanMap = clean + this.shares + (choice.rule * count.layer + choice.layer) * this.cleanMap;
      const state = this.stateStart + this.stateSize *
        (((pair * count.attack + choice.attack) * count["attack size"] + choice["attack size"]) * count.rule + choice.rule);
      const map = state + this.entries + this.shares + 4 + choice.layer * this.mapSize;
      const top = map + this.pixels + choice["top percent"] * (this.bits + 4);
      return {
        image: this.part(choice.image * this.entries, this.entries),
        attacked: this.part(state, this.entries),
        before: this.part(cleanMap, this.pixels),
        after: this.part(map, this.pixels),
        topBefore: this.part(cleanMap + this.pixels + choice["top percent"] * this.bits, this.bits),
        topAfter: this.part(top, this.bits),
        clean: this.probabilities(clean),
        probabilities: this.probabilities(state + this.entries),
        softmax: this.number(state + this.entries + this.shares),
        blind: this.number(state + this.entries + this.shares + 2) > 0.5,
        lrp: this.number(top + this.bits),
        unrelated: this.number(top + this.bits + 2),
        label: this.spec.labels[choice.image],
      };
    }
  }

  const unpacked = async (text) => {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const bit = (bytes, index) => (bytes[index >> 3] >> (index & 7)) & 1;
  const percent = (share) => `${Math.round(100 * share)}%`;
  const highest = (shares) => shares.indexOf(Math.max(...shares));

  // A panel of pixels with a caption; what it shows is said by its label.
  class Panel {
    constructor(title, height, width) {
      this.canvas = element("canvas", { width, height, role: "img" });
      this.whole = element("div", { class: "rr-panel" }, this.canvas, element("p", {}, title));
      this.title = title;
    }

    draw(colour, said) {
      const { width, height } = this.canvas;
      const data = new ImageData(width, height);
      for (let index = 0; index < width * height; index++) data.data.set([...colour(index), 255], 4 * index);
      this.canvas.getContext("2d").putImageData(data, 0, 0);
      this.canvas.setAttribute("aria-label", `${this.title}: ${said}`);
    }
  }

  let blocks = 0;

  class Scene {
    constructor(figure, spec, views) {
      Object.assign(this, { spec, views, number: ++blocks });
      const [, height, width] = spec.shape;
      this.palette = spec.heatmap.map(rgb);
      this.overlap = spec.overlap.map(rgb);
      this.choice = Object.fromEntries(Object.keys(spec.axes).map((name, index) => [name, spec.start[index]]));
      this.panels = spec.titles.map((title) => new Panel(title, height, width));
      this.said = element("p", { role: "status", class: "rr-said" });
      this.table = element("tbody");
      const head = element("tr", {}, ...["class", "clean", "attacked"].map((name) => element("th", { scope: "col" }, name)));
      const bars = element("table", { class: "rr-bars" }, element("caption", {}, "predicted probability"), element("thead", {}, head), this.table);
      const controls = element("fieldset", {}, element("legend", {}, "What to look at"),
        ...Object.entries(spec.axes).filter(([, values]) => values.length > 1).map(([name, values]) => this.control(name, values)));
      const shown = element("div", { class: "rr-shown" }, element("div", { class: "rr-panels" }, ...this.panels.map((p) => p.whole)), bars);
      figure.querySelector("img").remove();
      figure.prepend(element("div", { class: "rr-stage" }, controls, shown, this.said));
      this.redraw();
    }

    control(name, values) {
      const id = `rr-scene-${this.number}-${name.replace(" ", "-")}`;
      const value = element("output", { for: id });
      const input = this.spec.sliders.includes(name)
        ? element("input", { id, type: "range", min: 0, max: values.length - 1, step: 1 })
        : element("select", { id }, ...values.map((text, index) => element("option", { value: index }, text)));
      input.value = this.choice[name];
      const say = () => {
        if (input.type === "range") {
          value.textContent = values[input.value];
          input.setAttribute("aria-valuetext", values[input.value]);
        }
      };
      input.addEventListener("input", () => {
        this.choice[name] = Number(input.value);
        say();
        this.redraw();
      });
      say();
      return element("div", { class: "rr-control" }, element("label", { for: id }, name), input, value);
    }

    redraw() {
      const view = this.views.at(this.choice);
      const { classes } = this.spec;
      const names = Object.fromEntries(Object.entries(this.choice).map(([name, index]) => [name, this.spec.axes[name][index]]));
      const [seen, attacked] = [highest(view.clean), highest(view.probabilities)];
      // One channel is ink on paper, as in the figures.
      const ink = (values) => (i) => this.spec.shape[0] === 1
        ? Array(3).fill(255 - values[i])
        : [0, 1, 2].map((channel) => values[channel * this.views.pixels + i]);
      const heat = (values) => (i) => this.palette[values[i]];
      const [image, after, mapBefore, mapAfter, top] = this.panels;
      image.draw(ink(view.image), `a ${classes[view.label]}, predicted ${classes[seen]}`);
      after.draw(ink(view.attacked), `attacked by ${names.attack} of size ${names["attack size"]}, predicted ${classes[attacked]}`);
      mapBefore.draw(heat(view.before), `relevance for ${classes[seen]}, before`);
      mapAfter.draw(heat(view.after), `relevance for ${classes[seen]}, after`);
      top.draw((i) => this.overlap[bit(view.topBefore, i) + 2 * bit(view.topAfter, i)],
        `the top ${names["top percent"]} percent overlap by ${view.lrp.toFixed(2)}`);
      const words = {
        clean: classes[seen], clean_share: percent(view.clean[seen]),
        attacked: classes[attacked], attacked_share: percent(view.probabilities[attacked]),
        label: classes[view.label], explained: classes[seen],
        lrp: view.lrp.toFixed(2), unrelated: view.unrelated.toFixed(2), softmax: view.softmax.toFixed(2),
      };
      const said = this.spec.sentence.replace(/\{(\w+)\}/g, (_, name) => words[name]);
      this.said.textContent = view.blind ? `${said} ${this.spec.blind}` : said;
      const cell = (share, kind) => {
        const made = element("td", { class: `rr-${kind}` }, percent(share));
        made.style.setProperty("--share", share);
        return made;
      };
      this.table.replaceChildren(...classes.map((name, k) =>
        element("tr", {}, element("th", { scope: "row" }, name), cell(view.clean[k], "clean"), cell(view.probabilities[k], "attacked"))));
    }
  }

  const begin = async () => {
    for (const figure of document.querySelectorAll("figure.rr-scene:not([data-begun])")) {
      if ("begun" in figure.dataset) continue; // another call came between, while this one waited
      figure.dataset.begun = "";
      const spec = JSON.parse(figure.dataset.spec);
      new Scene(figure, spec, new Views(spec, await unpacked(figure.dataset.views)));
      figure.dataset.ready = "";
    }
  };
  window.relevanceBegin = begin;
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else setTimeout(begin);
  // In a notebook, outputs come after the first script.
  new MutationObserver(begin).observe(document.documentElement, { childList: true, subtree: true });
})();
