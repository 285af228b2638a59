// What happens on the page.

const byId = (id) => document.getElementById(id);
const embedded = JSON.parse(byId('content').textContent);
const source = embedded ? new Saved(embedded) : new Served();
const say = (id, error) => byId(id).replaceChildren(make('p', { className: 'bad', textContent: error.message }));

let all, codes, scales, map, plane, walk = { a: null, b: null }, chosen = null, own = null;

const centre = () => {
  const mean = new Float64Array(all.size);
  for (let i = 0; i < codes.length; i++) mean[i % all.size] += codes[i] / all.count;
  return Float32Array.from(mean);
};
let middle;
const nameOf = (d) => `latent ${d}`; // as `traverse` and the columns of `encode` number them
const codeOf = (row) => codes.subarray(row * all.size, (row + 1) * all.size);
const here = () => plane.lift(map.cursor, chosen ? codeOf(chosen.row) : middle);
const contextRow = () => (chosen ? chosen.row : 0);

async function begin() {
  all = await source.content();
  colours = all.palette;
  codes = floatsOf(all.codes);
  scales = floatsOf(all.scales);
  middle = centre();
  byId('title').textContent = document.title = all.title;
  byId('notes').textContent = all.notes.join(' ') + (embedded ? ' This page was saved: it shows what was decoded for it.' : '');
  document.querySelector('main').hidden = false;
  map = new LatentMap(byId('ground'), byId('over'), changed);
  map.scales = scales;
  map.known = embedded ? Object.keys(embedded.saved.rows).map(Number) : null;
  map.resize();
  fillChoices();
  fillLatents();
  fillOwn();
  fillFindings();
  byId('walk').hidden = !all.decodes;
  byId('way').disabled = Boolean(embedded);
  byId('pictures-label').hidden = !(all.decodes && all.form.kind === 'image');
  byId('ellipses').disabled = !all.isProduct;
  await setColour();
  await setPlane();
}

function fillChoices() {
  const order = all.latents.map((_, d) => d).sort((c, d) => all.latents[d].activity - all.latents[c].activity);
  const option = (d) => make('option', { value: d, textContent: `${nameOf(d)}${all.latents[d].silent ? ' (silent)' : ''}` });
  const shares = all.principal?.shares.map((share) => Math.round(100 * share));
  const first = shares ? [make('option', { value: 'pca', textContent: `PCA (${shares[0]} + ${shares[1]} %)` })] : [];
  byId('across').append(...first, ...order.map(option));
  byId('up').append(...order.map(option));
  if (order.length > 1) byId('up').value = order[1];
  byId('colour').append(...all.colours.map(({ name }, i) => make('option', { value: i, textContent: name })));
  if (!all.colours.length) byId('colour').parentElement.hidden = true;
  for (const id of ['across', 'up']) byId(id).addEventListener('change', () => setPlane(id));
  byId('colour').addEventListener('change', setColour);
  for (const id of ['rows', 'contours', 'holes', 'ellipses']) byId(id).addEventListener('change', () => {
    map.show[id] = byId(id).checked;
    map.draw();
  });
  byId('pictures').addEventListener('change', showPictures);
  byId('in').addEventListener('click', () => map.zoom(1.4));
  byId('out').addEventListener('click', () => map.zoom(1 / 1.4));
  byId('all').addEventListener('click', () => map.all());
  byId('start').addEventListener('click', () => setEnd('a'));
  byId('end').addEventListener('click', () => setEnd('b'));
  byId('way').addEventListener('change', showWalk);
  isDark.addEventListener('change', setColour);
}

