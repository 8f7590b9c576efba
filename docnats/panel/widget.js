// The live view of one batch. Each part is { node, draw }: `draw` gets the state and changes
// only what is already there. All text goes in through textContent, never as HTML.

const TRAITS = ["snapshot", "failures"];
const LIVE_SECONDS = 10; // how often a screen reader hears about a running batch, at most

export default {
  render({ model, el }) {
    const parts = [header(), bar(), legend(), facts(), failures(), announcer()];
    const root = element("section", "docnats-panel tex2jax_ignore");
    root.append(...parts.map((part) => part.node));
    el.append(root);

    const draw = () => {
      const state = { ...model.get("snapshot"), failures: model.get("failures") };
      root.setAttribute("aria-label", `Progress of batch ${state.batch}`);
      parts.forEach((part) => part.draw(state));
    };
    let frame = 0;
    const redraw = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(draw); // none while the tab is hidden
    };
    TRAITS.forEach((trait) => model.on(`change:${trait}`, redraw));
    draw();
    return () => {
      cancelAnimationFrame(frame);
      TRAITS.forEach((trait) => model.off(`change:${trait}`, redraw));
    };
  },
};

function header() {
  const node = element("div", "docnats-header");
  const title = element("strong", "docnats-title");
  const percent = element("span", "docnats-percent");
  node.append(title, percent);
  return {
    node,
    draw: (state) => {
      title.textContent = headline(state);
      percent.textContent = `${Math.floor(100 * share(state.ended, state.total))} %`;
    },
  };
}

function bar() {
  const node = element("div", "docnats-bar");
  const segments = new Map();
  node.setAttribute("role", "progressbar");
  node.setAttribute("aria-label", "Documents that have ended");
  node.setAttribute("aria-valuemin", "0");
  const segment = (name) => {
    if (!segments.has(name)) {
      segments.set(name, node.appendChild(element("div", `docnats-segment docnats-${name}`)));
    }
    return segments.get(name);
  };
  return {
    node,
    draw: (state) => {
      node.setAttribute("aria-valuemax", state.total);
      node.setAttribute("aria-valuenow", state.ended);
      node.setAttribute("aria-valuetext", headline(state));
      for (const [name, count] of Object.entries(state.counts)) {
        segment(name).style.flexGrow = count;
        segment(name).hidden = count === 0;
      }
    },
  };
}

function legend() {
  const node = element("ul", "docnats-legend");
  const entries = new Map();
  const entry = (name) => {
    if (!entries.has(name)) {
      const item = node.appendChild(element("li", `docnats-${name}`));
      const count = element("span", "docnats-count");
      item.append(element("span", "docnats-dot"), count, ` ${name}`);
      entries.set(name, { item, count });
    }
    return entries.get(name);
  };
  return {
    node,
    draw: (state) => {
      for (const [name, count] of Object.entries(state.counts)) {
        entry(name).count.textContent = number(count);
        entry(name).item.hidden = count === 0 && name !== "done";
      }
    },
  };
}

function facts() {
  const node = element("ul", "docnats-facts");
  const fact = (label) => {
    const item = node.appendChild(element("li"));
    const value = element("span", "docnats-value");
    const unit = element("span");
    item.append(value, " ", unit);
    return (text, name = label) => {
      value.textContent = text;
      unit.textContent = name;
      item.hidden = text === null;
    };
  };
  const pages = fact("pages");
  const rate = fact("pages/s");
  const elapsed = fact("elapsed");
  const remaining = fact("left");
  const batch = node.appendChild(element("li", "docnats-batch"));
  return {
    node,
    draw: (state) => {
      const { pages_per_second: speed, remaining: left } = state;
      pages(number(state.pages), state.pages === 1 ? "page" : "pages");
      rate(speed === null ? null : number(speed, speed < 10 ? 1 : 0));
      elapsed(duration(state.elapsed));
      remaining(state.finished || left === null ? null : `about ${duration(left)}`);
      batch.textContent = state.batch;
    },
  };
}

function failures() {
  const node = element("details", "docnats-failures");
  const summary = element("summary");
  const list = element("ul");
  list.tabIndex = 0; // it scrolls, so the keyboard must reach it
  list.setAttribute("aria-label", "Failed documents and reasons, the newest first");
  node.append(summary, list);
  let shown = null;
  return {
    node,
    draw: (state) => {
      node.hidden = state.failures.length === 0;
      const failed = Math.max(state.counts.failed, state.failures.length);
      const capped = failed > state.failures.length;
      const newest = capped ? `, the newest ${state.failures.length}` : "";
      summary.textContent = `${many(failed, "failed document")}${newest}`;
      if (shown !== state.failures) {
        shown = state.failures;
        list.replaceChildren(...shown.map(failure));
      }
    },
  };
}

function failure({ filename, reason }) {
  const item = element("li");
  const name = element("bdi", "docnats-filename");
  const why = element("span", "docnats-reason");
  name.textContent = name.title = filename;
  why.textContent = reason;
  item.append(name, why);
  return item;
}

function announcer() {
  const node = element("div", "docnats-announcer");
  node.setAttribute("role", "status");
  node.setAttribute("aria-live", "polite");
  let spoken = -Infinity;
  return {
    node,
    draw: (state) => {
      if (state.finished || state.elapsed - spoken >= LIVE_SECONDS) {
        spoken = state.elapsed;
        const text = headline(state);
        if (node.textContent !== text) node.textContent = text;
      }
    },
  };
}

function headline({ counts, total }) {
  const failed = counts.failed ? `, ${number(counts.failed)} failed` : "";
  return `${number(counts.done)} of ${many(total, "document")} done${failed}`;
}

function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function number(value, digits = 0) {
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

function many(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function share(part, whole) {
  return whole > 0 ? part / whole : 0;
}

function element(tag, className = "") {
  const node = document.createElement(tag);
  node.className = className;
  return node;
}
