// What a drawing is to the networks, and how two of their maps are compared: numbers only, no page.
function relevancePixels(config) {
  const { side, cells: grid } = config;
  const fine = grid * 4; // strokes are counted in blocks of 4 x 4 points

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
  const raw = (strokes) => moved(strokes, ([x, y]) => [x * fine, y * fine]);

  // Strokes, without what is drawn beside them, fill the box that the data set's digits fill.
  function fitted(strokes, radius) {
    const all = raw(strokes).flat(), xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const [wide, tall] = config.box.map((length) => length * 4 - 2 * radius);
    let sx = wide / (right - left), sy = tall / (bottom - top);
    if (!Number.isFinite(sx) && !Number.isFinite(sy)) sx = sy = 1;
    [sx, sy] = [Math.min(sx, config.stretch * sy), Math.min(sy, config.stretch * sx)];
    const place = ([x, y]) => [(x - (left + right) / 2) * sx + fine / 2, (y - (top + bottom) / 2) * sy + fine / 2];
    const lines = moved(raw(strokes), place);
    if (!config.by_mass) return lines;
    let mass = 0, mx = 0, my = 0;
    points(radius, lines).forEach((value, i) => {
      if (value) { mass += 1; mx += (i % fine) + 0.5; my += Math.floor(i / fine) + 0.5; }
    });
    return mass ? moved(lines, ([x, y]) => [x + fine / 2 - mx / mass, y + fine / 2 - my / mass]) : lines;
  }

  function normalised(strokes) {
    if (config.ink === null) return counted(points(config.pen, fitted(strokes, config.pen)));
    // The data set's strokes are as wide as gives every digit about the same ink.
    let best = null, closest = Infinity;
    for (let radius = 1; radius <= 5; radius += 0.25) {
      const on = points(radius, fitted(strokes, radius));
      const off = Math.abs(on.reduce((a, b) => a + b, 0) / on.length - config.ink);
      if (off < closest) [best, closest] = [on, off];
    }
    return counted(best);
  }

  // Cells that were set, and strokes over them.
  function drawn(base, strokes) {
    if (!strokes.length) return base;
    if (base.every((value) => value === 0)) return normalised(strokes);
    const added = counted(points(config.pen, raw(strokes)));
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

  return { drawn, resized, overlap };
}
