// A pad to draw a digit on, and networks that run in the page: prediction, relevance map, attacked image, its map.
function relevanceDrawing() {
  const root = document.getElementById("DRAWING");
  const config = JSON.parse(root.querySelector(".relevance-config").textContent);
  const find = (name) => root.querySelector(`[data-part="${name}"]`);
  const [pad, field, slider, said, notice] = ["pad", "field", "slider", "said", "notice"].map(find);
  const { side, cells: grid } = config;
  const { drawn, resized, overlap } = relevancePixels(config);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const colours = bytes(config.colours);
  let base = new Float32Array(grid * grid), strokes = [], pen = { row: grid >> 1, column: grid >> 1 };
  let sessions = null, loading = null, busy = false, again = false;

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
    const lineWidth = (2 * config.pen * width) / (4 * grid);
    Object.assign(context, { lineWidth, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
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
      const result = results && results[m];
      const parts = ["relevance", "attacked", "attacked_relevance"].map((one) => find(`${one}-${m}`));
      const texts = ["clean", "moved", "score"].map((one) => find(`${one}-${m}`));
      if (!result) {
        parts.forEach((canvas) => {
          paint(canvas, blank);
          canvas.setAttribute("aria-label", `${name}: nothing to show yet`);
        });
        texts.forEach((text) => { text.textContent = "none yet"; });
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
      const after_map = `${name}: relevance for class ${explained} after the attack`;
      label(`attacked_relevance-${m}`, `${after_map}, ${strongest(result.attacked_relevance)}`);
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
  const OUTSIDE = "The networks run in the printed book; this is not a page of it, and the runtime is not in this " +
    "block (embed_runtime=True puts it there).";

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
    root.dataset.busy = "";
    if (busy) { again = true; return; }
    busy = true;
    const started = performance.now(), values = drawn(base, strokes), empty = values.every((value) => value === 0);
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
      if (again) { again = false; update(); } else delete root.dataset.busy;
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
    base = Float32Array.from(drawn(base, strokes)); // strokes become pixels
    strokes = [];
    base[row * grid + column] = value;
  }
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  field.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = STEPS[event.key], value = () => base[pen.row * grid + pen.column];
    if (step) {
      const kept = (value) => Math.min(grid - 1, Math.max(0, value));
      pen = { row: kept(pen.row + step[0]), column: kept(pen.column + step[1]) };
      if (event.shiftKey) set(pen.row, pen.column, 1);
    } else if (event.key === " ") {
      set(pen.row, pen.column, drawn(base, strokes)[pen.row * grid + pen.column] >= 0.5 ? 0 : 1);
    } else return;
    event.preventDefault();
    update();
    find("pen").textContent = `Row ${pen.row + 1}, column ${pen.column + 1}: ${value() >= 0.5 ? "ink" : "paper"}`;
  });
  for (const change of ["focus", "blur"]) field.addEventListener(change, sketch);

  root.addEventListener("click", (event) => {
    const { example, part: name } = event.target.dataset ?? {};
    if (example !== undefined) {
      base = Float32Array.from(bytes(config.examples[example]), (value) => value / config.levels);
    } else if (name === "clear") base = new Float32Array(grid * grid);
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
}
