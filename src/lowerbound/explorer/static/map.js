// The map: points in a buffer of pixels, and over it what moves.

const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137],
  [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37]];
const viridis = (t) => {
  const x = Math.min(0.9999, Math.max(0, t)) * (VIRIDIS.length - 1), i = Math.floor(x);
  return VIRIDIS[i].map((c, k) => Math.round(c + (x - i) * (VIRIDIS[i + 1][k] - c)));
};
const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const ofHex = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Pixels of a disc, a triangle and a square of this radius.
const stamps = (r) => {
  const inside = [(x, y) => x * x + y * y <= r * r + 0.3, (x, y) => y <= r * 0.8 && y >= -r && Math.abs(x) <= (y + r) * 0.62,
    (x, y) => Math.abs(x) <= r * 0.9 && Math.abs(y) <= r * 0.9];
  return inside.map((is) => {
    const found = [], n = Math.ceil(r);
    for (let y = -n; y <= n; y++) for (let x = -n; x <= n; x++) if (is(x, y)) found.push([x, y]);
    return found;
  });
};

class Plane { // origin + a u + b v
  constructor(axes, size, principal) {
    this.axes = axes;
    this.origin = axes ? new Float32Array(size) : floatsOf(principal.origin);
    const basis = axes ? null : floatsOf(principal.basis);
    this.u = axes ? new Float32Array(size) : basis.subarray(0, size);
    this.v = axes ? new Float32Array(size) : basis.subarray(size);
    if (axes) this.u[axes[0]] = 1;
    if (axes && axes[1] !== axes[0]) this.v[axes[1]] = 1;
    this.saved = null;
  }

  project(z, at = 0) {
    let a = 0, b = 0;
    for (let d = 0; d < this.u.length; d++) {
      const away = z[at + d] - this.origin[d];
      a += away * this.u[d];
      b += away * this.v[d];
    }
    return [a, b];
  }

  lift([a, b], through) {
    const [x, y] = this.project(through);
    return through.map((z, d) => z + (a - x) * this.u[d] + (b - y) * this.v[d]);
  }

  // The half axes and the angle of the ellipse of these variances, or of draws.
  ellipse(scales, at, draws) {
    let uu = 0, uv = 0, vv = 0;
    const size = this.u.length;
    if (draws) {
      const points = Array.from({ length: draws.length / size }, (_, s) => this.project(draws, s * size));
      const mean = [0, 1].map((k) => points.reduce((sum, p) => sum + p[k], 0) / points.length);
      for (const [a, b] of points) {
        uu += (a - mean[0]) ** 2 / points.length;
        uv += ((a - mean[0]) * (b - mean[1])) / points.length;
        vv += (b - mean[1]) ** 2 / points.length;
      }
    } else {
      for (let d = 0; d < size; d++) {
        const s = scales[at + d] ** 2;
        uu += s * this.u[d] ** 2;
        uv += s * this.u[d] * this.v[d];
        vv += s * this.v[d] ** 2;
      }
    }
    const half = (uu + vv) / 2, apart = Math.hypot((uu - vv) / 2, uv);
    return [2 * Math.sqrt(half + apart), 2 * Math.sqrt(Math.max(0, half - apart)), Math.atan2(2 * uv, uu - vv) / 2];
  }
}

class LatentMap {
  constructor(ground, over, changed) {
    this.ground = ground;
    this.over = over;
    this.changed = changed; // of what: 'cursor', 'choose', 'a', 'b', 'clear', 'view'
    this.show = { rows: true, contours: true, holes: true, ellipses: false };
    this.marks = [];
    this.path = [];
    this.pictures = [];
    this.cursor = null;
    this.#listen();
    new ResizeObserver(() => this.resize()).observe(over);
  }

  place(plane, xs, ys, background) {
    Object.assign(this, { plane, xs, ys, background });
    this.all();
  }

  all() {
    const [left, right, bottom, top] = this.background.box;
    this.centre = [(left + right) / 2, (bottom + top) / 2];
    this.scale = (0.97 * Math.min(this.over.width, this.over.height)) / (right - left);
    this.cursor ??= this.centre;
    this.draw();
    this.changed('view');
  }

  resize() {
    const ratio = devicePixelRatio || 1, box = this.over.getBoundingClientRect();
    const before = Math.min(this.over.width, this.over.height);
    for (const canvas of [this.ground, this.over]) {
      canvas.width = Math.max(1, Math.round(box.width * ratio));
      canvas.height = Math.max(1, Math.round(box.height * ratio));
    }
    if (!this.plane) return;
    this.scale *= Math.min(this.over.width, this.over.height) / before;
    this.draw();
  }

  toPixel([x, y]) {
    return [this.over.width / 2 + (x - this.centre[0]) * this.scale, this.over.height / 2 - (y - this.centre[1]) * this.scale];
  }

