// What each live worker does now. A document keeps its line until it ends and lines are not
// taken away, so that nothing jumps while documents come and go.
import { element, write } from "./dom.js";

export function workers() {
  const node = element("details", "docnats-workers");
  const summary = element("summary", "", "Workers");
  const list = element("ul");
  const more = element("div", "docnats-more");
  const shown = new Map();
  node.open = true;
  node.append(summary, list, more);
  return {
    node,
    draw: ({ workers: { rows, more: others } }) => {
      node.hidden = rows.length === 0;
      write(more, others);
      for (const row of rows) {
        if (!shown.has(row.worker)) shown.set(row.worker, worker());
        const item = shown.get(row.worker);
        item.draw(row);
        if (item.node.parentNode !== list) list.append(item.node);
      }
      const alive = new Set(rows.map((row) => row.worker));
      for (const [name, item] of shown) {
        if (alive.has(name)) continue;
        item.node.remove();
        shown.delete(name);
      }
    },
  };
}

function worker() {
  const node = element("li", "docnats-worker");
  const head = element("div", "docnats-worker-head");
  const name = element("span");
  const detail = element("span");
  const lines = [];
  head.append(name, detail);
  node.append(head);
  return {
    node,
    draw: (row) => {
      write(name, row.worker);
      write(detail, row.detail);
      for (const [place, job] of placed(lines, row.jobs)) {
        if (!lines[place]) {
          lines[place] = line();
          node.append(lines[place].node);
        }
        lines[place].draw(job);
      }
    },
  };
}

// Pairs of line and job: jobs already shown where they are, new ones where a line is free.
function placed(lines, jobs) {
  const places = lines.map((shown) => jobs.find((job) => job.filename === shown.filename) ?? null);
  for (const job of jobs.filter((each) => !places.includes(each))) {
    const free = places.indexOf(null);
    places[free === -1 ? places.length : free] = job;
  }
  return places.entries();
}

function line() {
  const node = element("div", "docnats-job");
  const name = element("bdi", "docnats-filename");
  const doing = element("span", "docnats-doing");
  const meter = element("span", "docnats-meter");
  const filled = meter.appendChild(element("span"));
  node.append(name, doing, meter);
  const it = {
    node,
    filename: null,
    draw: (job) => {
      it.filename = job?.filename ?? null;
      write(name, it.filename ?? "\u00a0");
      name.title = it.filename ?? "";
      write(doing, job?.doing ?? "");
      meter.style.visibility = job ? "visible" : "hidden";
      filled.style.transform = `scaleX(${job?.share ?? 0})`;
    },
  };
  return it;
}