async function setPlane(changedId) {
  const usesPca = byId('across').value === 'pca';
  byId('up-label').hidden = usesPca || all.size === 1;
  if (!usesPca && all.size > 1 && byId('across').value === byId('up').value) {
    const other = byId(changedId === 'up' ? 'across' : 'up');
    other.value = [...other.options].map((o) => o.value).find((v) => v !== 'pca' && v !== byId(changedId ?? 'across').value);
  }
  const axes = usesPca ? null : [Number(byId('across').value), Number(all.size === 1 ? byId('across').value : byId('up').value)];
  const at = plane ? here() : null, next = new Plane(axes, all.size, all.principal);
  const xs = new Float32Array(all.count), ys = new Float32Array(all.count);
  for (let i = 0; i < all.count; i++) {
    [xs[i], ys[i]] = next.project(codes, i * all.size);
    if (all.size === 1) ys[i] = (((i * 0.618034) % 1) - 0.5) * 2;
  }
  let background = { box: boxOf(xs, ys), contours: [], holes: [], cells: 0 }, words = '';
  try {
    const found = await source.ask('plane', { axes });
    if (embedded && found.shown) next.saved = found;
    background = { ...found, holes: bytesOf(found.holes), box: all.size === 1 ? boxOf(xs, ys) : found.box };
    const share = found.share === null ? '' : ` ${(100 * found.share).toFixed(1)} % of draws from the prior fall in holes, where it`
      + ' is more than ten times as dense as latents of rows (shaded).';
    words = found.sentence + share;
  } catch (error) {
    words = error.message;
  }
  byId('plane-words').textContent = words;
  for (const id of ['contours', 'holes']) byId(id).disabled = !background.contours.length;
  plane = next;
  if (at) map.cursor = plane.project(at);
  map.pictures = [];
  map.place(plane, xs, ys, background);
  remark();
  cursorMoved();
}

function boxOf(xs, ys) {
  let low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < xs.length; i++) {
    low = [Math.min(low[0], xs[i]), Math.min(low[1], ys[i])];
    high = [Math.max(high[0], xs[i]), Math.max(high[1], ys[i])];
  }
  const half = (Math.max(high[0] - low[0], high[1] - low[1]) || 1) * 0.53, c = [0, 1].map((k) => (low[k] + high[k]) / 2);
  return [c[0] - half, c[0] + half, c[1] - half, c[1] + half];
}

async function setColour() {
  const number = Number(byId('colour').value), colour = all.colours[number], legend = byId('legend');
  map.inks = new Uint32Array(all.count).fill(packed(ofHex(palette()[0])));
  map.shapes = new Uint8Array(all.count);
  legend.replaceChildren();
  try {
    if (colour) paint(colour, floatsOf((await source.ask('colour', { number })).values), legend);
  } catch (error) {
    legend.replaceChildren(make('span', { className: 'quiet', textContent: error.message }));
  }
  map.draw();
}

function paint(colour, values, legend) {
  const inks = palette(), grey = packed([150, 150, 150]);
  if (colour.names) {
    const used = new Set();
    values.forEach((k, i) => {
      const known = k >= 0 && k < colour.names.length;
      map.inks[i] = known ? packed(ofHex(inks[k % inks.length])) : grey;
      map.shapes[i] = known ? k % 3 : 0;
      if (known) used.add(k);
    });
    for (const k of [...used].sort((a, b) => a - b)) {
      const mark = make('span', { textContent: '●▲■'[k % 3] });
      mark.style.color = inks[k % inks.length];
      legend.append(make('span', {}, mark, ` ${colour.names[k]}`));
    }
    return;
  }
  const sorted = values.filter(Number.isFinite).sort(), [low, high] = [0.01, 0.99].map((q) => sorted[Math.floor(q * (sorted.length - 1))]);
  const table = Array.from({ length: 256 }, (_, i) => packed(viridis(i / 255)));
  values.forEach((x, i) => {
    map.inks[i] = Number.isFinite(x) ? table[Math.round(255 * Math.min(1, Math.max(0, (x - low) / (high - low || 1))))] : grey;
  });
  const scale = make('span', { className: 'scale' });
  scale.style.background = `linear-gradient(to right, ${VIRIDIS.map((c) => `rgb(${c})`).join(',')})`;
  legend.append(make('span', {}, colour.name, ` ${short(low)}`, scale, short(high)));
}

function changed(what, within) {
  if (what === 'cursor') cursorMoved();
  if (what === 'choose') choose(map.nearest(map.cursor, within));
  if (what === 'a' || what === 'b') setEnd(what);
  if (what === 'view' && byId('pictures').checked) showPictures();
  if (what === 'clear') {
    chosen = map.chosen = null;
    walk = { a: null, b: null };
    map.path = [];
    byId('steps').replaceChildren();
    byId('row').replaceChildren();
    byId('near').replaceChildren();
    byId('row-words').textContent = 'No row is chosen.';
    remark();
    cursorMoved();
  }
}

