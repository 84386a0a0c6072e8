'use strict';
(() => {
// ---------------------------------------------------------------- helpers
const byId = id => document.getElementById(id);
const main = byId('main');

/** What guests and scripts say must not move text around or hide it. */
const clean = text => String(text)
  .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g, '\ufffd');

/** An element; strings become text, never markup. */
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === 'class') node.className = value;
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key === 'css') for (const [name, to] of Object.entries(value)) node.style.setProperty(name, to);
    else node.setAttribute(key, value === true ? '' : clean(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === '') continue;
    node.append(child instanceof Node ? child : document.createTextNode(clean(child)));
  }
  return node;
}

const plural = (count, noun) => `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
const span = ms => ms < 1000 ? `${Math.round(ms)} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s`
  : `${Math.floor(ms / 60000)} min ${Math.round(ms % 60000 / 1000)} s`;
const at = seconds => `${seconds.toFixed(seconds < 100 ? 3 : 2)} s`;
const clock = ms => ms ? new Date(ms).toISOString().replace('T', ' ').slice(0, 19) + ' UTC' : '';
const firstLine = text => String(text || '').split('\n', 1)[0];

/** A value as scripts write it. */
function lua(value) {
  if (value === null || value === undefined) return 'nil';
  if (Array.isArray(value)) return value.length ? `{ ${value.map(lua).join(', ')} }` : '{}';
  if (typeof value === 'object') {
    const fields = Object.entries(value).map(([key, it]) => `${key} = ${lua(it)}`);
    return fields.length ? `{ ${fields.join(', ')} }` : '{}';
  }
  return JSON.stringify(value);
}

const VERDICTS = {
  passed: ['passed', '✓', 'good'], flaky: ['flaky', '↻', 'warn'], failed: ['failed', '✗', 'bad'],
  error: ['error', '!', 'bad'], lane_failed: ['lane failed', '⌁', 'bad'], timed_out: ['timed out', '◷', 'bad'],
  skipped: ['skipped', '–', ''], cancelled: ['cancelled', '□', 'warn'], bug: ['bug', '‼', 'bad'],
};
const ORDER = ['bug', 'failed', 'timed_out', 'error', 'lane_failed', 'null', 'cancelled', 'flaky', 'passed', 'skipped'];
const verdictOf = name => VERDICTS[name] || ['unfinished', '…', 'warn'];
function pill(name) {
  const [word, sign, tone] = verdictOf(name);
  return el('span', { class: `pill ${tone}` }, el('span', { 'aria-hidden': 'true' }, sign), word);
}

const run = JSON.parse(byId('run').textContent);
/** Blocks stand behind this script. */
const whole = new Promise(resolve => {
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', resolve, { once: true });
  else resolve();
});

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
async function unpack(id) {
  await whole;
  const stream = new Blob([bytesOf(byId(id).textContent)]).stream().pipeThrough(new DecompressionStream('deflate'));
  return JSON.parse(await new Response(stream).text());
}
const once = make => { let made; return () => made || (made = make()); };
const scripts = once(() => unpack('scripts'));
const urls = new Map();
function pictureUrl(number) {
  if (!urls.has(number)) {
    const block = byId(`picture-${number}`);
    if (!block) return null;
    urls.set(number, URL.createObjectURL(new Blob([bytesOf(block.textContent)], { type: 'image/png' })));
  }
  return urls.get(number);
}

// ---------------------------------------------------------------- lists that show only what is seen
class List {
  constructor(host, height, render, choose) {
    Object.assign(this, { host, height, render, choose, items: [], selected: -1 });
    this.inner = el('div', { role: 'presentation' });
    host.append(this.inner);
    host.addEventListener('scroll', () => this.draw());
    host.addEventListener('click', event => {
      const row = event.target.closest('[data-row]');
      if (row) this.choose(Number(row.dataset.row), event);
    });
    new ResizeObserver(() => this.draw()).observe(host);
  }
  set(items) {
    this.items = items;
    this.inner.style.height = `${items.length * this.height}px`;
    this.selected = -1;
    this.draw();
  }
  draw() {
    const first = Math.max(0, Math.floor(this.host.scrollTop / this.height) - 6);
    const last = Math.min(this.items.length, Math.ceil((this.host.scrollTop + this.host.clientHeight) / this.height) + 6);
    const rows = [];
    for (let i = first; i < last; i++) {
      const row = this.render(this.items[i], i);
      row.style.top = `${i * this.height}px`;
      row.style.height = `${this.height}px`;
      row.dataset.row = i;
      row.id = `${this.host.id}-${i}`;
      row.setAttribute('aria-selected', i === this.selected);
      row.setAttribute('aria-setsize', this.items.length);
      row.setAttribute('aria-posinset', i + 1);
      rows.push(row);
    }
    this.inner.replaceChildren(...rows);
  }
  select(index, where) {
    this.selected = index;
    if (index >= 0) {
      const top = index * this.height, view = this.host.clientHeight;
      if (where === 'middle') this.host.scrollTop = top - view / 2 + this.height / 2;
      else if (top < this.host.scrollTop) this.host.scrollTop = top;
      else if (top + this.height > this.host.scrollTop + view) this.host.scrollTop = top + this.height - view;
      this.host.setAttribute('aria-activedescendant', `${this.host.id}-${index}`);
    } else this.host.removeAttribute('aria-activedescendant');
    this.draw();
  }
}

/** Text with what was searched for marked. */
function marked(text, words) {
  text = clean(text);
  if (!words.length) return [text];
  const lower = text.toLowerCase(), parts = [];
  let from = 0;
  while (from < text.length && lower.length === text.length) {
    let best = -1, length = 0;
    for (const word of words) {
      const found = lower.indexOf(word, from);
      if (found >= 0 && (best < 0 || found < best)) { best = found; length = word.length; }
    }
    if (best < 0) break;
    if (best > from) parts.push(text.slice(from, best));
    parts.push(el('mark', null, text.slice(best, best + length)));
    from = best + length;
  }
  parts.push(text.slice(from));
  return parts;
}
const wordsOf = text => text.toLowerCase().split(/\s+/).filter(Boolean);

// ---------------------------------------------------------------- Lua
const LUA = /(--[^\n]*)|("(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?)|\b(and|break|do|else|elseif|end|false|for|function|goto|if|in|local|nil|not|or|repeat|return|then|true|until|while)\b|\b(0x[\da-fA-F]+|\d+\.?\d*(?:e[+-]?\d+)?)\b/g;
function luaLine(text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(LUA)) {
    if (match.index > from) parts.push(text.slice(from, match.index));
    const kind = match[1] ? 'c' : match[2] ? 's' : match[3] ? 'k' : 'n';
    parts.push(el('span', { class: kind }, match[0]));
    from = match.index + match[0].length;
  }
  parts.push(text.slice(from));
  return parts;
}
function codeList(lines, here, wrong) {
  return el('ol', null, lines.map(([number, text]) => el('li',
    { class: number === here ? `here${wrong ? ' wrong' : ''}` : null, 'aria-current': number === here ? 'true' : null },
    el('span', null, number), el('code', null, luaLine(clean(text))))));
}

// ---------------------------------------------------------------- theme
const themes = ['auto', 'light', 'dark'];
let theme = 'auto';
try { theme = localStorage.getItem('backstaff-theme') || 'auto'; } catch { /* a page from disk may have no storage */ }
function applyTheme() {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = byId('theme');
  button.textContent = { auto: '◐', light: '☀', dark: '☾' }[theme] || '◐';
  button.title = `Theme: ${theme} (t)`;
  button.setAttribute('aria-label', `Theme: ${theme}`);
  palette = null;
  view?.repaint?.();
}
function nextTheme() {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  try { localStorage.setItem('backstaff-theme', theme); } catch { /* as above */ }
  applyTheme();
}
let palette = null;
/** Colours of the style sheet, as canvases want them. */
function colors() {
  if (palette) return palette;
  palette = {};
  const probe = el('i');
  document.body.append(probe);
  for (const name of ['bg', 'panel', 'raised', 'text', 'muted', 'line', 'faint', 'accent', 'select', 'good', 'bad', 'warn', 'bad-bg', 'warn-bg',
    'c-script', 'c-wait', 'c-keyboard', 'c-digest', 'c-serial', 'c-qmp', 'c-screen', 'c-lane', 'c-agent', 'c-runner']) {
    probe.style.color = `var(--${name})`;
    palette[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return palette;
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { palette = null; view?.repaint?.(); });

// ---------------------------------------------------------------- events in words
const SOURCES = ['script', 'keyboard', 'digest', 'serial', 'qmp', 'agent', 'screen', 'lane', 'runner'];
const sourceClass = source => SOURCES.includes(source) ? `s-${source}` : 's-runner';
const join = (...parts) => parts.filter(part => part !== undefined && part !== null && part !== '').join(' ');
function recordOf(data) {
  const name = Object.keys(data).find(key => key !== 'frame_counter');
  return [name, data[name]];
}
const TELL = {
  attempt_began: d => `attempt ${d.attempt} of "${d.scenario}" on lane ${d.lane}`,
  attempt_ended: d => join(verdictOf(d.verdict)[0] + (d.reason ? ':' : ''), firstLine(d.reason)),
  host_stalled: d => `this host gave us no processor for ${span(d.stalled_ms)}`,
  lane_state: d => join(d.state, d.detail && `– ${d.detail}`),
  acceleration: d => `${d.requested} → ${d.resolved}: ${d.why}`,
  gate: d => join(`${d.gate} ${d.passed ? 'reached' : 'NOT reached'} after ${span(d.waited_ms)}`, d.seen && `– ${d.seen}`),
  lane_ended: d => `${d.how}${d.by_guest ? ' (by the guest)' : ''}`,
  teardown: d => `${d.rung} in ${span(d.took_ms)}`,
  warm: d => join(d.outcome, d.key, d.why && `– ${d.why}`, `in ${span(d.took_ms)}`),
  lane_command: d => join(d.command, d.detail, `in ${span(d.took_ms)}`, d.error && `– ${d.error}`),
  fault: d => join(d.fault, d.state, d.detail && `– ${d.detail}`),
  put_back: d => d.snapshot ? `to snapshot ${d.snapshot}` : 'to its beginning',
  qmp_event: d => join(d.name, d.data && Object.keys(d.data).length ? lua(d.data) : ''),
  serial_line: d => d.text, serial_prompt: d => `${d.text}▏`,
  console_connected: d => (d.channels || []).join(', '), console_closed: d => d.reason,
  surface_created: d => `surface ${d.surface_id}: ${d.width} × ${d.height}`,
  surface_destroyed: d => `surface ${d.surface_id}`,
  surface_drawn: d => join(plural(d.draws, 'draw'), d.area && `in ${d.area[0]},${d.area[1]} – ${d.area[2]},${d.area[3]}`, d.events && `(${d.events} events)`),
  console_notice: d => d.text,
  digest_updated: d => [`frame ${d.frame_counter}`, `framebuffer ${d.framebuffer}`, d.new_records && `${d.new_records} new`,
    d.missed?.length && `unseen: ${d.missed.join(' ')}`, d.restarted && 'the guest began anew'].filter(Boolean).join(', '),
  digest_record: d => {
    const [name, value] = recordOf(d);
    if (!name) return '';
    const fields = { ...value };
    delete fields.timestamp_ms;
    return `${name} ${lua(fields)}`;
  },
  digest_framebuffer: d => `frame ${d.frame_counter}: ${d.framebuffer}`,
  key_sent: d => join(d.key || `0x${Number(d.code).toString(16)}`, d.action === 'press' ? '' : d.action),
  keyboard_leds: d => leds(d), leds_sent: d => `asked for ${leds(d)}`,
  mouse_sent: d => join(d.action, d.detail),
  agent_state: d => join(d.state, (d.capabilities || []).join(', ')),
  clipboard: d => join(d.action, d.selection, (d.kinds || []).join(', '), d.bytes !== undefined && `${d.bytes} bytes`, d.why),
  resize_sent: d => `${d.width} × ${d.height}`,
  agent_replied: d => `message ${d.to}: ${d.is_done ? 'done' : 'not done'}`,
  text_typed: d => `${plural(d.chars, 'character')} in ${span(d.took_ms)}`,
  step_began: d => d.path.join(' › '), step_ended: d => `${d.path.join(' › ')} ${d.passed ? '✓' : '✗'} ${span(d.took_ms)}`,
  wait_began: d => `${d.call} ${d.wanted}`,
  wait_ended: (d, e) => join(e.wait ? `${e.wait.call} ${e.wait.wanted}:` : `wait ${d.wait}:`, d.outcome, `after ${span(d.took_ms)}`),
  expectation: d => join(d.passed ? '✓' : '✗', d.what, d.difference && `– ${firstLine(d.difference)}`),
  always: d => join(d.name, d.state, d.detail && `– ${d.detail}`),
  deferred: d => join(d.error ? '✗' : '✓', `in ${span(d.took_ms)}`, d.error && `– ${d.error}`),
  warning: d => d.message, log: d => d.message,
  screenshot: d => d.path, attachment: d => `${d.name} (${d.path})`,
  dropped: d => `${plural(d.count, 'event')} of ${d.stream} not kept`,
  gap: d => `${plural(d.missing, 'event')} missing in the journal`,
};
function leds(d) {
  const lit = ['caps', 'num', 'scroll'].filter(name => d[name]);
  return lit.length ? `${lit.join(', ')} lit` : 'no lock light';
}
function tell(event) {
  try { return clean(TELL[event.name] ? TELL[event.name](event.data, event) : lua(event.data)).replace(/\s*\n\s*/g, ' ⏎ '); }
  catch { return clean(JSON.stringify(event.data)); }
}
function toneOf(event) {
  const d = event.data || {};
  switch (event.name) {
    case 'expectation': case 'step_ended': case 'gate': return d.passed === false ? 'wrong' : '';
    case 'wait_ended': return ['matched', 'cancelled'].includes(d.outcome) ? '' : 'wrong';
    case 'always': return d.state === 'violated' ? 'wrong' : '';
    case 'attempt_ended': return ['passed', 'skipped'].includes(d.verdict) ? '' : 'wrong';
    case 'deferred': case 'lane_command': return d.error ? 'wrong' : '';
    case 'warning': case 'host_stalled': case 'dropped': case 'gap': case 'console_notice': case 'fault': return 'caution';
    case 'surface_drawn': case 'digest_updated': case 'digest_framebuffer': case 'wait_began': case 'step_began': return 'aside';
    default: return '';
  }
}

// ---------------------------------------------------------------- a journal as the page knows it
function modelOf(trace) {
  const events = [];
  let gaps = trace.gaps;
  for (const [seq, us, source, name, lane, data] of trace.events) {
    while (gaps.length && gaps[0][0] <= seq) {
      push({ seq: gaps[0][0], t: us / 1e6, source: 'runner', name: 'gap', lane: '', data: { missing: gaps[0][1] } });
      gaps = gaps.slice(1);
    }
    push({ seq, t: us / 1e6, source: trace.sources[source], name: trace.names[name], lane: lane < 0 ? '' : trace.lanes[lane], data: data ?? {} });
  }
  function push(event) { event.i = events.length; events.push(event); }
  const model = { events, steps: [], waits: [], shots: [], stalls: [], wall: trace.wall_ms, trace };
  const end = model.end = Math.max(0.001, events.length ? events[events.length - 1].t : 0);
  const openSteps = new Map(), openWaits = new Map();
  for (const event of events) {
    const d = event.data;
    switch (event.name) {
      case 'step_began': {
        const step = { path: d.path, depth: d.path.length - 1, from: event.t, to: end, limit: d.timeout_s, line: d.line, first: event.i, last: events.length, passed: null };
        openSteps.set(d.path.join('\0'), step);
        model.steps.push(event.step = step);
        break;
      }
      case 'step_ended': {
        const step = openSteps.get(d.path.join('\0'));
        if (step) { Object.assign(step, { to: event.t, last: event.i, passed: d.passed }); openSteps.delete(d.path.join('\0')); event.step = step; }
        break;
      }
      case 'wait_began': {
        const wait = { id: d.wait, call: d.call, wanted: d.wanted, from: event.t, to: end, limit: d.timeout_s, line: d.line, first: event.i, last: events.length, outcome: null };
        openWaits.set(d.wait, wait);
        model.waits.push(event.wait = wait);
        break;
      }
      case 'wait_ended': {
        const wait = openWaits.get(d.wait);
        if (wait) { Object.assign(wait, { to: event.t, last: event.i, outcome: d.outcome, matched: d.matched, load: d.host_load, speed: d.lane_speed }); openWaits.delete(d.wait); event.wait = wait; }
        break;
      }
      case 'screenshot': model.shots.push({ event, t: event.t, picture: trace.pictures[d.path], path: d.path, width: d.width, height: d.height }); break;
      case 'host_stalled': model.stalls.push({ from: event.t - (d.stalled_ms || 0) / 1000, to: event.t }); break;
    }
    event.text = tell(event);
    event.tone = toneOf(event);
  }
  model.hasEnd = events.some(event => event.name === 'attempt_ended');
  model.bySeq = new Map(events.map(event => [event.seq, event]));
  return model;
}
/** The event that the failure is about. */
function failingEvent(model, failure) {
  const line = failure?.line;
  const wrong = model.events.filter(event => event.tone === 'wrong' && !['attempt_ended', 'step_ended'].includes(event.name));
  const ofLine = wrong.find(event => line && (event.data.line === line || event.wait?.line === line));
  return ofLine || wrong[0] || model.events.find(event => event.tone === 'wrong' && event.name === 'step_ended')
    || model.events.find(event => event.name === 'attempt_ended') || model.events[model.events.length - 1];
}

/** The last event at or before a moment. */
function indexAt(events, t) {
  let low = 0, high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].t <= t) low = middle + 1; else high = middle;
  }
  return Math.max(0, low - 1);
}

/** The innermost call that was going on at an event. */
function lineAt(model, event, failure) {
  if (event.name === 'attempt_ended' && failure?.line) return failure.line;
  if (Number.isInteger(event.data?.line)) return event.data.line;
  if (event.wait) return event.wait.line;
  if (event.step) return event.step.line;
  const inside = it => it.first <= event.i && event.i <= it.last;
  const wait = model.waits.findLast(inside);
  if (wait) return wait.line;
  const step = model.steps.filter(inside).sort((a, b) => b.depth - a.depth)[0];
  return step?.line;
}

// ---------------------------------------------------------------- nearest misses
/** `a = 1` within the words of a matcher, with the names around it left out. */
function conditions(wanted) {
  const found = [];
  for (const match of wanted.matchAll(/(\w+) = ("(?:[^"\\]|\\.)*"|at least -?[\d.]+|at most -?[\d.]+|one of \{[^}]*\}|pattern "(?:[^"\\]|\\.)*"|absent|anything|[^{},\s]+)/g)) {
    found.push([match[1], match[2]]);
  }
  return found;
}
function holds(want, got) {
  const number = want.match(/^at (least|most) (-?[\d.]+)$/);
  if (number) return number[1] === 'least' ? got >= Number(number[2]) : got <= Number(number[2]);
  if (want === 'anything') return got !== undefined;
  if (want === 'absent') return got === undefined;
  if (want.startsWith('one of')) return want.slice(6).replace(/[{}]/g, '').split(',').some(it => it.trim() === JSON.stringify(got));
  if (want.startsWith('pattern')) { try { return new RegExp(JSON.parse(want.slice(8))).test(got); } catch { return false; } }
  return want === JSON.stringify(got);
}
const pairsOf = text => { const pairs = new Set(); for (let i = 0; i + 1 < text.length; i++) pairs.add(text.slice(i, i + 2)); return pairs; };
function likeness(a, b) {
  const one = pairsOf(a.toLowerCase()), two = pairsOf(b.toLowerCase());
  let both = 0;
  for (const pair of one) if (two.has(pair)) both++;
  return one.size + two.size ? 2 * both / (one.size + two.size) : 0;
}
/** What the wait's stream said since it matched last, the nearest first, with what differs. */
function nearestMisses(model, wait) {
  const stream = wait.call.split(':')[0];
  const earlier = model.waits.filter(it => it !== wait && it.call.split(':')[0] === stream && it.matched && it.last <= wait.first);
  const after = Math.max(0, ...earlier.map(it => model.bySeq.get(it.matched)?.i ?? 0));
  const names = { digest: ['digest_record'], serial: ['serial_line', 'serial_prompt'], keyboard: ['keyboard_leds'], agent: ['agent_state', 'clipboard', 'agent_replied'], lane: ['qmp_event', 'lane_state', 'lane_ended'] }[stream] || [];
  const seen = model.events.slice(after ? after + 1 : 0, Math.min(wait.last, model.events.length)).filter(event => names.includes(event.name) && event.seq !== wait.matched);
  const wanted = conditions(wait.wanted), subject = wait.wanted.match(/(\w+) = \{/)?.[1];
  const scored = seen.map(event => {
    let score = 0, why = [];
    if (event.name === 'digest_record') {
      const [name, fields] = recordOf(event.data);
      if (subject && name !== subject) return { event, score: likeness(subject, name) * 0.5, why: [`another record: wanted ${subject}`] };
      score = 2;
      for (const [key, want] of wanted) {
        const got = key === 'frame_counter' ? event.data.frame_counter : fields?.[key];
        if (holds(want, got)) score += 2; else why.push(`${key}: wanted ${want}, got ${got === undefined ? 'nothing' : JSON.stringify(got)}`);
      }
    } else score = likeness(wait.wanted.replace(/^text matching |^pattern /, ''), event.text) * 4;
    return { event, score, why };
  });
  return scored.sort((a, b) => b.score - a.score || b.event.i - a.event.i).slice(0, 5);
}

// ---------------------------------------------------------------- the page's frame
let view = null;
function setWhere(...children) { byId('where').replaceChildren(...children.flat().filter(Boolean)); }
const find = byId('find');
function show(next) {
  view?.close?.();
  view = null;
  find.value = '';
  byId('found').textContent = '';
  main.replaceChildren();
  view = next();
  find.placeholder = view.kind === 'overview' ? 'Filter tests' : 'Search events';
}
function remember(hash) { try { history.replaceState(null, '', hash); } catch { /* some viewers forbid it */ } }
const several = run.tests.length !== 1 || run.not_loaded.length > 0;

function route() {
  const [, test, attempt, seq] = location.hash.match(/^#\/(\d+)(?:\/(\d+)(?:\/(\d+))?)?/) || [];
  if (test !== undefined && run.tests[test]) openTest(Number(test), attempt && Number(attempt), seq && Number(seq));
  else if (several) show(overview);
  else openTest(0);
}
function openTest(index, number, seq) {
  const { attempts } = run.tests[index];
  const wrong = it => !['passed', 'skipped'].includes(it.verdict);
  const attempt = attempts.find(it => it.number === number) || attempts.findLast(wrong) || attempts[attempts.length - 1];
  show(() => traceView(index, attempt, seq));
}

// ---------------------------------------------------------------- the run
function overview() {
  byId('home').setAttribute('aria-current', 'page');
  const sorted = run.tests.map((test, index) => ({ test, index, rank: ORDER.indexOf(String(test.verdict)) }));
  for (const [index, broken] of run.not_loaded.entries()) {
    sorted.push({ broken, index, rank: -1 });
  }
  sorted.sort((a, b) => a.rank - b.rank || a.index - b.index);
  for (const item of sorted) item.search = clean(item.broken ? `not loaded ${item.broken.file} ${item.broken.failure.message}`
    : [verdictOf(item.test.verdict)[0], item.test.name, item.test.case, item.test.file, item.test.lane, ...(item.test.tags || []), failureOf(item.test)?.message].join(' ')).toLowerCase();
  const counts = new Map();
  for (const test of run.tests) counts.set(String(test.verdict), (counts.get(String(test.verdict)) || 0) + 1);
  const kinds = ORDER.filter(name => counts.has(name));
  const wrong = kinds.filter(name => !['passed', 'flaky', 'skipped'].includes(name)).reduce((sum, name) => sum + counts.get(name), run.not_loaded.length);
  const off = new Set();
  setWhere(el('span', { class: 'name' }, run.folder.split('/').pop() || 'run'));
  const longest = Math.max(1, ...run.tests.map(test => test.took_ms));
  const host = el('div', { id: 'tests', class: 'list', role: 'listbox', tabindex: 0, 'aria-label': 'Tests, those that did not pass first' });
  const list = new List(host, 32, renderRow, index => { select(index); open(); });
  const aside = run.waits.length ? el('section', { class: 'pane', 'aria-label': 'Tightest waits' },
    el('div', { class: 'head' }, el('h2', null, 'Tightest waits'), el('span', { class: 'muted' }, 'time used of the deadline')),
    waitList(run.waits.map(wait => ({ ...wait, used: wait.took_ms / wait.timeout_ms, title: run.tests[wait.test]?.name })),
      wait => openTest(wait.test, wait.attempt, wait.seq))) : null;
  const meta = [run.began.lane && `lane ${run.began.lane}`, run.began.jobs ? plural(run.began.jobs, 'job') : null, clock(run.began_ms),
    run.took_ms !== null ? `took ${span(run.took_ms)}` : null,
    run.began.shard ? `shard ${run.began.shard.index} of ${run.began.shard.total}: ${run.tests.length} of ${run.began.list_tests} tests` : null, run.folder];
  main.append(el('div', { class: 'overview' },
    el('section', { class: 'summary', 'aria-label': 'Summary' },
      el('h1', null, wrong ? el('span', { class: 'bad' }, `${wrong} of ${run.tests.length + run.not_loaded.length}`) : el('span', { class: 'good' }, plural(run.tests.length, 'test')),
        wrong ? ' did not pass' : counts.get('passed') === run.tests.length ? ' passed' : ', none failed'),
      el('div', { class: 'bar', role: 'presentation' }, kinds.map(name => el('i', { class: verdictOf(name)[2], css: { 'flex-grow': counts.get(name) } }))),
      el('div', { class: 'counts', role: 'group', 'aria-label': 'Verdicts shown' }, kinds.map(name => {
        const [word, sign, tone] = verdictOf(name);
        const chip = el('button', { class: 'chip', type: 'button', 'aria-pressed': 'true', onclick: () => { off.has(name) ? off.delete(name) : off.add(name); chip.setAttribute('aria-pressed', !off.has(name)); filter(find.value); } },
          el('span', { class: tone, 'aria-hidden': 'true' }, sign), `${counts.get(name)} ${word}`);
        return chip;
      }), run.not_loaded.length ? el('span', { class: 'pill bad' }, `${run.not_loaded.length} not loaded`) : null),
      el('div', { class: 'meta' }, meta.filter(Boolean).map(it => el('span', null, it))),
      runNotes()),
    el('div', { class: `columns${aside ? '' : ' single'}` },
      el('section', { class: 'pane' }, el('div', { class: 'row test header', 'aria-hidden': 'true' },
        el('span', { class: 'state' }, 'Verdict'), el('span', { class: 'title' }, 'Test'), el('span', { class: 'why' }, 'Why'), el('span', { class: 'lane' }, 'Lane'), el('span', { class: 'time' }, 'Time')), host),
      aside)));
  let words = [];
  function renderRow({ test, broken }) {
    if (broken) {
      return el('div', { class: 'row test', role: 'option' }, el('span', { class: 'state' }, el('span', { class: 'pill bad' }, '! not loaded')),
        el('span', { class: 'title' }, el('b', null, marked(broken.file, words))), el('span', { class: 'why' }, firstLine(broken.failure.message)), el('span', { class: 'lane' }), el('span', { class: 'time' }));
    }
    const failure = failureOf(test), why = failure ? firstLine(failure.message) : test.attempts.length ? '' : 'did not begin';
    const count = test.attempts.length > 1 ? ` · ${test.attempts.length} attempts` : '';
    return el('div', { class: 'row test', role: 'option' },
      el('span', { class: 'state' }, pill(test.verdict)),
      el('span', { class: 'title' }, el('b', null, marked(test.name + (test.case ? ` [${test.case}]` : ''), words)), el('small', null, marked(`${test.file}:${test.line}`, words), count)),
      el('span', { class: 'why', title: failure?.message }, marked(why, words)),
      el('span', { class: 'lane' }, marked(test.lane, words)),
      el('span', { class: 'time' }, el('i', { css: { width: `${Math.max(1, 36 * test.took_ms / longest)}px` } }), el('span', { class: test.is_slow ? 'warn' : null, title: test.is_slow ? 'slow' : null }, span(test.took_ms))));
  }
  function filter(text) {
    words = wordsOf(text);
    const items = sorted.filter(item => !(item.test && off.has(String(item.test.verdict))) && words.every(word => item.search.includes(word)));
    list.set(items);
    byId('found').textContent = words.length || off.size ? `${items.length} of ${sorted.length}` : '';
    select(items.length ? 0 : -1);
  }
  function select(index) { if (index < list.items.length) list.select(index); }
  function open() {
    const item = list.items[list.selected];
    if (item?.test) openTest(item.index);
    else if (item?.broken) show(() => brokenView(item.broken));
  }
  filter('');
  remember('#');
  host.focus({ preventScroll: true });
  performance.mark('backstaff-shown');
  return {
    kind: 'overview', search: filter,
    keys: {
      j: () => select(list.selected + 1), k: () => select(Math.max(0, list.selected - 1)), ArrowDown: () => select(list.selected + 1), ArrowUp: () => select(Math.max(0, list.selected - 1)),
      PageDown: () => select(Math.min(list.items.length - 1, list.selected + 15)), PageUp: () => select(Math.max(0, list.selected - 15)),
      Home: () => select(0), End: () => select(list.items.length - 1), g: () => select(0), G: () => select(list.items.length - 1), Enter: open, ArrowRight: open,
    },
    focus: () => host.focus(),
  };
}
function failureOf(test) { return test.attempts.findLast(attempt => attempt.failure && attempt.verdict !== 'passed')?.failure; }
function runNotes() {
  const notes = [];
  if (run.took_ms === null) notes.push('This run did not come to its end: it was killed, or still goes on.');
  if (run.ended_by) notes.push(`It ended before everything had run: ${run.ended_by.replace('_', ' ')}.`);
  if (run.left_out) notes.push(`Of ${plural(run.left_out, 'attempt')} the trace is left out, for the page holds ${Math.round(run.budget_bytes / 1e5) / 10} MB of traces at most; those that did not pass come first. A page of its own: backstaff trace FOLDER html`);
  return notes.map(note => el('p', { class: 'note' }, note));
}
function brokenView(broken) {
  setWhere(el('span', { class: 'name' }, broken.file));
  main.append(failureCard({ verdict: 'error', failure: broken.failure, source: broken.source }, null));
  return { kind: 'trace', search: () => {}, keys: { Escape: () => show(overview), ArrowLeft: () => show(overview) } };
}

/** Waits with the part of their time they took. */
function waitList(waits, choose) {
  const host = el('div', { id: 'waits', class: 'list', role: 'listbox', tabindex: 0, 'aria-label': 'Waits, the tightest first' });
  const list = new List(host, 44, wait => el('div', { class: 'row wait', role: 'option', title: clean(`${wait.call} ${wait.wanted}`) },
    el('span', { class: 'what' }, `${wait.call} ${wait.wanted}`),
    el('span', { class: 'under' }, gauge(wait.used, wait.outcome && wait.outcome !== 'matched'), el('span', { class: 'num' }, `${span(wait.took_ms)} of ${span(wait.timeout_ms)}`),
      el('span', { class: 'of' }, [wait.line && `line ${wait.line}`, wait.title].filter(Boolean).join(' · ')))), index => { list.select(index); choose(waits[index]); });
  host.addEventListener('keydown', event => {
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (!step && event.key !== 'Enter') return;
    event.preventDefault(); event.stopPropagation();
    if (step) list.select(Math.min(waits.length - 1, Math.max(0, list.selected + step)));
    else if (list.selected >= 0) choose(waits[list.selected]);
  });
  list.set(waits);
  return host;
}
function gauge(used, over) {
  const share = Math.min(1, Math.max(0, used || 0));
  return el('span', { class: `gauge${over ? ' over' : share > 0.75 ? ' tight' : ''}`, role: 'img', 'aria-label': `${Math.round(share * 100)} % of its time used` }, el('i', { css: { width: `${share * 100}%` } }));
}

// ---------------------------------------------------------------- the failure
function failureCard(attempt, test, extra) {
  const { failure } = attempt, [word, , tone] = verdictOf(attempt.verdict);
  const kind = tone === 'good' ? ' good-card' : attempt.verdict === 'skipped' ? ' plain-card' : tone === 'warn' ? ' warn-card' : '';
  const lines = String(failure?.message ?? '').split('\n');
  const near = lines.findIndex(line => line.startsWith('nearest miss'));
  const rest = near > 0 ? lines.slice(1, near) : lines.slice(1), miss = near > 0 ? lines.slice(near) : [];
  const message = failure ? lines[0] || 'failed without a word' : attempt.verdict ? word : 'no verdict: the program was killed, or the attempt still goes on';
  const chips = [
    attempt.further_misses ? el('span', { class: 'pill bad' }, `${plural(attempt.further_misses, 'further expectation')} did not hold`) : null,
    ...(attempt.host_notes || []).map(note => el('span', { class: 'pill warn' }, `host: ${note}`)),
    ...(attempt.warnings || []).map(note => el('span', { class: 'pill warn' }, `warning: ${note}`)),
  ].filter(Boolean);
  return el('section', { class: `failure${kind}`, id: 'failure', 'aria-label': failure ? 'Failure' : 'Verdict' },
    el('div', { class: 'words' },
      failure && (failure.file || failure.steps?.length) ? el('p', { class: 'place' }, failure.file ? el('b', null, `${failure.file}:${failure.line ?? '?'}`) : null,
        failure.steps?.length ? ` in step ${failure.steps.map(step => `"${step}"`).join(' › ')}` : null) : null,
      el('p', { class: 'message' }, message),
      rest.length ? el('pre', { class: 'more' }, rest.join('\n')) : null,
      miss.length ? el('pre', { class: 'near' }, miss.join('\n')) : null,
      failure?.hint ? el('p', { class: 'hint' }, el('b', null, 'hint: '), failure.hint) : null,
      failure?.traceback ? el('pre', { class: 'muted' }, failure.traceback) : null,
      attempt.why_not ? el('p', { class: 'note' }, `There is no trace of this attempt here: ${attempt.why_not}. Its folder is ${attempt.folder}`) : null,
      chips.length ? el('div', { class: 'chips' }, chips) : null, extra),
    attempt.source?.length ? el('div', { class: 'code', tabindex: 0, 'aria-label': 'Source of the failure' }, codeList(attempt.source, failure.line, true)) : null);
}

// ---------------------------------------------------------------- an attempt
function traceView(index, attempt, seq) {
  const test = run.tests[index];
  byId('home').removeAttribute('aria-current');
  const picker = test.attempts.length > 1 ? el('span', { class: 'attempts', role: 'group', 'aria-label': 'Attempts' }, test.attempts.map(it =>
    el('button', { type: 'button', 'aria-current': it === attempt ? 'true' : null, class: verdictOf(it.verdict)[2], title: verdictOf(it.verdict)[0], onclick: () => openTest(index, it.number) }, `${verdictOf(it.verdict)[1]} ${it.number}`))) : null;
  setWhere(pill(attempt ? attempt.verdict : test.verdict), el('span', { class: 'name', title: test.name }, test.name + (test.case ? ` [${test.case}]` : '')), picker,
    el('span', { class: 'meta' }, [`${test.file}:${test.line}`, `lane ${test.lane}`, span(attempt?.took_ms ?? test.took_ms)].join(' · ')));
  if (!attempt) {
    main.append(el('p', { class: 'empty' }, 'This test did not begin.'));
    return { kind: 'trace', search: () => {}, keys: { Escape: back } };
  }
  function back() { if (several) show(overview); }
  const notes = el('div', { class: 'chips' });
  const card = failureCard(attempt, test, notes);
  main.append(card);
  performance.mark('backstaff-shown');
  if (attempt.trace === undefined) return { kind: 'trace', search: () => {}, keys: { Escape: back } };

  const stage = el('div', { class: 'stage' });
  const timeline = el('section', { class: 'timeline', id: 'timeline', tabindex: 0, role: 'application', 'aria-label': 'Timeline: arrows move the moment, plus and minus zoom', 'aria-busy': 'true' }, stage);
  const found = byId('found');
  const rows = el('div', { id: 'events', class: 'list', role: 'listbox', tabindex: 0, 'aria-label': 'Events' });
  const chips = el('div', { class: 'chips-row', role: 'group', 'aria-label': 'Streams shown' });
  const tabs = el('div', { role: 'tablist' });
  const left = el('section', { class: 'pane', 'aria-label': 'Events and waits' }, el('div', { class: 'head' }, tabs, chips), rows);
  const frame = el('div', { class: 'frame' }), caption = el('div', { class: 'caption' });
  const detail = el('div', { class: 'detail', id: 'detail', tabindex: 0, 'aria-live': 'polite' });
  const code = el('div', { class: 'code lua', id: 'lua', tabindex: 0, 'aria-label': 'Lua' });
  const codeTitle = el('h2', null, 'Lua');
  const detailTitle = el('h2', null, 'Event');
  main.append(timeline, el('div', { class: 'panes' }, left,
    el('section', { class: 'pane', 'aria-label': 'Screen' }, el('div', { class: 'head' }, el('h2', null, 'Screen')), frame, caption),
    el('section', { class: 'pane', 'aria-label': 'Details' }, el('div', { class: 'head' }, detailTitle), detail, el('div', { class: 'head' }, codeTitle), code)));

  const state = { closed: false, model: null, selected: null, moment: 0, words: [], hidden: new Set(), lines: null, shown: [] };
  let list, strip, waits = null;
  const api = { kind: 'trace', search, repaint: () => strip?.paint(), close: () => { state.closed = true; tip.remove(); strip?.close(); }, focus: () => rows.focus(), keys: {} };
  const tip = el('div', { class: 'tip', hidden: true, role: 'presentation' });
  document.body.append(tip);

  Promise.all([unpack(`trace-${attempt.trace}`), scripts()]).then(([trace, texts]) => {
    if (state.closed) return;
    const model = state.model = modelOf(trace);
    const failing = failingEvent(model, attempt.failure);
    state.failing = ['passed', 'skipped'].includes(attempt.verdict) ? null : failing;
    state.texts = texts;
    say(trace, model);
    list = new List(rows, 22, renderEvent, index => choose(state.shown[index], { from: 'list' }));
    fillChips();
    fillTabs();
    strip = new Strip(stage, timeline, tip, model, state, choose);
    filter();
    if (!model.events.length) { frame.append(el('p', { class: 'empty' }, 'Nothing was noted.')); return; }
    const first = (seq && model.bySeq.get(seq)) || failing;
    choose(first, { moment: failing === first && attempt.failure?.screenshot ? shotOf(attempt.failure.screenshot)?.t : undefined, where: 'middle' });
    if (attempt.failure?.screenshot) addShot();
    timeline.removeAttribute('aria-busy');
    rows.focus({ preventScroll: true });
    requestAnimationFrame(() => requestAnimationFrame(() => performance.mark('backstaff-trace')));
  }).catch(error => {
    main.append(el('p', { class: 'note' }, `This trace cannot be shown: ${error}`));
    throw error;
  });

  function shotOf(path) { return state.model.shots.find(shot => shot.path === path); }
  function addShot() {
    const shot = shotOf(attempt.failure.screenshot), url = shot?.picture !== undefined && pictureUrl(shot.picture);
    if (url) card.append(el('button', { class: 'shot', type: 'button', title: 'The screen at the failure', onclick: () => enlarge(url, shot) }, el('img', { src: url, alt: 'The screen at the failure' })));
  }
  function say(trace, model) {
    const said = [];
    if (!model.hasEnd) said.push('the journal ends without an end: the program was killed, or still runs');
    if (trace.damaged_lines) said.push(`${plural(trace.damaged_lines, 'line')} of the journal cannot be read`);
    if (trace.left_out) said.push(`${plural(trace.left_out, 'event')} left out in the middle`);
    if (trace.pictures_left_out) said.push(`${plural(trace.pictures_left_out, 'screenshot')} left out for want of room`);
    const lost = model.shots.filter(shot => shot.picture === undefined).length - (trace.pictures_left_out || 0);
    if (lost > 0) said.push(`${plural(lost, 'screenshot')} not found`);
    notes.append(...said.map(text => el('span', { class: 'pill warn' }, text)));
  }

  // ---- events
  function renderEvent(event) {
    return el('div', { class: `row event ${event.tone}`, role: 'option', title: `${event.name}: ${event.text}`.slice(0, 600) },
      el('span', { class: 't' }, event.t.toFixed(3)), el('span', { class: `dot ${sourceClass(event.source)}`, title: event.source }),
      el('span', { class: 'what' }, el('span', { class: 'kind' }, event.lane ? `${event.lane}/` : '', marked(event.name, state.words), ' '), marked(event.text.slice(0, 400), state.words)));
  }
  function filter() {
    const { words, hidden, model } = state;
    state.shown = model.events.filter(event => !hidden.has(event.source)
      && words.every(word => (event.search ||= `${event.name} ${event.source} ${event.lane} ${event.text}`.toLowerCase()).includes(word)));
    for (const event of model.events) event.pos = -1;
    state.shown.forEach((event, pos) => { event.pos = pos; });
    list.set(state.shown);
    found.textContent = words.length ? `${state.shown.length.toLocaleString('en')} of ${model.events.length.toLocaleString('en')}` : '';
    if (state.selected) list.select(state.selected.pos, 'middle');
    strip.paint();
  }
  function search(text) {
    if (!state.model) return;
    state.words = wordsOf(text);
    filter();
    if (state.words.length && state.shown.length && state.selected?.pos < 0) choose(state.shown[0], { where: 'middle' });
  }
  function fillChips() {
    const counts = new Map();
    for (const event of state.model.events) counts.set(event.source, (counts.get(event.source) || 0) + 1);
    chips.replaceChildren(...[...counts].map(([source, count]) => {
      const chip = el('button', { class: 'chip', type: 'button', 'aria-pressed': 'true', title: `${plural(count, 'event')} of ${source || 'no stream'}; click to hide or show, with Alt only this one`, onclick: event => {
        const all = [...counts.keys()];
        if (event.altKey) state.hidden = new Set(all.filter(it => it !== source));
        else state.hidden.has(source) ? state.hidden.delete(source) : state.hidden.add(source);
        [...chips.children].forEach((it, at) => it.setAttribute('aria-pressed', !state.hidden.has(all[at])));
        filter();
      } }, el('span', { class: `dot ${sourceClass(source)}` }), source || '–');
      return chip;
    }));
  }
  function fillTabs() {
    const all = state.model.waits.map(wait => ({ ...wait, wait, took_ms: (wait.to - wait.from) * 1000, timeout_ms: wait.limit * 1000, used: (wait.to - wait.from) / wait.limit })).sort((a, b) => b.used - a.used);
    const make = (name, pick) => el('button', { class: 'tab', role: 'tab', type: 'button', onclick: pick }, name);
    const pick = which => () => {
      events.setAttribute('aria-selected', which === 0); waitTab.setAttribute('aria-selected', which === 1);
      rows.hidden = which === 1; chips.hidden = which === 1;
      rows.style.display = which === 1 ? 'none' : '';
      if (waits) { waits.remove(); waits = null; }
      if (which === 1) left.append(waits = waitList(all, item => choose(state.model.events[Math.min(item.wait.last, state.model.events.length - 1)] , { item: item.wait })));
    };
    const events = make(`Events ${state.model.events.length.toLocaleString('en')}`, pick(0)), waitTab = make(`Waits ${all.length}`, pick(1));
    tabs.append(events, waitTab);
    pick(0)();
    api.keys.w = () => { if (waits) { pick(0)(); rows.focus(); } else { pick(1)(); waits.focus(); } };
  }

  // ---- the moment
  function choose(event, { moment, where, from } = {}) {
    if (!event) return;
    state.selected = event;
    state.moment = moment ?? event.t;
    list.select(event.pos, where || (from === 'list' || from === 'key' ? undefined : 'middle'));
    strip.follow(state.moment);
    strip.paintOver();
    showFrame();
    showDetail(event);
    showLua(event);
    remember(`#/${index}/${attempt.number}/${event.seq}`);
  }
  function showFrame() {
    const { shots } = state.model;
    const usable = shots.filter(shot => shot.picture !== undefined);
    // What went wrong is followed by a picture of it, taken at once.
    const { selected, moment } = state;
    const taken = selected.tone === 'wrong' && usable.find(shot => shot.event.i > selected.i && shot.t >= moment && shot.t - moment < 1);
    const now = taken || usable.findLast(shot => shot.t <= moment + 1e-9) || usable[0];
    state.shot = now;
    if (!now) { frame.replaceChildren(el('p', { class: 'empty' }, shots.length ? 'The pictures of this attempt are not in this page.' : 'No screenshot was taken.')); caption.replaceChildren(); return; }
    if (frame.dataset.path !== now.path) {
      frame.dataset.path = now.path;
      const url = pictureUrl(now.picture);
      frame.replaceChildren(el('button', { type: 'button', title: 'Enlarge (Space)', onclick: () => enlarge(url, now) }, el('img', { src: url, alt: `Screen at ${at(now.t)}` })));
    }
    const apart = state.moment - now.t, position = usable.indexOf(now);
    const draws = apart > 0 ? state.model.events.filter(event => event.name === 'surface_drawn' && event.t > now.t && event.t <= state.moment).reduce((sum, event) => sum + (event.data.draws || 1), 0) : 0;
    const when = Math.abs(apart) < 0.0005 ? 'at this moment' : apart > 0 ? `${at(apart)} before this moment${draws ? `, ${plural(draws, 'draw')} since` : ', nothing drawn since'}` : `${at(-apart)} after this moment`;
    const goto = step => usable[position + step] && choose(usable[position + step].event);
    caption.replaceChildren(
      el('button', { class: 'icon', type: 'button', title: 'Previous picture ([)', 'aria-label': 'Previous picture', disabled: position === 0, onclick: () => goto(-1) }, '‹'),
      el('button', { class: 'icon', type: 'button', title: 'Next picture (])', 'aria-label': 'Next picture', disabled: position === usable.length - 1, onclick: () => goto(1) }, '›'),
      el('span', { title: now.path }, `${position + 1}/${usable.length} · ${at(now.t)} · ${when}`));
    api.keys['['] = () => goto(state.moment - now.t > 0.0005 ? 0 : -1);
    api.keys[']'] = () => goto(1);
    api.keys[' '] = () => enlarge(pictureUrl(now.picture), now);
  }
  function enlarge(url, shot) {
    const full = byId('full');
    full.replaceChildren(el('img', { src: url, alt: `Screen at ${at(shot.t)}` }));
    full.onclick = () => full.close();
    full.showModal();
  }

  // ---- what is known of an event
  function showDetail(event) {
    const { model } = state, d = event.data;
    detailTitle.textContent = clean(`${event.source} · ${event.name.replaceAll('_', ' ')}`);
    const parts = [el('h3', { class: event.tone === 'wrong' ? 'bad' : event.tone === 'caution' ? 'warn' : null }, el('span', { class: `dot ${sourceClass(event.source)}` }), el('span', null, event.text.slice(0, 2000)))];
    const facts = [['time', `${at(event.t)}${model.wall ? ` · ${new Date(model.wall + event.t * 1000).toISOString().slice(11, 23)} UTC` : ''}`], ['event', `#${event.seq}`]];
    if (event.lane) facts.push(['lane', event.lane]);
    const { wait, step } = event;
    if (wait) {
      const took = wait.to - wait.from, over = wait.outcome !== null && wait.outcome !== 'matched' && wait.outcome !== 'cancelled';
      const share = Math.round(100 * took / wait.limit), misses = nearestMisses(model, wait);
      const match = wait.matched !== undefined && wait.matched !== null && model.bySeq.get(wait.matched);
      parts.push(el('div', { class: `gauge${over ? ' over' : share > 75 ? ' tight' : ''}`, role: 'img', 'aria-label': `${share} % of its deadline used` }, el('i', { css: { width: `${Math.min(100, share)}%` } })),
        el('p', null, `${wait.outcome ?? 'did not end'} after ${span(took * 1000)} of ${span(wait.limit * 1000)}, `, el('b', null, wait.limit > took ? `${span((wait.limit - took) * 1000)} slack` : 'no slack')));
      if (match) parts.push(el('h2', null, 'Matched'), jump(match));
      if (misses.length) parts.push(el('h2', null, over || wait.outcome === null ? 'Nearest misses' : 'Passed over'), el('div', { class: 'misses' }, misses.map(miss =>
        el('button', { type: 'button', onclick: () => choose(miss.event) }, `${at(miss.event.t)}  ${miss.event.text}`.slice(0, 400), miss.why.length ? el('span', { class: 'why' }, miss.why.join('; ')) : null))));
      else if (over) parts.push(el('p', { class: 'muted' }, 'Nothing that could have matched was seen.'));
      if (wait.load !== undefined) facts.push(['host load', `${wait.load.toFixed(2)} per processor`]);
      if (wait.speed !== undefined) facts.push(['lane speed', `${Math.round(wait.speed * 100)} %`]);
      parts.push(el('h2', null, 'Wanted'), el('pre', null, wait.wanted), factList(facts));
    } else if (step) {
      facts.push(['step', step.path.join(' › ')], ['took', `${span((step.to - step.from) * 1000)} of ${span(step.limit * 1000)}`], ['outcome', step.passed === null ? 'did not end' : step.passed ? 'passed' : 'failed']);
      parts.push(factList(facts));
    } else {
      const blocks = [];
      for (const [key, value] of Object.entries(d && typeof d === 'object' ? d : { data: d })) {
        if (key === 'line' || value === null) continue;
        const text = typeof value === 'string' ? value : lua(value);
        if (text.length > 60 || text.includes('\n')) blocks.push(el('h2', null, key.replaceAll('_', ' ')), el('pre', null, text));
        else facts.push([key.replaceAll('_', ' '), text]);
      }
      parts.push(factList(facts), ...blocks);
    }
    detail.replaceChildren(...parts);
    detail.scrollTop = 0;
  }
  function factList(facts) { return el('dl', { class: 'facts' }, facts.map(([name, value]) => [el('dt', null, name), el('dd', null, value)])); }
  function jump(event) { return el('button', { class: 'jump', type: 'button', onclick: () => choose(event) }, `${at(event.t)}  ${event.text}`.slice(0, 400)); }

  function showLua(event) {
    const line = lineAt(state.model, event, attempt.failure), isFailure = line && attempt.failure?.line === line;
    const file = isFailure && attempt.failure.file || test.file, text = state.texts[file];
    codeTitle.textContent = clean(line ? `${file}:${line}` : file || 'Lua');
    if (text === undefined) { code.replaceChildren(el('p', { class: 'empty' }, line ? `Line ${line}; the text of the script is not in this page.` : 'The text of the script is not in this page.')); state.lines = null; return; }
    if (state.lines !== file) {
      state.lines = file;
      code.replaceChildren(codeList(text.split('\n').map((it, number) => [number + 1, it]), 0));
    }
    code.querySelector('.here')?.classList.remove('here', 'wrong');
    const row = line && code.firstChild.children[line - 1];
    if (!row) return;
    row.classList.add('here');
    row.classList.toggle('wrong', Boolean(isFailure && event.tone === 'wrong'));
    code.scrollTop = row.offsetTop - code.offsetTop - code.clientHeight / 2 + 9;
  }

  // ---- keys
  const move = step => {
    const { shown, selected } = state;
    if (!shown.length) return;
    const from = selected.pos >= 0 ? selected.pos : shown.findLastIndex(event => event.i < selected.i) + (step > 0 ? 0 : 1);
    choose(shown[Math.min(shown.length - 1, Math.max(0, from + step))], { from: 'key' });
  };
  const wander = share => {
    const t = Math.min(state.model.end, Math.max(0, state.moment + share * strip.width()));
    choose(state.model.events[indexAt(state.model.events, t)], { moment: t });
  };
  const wrongs = step => {
    const all = state.model.events.filter(event => event.tone === 'wrong');
    const next = step > 0 ? all.find(event => event.i > state.selected.i) : all.findLast(event => event.i < state.selected.i);
    choose(next || (step > 0 ? all[0] : all[all.length - 1]));
  };
  const when = act => (...rest) => { if (state.model?.events.length) act(...rest); };
  Object.assign(api.keys, {
    j: when(() => move(1)), k: when(() => move(-1)), ArrowDown: when(() => move(1)), ArrowUp: when(() => move(-1)), PageDown: when(() => move(20)), PageUp: when(() => move(-20)),
    Home: when(() => choose(state.shown[0])), End: when(() => choose(state.shown[state.shown.length - 1])), g: when(() => choose(state.shown[0])), G: when(() => choose(state.shown[state.shown.length - 1])),
    ArrowLeft: when(event => wander(event.shiftKey ? -0.1 : -0.01)), ArrowRight: when(event => wander(event.shiftKey ? 0.1 : 0.01)),
    '+': when(() => strip.zoom(0.5)), '=': when(() => strip.zoom(0.5)), '-': when(() => strip.zoom(2)), 0: when(() => strip.fit()),
    f: when(() => choose(failingEvent(state.model, attempt.failure), { where: 'middle' })), n: when(() => wrongs(1)), N: when(() => wrongs(-1)),
    Enter: when(() => { const { wait } = state.selected; const match = wait?.matched && state.model.bySeq.get(wait.matched); if (match) choose(match); }),
    Escape: () => {
      if (!tip.hidden) tip.hidden = true;
      if (state.words.length) { find.value = ''; search(''); } else if (strip && !strip.isWhole()) strip.fit(); else back();
    },
  });
  return api;
}

