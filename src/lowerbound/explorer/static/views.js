// Rows as elements: pixels, cells, text, molecules, series.

const make = (tag, values = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...children);
  return element;
};

function imageCanvas(view) {
  const canvas = make('canvas', { width: view.width, height: view.height, className: 'pixels' });
  const paper = canvas.getContext('2d'), picture = paper.createImageData(view.width, view.height);
  const bytes = bytesOf(view.pixels), grey = view.channels === 1;
  for (let i = 0; i < view.width * view.height; i++) {
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = bytes[grey ? i : 3 * i + c];
    picture.data[4 * i + 3] = 255;
  }
  paper.putImageData(picture, 0, 0);
  return canvas;
}

function linesCanvas(view) {
  const width = 340, height = 120, canvas = make('canvas', { width: 2 * width, height: 2 * height, className: 'lines' });
  const paper = canvas.getContext('2d'), steps = view.steps, all = steps.flat().filter((x) => x !== null);
  const low = Math.min(...all), high = Math.max(...all), range = high - low || 1;
  paper.scale(2, 2);
  paper.lineWidth = 1.5;
  for (let d = 0; d < Math.min(steps[0].length, palette().length); d++) {
    paper.strokeStyle = palette()[d];
    paper.setLineDash([[], [6, 3], [2, 2]][d % 3]);
    paper.beginPath();
    let drawing = false;
    steps.forEach((step, t) => {
      const x = 4 + (t / Math.max(1, steps.length - 1)) * (width - 8);
      const y = height - 4 - ((step[d] - low) / range) * (height - 8);
      if (step[d] !== null) paper[drawing ? 'lineTo' : 'moveTo'](x, y);
      drawing = step[d] !== null;
    });
    paper.stroke();
  }
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `${steps[0].length} lines over ${steps.length} steps, from ${low} to ${high}`);
  return make('div', {}, canvas, make('figcaption', { textContent: `${short(low)} to ${short(high)}, ${steps.length} steps` }));
}

// One view; `width` is the width in pixels of an image.
function element(view, width = 168) {
  if (!view) return make('p', { className: 'quiet', textContent: 'Not in this page.' });
  if (view.kind === 'image') {
    const canvas = imageCanvas(view);
    canvas.style.width = `${width}px`;
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `${view.width} by ${view.height} pixels`);
    return canvas;
  }
  if (view.kind === 'series') return linesCanvas(view);
  if (view.kind === 'text') return make('p', { className: 'said', textContent: view.text || '(empty)' });
  if (view.kind === 'molecule') {
    const words = make('p', { className: 'said quiet', textContent: view.text || '(empty)' });
    if (!view.svg) return words;
    const drawing = make('img', { className: 'molecule', alt: view.text, src: `data:image/svg+xml;base64,${view.svg}` });
    return make('div', {}, drawing, words);
  }
  const rows = view.cells.map(([name, value]) => make('tr', {}, make('th', { scope: 'row', textContent: name }),
    make('td', { textContent: value === '' ? '(gap)' : value })));
  const table = make('div', { className: 'cells' }, make('table', {}, make('tbody', {}, ...rows)));
  if (view.more) table.append(make('p', { className: 'quiet', textContent: `The largest; ${view.more} more columns.` }));
  return table;
}

// Rows of a table side by side: a column of the data in each line.
function sideBySide(views, heads) {
  const values = views.map((view) => new Map(view ? view.cells : []));
  const head = make('tr', {}, make('td'), ...heads.map((one) => make('th', { scope: 'col' }, one)));
  const lines = views.find(Boolean).cells.map(([name]) => make('tr', {}, make('th', { scope: 'row', textContent: name }),
    ...values.map((cells) => make('td', { textContent: cells.get(name) === '' ? '(gap)' : cells.get(name) ?? '–' }))));
  return make('div', { className: 'cells side', tabIndex: 0 }, make('table', {}, make('thead', {}, head), make('tbody', {}, ...lines)));
}

// Several views in a row, or in one table; `heads` are words or buttons.
function several(views, heads, width) {
  if (views.find(Boolean)?.kind === 'table') return sideBySide(views, heads);
  const shown = views.map((view, i) => make('figure', {}, element(view, width), make('figcaption', {}, heads[i])));
  return make('div', { className: 'strip', tabIndex: 0 }, ...shown);
}

function pair(one, other, words) {
  if (one.kind === 'table') return sideBySide([one, other], words);
  return make('div', { className: 'pair' }, figure(one, words[0], 150), figure(other, words[1], 150));
}

const figure = (view, caption, width) => make('figure', {}, element(view, width), make('figcaption', { textContent: caption }));
const short = (x) => (x === null || x === undefined ? '–' : Math.abs(x) >= 1000 ? x.toFixed(0) : x.toFixed(2));

const isDark = matchMedia('(prefers-color-scheme: dark)');
let colours = { light: [], dark: [] };
const palette = () => (isDark.matches ? colours.dark : colours.light);
