// A pad to draw a digit on, and networks that run in the page: prediction, relevance map, attacked image, its map.
(() => {
  "use strict";
  const root = document.getElementById("DRAWING");
  const config = JSON.parse(root.querySelector(".relevance-config").textContent);
  const find = (name) => root.querySelector(`[data-part="${name}"]`);
  const pad = find("pad"), field = find("field"), slider = find("slider"), said = find("said"), notice = find("notice");
  const { side, cells: grid } = config;
  const fine = grid * 4; // strokes are counted in blocks of 4 x 4 points
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const colours = bytes(config.colours);
  let base = new Float32Array(grid * grid), strokes = [], pen = { row: grid >> 1, column: grid >> 1 };
  let sessions = null, loading = null, busy = false, again = false;

  // What is drawn, as the networks see it.

  function points(radius, lines) {
    const on = new Uint8Array(fine * fine);
    const dot = (line) => (line.length > 1 ? line.slice(1).map((to, i) => [line[i], to]) : [[line[0], line[0]]]);
    for (const [[ax, ay], [bx, by]] of lines.flatMap(dot)) {
      const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy || 1;
      const from = (a, b) => Math.max(0, Math.floor(Math.min(a, b) - radius));
      const to = (a, b) => Math.min(fine - 1, Math.ceil(Math.max(a, b) + radius));
      for (let y = from(ay, by); y <= to(ay, by); y++) {
        for (let x = from(ax, bx); x <= to(ax, bx); x++) {
          const px = x + 0.5 - ax, py = y + 0.5 - ay, t = Math.min(1, Math.max(0, (px * dx + py * dy) / length));
          if ((px - t * dx) ** 2 + (py - t * dy) ** 2 <= radius * radius) on[y * fine + x] = 1;
        }
      }
    }
    return on;
  }

  function counted(on) {
    const found = new Float32Array(grid * grid);
    on.forEach((value, i) => { found[(Math.floor(i / fine) >> 2) * grid + ((i % fine) >> 2)] += value / 16; });
    return found;
  }

  const moved = (lines, change) => lines.map((line) => line.map(change));
  const raw = () => moved(strokes, ([x, y]) => [x * fine, y * fine]);

  // Strokes, without what is drawn beside them, fill the box that the data set's digits fill.
  function fitted(radius) {
    const all = raw().flat(), xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const [wide, tall] = config.box.map((length) => length * 4 - 2 * radius);
    let sx = wide / (right - left), sy = tall / (bottom - top);
    if (!Number.isFinite(sx) && !Number.isFinite(sy)) sx = sy = 1;
    [sx, sy] = [Math.min(sx, config.stretch * sy), Math.min(sy, config.stretch * sx)];
    const place = ([x, y]) => [(x - (left + right) / 2) * sx + fine / 2, (y - (top + bottom) / 2) * sy + fine / 2];
    const lines = moved(raw(), place);
    if (!config.by_mass) return lines;
    let mass = 0, mx = 0, my = 0;
    points(radius, lines).forEach((value, i) => {
      if (value) { mass += 1; mx += (i % fine) + 0.5; my += Math.floor(i / fine) + 0.5; }
    });
    return mass ? moved(lines, ([x, y]) => [x + fine / 2 - mx / mass, y + fine / 2 - my / mass]) : lines;
  }

  function normalised() {
    if (config.ink === null) return counted(points(config.pen, fitted(config.pen)));
    // The data set's strokes are as wide as gives every digit about the same ink.
    let best = null, closest = Infinity;
    for (let radius = 1; radius <= 5; radius += 0.25) {
      const on = points(radius, fitted(radius)), off = Math.abs(on.reduce((a, b) => a + b, 0) / on.length - config.ink);
      if (off < closest) [best, closest] = [on, off];
    }
    return counted(best);
  }

  function drawn() {
    if (!strokes.length) return base;
    if (base.every((value) => value === 0)) return normalised();
    const added = counted(points(config.pen, raw()));
    return base.map((value, i) => Math.min(1, value + added[i]));
  }

  // Bilinear, pixel centres at halves, as the data set was resized.
  function resized(values) {
    if (grid === side) return Float32Array.from(values);
    const taps = Array.from({ length: side }, (_, i) => {
      const at = Math.max(0, ((i + 0.5) * grid) / side - 0.5), low = Math.floor(at);
      return [low, Math.min(grid - 1, low + 1), at - low];
    });
    const image = new Float32Array(side * side);
    taps.forEach(([top, bottom, v], y) => taps.forEach(([left, right, h], x) => {
      const row = (r) => values[r * grid + left] * (1 - h) + values[r * grid + right] * h;
      image[y * side + x] = Math.min(1, Math.max(0, row(top) * (1 - v) + row(bottom) * v));
    }));
    return image;
  }

  // The score: how many of the top pixels of one map are on top of the other; those that tie share the places left.

  function share(map) {
    const size = Array.from(map, Math.abs), edge = size.slice().sort((a, b) => b - a)[config.places - 1];
    const above = size.filter((value) => value > edge).length, tied = size.filter((value) => value === edge).length;
    return size.map((value) => (value > edge ? 1 : value === edge ? (config.places - above) / tied : 0));
  }

  function overlap(before, after) {
    const first = share(before), second = share(after);
    return Math.min(1, first.reduce((sum, value, i) => sum + value * second[i], 0) / config.places);
  }

  // Pictures.

  function paint(canvas, colour) {
    const context = canvas.getContext("2d"), data = context.createImageData(side, side);
    for (let i = 0; i < side * side; i++) data.data.set([...colour(i), 255], 4 * i);
    context.putImageData(data, 0, 0);
  }
  const blank = () => [255, 255, 255];
  const grey = (image) => (i) => Array(3).fill(Math.round(255 * (1 - image[i])));
  const heat = (map, scale) => (i) => {
    const at = 3 * Math.min(255, Math.max(0, Math.floor(((map[i] / scale + 1) / 2) * 256)));
    return colours.subarray(at, at + 3);
  };
  const percent = (value) => `${(100 * value).toFixed(value > 0.995 && value < 1 ? 1 : 0)} %`;
  const largest = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

  function sketch() {
    const context = pad.getContext("2d"), width = pad.width, cell = width / grid;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, width);
    base.forEach((value, i) => {
      if (!value) return;
      context.fillStyle = `rgb(${grey(base)(i).join(" ")})`;
      context.fillRect((i % grid) * cell, Math.floor(i / grid) * cell, cell, cell);
    });
    Object.assign(context, { lineWidth: (2 * config.pen * width) / fine, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
    for (const line of strokes) {
      context.beginPath();
      [line[0], ...line].forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * width, y * width));
      context.stroke();
    }
    if (document.activeElement === field) {
      Object.assign(context, { lineWidth: 3, strokeStyle: "#D55E00" });
      context.strokeRect(pen.column * cell + 1, pen.row * cell + 1, cell - 2, cell - 2);
    }
  }

  function label(part, text) {
    find(part).setAttribute("aria-label", text);
  }

  function show(image, results) {
    paint(find("seen"), image ? grey(image) : blank);
    label("seen", image ? "The drawing as the networks see it" : "Nothing is drawn");
    label("pad", image ? "Your drawing" : "The pad is empty");
    const sentences = config.models.map(({ name }, m) => {
      const result = results && results[m], parts = ["relevance", "attacked", "attacked_relevance"].map((one) => find(`${one}-${m}`));
      const texts = ["clean", "moved", "score"].map((one) => find(`${one}-${m}`));
      if (!result) {
        parts.forEach((canvas) => { paint(canvas, blank); canvas.setAttribute("aria-label", `${name}: nothing to show yet`); });
        texts.forEach((text) => { text.textContent = "–"; });
        return "";
      }
      const map = result.relevance, scale = map.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
      paint(parts[0], heat(map, scale));
      paint(parts[1], grey(result.attacked));
      paint(parts[2], heat(result.attacked_relevance, scale));
      const [clean, after] = [result.probabilities, result.attacked_probabilities].map((values) => {
        const best = largest(values);
        return `class ${config.classes[best]} (${percent(values[best])})`;
      });
      const explained = config.classes[largest(result.probabilities)];
      const strongest = (values) => {
        const at = largest(Array.from(values, Math.abs));
        return `strongest in row ${Math.floor(at / side) + 1}, column ${(at % side) + 1}`;
      };
      label(`relevance-${m}`, `${name}: relevance of the pixels for class ${explained}, ${strongest(map)}`);
      label(`attacked-${m}`, `${name}: the attacked drawing, seen as ${after}`);
      label(`attacked_relevance-${m}`, `${name}: relevance for class ${explained} after the attack, ${strongest(result.attacked_relevance)}`);
      texts[0].textContent = clean;
      texts[1].textContent = result.zero_gradient[0] === 1 ? `${after}; zero gradient, nothing to follow` : after;
      texts[2].textContent = `LRP robustness ${result.score.toFixed(2)}`;
      return `${name}: ${clean}, attacked ${after}, LRP robustness ${result.score.toFixed(2)}.`;
    });
    clearTimeout(show.waits);
    show.waits = setTimeout(() => { said.textContent = image ? sentences.join(" ") : "The pad is empty."; }, 400);
  }

  // The runtime and the networks: beside the page, or in this block.

  function script(address) {
    return new Promise((done, failed) => {
      const element = Object.assign(document.createElement("script"), { src: address, onload: done, onerror: failed });
      document.head.append(element);
    });
  }
  const here = (name) => root.querySelector(`script[data-name="${name}"]`)?.textContent.trim();
  const unpacked = (text) =>
    new Response(new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const blobbed = async (text) => URL.createObjectURL(new Blob([await unpacked(text)], { type: "text/javascript" }));
  const OUTSIDE = "The networks run in the printed book; this is not a page of it, and the runtime is not in this block " +
    "(embed_runtime=True puts it there).";

  async function part(name) {
    const own = here(name);
    if (own) return own;
    const folder = document.documentElement.dataset.content_root;
    if (folder === undefined) throw Error(OUTSIDE);
    await script(`${folder}_static/parts/${name}.js`).catch(() => { throw Error(OUTSIDE); });
    return globalThis.relevanceParts[name];
  }

  async function load() {
    if (!globalThis.DecompressionStream) throw Error("This browser is too old to run the networks.");
    const found = JSON.parse(await part("runtime"));
    if (!found) throw Error("The networks cannot run here: the runtime was not there when the book was printed.");
    if (!globalThis.ort) {
      await script(await blobbed(found.script));
      Object.assign(ort.env.wasm, { numThreads: 1, proxy: false, wasmBinary: await unpacked(found.binary) });
      ort.env.wasm.wasmPaths = { mjs: await blobbed(found.glue) };
      ort.env.logLevel = "error";
    }
    const ready = [];
    for (const model of config.models) {
      ready.push(await ort.InferenceSession.create(new Uint8Array(await unpacked(await part(model.part)))));
    }
    return ready;
  }

  function wanted() {
    loading ??= (async () => {
      notice.textContent = "Loading the networks ...";
      root.dataset.state = "loading";
      try {
        sessions = await load();
        notice.textContent = "";
        find("load").hidden = true;
        root.dataset.state = "ready";
      } catch (error) {
        notice.textContent = error.message ?? String(error);
        root.dataset.state = "missing";
      }
    })();
    return loading;
  }

  async function update() {
    sketch();
    if (busy) { again = true; return; }
    busy = true;
    const started = performance.now(), values = drawn(), empty = values.every((value) => value === 0);
    const image = empty ? null : resized(values);
    try {
      if (!empty) await wanted();
      const results = [];
      for (const session of image && sessions ? sessions : []) {
        const output = await session.run({
          image: new ort.Tensor("float32", image, [1, 1, side, side]),
          epsilon: new ort.Tensor("float32", [Number(slider.value)], []),
        });
        const result = Object.fromEntries(Object.entries(output).map(([name, value]) => [name, value.data]));
        results.push({ ...result, score: overlap(result.relevance, result.attacked_relevance) });
      }
      show(image, results.length ? results : null);
      root.results = { image, epsilon: Number(slider.value), models: results };
      root.dataset.milliseconds = performance.now() - started;
    } finally {
      busy = false;
      root.dataset.redrawn = Number(root.dataset.redrawn ?? 0) + 1;
      if (again) { again = false; update(); }
    }
  }

  // What the reader does.

  let line = null;
  const at = (event) => {
    const frame = pad.getBoundingClientRect();
    const inside = (value) => Math.min(1, Math.max(0, value));
    return [inside((event.clientX - frame.left) / frame.width), inside((event.clientY - frame.top) / frame.height)];
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    strokes.push((line = [at(event)]));
    update();
  });
  pad.addEventListener("pointermove", (event) => {
    if (!line) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) line.push(at(one));
    update();
  });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { line = null; });

  function set(row, column, value) {
    base = Float32Array.from(drawn()); // strokes become pixels
    strokes = [];
    base[row * grid + column] = value;
  }
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  field.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = STEPS[event.key], value = () => base[pen.row * grid + pen.column];
    if (step) {
      pen = { row: Math.min(grid - 1, Math.max(0, pen.row + step[0])), column: Math.min(grid - 1, Math.max(0, pen.column + step[1])) };
      if (event.shiftKey) set(pen.row, pen.column, 1);
    } else if (event.key === " ") {
      set(pen.row, pen.column, drawn()[pen.row * grid + pen.column] >= 0.5 ? 0 : 1);
    } else return;
    event.preventDefault();
    update();
    find("pen").textContent = `Row ${pen.row + 1}, column ${pen.column + 1}: ${value() >= 0.5 ? "ink" : "paper"}`;
  });
  for (const change of ["focus", "blur"]) field.addEventListener(change, sketch);

  root.addEventListener("click", (event) => {
    const { example, part: name } = event.target.dataset ?? {};
    if (example !== undefined) base = Float32Array.from(bytes(config.examples[example]), (value) => value / config.levels);
    else if (name === "clear") base = new Float32Array(grid * grid);
    else {
      if (name === "load") wanted().then(update);
      return;
    }
    strokes = [];
    update();
  });
  slider.addEventListener("input", () => {
    find("size").textContent = Number(slider.value).toFixed(2);
    update();
  });

  paint(find("bar"), (i) => colours.subarray(3 * Math.floor(((i % side) / (side - 1)) * 255)).subarray(0, 3));
  sketch();
  show(null, null);
})();