const REST = 150; // ms
let asking = false, wanted = false, quick = true, resting = 0, nearestShown = -1;
async function cursorMoved() {
  const names = plane.axes ? plane.axes.map(nameOf) : ['1st component', '2nd component'];
  byId('where').textContent = map.cursor.slice(0, all.size === 1 ? 1 : 2).map((x, k) => `${names[k]} = ${x.toFixed(3)}`).join(', ')
    + (all.size > 2 && all.decodes ? `; the other directions are those of ${chosen && !embedded ? 'the chosen row' : 'the mean of the rows'}.` : '')
    + (embedded && plane.saved ? ' Shown is the nearest point that was decoded.' : '');
  if (!all.decodes) return showNearest();
  if (embedded && !plane.saved) return byId('here').replaceChildren(make('p', { className: 'quiet', textContent: 'Nothing was decoded in this plane.' }));
  clearTimeout(resting);
  return showHere(true);
}

// What the model shows at the cursor, quickly while it moves; where that is no draw, the draw when the cursor rests.
async function showHere(isQuick) {
  [wanted, quick] = [true, isQuick];
  if (asking) return;
  asking = true;
  let view = null;
  while (wanted) {
    wanted = false;
    try {
      [view] = await source.decode([here()], contextRow(), plane, quick);
      byId('here').replaceChildren(view.words ? figure(view, wordsOf(view), 196) : element(view, 196));
    } catch (error) {
      say('here', error);
      view = null;
    }
  }
  asking = false;
  if (view?.isDrawn === false) resting = setTimeout(() => showHere(false), REST);
}

const wordsOf = (view) => (view.isDrawn ? view.words : 'A first look: means along an x that is no draw yet; the draw follows when the cursor rests.');

async function showNearest() {
  const row = map.nearest(map.cursor);
  if (row === nearestShown) return;
  nearestShown = row;
  try {
    const found = await source.ask('row', { row });
    if (row === nearestShown) byId('here').replaceChildren(figure(found.reconstruction, `reconstruction of the nearest row: ${found.words}`, 196));
  } catch (error) {
    say('here', error);
  }
}

async function choose(row) {
  if (row < 0) return;
  try {
    const found = await source.ask('row', { row });
    chosen = map.chosen = { row, neighbours: found.neighbours, draws: found.draws ? floatsOf(found.draws) : null, found };
    byId('row-words').textContent = `${found.words}: log w ${short(found.logW)}, rate ${short(found.rate)} nats`;
    byId('row').replaceChildren(pair(found.original, found.reconstruction, ['the row', 'reconstruction']));
    const buttons = found.neighbours.map((i, k) => {
      const button = make('button', { type: 'button', ariaLabel: `Go to neighbour ${k + 1}`, textContent: k + 1 });
      button.addEventListener('click', () => goTo(i));
      return button;
    });
    byId('near').replaceChildren(make('p', { className: 'quiet', textContent: 'Nearest rows, by the means of q(z | x):' }), several(found.views, buttons, 64));
    fillLatents(found.rates);
  } catch (error) {
    say('row', error);
    byId('near').replaceChildren();
    chosen = map.chosen = null;
  }
  map.drawOver();
  cursorMoved();
}

function goTo(row) {
  map.cursor = [map.xs[row], map.ys[row]];
  choose(row);
}

function remark() {
  map.marks = ['a', 'b'].filter((end) => walk[end]).map((end) => ({ point: plane.project(walk[end]), text: end.toUpperCase() }));
  if (own) map.marks.push({ point: plane.project(own), text: '★' });
  map.drawOver();
}

function setEnd(end) {
  if (!all.decodes) return;
  walk[end] = here();
  remark();
  showWalk();
}

async function showWalk() {
  if (!walk.a || !walk.b) return;
  try {
    if (embedded && !plane.saved) throw new Error('Nothing was decoded in this plane.');
    const found = await source.walk(walk.a, walk.b, byId('way').value, contextRow(), plane);
    map.path = found.latents;
    byId('steps').replaceChildren(several(found.views, found.views.map((_, i) => `${i + 1} of ${found.views.length}`), 88));
  } catch (error) {
    say('steps', error);
  }
  map.drawOver();
}

let pictured = 0;
async function showPictures() {
  const turn = ++pictured, count = 14;
  map.pictures = [];
  map.draw();
  if (!byId('pictures').checked) return;
  const corner = map.toPoint([0, map.over.height]), width = map.over.width / map.scale / count;
  const points = [];
  for (let y = 0; y * width < map.over.height / map.scale; y++) {
    for (let x = 0; x < count; x++) points.push([corner[0] + (x + 0.5) * width, corner[1] + (y + 0.5) * width]);
  }
  try {
    for (let i = 0; i < points.length; i += 64) {
      const part = points.slice(i, i + 64), through = chosen ? codeOf(chosen.row) : middle;
      const views = await source.decode(part.map((point) => plane.lift(point, through)), contextRow(), plane);
      if (turn !== pictured) return;
      views.forEach((view, k) => map.pictures.push({ point: part[k], width: width * 0.94, canvas: imageCanvas(view) }));
    }
  } catch (error) {
    say('here', error);
  }
  map.draw();
}

