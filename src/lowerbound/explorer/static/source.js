// Where answers come from: the server that gave this page, or the page itself if it was saved.

const bytesOf = (text) => {
  const read = atob(text), bytes = new Uint8Array(read.length);
  for (let i = 0; i < read.length; i++) bytes[i] = read.charCodeAt(i);
  return bytes;
};
const floatsOf = (text) => new Float32Array(bytesOf(text).buffer);
const keyOf = (axes) => (axes ? axes.join(',') : 'pca');

class Served {
  async content() {
    return this.#read(await fetch('content'));
  }

  async ask(name, question) {
    const body = JSON.stringify(question), headers = { 'Content-Type': 'application/json' };
    return this.#read(await fetch(name, { method: 'POST', headers, body }));
  }

  decode(latents, row, plane, quick = false) {
    return this.ask('decode', { latents: latents.map((z) => Array.from(z)), row, quick });
  }

  async walk(a, b, way, row) {
    const found = await this.ask('walk', { a: Array.from(a), b: Array.from(b), way, row });
    return { latents: found.latents.map(floatsOf), views: found.views };
  }

  async #read(answer) {
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    return found;
  }
}

class Saved {
  constructor(content) {
    this.all = content;
    this.saved = content.saved;
  }

  async content() {
    return this.all;
  }

  async ask(name, question) {
    const { rows, colours, planes, views, findings } = this.saved;
    if (name === 'diagnose') {
      if (!findings) throw new Error('The model was not examined before this page was saved.');
      return findings;
    }
    if (name === 'colour') return colours[question.number];
    if (name === 'plane') {
      const plane = planes[keyOf(question.axes)];
      if (!plane) throw new Error('This saved page has no contours and nothing decoded in this plane.');
      return plane;
    }
    const found = rows[question.row];
    if (!found) throw new Error('This row is not in the saved page, which holds a part of them.');
    const view = (i) => views[rows[i].original];
    return { ...found, original: views[found.original], reconstruction: views[found.reconstruction],
      views: found.neighbours.map((i) => (rows[i] ? view(i) : null)) };
  }

  decode(latents, row, plane) {
    const { box, points, shown } = plane.saved;
    const place = (x, low, high) => Math.round(Math.min(1, Math.max(0, (x - low) / (high - low))) * (points - 1));
    return Promise.resolve(latents.map((z) => {
      const [x, y] = plane.project(z);
      return this.saved.views[shown[place(y, box[2], box[3]) * points + place(x, box[0], box[1])]];
    }));
  }

  async walk(a, b, way, row, plane) {
    const latents = Array.from({ length: 9 }, (_, i) => a.map((x, d) => x + (i / 8) * (b[d] - x)));
    return { latents, views: await this.decode(latents, row, plane) };
  }
}