// ---------------------------------------------------------------- the timeline
const GUTTER = 92, RULER = 22, FILM = 62, TRACK = 20, BAR = 16;
class Strip {
  constructor(stage, timeline, tip, model, state, choose) {
    Object.assign(this, { stage, timeline, tip, model, state, choose, thumbs: new Map() });
    this.base = el('canvas', { 'aria-hidden': 'true' });
    this.over = el('canvas', { class: 'over', 'aria-hidden': 'true' });
    const button = (sign, name, act) => el('button', { class: 'icon', type: 'button', title: name, 'aria-label': name, onclick: act }, sign);
    stage.append(this.base, this.over, el('div', { class: 'zoom' }, button('−', 'Zoom out (-)', () => this.zoom(2)), button('+', 'Zoom in (+)', () => this.zoom(0.5)), button('⤢', 'All of it (0)', () => this.fit())));
    this.from = 0;
    this.to = this.length = model.end * 1.005;
    this.layout();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(timeline);
    this.resize();
    this.listen();
  }
  close() { this.observer.disconnect(); }
  width() { return this.to - this.from; }
  isWhole() { return this.from <= 0 && this.to >= this.length; }
  x(t) { return GUTTER + (t - this.from) / (this.to - this.from) * (this.w - GUTTER - 8); }
  t(x) { return this.from + (x - GUTTER) / (this.w - GUTTER - 8) * (this.to - this.from); }