  toPoint([px, py]) {
    return [this.centre[0] + (px - this.over.width / 2) / this.scale, this.centre[1] - (py - this.over.height / 2) / this.scale];
  }

  zoom(factor, at = [this.over.width / 2, this.over.height / 2]) {
    const before = this.toPoint(at);
    this.scale *= factor;
    const after = this.toPoint(at);
    this.centre = this.centre.map((c, k) => c + before[k] - after[k]);
    this.draw();
    this.changed('view');
  }

  nearest(point, within = Infinity) {
    let best = -1, least = (within / this.scale) ** 2;
    const count = this.known ? this.known.length : this.xs.length; // of a saved page, the rows that it holds
    for (let k = 0; k < count; k++) {
      const i = this.known ? this.known[k] : k;
      const away = (this.xs[i] - point[0]) ** 2 + (this.ys[i] - point[1]) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }

  draw() {
    if (!this.plane) return;
    const paper = this.ground.getContext('2d');
    paper.clearRect(0, 0, this.ground.width, this.ground.height);
    this.#drawPictures(paper);
    if (this.show.holes) this.#drawHoles(paper);
    if (this.show.contours) this.#drawContours(paper);
    if (this.show.rows) this.#drawPoints(paper);
    if (this.show.ellipses) this.#drawEllipses(paper);
    this.drawOver();
  }

  #drawPictures(paper) {
    paper.imageSmoothingEnabled = false;
    for (const { point, width, canvas } of this.pictures) {
      const [x, y] = this.toPixel(point), size = width * this.scale;
      paper.drawImage(canvas, x - size / 2, y - size / 2, size, size);
    }
  }

