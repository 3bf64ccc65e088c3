// A pad to draw a digit on, and networks that run in the page: prediction, relevance map, attacked image, its map. In the
// challenge, the reader takes the place of the attack.
function relevanceDrawing() {
  const root = document.getElementById("DRAWING");
  const config = JSON.parse(root.querySelector(".relevance-config").textContent);
  const find = (name) => root.querySelector(`[data-part="${name}"]`);
  const [pad, field, slider, said, notice, against] = ["pad", "field", "slider", "said", "notice", "against"].map(find);
  const { side, cells: grid } = config;
  const { drawn, resized, overlap } = relevancePixels(config);
  const bytes = relevanceBytes, colours = bytes(config.colours);
  const example = (number) => Float32Array.from(bytes(config.examples[number]), (value) => value / config.levels);
  let base = example(config.start), strokes = [], pen = { row: grid >> 1, column: grid >> 1 };
  let sessions = null, loading = null, busy = false, again = false;
  let game = null; // the digit that is to be changed: its cells, its image, and what the networks make of it and of its attack
  const best = {};

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
      const [by, of] = game ? ["your drawing", "its map"] : ["attacked drawing", "map after the attack"];
      [find(`by-${m}`).textContent, find(`of-${m}`).textContent] = [by, of];
      label(`attacked-${m}`, `${name}: ${by}, seen as ${after}`);
      const after_map = `${name}: ${of}, relevance for class ${game ? config.classes[largest(result.attacked_probabilities)] : explained}`;
      label(`attacked_relevance-${m}`, `${after_map}, ${strongest(result.attacked_relevance)}`);
      texts[0].textContent = clean;
      texts[1].textContent = result.zero_gradient[0] === 1 ? `${after}; zero gradient, nothing to follow` : after;
      texts[2].textContent = `LRP robustness ${result.score.toFixed(2)}`;
      return `${name}: ${clean}, ${game ? "yours" : "attacked"} ${after}, LRP robustness ${result.score.toFixed(2)}.`;
    });
    clearTimeout(show.waits);
    show.waits = setTimeout(() => { said.textContent = image ? sentences.join(" ") : "The pad is empty."; }, 400);
  }

  // The runtime and the networks: beside the page, or in this block.

  const OUTSIDE = "The networks run in the printed book; this is not a page of it, and the runtime is not in this " +
    "block (embed_runtime=True puts it there).";
  const blobbed = async (text) =>
    URL.createObjectURL(new Blob([await relevanceUnpacked(text)], { type: "text/javascript" }));
  const part = (name) => relevancePart(root, name, OUTSIDE);

  async function load() {
    if (!globalThis.DecompressionStream) throw Error("This browser is too old to run the networks.");
    const found = JSON.parse(await part("runtime"));
    if (!found) throw Error("The networks cannot run here: the runtime was not there when the book was printed.");
    if (!globalThis.ort) {
      await relevanceScript(await blobbed(found.script));
      Object.assign(ort.env.wasm, { numThreads: 1, proxy: false, wasmBinary: await relevanceUnpacked(found.binary) });
      ort.env.wasm.wasmPaths = { mjs: await blobbed(found.glue) };
      ort.env.logLevel = "error";
    }
    const ready = [];
    for (const model of config.models) {
      ready.push(await ort.InferenceSession.create(new Uint8Array(await relevanceUnpacked(await part(model.part)))));
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

  async function run(image, epsilon) {
    const results = [];
    for (const session of sessions) {
      const output = await session.run({
        image: new ort.Tensor("float32", image, [1, 1, side, side]),
        epsilon: new ort.Tensor("float32", [epsilon], []),
      });
      const result = Object.fromEntries(Object.entries(output).map(([name, value]) => [name, value.data]));
      results.push({ ...result, score: overlap(result.relevance, result.attacked_relevance) });
    }
    return results;
  }

  async function update() {
    sketch();
    root.dataset.busy = "";
    if (busy) { again = true; return; }
    busy = true;
    const started = performance.now(), values = drawn(base, strokes), empty = values.every((value) => value === 0);
    const image = empty ? null : resized(values), epsilon = Number(slider.value);
    try {
      if (!empty) await wanted();
      let results = [];
      if (image && sessions) {
        if (game && game.epsilon !== epsilon) await prepared(epsilon);
        results = await run(image, game ? 0 : epsilon);
        if (game) results = results.map((result, m) => played(game.own[m], result, image));
      }
      show(image, results.length ? results : null);
      judge(image, results);
      root.results = { image, epsilon, models: results };
      root.dataset.milliseconds = performance.now() - started;
    } finally {
      busy = false;
      root.dataset.redrawn = Number(root.dataset.redrawn ?? 0) + 1;
      if (again) { again = false; update(); } else delete root.dataset.busy;
    }
  }

  // The challenge: break the map, keep the class. The change of the image may be as long as that of the longest attack.

  const length = (one, other) => Math.hypot(...one.map((value, i) => value - other[i]));
  // From 0, where all top pixels are left that can be: maps with fewer relevant pixels than places do not reach 1.
  const fallen = (score, own) => Math.round(100 * Math.max(0, 1 - score / overlap(own.relevance, own.relevance)));
  const holds = (result) => largest(result.probabilities) === largest(result.attacked_probabilities);
  const played = (own, result, image) => ({
    ...own, attacked: image, attacked_probabilities: result.probabilities, attacked_relevance: result.relevance,
    zero_gradient: [0], score: overlap(own.relevance, result.relevance),
  });

  async function prepared(epsilon) {
    game.own = await run(game.image, epsilon);
    game.budget = Math.max(...game.own.map(({ attacked }) => length(attacked, game.image)));
    game.epsilon = epsilon;
  }

  function begin(cells) {
    base = Float32Array.from(cells);
    strokes = [];
    game = { cells: Float32Array.from(cells), image: resized(base) };
    find("play").textContent = "Start over";
    find("stop").disabled = false;
  }

  function stop() {
    game = null;
    find("play").textContent = "Play";
    find("stop").disabled = true;
    find("score").textContent = "";
    find("used").value = 0;
  }

  function judge(image, results) {
    if (!game || !results.length) return;
    const m = Number(against.value), own = game.own[m], kept = holds(results[m]), used = length(image, game.image);
    const within = used <= game.budget + 1e-4, score = kept && within ? fallen(results[m].score, own) : 0;
    const key = `${m} ${game.epsilon}`;
    best[key] = Math.max(best[key] ?? 0, score);
    Object.assign(find("used"), { max: Math.max(game.budget, 1e-6), value: used });
    find("score").textContent = `Your score: ${score} of 100${within ? "" : "; that is more than the budget"}. ` +
      `The class ${kept ? "stays" : "is lost, so nothing counts"}. The attack: ${fallen(own.score, own)}, and the class ` +
      `${holds(own) ? "stays" : "is lost"}. Your best against this network at this size: ${best[key]}.`;
    root.dataset.score = score;
  }

  // A cell becomes paper or ink, or as much of it as the budget has left; or again what it was.
  function change(cell, back) {
    if (!game.own) return;
    const was = game.cells[cell], to = was < 0.5 ? 1 : 0;
    for (const share of back ? [0] : [1, 0.75, 0.5, 0.25]) {
      const next = Float32Array.from(base);
      next[cell] = was + share * (to - was);
      if (back || length(resized(next), game.image) <= game.budget) { base = next; return; }
    }
  }

  function noise() {
    if (!game.own) return;
    const size = Number(slider.value);
    const noisy = (scale) => game.cells.map((value, i) => Math.min(1, Math.max(0, value + scale * size * signs[i])));
    const signs = game.cells.map(() => (Math.random() < 0.5 ? -1 : 1));
    base = noisy(1);
    for (let scale = 1; length(resized(base), game.image) > game.budget && scale > 0; scale -= 0.05) base = noisy(scale);
  }

  // What the reader does.

  let line = null, back = null;
  const at = (event) => {
    const frame = pad.getBoundingClientRect();
    const inside = (value) => Math.min(1, Math.max(0, value));
    return [inside((event.clientX - frame.left) / frame.width), inside((event.clientY - frame.top) / frame.height)];
  };
  const cell = (event) => {
    const [x, y] = at(event).map((value) => Math.min(grid - 1, Math.floor(value * grid)));
    return y * grid + x;
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    if (game) {
      back = base[cell(event)] !== game.cells[cell(event)];
      change(cell(event), back);
    } else strokes.push((line = [at(event)]));
    update();
  });
  pad.addEventListener("pointermove", (event) => {
    if (!line && back === null) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) line ? line.push(at(one)) : change(cell(one), back);
    update();
  });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { line = back = null; });

  function set(row, column, value) {
    if (game) return change(row * grid + column, base[row * grid + column] !== game.cells[row * grid + column]);
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

  const ACTIONS = {
    clear() { stop(); base = new Float32Array(grid * grid); strokes = []; },
    load() { return wanted(); },
    play() { begin(game ? game.cells : drawn(base, strokes).some(Boolean) ? drawn(base, strokes) : example(config.start)); },
    stop() { base = game.cells; stop(); },
    async noise() {
      if (!game?.own) {
        if (!game) ACTIONS.play();
        await update();
      }
      if (game) noise();
    },
  };
  root.addEventListener("click", async (event) => {
    const { example: number, part: name } = event.target.dataset ?? {};
    if (number !== undefined) {
      base = example(number);
      strokes = [];
      if (game) begin(base);
    } else if (name in ACTIONS) await ACTIONS[name]();
    else return;
    update();
  });
  against.addEventListener("input", update);
  slider.addEventListener("input", () => {
    find("size").textContent = Number(slider.value).toFixed(2);
    update();
  });

  paint(find("bar"), (i) => colours.subarray(3 * Math.floor(((i % side) / (side - 1)) * 255)).subarray(0, 3));
  sketch();
  // What the library made of the first digit, before anything is loaded.
  const byte = (text) => Float32Array.from(bytes(text), (value) => value / 127 - 1);
  show(resized(base), config.first.map((result) => ({
    ...result, relevance: byte(result.relevance), attacked_relevance: byte(result.attacked_relevance),
    attacked: Float32Array.from(bytes(result.attacked), (value) => value / 255),
  })));
}