  /** Which tracks there are, and where. */
  layout() {
    const { model } = this;
    const tracks = [];
    let y = RULER;
    const add = (name, height, extra) => { tracks.push({ name, y, height, marks: [], ...extra }); y += height; return tracks[tracks.length - 1]; };
    if (model.shots.length) this.film = add('Screen', FILM, { kind: 'film' });
    if (model.steps.length) add('Steps', (Math.max(...model.steps.map(step => step.depth)) + 1) * BAR + 4, { kind: 'steps', color: 'c-script' });
    if (model.waits.length) {
      const ends = [];
      for (const wait of model.waits) {
        let depth = ends.findIndex(end => end <= wait.from + 1e-6);
        if (depth < 0) depth = ends.length;
        ends[depth] = wait.to;
        wait.depth = Math.min(depth, 5);
      }
      add('Waits', Math.min(6, ends.length) * BAR + 4, { kind: 'waits', color: 'c-wait' });
    }
    const byTrack = new Map();
    for (const event of model.events) {
      if (['step_began', 'step_ended', 'wait_began', 'wait_ended', 'screenshot'].includes(event.name)) continue;
      const kind = event.source === 'script' ? 'Checks' : { keyboard: 'Input', digest: 'Digest', serial: 'Serial', qmp: 'QMP', agent: 'Agent', screen: 'Draws', lane: 'Lane', runner: 'Runner' }[event.source] || event.source || 'other';
      const key = `${event.lane}\0${kind}`;
      if (!byTrack.has(key)) byTrack.set(key, { lane: event.lane, kind, source: event.source, marks: [] });
      byTrack.get(key).marks.push(event);
    }
    const rank = kind => { const at = ['Checks', 'Input', 'Digest', 'Serial', 'QMP', 'Agent', 'Draws', 'Lane', 'Runner'].indexOf(kind); return at < 0 ? 50 : at; };
    const own = [...byTrack.values()].sort((a, b) => (a.kind === 'Checks' ? -1 : 0) - (b.kind === 'Checks' ? -1 : 0) || a.lane.localeCompare(b.lane) || rank(a.kind) - rank(b.kind));
    for (const { lane, kind, source, marks } of own) {
      const known = SOURCES.includes(source) ? source : 'runner';
      add(lane ? `${lane} · ${kind}` : kind, TRACK, { kind: kind === 'Lane' ? 'states' : 'marks', color: `c-${known}`, marks });
    }
    this.tracks = tracks;
    this.h = y + 6;
  }
  resize() {
    this.w = Math.max(320, this.timeline.clientWidth);
    const ratio = this.ratio = window.devicePixelRatio || 1;
    this.stage.style.height = `${this.h}px`;
    for (const canvas of [this.base, this.over]) {
      canvas.width = Math.round(this.w * ratio); canvas.height = Math.round(this.h * ratio);
      canvas.style.width = `${this.w}px`; canvas.style.height = `${this.h}px`;
    }
    this.paint();
  }
  paint() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); this.paintOver(); });
  }
  draw() {
    const c = colors(), g = this.base.getContext('2d');
    g.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    g.clearRect(0, 0, this.w, this.h);
    g.textBaseline = 'middle';
    for (const [index, track] of this.tracks.entries()) {
      if (index % 2) { g.fillStyle = c.raised; g.fillRect(0, track.y, this.w, track.height); }
      g.fillStyle = c.faint; g.fillRect(0, track.y + track.height - 1, this.w, 1);
    }
    this.drawRuler(g, c);
    g.save();
    g.beginPath(); g.rect(GUTTER, 0, this.w - GUTTER, this.h); g.clip();
    for (const stall of this.model.stalls) {
      g.fillStyle = c['warn-bg'];
      g.fillRect(this.x(stall.from), RULER, Math.max(2, this.x(stall.to) - this.x(stall.from)), this.h);
    }
    const { failing } = this.state;
    if (failing?.wait) { g.fillStyle = c['bad-bg']; g.fillRect(this.x(failing.wait.from), RULER, Math.max(1, this.x(failing.wait.to) - this.x(failing.wait.from)), this.h); }
    for (const track of this.tracks) {
      if (track.kind === 'film') this.drawFilm(g, c, track);
      else if (track.kind === 'steps') this.drawSteps(g, c, track);
      else if (track.kind === 'waits') this.drawWaits(g, c, track);
      else this.drawMarks(g, c, track);
    }
    if (failing) {
      const x = Math.round(this.x(failing.t));
      g.fillStyle = c.bad; g.fillRect(x, RULER - 4, 1.5, this.h);
      g.beginPath(); g.moveTo(x - 5, RULER - 9); g.lineTo(x + 6, RULER - 9); g.lineTo(x + 0.75, RULER - 2); g.fill();
    }
    g.restore();
    g.font = '11px system-ui, sans-serif'; g.textAlign = 'right';
    for (const track of this.tracks) { g.fillStyle = c.muted; g.fillText(cutTo(g, track.name, GUTTER - 14), GUTTER - 8, track.y + Math.min(track.height, track.kind === 'film' ? track.height : 22) / 2, GUTTER - 10); }
    g.fillStyle = c.line; g.fillRect(GUTTER - 1, 0, 1, this.h);
    if (!this.isWhole()) {
      g.fillStyle = c.muted;
      const span = this.w - GUTTER - 8;
      g.fillRect(GUTTER + this.from / this.length * span, this.h - 4, Math.max(8, this.width() / this.length * span), 3);
    }
  }
  drawRuler(g, c) {
    const wanted = this.width() / Math.max(2, (this.w - GUTTER) / 90);
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = [1, 2, 5, 10].map(it => it * power).find(it => it >= wanted);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    g.font = '11px system-ui, sans-serif'; g.textAlign = 'left';
    for (let t = Math.ceil(this.from / step) * step; t <= this.to; t += step) {
      const x = Math.round(this.x(t));
      g.fillStyle = c.faint; g.fillRect(x, RULER, 1, this.h);
      g.fillStyle = c.line; g.fillRect(x, RULER - 6, 1, 6);
      if (x < this.w - 120) { g.fillStyle = c.muted; g.fillText(`${t.toFixed(digits)} s`, x + 4, 9); }
    }
    g.fillStyle = c.line; g.fillRect(0, RULER - 1, this.w, 1);
  }
  drawFilm(g, c, track) {
    const { failing } = this.state, height = track.height - 12, taken = [];
    track.places = [];
    const shots = this.model.shots.filter(shot => shot.picture !== undefined && shot.t <= this.to);
    const inView = shots.filter((shot, index) => shot.t >= this.from || !shots[index + 1] || shots[index + 1].t > this.from);
    const failed = failing && inView.find(shot => shot.t >= failing.t - 0.001);
    const order = failed ? [failed, ...inView.filter(shot => shot !== failed)] : inView;
    for (const shot of order) {
      const width = Math.round(height * (shot.width || 4) / (shot.height || 3));
      const exact = this.x(Math.max(shot.t, this.from));
      const x = Math.max(GUTTER + 1, Math.min(exact, this.w - width - 6));
      if (!taken.some(([from, to]) => x < to + 3 && x + width + 3 > from)) {
        taken.push([x, x + width]);
        track.places.push({ from: x, to: x + width, shot });
        const thumb = this.thumb(shot.picture, width, height);
        g.fillStyle = '#000'; g.fillRect(x, track.y + 4, width, height);
        if (thumb) g.drawImage(thumb, x, track.y + 4, width, height);
        g.strokeStyle = shot === failed ? c.bad : c.line; g.lineWidth = shot === failed ? 2 : 1;
        g.strokeRect(x + 0.5, track.y + 4.5, width - 1, height - 1);
      }
      g.fillStyle = shot === failed ? c.bad : c.muted;
      g.fillRect(Math.round(exact), track.y + track.height - 7, 1.5, 5);
    }
  }
  thumb(picture, width, height) {
    const key = picture;
    if (this.thumbs.has(key)) return this.thumbs.get(key);
    this.thumbs.set(key, null);
    const image = new Image();
    image.src = pictureUrl(picture) || '';
    image.decode().then(() => createImageBitmap(image, { resizeWidth: Math.round(width * this.ratio), resizeHeight: Math.round(height * this.ratio), resizeQuality: 'high' }))
      .then(bitmap => { this.thumbs.set(key, bitmap); this.paint(); }, () => {});
    return null;
  }
  bar(g, from, to, y, height, fill, text, ink) {
    const x = Math.max(this.x(from), GUTTER - 2), width = Math.max(2, Math.min(this.x(to), this.w + 2) - x);
    if (x > this.w || x + width < GUTTER) return;
    g.fillStyle = fill;
    if (width > 5) { g.beginPath(); g.roundRect(x, y, width - 1, height, 3); g.fill(); } else g.fillRect(x, y, width, height);
    if (text && width > 26) { g.fillStyle = ink; g.textAlign = 'left'; g.font = '11px system-ui, sans-serif'; g.fillText(cutTo(g, text, width - 10), x + 5, y + height / 2 + 0.5); }
  }
  drawSteps(g, c, track) {
    for (const step of this.model.steps) {
      const wrong = step.passed === false;
      g.globalAlpha = 0.9;
      this.bar(g, step.from, step.to, track.y + 2 + step.depth * BAR, BAR - 2, step.passed === null ? c.warn : wrong ? c.bad : mix(c['c-script'], step.depth), step.path[step.path.length - 1], c.panel);
      g.globalAlpha = 1;
    }
  }
  drawWaits(g, c, track) {
    for (const wait of this.model.waits) {
      const y = track.y + 2 + wait.depth * BAR, over = wait.outcome !== null && !['matched', 'cancelled'].includes(wait.outcome);
      const until = Math.min(wait.from + wait.limit, this.length);
      // What was left of its time, as far as nothing else began there.
      const x = this.x(wait.to), width = this.x(until) - x;
      if (width > 1 && x < this.w && wait.outcome === 'matched') {
        g.strokeStyle = c['c-wait']; g.globalAlpha = 0.45; g.lineWidth = 1; g.setLineDash([2, 3]);
        g.beginPath(); g.moveTo(x, y + (BAR - 2) / 2); g.lineTo(Math.min(x + width, this.w), y + (BAR - 2) / 2); g.stroke();
        g.setLineDash([]);
        if (wait.from + wait.limit <= this.length) { g.beginPath(); g.moveTo(x + width, y); g.lineTo(x + width, y + BAR - 2); g.stroke(); }
        g.globalAlpha = 1;
      }
    }
    for (const wait of this.model.waits) {
      const y = track.y + 2 + wait.depth * BAR, over = wait.outcome !== null && !['matched', 'cancelled'].includes(wait.outcome);
      this.bar(g, wait.from, wait.to, y, BAR - 2, over ? c.bad : wait.outcome === null ? c.warn : c['c-wait'], `${wait.call} ${wait.wanted}`, c.panel);
    }
  }
  drawMarks(g, c, track) {
    const { words, hidden } = this.state, middle = track.y + track.height / 2;
    if (track.kind === 'states') {
      const states = track.marks.filter(event => event.name === 'lane_state');
      states.forEach((event, index) => {
        const to = states[index + 1]?.t ?? this.model.end, name = event.data.state;
        g.globalAlpha = name === 'ready' ? 0.28 : 0.55;
        if (name !== 'down') this.bar(g, event.t, to, track.y + 3, track.height - 7, name === 'ready' ? c.good : c['c-lane']);
        g.globalAlpha = 1;
        if (name !== 'down') this.bar(g, event.t, to, track.y + 3, track.height - 7, 'transparent', name, c.text);
      });
    }
    let last = -9, lastWrong = -9, lastAside = -9;
    for (const event of track.marks) {
      if (event.t < this.from - 60 || event.t > this.to) continue;
      if (track.kind === 'states' && event.name === 'lane_state') continue;
      const dim = hidden.has(event.source) || words.length && event.pos < 0;
      g.globalAlpha = dim ? 0.15 : 1;
      if (event.name === 'text_typed') { this.bar(g, event.t - event.data.took_ms / 1000, event.t, middle - 5, 10, c[track.color], `${event.data.chars} chars`, c.panel); continue; }
      const x = this.x(event.t), wrong = event.tone === 'wrong';
      if (x < GUTTER - 2) continue;
      if (event.name === 'surface_drawn') {
        const height = Math.min(track.height - 6, 3 + 2.2 * Math.log2(1 + (event.data.draws || 1)));
        g.fillStyle = c[track.color];
        g.fillRect(x, track.y + track.height - 3 - height, Math.max(1.5, this.x((event.data.until_us || 0) / 1e6) - x), height);
        continue;
      }
      // Marks on the same pixel are one, but for those that went wrong.
      const aside = event.tone === 'aside', before = wrong ? lastWrong : aside ? lastAside : last;
      if (x - before < 0.7 && (wrong || !words.length)) continue;
      if (wrong) lastWrong = x; else if (aside) lastAside = x; else last = x;
      g.fillStyle = wrong ? c.bad : event.tone === 'caution' ? c.warn : c[track.color];
      if (aside) { g.globalAlpha *= 0.5; g.fillRect(x, middle - 3, 1.2, 6); continue; }
      if (event.name === 'expectation' || event.name === 'always' || event.tone === 'caution') {
        g.fillStyle = wrong ? c.bad : event.tone === 'caution' ? c.warn : event.name === 'expectation' ? c.good : c[track.color];
        g.beginPath(); g.arc(x, middle, wrong ? 5 : 3.5, 0, 7); g.fill();
      } else g.fillRect(x - 0.75, middle - 6, 2, 12);
    }
    g.globalAlpha = 1;
  }
  paintOver() {
    const c = colors(), g = this.over.getContext('2d'), { state } = this;
    g.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    g.clearRect(0, 0, this.w, this.h);
    if (this.hover !== undefined) { g.fillStyle = c.muted; g.globalAlpha = 0.5; g.fillRect(Math.round(this.hover), RULER, 1, this.h); g.globalAlpha = 1; }
    if (!state.selected) return;
    const x = Math.round(this.x(state.moment));
    if (x < GUTTER - 1 || x > this.w) return;
    g.fillStyle = c.accent; g.fillRect(x - 0.5, RULER - 2, 2, this.h);
    const label = at(state.moment);
    g.font = '600 11px system-ui, sans-serif'; g.textBaseline = 'middle'; g.textAlign = 'center';
    const width = g.measureText(label).width + 10, middle = Math.min(this.w - width / 2 - 96, Math.max(GUTTER + width / 2, x));
    g.beginPath(); g.roundRect(middle - width / 2, 1, width, 17, 4); g.fill();
    g.fillStyle = c.panel; g.fillText(label, middle, 10);
    const track = this.tracks.find(it => it.marks.includes(state.selected));
    if (track) { g.strokeStyle = c.accent; g.lineWidth = 2; g.beginPath(); g.arc(this.x(state.selected.t), track.y + track.height / 2, 7, 0, 7); g.stroke(); }
  }
  /** Keeps a moment in view. */
  follow(t) {
    if (t >= this.from && t <= this.to) return;
    const width = this.width();
    this.set(t - width / 2, t + width / 2);
  }
  set(from, to) {
    const width = Math.min(this.length, Math.max(this.length / 20000, to - from));
    this.from = Math.max(0, Math.min(from, this.length - width));
    this.to = this.from + width;
    this.paint();
  }
  zoom(factor, around = this.state.moment) {
    const share = (around - this.from) / this.width(), width = Math.min(this.length, this.width() * factor);
    this.set(around - share * width, around + (1 - share) * width);
  }
  fit() { this.set(0, this.length); }

  /** The event nearest to a point, within a few pixels. */
  hit(x, y) {
    const track = this.tracks.find(it => y >= it.y && y < it.y + it.height);
    if (!track) return null;
    const t = this.t(x), reach = (this.to - this.from) / (this.w - GUTTER) * 6;
    if (track.kind === 'film') { const place = track.places?.find(it => x >= it.from && x <= it.to); return place ? place.shot.event : null; }
    if (track.kind === 'steps' || track.kind === 'waits') {
      const depth = Math.floor((y - track.y - 2) / BAR), all = track.kind === 'steps' ? this.model.steps : this.model.waits;
      const near = all.filter(it => it.depth === depth && it.from - reach <= t && t <= it.to + reach);
      const best = near.sort((a, b) => (a.to - a.from) - (b.to - b.from))[0];
      return best ? this.model.events[Math.min(best.last, this.model.events.length - 1)] : null;
    }
    let best = null, gap = reach;
    for (const event of track.marks) {
      const away = event.name === 'text_typed' && t <= event.t && t >= event.t - event.data.took_ms / 1000 ? reach / 2 : Math.abs(event.t - t);
      if (away < gap || away === gap && event.tone === 'wrong') { best = event; gap = away; }
    }
    return best;
  }
  listen() {
    const { over, timeline, tip } = this;
    let drag = null;
    const point = event => { const box = over.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    over.addEventListener('pointerdown', event => {
      if (event.button) return;
      const [x] = point(event);
      drag = { x, from: this.from, to: this.to, moved: false };
      over.setPointerCapture(event.pointerId);
    });
    over.addEventListener('pointermove', event => {
      const [x, y] = point(event);
      if (drag && (drag.moved || Math.abs(x - drag.x) > 4) && !this.isWhole()) {
        drag.moved = true; tip.hidden = true;
        const shift = (drag.x - x) / (this.w - GUTTER - 8) * (drag.to - drag.from);
        this.set(drag.from + shift, drag.to + shift);
        return;
      }
      this.hover = x >= GUTTER ? x : undefined;
      this.paintOver();
      if (x < GUTTER) { tip.hidden = true; return; }
      const near = this.hit(x, y);
      tip.replaceChildren(el('b', null, at(Math.max(0, near ? near.t : this.t(x)))), near ? ` ${near.name.replaceAll('_', ' ')} ${near.text.slice(0, 240)}` : '');
      tip.hidden = false;
      const box = tip.getBoundingClientRect();
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - box.width - 8)}px`;
      tip.style.top = `${Math.min(event.clientY + 18, innerHeight - box.height - 8)}px`;
    });
    over.addEventListener('pointerleave', () => { this.hover = undefined; tip.hidden = true; this.paintOver(); });
    over.addEventListener('pointerup', event => {
      const clicked = drag && !drag.moved;
      drag = null;
      if (!clicked) return;
      const [x, y] = point(event);
      if (x < GUTTER) return;
      const near = this.hit(x, y), t = Math.max(0, Math.min(this.model.end, this.t(x)));
      // Within a bar the moment is where the click was; the event is what the bar is about.
      const isBar = near && ['step_ended', 'step_began', 'wait_ended', 'wait_began'].includes(near.name);
      if (near) this.choose(near, { moment: isBar ? t : undefined, where: 'middle' });
      else this.choose(this.model.events[indexAt(this.model.events, t)], { moment: t, where: 'middle' });
      timeline.focus({ preventScroll: true });
    });
    over.addEventListener('dblclick', () => this.fit());
    timeline.addEventListener('wheel', event => {
      const scrolls = timeline.scrollHeight > timeline.clientHeight + 1;
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
      if (sideways) {
        event.preventDefault();
        const shift = (event.deltaX || event.deltaY) / (this.w - GUTTER) * this.width();
        this.set(this.from + shift, this.to + shift);
      } else if (!scrolls || event.ctrlKey || event.metaKey) {
        event.preventDefault();
        this.zoom(1.0015 ** event.deltaY, Math.max(0, this.t(point(event)[0])));
      }
    }, { passive: false });
  }
}
function mix(color, depth) { return depth ? color.replace(/^rgb\((.*)\)$/, (_, rgb) => `rgba(${rgb}, ${Math.max(0.45, 1 - depth * 0.22)})`) : color; }
const widths = new Map();
function cutTo(g, text, room) {
  text = clean(text);
  const key = `${Math.round(room)}\0${text}`;
  if (widths.has(key)) return widths.get(key);
  let shown = text;
  if (g.measureText(text).width > room) {
    let low = 0, high = Math.min(text.length, 400);
    while (low < high) { const middle = (low + high + 1) >> 1; if (g.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle; else high = middle - 1; }
    shown = low ? `${text.slice(0, low)}…` : '';
  }
  if (widths.size > 5000) widths.clear();
  widths.set(key, shown);
  return shown;
}

// ---------------------------------------------------------------- keys of the whole page
const KEYS = [
  ['j', 'k', 'or ↓ ↑', 'next, previous event (or test)'], ['←', '→', '', 'move the moment; with Shift ten times as far'], ['[', ']', '', 'previous, next picture'], ['Space', '', '', 'enlarge the picture'],
  ['f', '', '', 'to the failure'], ['n', 'N', '', 'next, previous event that went wrong'], ['Enter', '', '', 'open the test; of a wait, to what it matched'], ['w', '', '', 'waits instead of events, and back'],
  ['+', '-', '0', 'zoom in, out, all of it (wheel and drag, too)'], ['/', '', '', 'search or filter'], ['Esc', '', '', 'end the search, the zoom, the trace'], ['o', '', '', 'all tests'], ['t', '', '', 'theme: as the system, light, dark'], ['?', '', '', 'this'],
];
function help() {
  const dialog = byId('help');
  dialog.replaceChildren(el('h2', null, 'Keys'), el('dl', null, KEYS.map(([a, b, c, text]) => [el('dt', null, [a, b].filter(Boolean).map(key => el('kbd', null, key)), c && (c.length === 1 ? el('kbd', null, c) : el('span', { class: 'muted' }, c))), el('dd', null, text)])));
  dialog.onclick = event => { if (event.target === dialog) dialog.close(); };
  dialog.showModal();
}
const PAGE_KEYS = { '/': () => { find.focus(); find.select(); }, '?': help, t: nextTheme, o: () => { if (several) show(overview); } };
document.addEventListener('keydown', event => {
  if (document.querySelector('dialog[open]')) {
    if (event.key === '?' || event.key === ' ') { event.preventDefault(); document.querySelector('dialog[open]').close(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === find) {
    if (event.key === 'Escape') { event.preventDefault(); if (find.value) { find.value = ''; view?.search(''); } view?.focus?.(); }
    else if (event.key === 'Enter' || event.key === 'ArrowDown') { event.preventDefault(); view?.focus?.(); if (event.key === 'Enter' && view?.kind === 'overview') view.keys.Enter(); }
    return;
  }
  const onButton = event.target.closest?.('button, a') && ['Enter', ' '].includes(event.key);
  const inScroller = event.target.closest?.('.detail, .code') && /^(Arrow|Page|Home|End| )/.test(event.key);
  const act = PAGE_KEYS[event.key] || view?.keys?.[event.key];
  if (!act || onButton || inScroller) return;
  event.preventDefault();
  act(event);
});
let pending = 0;
find.addEventListener('input', () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(() => view?.search(find.value)); });
byId('home').addEventListener('click', () => several ? show(overview) : openTest(0));
byId('theme').addEventListener('click', nextTheme);
byId('help-button').addEventListener('click', help);
addEventListener('hashchange', route);
applyTheme();
route();
})();
