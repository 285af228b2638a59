// A row of one's own: a drawing, fields, a line of text, or numbers. Each gives `values()` and `fill(row)`.

function drawingPad(form) {
  const { width, height, channels } = form, zoom = Math.max(2, Math.round(200 / Math.max(width, height)));
  const canvas = make('canvas', { width: width * zoom, height: height * zoom, className: 'pixels', tabIndex: 0 });
  canvas.setAttribute('role', 'application');
  canvas.setAttribute('aria-label', 'Drawing pad: draw with the pointer, or by keys: arrows move the pen, with Shift it draws, Space fills a pixel, Delete empties it');
  canvas.style.touchAction = 'none';
  const paper = canvas.getContext('2d', { willReadFrequently: true });
  const colour = make('input', { type: 'color', value: '#ffffff', ariaLabel: 'Colour of the pen' });
  const clear = () => {
    paper.fillStyle = '#000';
    paper.fillRect(0, 0, canvas.width, canvas.height);
  };
  let last = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
  };
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!last) return;
    const next = at(event);
    Object.assign(paper, { strokeStyle: ink(), lineCap: 'round', lineWidth: zoom * Math.max(1.1, width / 13) });
    paper.beginPath();
    paper.moveTo(...last);
    paper.lineTo(...next);
    paper.stroke();
    last = next;
  });
  canvas.addEventListener('pointerup', () => { last = null; });
  const pen = { x: width >> 1, y: height >> 1 }, mark = make('i', { className: 'pen', hidden: true }); // in pixels of the image
  const ink = () => (channels < 3 ? '#fff' : colour.value);
  const point = (fill) => {
    paper.fillStyle = fill;
    paper.fillRect(pen.x * zoom, pen.y * zoom, zoom, zoom);
  };
  const showPen = () => {
    mark.hidden = document.activeElement !== canvas;
    Object.assign(mark.style, { left: `${(100 * pen.x) / width}%`, top: `${(100 * pen.y) / height}%`, width: `${100 / width}%`, height: `${100 / height}%` });
  };
  for (const event of ['focus', 'blur']) canvas.addEventListener(event, showPen);
  canvas.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      pen.x = Math.min(width - 1, Math.max(0, pen.x + step[0]));
      pen.y = Math.min(height - 1, Math.max(0, pen.y + step[1]));
      if (event.shiftKey) point(ink());
    } else if (event.key === ' ') point(ink());
    else if (event.key === 'Delete' || event.key === 'Backspace') point('#000');
    else return;
    showPen();
    event.preventDefault();
  });
  clear();
  const values = () => { // means over the squares of the pad, channels first
    const read = paper.getImageData(0, 0, canvas.width, canvas.height).data, found = [];
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < width * height; i++) {
        const x = (i % width) * zoom, y = Math.floor(i / width) * zoom;
        let sum = 0;
        for (let k = 0; k < zoom * zoom; k++) {
          sum += read[4 * ((y + Math.floor(k / zoom)) * canvas.width + x + (k % zoom)) + Math.min(c, 3)];
        }
        found.push(sum / (255 * zoom * zoom));
      }
    }
    return found;
  };
  const fill = (row) => {
    paper.imageSmoothingEnabled = false;
    paper.drawImage(imageCanvas(row.original), 0, 0, canvas.width, canvas.height);
  };
  const choice = channels < 3 ? [] : [make('label', {}, 'Pen ', colour)];
  return { element: make('div', {}, make('div', { className: 'pad' }, canvas, mark), ...choice), values, fill, clear };
}

function fields(form) {
  const inputs = form.columns.map(({ name, values }) => {
    if (!values) return make('input', { type: 'text', id: `own ${name}`, maxLength: 200 });
    return make('select', { id: `own ${name}` }, make('option', { value: '', textContent: '(gap)' }),
      ...values.map((value) => make('option', { value, textContent: value })));
  });
  const lines = form.columns.flatMap(({ name }, i) => [make('label', { htmlFor: `own ${name}`, textContent: name }), inputs[i]]);
  const values = () => Object.fromEntries(form.columns.map(({ name }, i) => [name, inputs[i].value.trim()]));
  const fill = (row) => form.columns.forEach(({ name }, i) => { inputs[i].value = row.cells[name]; });
  const clear = () => inputs.forEach((input) => { input.value = ''; });
  return { element: make('div', { className: 'fields' }, ...lines), values, fill, clear };
}

function writing(form) {
  const isText = form.kind === 'text', label = isText ? `One ${form.word}` : `${form.count} numbers, ${form.shape.join(' × ')}`;
  const input = make('textarea', { rows: isText ? 2 : 5, maxLength: 200000, spellcheck: false, ariaLabel: label, placeholder: label });
  const values = () => {
    if (isText) return input.value.trim();
    const found = input.value.trim().split(/[\s,;]+/).map(Number);
    if (found.some((x) => !Number.isFinite(x))) throw new Error('Numbers are expected, with spaces or commas between them.');
    return found;
  };
  const fill = (row) => { input.value = isText ? row.cells : row.cells.join(' '); };
  return { element: input, values, fill, clear: () => { input.value = ''; } };
}

const ownRow = (form) => (form.kind === 'image' ? drawingPad : form.kind === 'fields' ? fields : writing)(form);
