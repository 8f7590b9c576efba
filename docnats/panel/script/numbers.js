// Title, bar, legend and tiles: the batch in numbers. The words come from Python.
import { element, number, share, write } from "./dom.js";

const SECONDS_BETWEEN_WORDS = 10; // for a screen reader

export function header() {
  const node = element("div", "docnats-header");
  const title = element("strong", "docnats-title");
  const percent = element("span", "docnats-percent");
  node.append(title, percent);
  return {
    node,
    draw: ({ progress }) => {
      write(title, progress.title);
      const ended = Math.floor(100 * share(progress.ended, progress.total));
      write(percent, progress.total ? `${ended} %` : "");
    },
  };
}

export function bar() {
  const node = element("div", "docnats-bar");
  const segment = keyed(node, (name) => element("div", `docnats-segment docnats-${name}`));
  node.setAttribute("role", "progressbar");
  node.setAttribute("aria-label", "Documents that have ended");
  node.setAttribute("aria-valuemin", "0");
  return {
    node,
    draw: ({ progress }) => {
      node.setAttribute("aria-valuemax", Math.max(progress.total, 1));
      node.setAttribute("aria-valuenow", progress.ended);
      node.setAttribute("aria-valuetext", progress.headline);
      for (const [name, count] of Object.entries(progress.counts)) {
        segment(name).style.flexGrow = count;
        segment(name).hidden = count === 0;
      }
    },
  };
}

export function legend() {
  const node = element("ul", "docnats-legend");
  const entry = keyed(node, (name) => {
    const item = element("li", `docnats-${name}`);
    item.append(element("span", "docnats-dot"), element("span", "docnats-count"), ` ${name}`);
    return item;
  });
  return {
    node,
    draw: ({ progress }) => {
      for (const [name, count] of Object.entries(progress.counts)) {
        write(entry(name).children[1], number(count));
        entry(name).hidden = count === 0;
      }
      node.hidden = progress.total === 0;
    },
  };
}

export function tiles() {
  const node = element("ul", "docnats-tiles");
  const tile = keyed(node, (label) => {
    const item = element("li", "docnats-tile");
    item.append(
      element("div", "docnats-label", label),
      element("div", "docnats-value"),
      element("div", "docnats-detail"),
    );
    return item;
  });
  return {
    node,
    draw: ({ progress }) => {
      const shown = new Set();
      for (const [label, value, detail] of progress.tiles) {
        const [, valueNode, detailNode] = tile(label).children;
        write(valueNode, value);
        write(detailNode, detail);
        shown.add(tile(label));
      }
      for (const item of node.children) item.hidden = !shown.has(item);
    },
  };
}

export function note() {
  const it = notice("note");
  it.node.setAttribute("role", "alert");
  return it;
}

// One of the sentences in `progress`. Not an alert by itself: its numbers change all the time.
// The announcer says it now and then.
export function notice(name) {
  const node = element("div", `docnats-note docnats-${name}`);
  return {
    node,
    draw: ({ progress }) => {
      node.hidden = !progress[name];
      write(node, progress[name] ?? "");
    },
  };
}

export function announcer() {
  const node = element("div", "docnats-announcer");
  node.setAttribute("role", "status");
  let spoken = -Infinity;
  let waited = "";
  return {
    node,
    draw: ({ progress }) => {
      const changed = progress.waiting_for !== waited;
      const due = progress.finished || progress.elapsed - spoken >= SECONDS_BETWEEN_WORDS;
      if (!changed && !due) return;
      const back = changed && waited && "Connected again";
      waited = progress.waiting_for;
      spoken = progress.elapsed;
      write(node, [waited || back, progress.unserved, progress.headline].filter(Boolean).join(". "));
    },
  };
}

// Makes a child the first time its key is asked for.
function keyed(parent, make) {
  const children = new Map();
  return (key) => {
    if (!children.has(key)) children.set(key, parent.appendChild(make(key)));
    return children.get(key);
  };
}