  #drawHoles(paper) {
    const { cells, holes, box } = this.background;
    if (!cells) return;
    const [x0, y0] = this.toPixel([box[0], box[2]]), [x1, y1] = this.toPixel([box[1], box[3]]);
    const w = (x1 - x0) / cells, h = (y0 - y1) / cells;
    paper.fillStyle = styleOf('--hole');
    paper.globalAlpha = 0.22;
    paper.beginPath();
    for (let i = 0; i < holes.length; i++) {
      if (holes[i]) paper.rect(x0 + (i % cells) * w, y0 - (Math.floor(i / cells) + 1) * h, w + 0.5, h + 0.5);
    }
    paper.fill();
    paper.globalAlpha = 1;
  }

  #drawContours(paper) {
    paper.strokeStyle = styleOf('--muted');
    paper.lineWidth = devicePixelRatio || 1;
    paper.font = `${11 * (devicePixelRatio || 1)}px system-ui, sans-serif`;
    paper.fillStyle = styleOf('--muted');
    for (const [share, lines] of this.background.contours) {
      paper.setLineDash(share > 0.9 ? [6, 5] : []);
      paper.beginPath();
      for (const line of lines) line.forEach((point, i) => paper[i ? 'lineTo' : 'moveTo'](...this.toPixel(point)));
      paper.stroke();
      if (!lines.length) continue;
      const top = lines[0].reduce((best, point) => (point[1] > best[1] ? point : best));
      const [x, y] = this.toPixel(top);
      paper.fillText(`${Math.round(100 * share)} %`, x + 4, y - 4);
    }
    paper.setLineDash([]);
  }

  #drawPoints(paper) {
    const { width, height } = this.ground, ratio = devicePixelRatio || 1, n = this.xs.length;
    const buffer = paper.createImageData(width, height), pixels = new Uint32Array(buffer.data.buffer);
    const radius = (n < 1000 ? 3.4 : n < 5000 ? 2.4 : n < 30000 ? 1.6 : 1.1) * ratio, shapes = stamps(radius);
    const edge = Math.ceil(radius);
    for (let i = 0; i < n; i++) {
      const px = Math.round(width / 2 + (this.xs[i] - this.centre[0]) * this.scale);
      const py = Math.round(height / 2 - (this.ys[i] - this.centre[1]) * this.scale);
      if (px < edge || py < edge || px >= width - edge || py >= height - edge) continue;
      const start = py * width + px, colour = this.inks[i], shape = shapes[this.shapes[i]];
      for (let k = 0; k < shape.length; k++) pixels[start + shape[k][1] * width + shape[k][0]] = colour;
    }
    const layer = make('canvas', { width, height });
    layer.getContext('2d').putImageData(buffer, 0, 0);
    paper.globalAlpha = 0.85;
    paper.drawImage(layer, 0, 0);
    paper.globalAlpha = 1;
  }

  #drawEllipses(paper) {
    const size = this.plane.u.length, step = Math.max(1, Math.ceil(this.xs.length / 400));
    paper.strokeStyle = styleOf('--ink');
    paper.globalAlpha = 0.35;
    paper.lineWidth = devicePixelRatio || 1;
    for (let i = 0; i < this.xs.length; i += step) this.#ellipse(paper, i, this.plane.ellipse(this.scales, i * size));
    paper.globalAlpha = 1;
  }

  #ellipse(paper, i, [long, wide, angle]) {
    paper.beginPath();
    const [x, y] = this.toPixel([this.xs[i], this.ys[i]]);
    paper.ellipse(x, y, Math.max(1, long * this.scale), Math.max(1, wide * this.scale), -angle, 0, 7);
    paper.stroke();
  }

  drawOver() {
    const paper = this.over.getContext('2d'), ratio = devicePixelRatio || 1, ink = styleOf('--ink');
    paper.clearRect(0, 0, this.over.width, this.over.height);
    paper.lineWidth = 2 * ratio;
    paper.strokeStyle = paper.fillStyle = ink;
    if (this.path.length) {
      paper.beginPath();
      this.path.forEach((z, i) => paper[i ? 'lineTo' : 'moveTo'](...this.toPixel(this.plane.project(z))));
      paper.stroke();
    }
    if (this.chosen) {
      this.#ellipse(paper, this.chosen.row, this.plane.ellipse(this.scales, this.chosen.row * this.plane.u.length, this.chosen.draws));
      for (const i of this.chosen.neighbours) this.#ring(paper, [this.xs[i], this.ys[i]], 5 * ratio);
      this.#ring(paper, [this.xs[this.chosen.row], this.ys[this.chosen.row]], 8 * ratio);
    }
    paper.font = `600 ${14 * ratio}px system-ui, sans-serif`;
    for (const { point, text } of this.marks) {
      const [x, y] = this.toPixel(point);
      paper.lineWidth = 4 * ratio;
      paper.strokeStyle = styleOf('--card');
      paper.strokeText(text, x - 5 * ratio, y + 5 * ratio);
      paper.fillText(text, x - 5 * ratio, y + 5 * ratio);
    }
    const [x, y] = this.toPixel(this.cursor), arm = 11 * ratio;
    for (const [colour, width] of [[styleOf('--card'), 4], [styleOf('--accent'), 2]]) {
      paper.strokeStyle = colour;
      paper.lineWidth = width * ratio;
      paper.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        paper.moveTo(x + 4 * ratio * dx, y + 4 * ratio * dy);
        paper.lineTo(x + arm * dx, y + arm * dy);
      }
      paper.stroke();
    }
  }

  #ring(paper, point, radius) {
    paper.beginPath();
    paper.arc(...this.toPixel(point), radius, 0, 7);
    paper.stroke();
  }

  move(point) {
    this.cursor = point;
    this.drawOver();
    this.changed('cursor');
  }

  #listen() {
    const at = (event) => {
      const box = this.over.getBoundingClientRect(), ratio = this.over.width / box.width;
      return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    };
    let down = null;
    this.over.addEventListener('pointerdown', (event) => {
      down = { at: at(event), centre: this.centre, moved: false };
      this.over.setPointerCapture(event.pointerId);
    });
    this.over.addEventListener('pointermove', (event) => {
      if (!this.plane) return;
      const here = at(event), away = down && [here[0] - down.at[0], here[1] - down.at[1]];
      if (away && Math.hypot(...away) > 5) down.moved = true;
      if (!down || event.pointerType === 'touch') return this.move(this.toPoint(here));
      if (!down.moved) return undefined;
      this.centre = [down.centre[0] - away[0] / this.scale, down.centre[1] + away[1] / this.scale];
      return this.draw();
    });
    this.over.addEventListener('pointerup', (event) => {
      if (down && !down.moved) {
        this.move(this.toPoint(at(event)));
        this.changed('choose', 14 * (devicePixelRatio || 1));
      } else if (down && event.pointerType !== 'touch') this.changed('view');
      down = null;
    });
    this.over.addEventListener('pointercancel', () => { down = null; });
    this.over.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0015), at(event));
    }, { passive: false });
    this.over.addEventListener('keydown', (event) => this.#key(event));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = ((event.shiftKey ? 40 : 8) * (devicePixelRatio || 1)) / this.scale, [x, y] = this.cursor;
    const to = { ArrowLeft: [x - step, y], ArrowRight: [x + step, y], ArrowUp: [x, y + step], ArrowDown: [x, y - step] };
    if (to[event.key]) this.move(to[event.key]);
    else if (event.key === 'Enter' || event.key === ' ') this.changed('choose', Infinity);
    else if (event.key === 'Escape') this.changed('clear');
    else if (event.key === '+' || event.key === '=') this.zoom(1.25);
    else if (event.key === '-') this.zoom(0.8);
    else if (event.key === '0') this.all();
    else if ('ab'.includes(event.key.toLowerCase())) this.changed(event.key.toLowerCase());
    else return;
    event.preventDefault();
  }
}
