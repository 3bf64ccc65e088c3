"use strict";
// The playground of a printed page: unpacks the views that scene_page.py packed, and shows those that are chosen: all models
// side by side, after noise and after an attack.
(() => {
  if (window.relevanceScene) return;
  window.relevanceScene = true;

  // Where things are in the block; the order is that of _blocks in scene_page.py.
  class Views {
    constructor(spec, bytes) {
      const [channels, height, width] = spec.shape;
      const count = { ...Object.fromEntries(Object.entries(spec.axes).map(([key, { values }]) => [key, values.length])), ...spec.counts };
      Object.assign(this, { spec, bytes, count, pixels: height * width, entries: channels * height * width });
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.bits = Math.ceil(this.pixels / 8);
      this.shares = 2 * spec.classes.length;
      this.cleanMap = this.pixels + count.top * (this.bits + 2);
      this.cleanSize = this.shares + count.rule * count.layer * this.cleanMap;
      this.mapSize = this.pixels + count.top * (this.bits + 4);
      this.stateSize = this.entries + this.shares + 2 + count.layer * this.mapSize;
      this.cleanStart = count.image * this.entries;
      this.stateStart = this.cleanStart + count.image * count.variant * this.cleanSize;
      const states = ["image", "variant", "attack", "epsilon", "rule"].reduce((product, name) => product * count[name], 1);
      const whole = this.stateStart + states * this.stateSize;
      if (whole !== bytes.length) throw new Error(`the views have ${bytes.length} bytes, not ${whole}`);
    }

    part(start, length) { return this.bytes.subarray(start, start + length); }
    number(at) { return this.view.getUint16(at, true) / 65535; }
    probabilities(at) { return this.spec.classes.map((_, k) => this.number(at + 2 * k)); }

    clean({ image, rule, layer, top }, variant) {
      const { count } = this;
      const start = this.cleanStart + (image * count.variant + variant) * this.cleanSize;
      const map = start + this.shares + (rule * count.layer + layer) * this.cleanMap;
      const tops = map + this.pixels + top * (this.bits + 2);
      return {
        image: this.part(image * this.entries, this.entries), probabilities: this.probabilities(start),
        map: this.part(map, this.pixels), top: this.part(tops, this.bits), ceiling: this.number(tops + this.bits),
      };
    }

    after({ image, epsilon, rule, layer, top }, variant, attack) {
      const { count } = this;
      const pair = image * count.variant + variant;
      const start = this.stateStart +
        this.stateSize * (((pair * count.attack + attack) * count.epsilon + epsilon) * count.rule + rule);
      const map = start + this.entries + this.shares + 2 + layer * this.mapSize;
      const scores = map + this.pixels + top * (this.bits + 4);
      return {
        image: this.part(start, this.entries), probabilities: this.probabilities(start + this.entries),
        blind: this.number(start + this.entries + this.shares) > 0.5, map: this.part(map, this.pixels),
        top: this.part(scores, this.bits), lrp: this.number(scores + this.bits), floor: this.number(scores + this.bits + 2),
      };
    }
  }

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const bit = (bytes, index) => (bytes[index >> 3] >> (index & 7)) & 1;
  const highest = (shares) => shares.indexOf(Math.max(...shares));

  class Panel {
    constructor(height, width) {
      this.canvas = element("canvas", { width, height, role: "img" });
    }

    draw(colour, said) {
      const { width, height } = this.canvas;
      const data = new ImageData(width, height);
      for (let index = 0; index < width * height; index++) data.data.set([...colour(index), 255], 4 * index);
      this.canvas.getContext("2d").putImageData(data, 0, 0);
      this.canvas.setAttribute("aria-label", said);
    }
  }

  // A score from 0 to 1, with the floor that maps of other images reach, and the ceiling, which the map itself does.
  class Bar {
    constructor(kind) {
      this.track = element("span", { class: "rr-track", role: "img" });
      this.value = element("span", { class: "rr-value" });
      this.whole = element("div", { class: `rr-bar rr-${kind}` }, element("span", {}, kind), this.track, this.value);
      this.kind = kind;
    }

    draw({ lrp, floor }, ceiling, name) {
      this.track.style.setProperty("--ceiling", ceiling);
      this.track.style.setProperty("--score", lrp);
      this.track.style.setProperty("--floor", floor);
      this.track.setAttribute("aria-label",
        `${name}, ${this.kind}: LRP robustness ${lrp.toFixed(2)}, floor ${floor.toFixed(2)}, ceiling ${ceiling.toFixed(2)}`);
      this.value.textContent = lrp.toFixed(2);
    }
  }

  const KINDS = ["clean", "noise", "attack"];

  // A model: image, map and prediction, clean, after noise and after the attack; and its two scores.
  class Row {
    constructor(model, [height, width]) {
      this.model = model;
      this.name = element("span", { class: "rr-name" }, model.name);
      this.bars = { noise: new Bar("noise"), attack: new Bar("attack") };
      this.panels = {}; this.texts = {};
      const cells = KINDS.map((kind) => {
        this.panels[kind] = [new Panel(height, width), new Panel(height, width)];
        this.texts[kind] = element("p", {});
        const pictures = element("div", { class: "rr-pair" }, ...this.panels[kind].map((panel) => panel.canvas));
        return element("div", { class: "rr-cell" }, pictures, this.texts[kind]);
      });
      const scores = element("div", { class: "rr-scores" }, ...Object.values(this.bars).map((bar) => bar.whole));
      this.whole = element("div", { class: "rr-row", "data-model": model.colour, role: "group", "aria-label": model.name },
        element("div", { class: "rr-head" }, element("p", {}, this.name), scores), ...cells);
    }
  }

  let scenes = 0;

  class Scene {
    constructor(figure, spec, views) {
      Object.assign(this, { figure, spec, views, number: scenes++, controls: {} });
      this.choice = Object.fromEntries(Object.entries(spec.axes).map(([key, { start }]) => [key, start]));
      this.palette = spec.heatmap.map(rgb);
      this.overlap = spec.overlap.map(rgb);
      const [, height, width] = spec.shape;
      this.rows = spec.models.map((model) => new Row(model, [height, width]));
      this.said = figure.querySelector(".rr-said");
      this.notice = element("p", { class: "rr-notice", role: "alert" });
      this.link = element("a", { class: "rr-link" }, "Link to this view");
      const controls = element("fieldset", {}, element("legend", {}, "What to look at"),
        ...Object.entries(spec.axes).filter(([, { values }]) => values.length > 1).map(([key, axis]) => this.control(key, axis)));
      const legend = element("p", { class: "rr-legend" }, spec.legend);
      const heads = element("div", { class: "rr-row rr-heads", "aria-hidden": "true" },
        ...["clean", "after noise", "after the attack"].map((text) => element("p", {}, text)));
      figure.querySelector("img").remove();
      figure.prepend(element("div", { class: "rr-stage" }, controls, this.notice,
        legend, element("div", { class: "rr-rows" }, heads, ...this.rows.map((row) => row.whole)), this.said, element("p", {}, this.link)));
      this.redraw();
    }

    control(key, { label, shown, slider }) {
      const id = `rr-scene-${this.number}-${key}`;
      const value = element("output", { for: id });
      const input = slider
        ? element("input", { id, type: "range", min: 0, max: shown.length - 1, step: 1 })
        : element("select", { id }, ...shown.map((text, index) => element("option", { value: index }, text)));
      this.controls[key] = () => {
        input.value = this.choice[key];
        if (!slider) return;
        value.textContent = shown[input.value];
        input.setAttribute("aria-valuetext", shown[input.value]);
      };
      input.addEventListener("input", () => {
        this.choice[key] = Number(input.value);
        this.controls[key]();
        this.redraw();
      });
      this.controls[key]();
      return element("div", { class: "rr-control" }, element("label", { for: id }, label), input, value);
    }

    // Choices from the fragment of an address, key=value&key=value; what is not here is passed over, and said.
    preset(fragment) {
      if (!fragment.includes("=")) return false; // a place on the page
      const { axes } = this.spec, passed = [];
      for (const [key, value] of new URLSearchParams(fragment)) {
        const known = axes[key] ? axes[key].values : Object.keys(axes);
        const place = axes[key] ? known.indexOf(value.toLowerCase()) : -1;
        if (place >= 0) this.choice[key] = place;
        else passed.push(`${axes[key] ? `${key}=${value}` : key} is not here; it may be one of: ${known.join(", ")}.`);
      }
      Object.values(this.controls).forEach((say) => say());
      this.redraw();
      this.notice.textContent = passed.length ? `Passed over: ${passed.join(" ")}` : "";
      return true;
    }

    redraw() {
      const { choice, spec } = this;
      const { classes, axes } = spec;
      const named = (key) => axes[key].shown[choice[key]];
      // One channel is ink on paper, as in the figures.
      const ink = (values) => (i) => spec.shape[0] === 1
        ? Array(3).fill(255 - values[i])
        : [0, 1, 2].map((channel) => values[channel * this.views.pixels + i]);
      const told = { attacked: [], noisy: [], floor: [], seen: [], blind: [] };
      let variant = 0;
      this.notice.textContent = "";
      for (const row of this.rows) {
        const { name, sampled } = row.model;
        const at = variant + (sampled ? choice.samples : 0);
        variant += sampled ? axes.samples.values.length : 1;
        row.whole.hidden = choice.model > 0 && named("model") !== name;
        if (row.whole.hidden) continue;
        const clean = this.views.clean(choice, at);
        const found = { clean, noise: this.views.after(choice, at, spec.counts.attack - 1), attack: this.views.after(choice, at, choice.attack) };
        row.name.textContent = sampled ? `${name}, ${named("samples")} sample${named("samples") === "1" ? "" : "s"}` : name;
        const explained = classes[highest(clean.probabilities)];
        for (const kind of KINDS) {
          const { image, map, top, probabilities } = found[kind];
          const seen = highest(probabilities), when = { clean: "", noise: " after noise", attack: ` after ${named("attack")}` }[kind];
          row.panels[kind][0].draw(ink(image), `${name}: image${when}, predicted ${classes[seen]}`);
          if (named("show") === "maps") {
            row.panels[kind][1].draw((i) => this.palette[map[i]], `${name}: relevance for ${explained}${when}`);
          } else {
            const later = kind === "clean" ? () => 0 : (i) => 2 * bit(top, i);
            row.panels[kind][1].draw((i) => this.overlap[bit(clean.top, i) + later(i)], `${name}: top ${named("top")} percent${when}`);
          }
          row.texts[kind].textContent = `${classes[seen]} (${Math.round(100 * probabilities[seen])} %)`;
          row.texts[kind].classList.toggle("rr-wrong", seen !== highest(clean.probabilities));
          row.bars[kind]?.draw(found[kind], clean.ceiling, name);
        }
        const score = ({ lrp }) => `${name} ${lrp.toFixed(2)}`;
        told.attacked.push(score(found.attack));
        told.noisy.push(score(found.noise));
        told.floor.push(`${name} ${found.attack.floor.toFixed(2)}`);
        told.seen.push(`${name} ${classes[highest(found.attack.probabilities)]}`);
        if (found.attack.blind) told.blind.push(name);
      }
      const words = { attack: named("attack"), size: named("epsilon"), label: classes[spec.labels[choice.image]] };
      for (const [key, each] of Object.entries(told)) words[key] = each.join(", ");
      const sentences = [...spec.sentences, ...(words.blind ? [spec.blind] : [])].join(" ");
      const said = sentences.replace(/\{(\w+)\}/g, (_, key) => words[key]);
      if (this.said.textContent !== said) this.said.textContent = said;
      const chosen = Object.entries(axes).filter(([key, { start }]) => choice[key] !== start);
      this.link.href = `#${(chosen.length ? chosen : [["model", axes.model]]).map(([key, { values }]) => `${key}=${values[choice[key]]}`).join("&")}`;
    }
  }

  const all = [];
  const preset = () => {
    const moved = all.filter((scene) => scene.preset(location.hash.slice(1)));
    moved[0]?.figure.scrollIntoView();
  };

  const begin = async () => {
    for (const figure of document.querySelectorAll("figure.rr-scene:not([data-begun])")) {
      if ("begun" in figure.dataset) continue; // another call came between, while this one waited
      figure.dataset.begun = "";
      const spec = JSON.parse(figure.dataset.spec);
      try {
        const packed = await relevancePart(figure, spec.part, "What can be chosen lies beside this page in the printed book, and is not here.");
        all.push(new Scene(figure, spec, new Views(spec, new Uint8Array(await relevanceUnpacked(packed)))));
      } catch (error) {
        figure.append(element("p", { role: "alert" }, error.message));
        continue;
      }
      figure.dataset.ready = "";
      preset();
    }
  };
  window.relevanceBegin = begin;
  window.addEventListener("hashchange", preset);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else setTimeout(begin);
  // In a notebook, outputs come after the first script.
  new MutationObserver(begin).observe(document.documentElement, { childList: true, subtree: true });
})();