function fillLatents(rates) {
  const known = all.latents[0].rate !== null, of = (d) => (rates ? rates[d] : known ? all.latents[d].rate : all.latents[d].activity);
  const order = all.latents.map((_, d) => d).sort((c, d) => of(d) - of(c)), most = Math.max(...order.map(of), 1e-9);
  const bars = order.slice(0, 200).map((d) => {
    const bar = make('i');
    bar.style.width = `${Math.max(0, (100 * of(d)) / most)}%`;
    const name = `${nameOf(d)}${all.latents[d].silent ? ' silent' : ''}`;
    const button = make('button', { type: 'button', className: all.latents[d].silent ? 'silent' : '', title: 'Show it across' },
      make('span', { textContent: name }), make('span', { className: 'track' }, bar), make('span', { className: 'value', textContent: short(of(d)) }));
    button.addEventListener('click', () => {
      byId('across').value = d;
      setPlane('across');
    });
    return button;
  });
  const what = rates ? 'Rate of each latent for the chosen row, KL(q(z_d | x) ‖ p(z_d)), nats' : known
    ? 'Mean rate of each latent, KL(q(z_d | x) ‖ p(z_d)), nats' : 'Activity of each latent: the variance of its mean over rows';
  const silent = all.latents.filter((z) => z.silent).length;
  const words = `${what}. ${silent ? `Silent, in grey: ${silent} of ${all.size}, whose means vary by less than 0.01.` : 'None is silent.'}`;
  byId('latents').replaceChildren(make('p', { className: 'quiet', textContent: words }), make('div', { className: 'bars' }, ...bars));
}

function fillOwn() {
  if (embedded) {
    byId('own-part').hidden = true;
    return;
  }
  const input = ownRow(all.form), button = (text, act) => {
    const made = make('button', { type: 'button', textContent: text });
    made.addEventListener('click', act);
    return made;
  };
  const send = async () => {
    try {
      const found = await source.ask('encode', { given: input.values(), row: contextRow() });
      own = floatsOf(found.mean);
      map.cursor = plane.project(own);
      remark();
      cursorMoved();
      byId('own-found').replaceChildren(make('p', { className: 'quiet', textContent: `log w ${short(found.logW)}, rate ${short(found.rate)} nats; marked ★ on the map.` }),
        pair(found.original, found.reconstruction, ['as it was read', 'reconstruction']));
    } catch (error) {
      say('own-found', error);
    }
  };
  const take = () => (chosen ? input.fill(chosen.found) : say('own-found', new Error('Choose a row first.')));
  byId('own').append(input.element, make('div', { className: 'bar' }, button('Encode', send), button('Take the chosen row', take), button('Clear', input.clear)));
}

const finding = (one) => make('div', { className: 'finding' }, make('b', { textContent: one.name }), ': ',
  make('span', { className: one.verdict, textContent: one.verdict }), ` ${one.evidence}${one.healthy ? ` (healthy: ${one.healthy})` : ''}`,
  make('p', { className: 'quiet', textContent: one.sentence }), ...(one.remedy ? [make('code', { textContent: one.remedy })] : []));

function fillFindings() {
  const show = async () => {
    byId('findings').replaceChildren(make('p', { className: 'quiet', textContent: 'Examining; the map waits.' }));
    try {
      const found = await source.ask('diagnose', {}), unknown = found.filter((one) => one.verdict === 'not examined');
      const shown = found.filter((one) => !unknown.includes(one)).map(finding);
      const rest = make('details', {}, make('summary', { textContent: `Not examined: ${unknown.length}` }), ...unknown.map(finding));
      byId('findings').replaceChildren(...shown, ...(unknown.length ? [rest] : []));
    } catch (error) {
      say('findings', error);
    }
  };
  if (embedded) {
    show();
    return;
  }
  const button = make('button', { type: 'button', textContent: 'Examine the model' });
  button.addEventListener('click', show);
  byId('findings').append(make('p', { className: 'quiet', textContent: 'The findings of lowerbound diagnose, on 500 test rows; this may take a minute.' }), button);
}

begin().catch((error) => { byId('notes').textContent = error.message; });
