// One square a document on a canvas. Where they are too many, a square stands for several and
// has the colour of the state that needs most attention.
import { STATES, clamp, element, number, onKeys, write } from "./dom.js";

const LARGEST = 16; // of a square with its gap, in CSS pixels
const SMALLEST = 4;
const TALLEST = 124;
const ATTENTION = ["failed", "running", "cancelled", "uploading", "queued", "done"];
const RANK = Uint8Array.from(STATES, (name) => ATTENTION.indexOf(name));
const WAITING = new Set(["uploading", "queued"]);
const NOWHERE = -1;

export function mosaic() {
  const node = element("div", "docnats-mosaic");
  const field = element("div", "docnats-field");
  const canvas = element("canvas");
  const cursor = element("div", "docnats-cursor");
  const caption = element("div", "docnats-caption");
  field.append(canvas, cursor);
  node.append(field, caption);
  field.setAttribute("role", "slider");
  field.setAttribute("aria-label", "Documents one by one");
  field.setAttribute("aria-valuemin", "1");

  let jobs = new Uint8Array(0);
  let names = [];
  let grid = null;
  let drawn = new Uint8Array(0); // the rank of each square as it is on the canvas
  let chosen = NOWHERE;

  const paint = () => {
    const wanted = arrange(jobs.length, field.clientWidth, devicePixelRatio);
    if (!same(grid, wanted)) {
      grid = wanted;
      canvas.width = grid.columns * grid.pitch;
      canvas.height = grid.rows * grid.pitch; // this clears it, too
      canvas.style.width = `${canvas.width / grid.ratio}px`;
      canvas.style.height = `${canvas.height / grid.ratio}px`;
      drawn = new Uint8Array(0);
    }
    const squares = ranks(jobs, grid.each);
    fill(canvas, grid, squares, drawn);
    drawn = squares;
    point(Math.min(chosen, squares.length - 1));
  };
  const point = (square) => {
    chosen = square;
    cursor.hidden = square === NOWHERE;
    write(caption, square === NOWHERE ? whole(grid.each) : describe(square, grid.each, jobs, names));
    if (square === NOWHERE) return;
    const size = grid.pitch / grid.ratio;
    const left = (square % grid.columns) * size;
    const top = Math.floor(square / grid.columns) * size;
    cursor.style.transform = `translate(${left}px, ${top}px)`;
    cursor.style.width = cursor.style.height = `${(grid.pitch - grid.gap) / grid.ratio}px`;
    field.setAttribute("aria-valuenow", square * grid.each + 1);
    field.setAttribute("aria-valuetext", caption.textContent);
  };
  const move = (step) => point(clamp(chosen + step, 0, drawn.length - 1));

  field.addEventListener("pointermove", (event) => {
    const column = Math.floor((event.offsetX * grid.ratio) / grid.pitch);
    const row = Math.floor((event.offsetY * grid.ratio) / grid.pitch);
    const square = row * grid.columns + column;
    point(column < grid.columns && square < drawn.length ? square : NOWHERE);
  });
  field.addEventListener("pointerleave", () => point(NOWHERE));
  field.addEventListener("focus", () => chosen === NOWHERE && point(0));
  field.addEventListener("blur", () => point(NOWHERE));
  onKeys(field, {
    ArrowRight: () => move(1),
    ArrowLeft: () => move(-1),
    ArrowDown: () => move(grid.columns),
    ArrowUp: () => move(-grid.columns),
    Home: () => point(0),
    End: () => point(drawn.length - 1),
  });
  const resized = new ResizeObserver(() => jobs.length && paint());
  resized.observe(field);

  return {
    node,
    draw: ({ snapshot, filenames }) => {
      jobs = snapshot;
      names = filenames;
      node.hidden = jobs.length === 0;
      if (node.hidden || field.clientWidth === 0) return;
      field.setAttribute("aria-valuemax", jobs.length);
      paint();
    },
    end: () => resized.disconnect(),
  };
}

// As few documents a square as the smallest squares allow, then the largest squares that fit.
// Lengths are in the screen's own pixels, so that edges are sharp.
function arrange(count, width, ratio) {
  const columnsOf = (size) => Math.max(1, Math.floor((width * ratio) / Math.round(size * ratio)));
  const rowsOf = (size) => Math.floor((TALLEST * ratio) / Math.round(size * ratio));
  const each = Math.max(1, Math.ceil(count / (columnsOf(SMALLEST) * rowsOf(SMALLEST))));
  const squares = Math.ceil(count / each);
  let size = LARGEST;
  while (size > SMALLEST && squares > columnsOf(size) * rowsOf(size)) size -= 1;
  const columns = columnsOf(size);
  const gap = Math.max(1, Math.round((size >= 10 ? 2 : 1) * ratio));
  const pitch = Math.round(size * ratio);
  return { columns, rows: Math.ceil(squares / columns), pitch, gap, each, ratio, count };
}

function same(one, other) {
  return one !== null && Object.keys(other).every((key) => one[key] === other[key]);
}

function ranks(jobs, each) {
  const found = new Uint8Array(Math.ceil(jobs.length / each)).fill(ATTENTION.length - 1);
  for (let job = 0; job < jobs.length; job += 1) {
    const square = each === 1 ? job : Math.floor(job / each);
    const rank = RANK[jobs[job]];
    if (rank < found[square]) found[square] = rank;
  }
  return found;
}

function fill(canvas, { columns, pitch, gap }, squares, drawn) {
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const size = pitch - gap;
  const colours = ATTENTION.map((name) => style.getPropertyValue(`--docnats-${name}`));
  for (let square = 0; square < squares.length; square += 1) {
    const rank = squares[square];
    if (rank === drawn[square]) continue;
    const left = (square % columns) * pitch;
    const top = Math.floor(square / columns) * pitch;
    context.clearRect(left, top, pitch, pitch);
    context.globalAlpha = WAITING.has(ATTENTION[rank]) ? 0.4 : 1;
    context.fillStyle = colours[rank];
    if (size < 8) {
      context.fillRect(left, top, size, size);
    } else {
      context.beginPath();
      context.roundRect(left, top, size, size, size / 6);
      context.fill();
    }
  }
}

function whole(each) {
  return each === 1
    ? "One square a document"
    : `One square is ${number(each)} documents; failed and running ones show first`;
}

function describe(square, each, jobs, names) {
  const first = square * each;
  const last = Math.min(first + each, jobs.length) - 1;
  const states = Array.from(jobs.subarray(first, last + 1), (code) => STATES[code]);
  const state = ATTENTION.find((name) => states.includes(name));
  const name = names[first + states.indexOf(state)];
  if (each === 1) return [`${number(first + 1)}`, name, state].filter(Boolean).join(" · ");
  const counts = ATTENTION.map((each) => [each, states.filter((found) => found === each).length])
    .filter(([, count]) => count)
    .map(([found, count]) => `${number(count)} ${found}`);
  const example = name && `${state}: ${name}`;
  return [`${number(first + 1)} to ${number(last + 1)}`, counts.join(", "), example]
    .filter(Boolean)
    .join(" · ");
}
