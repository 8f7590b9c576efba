// The newest failures: a list that has nodes only for what is in view, and the whole text of
// the chosen one below it.
import { clamp, element, many, onKeys, write } from "./dom.js";

const ROW = 26; // pixels; the style sheet has the same
const ROWS = 6;

let lists = 0;

export function failures() {
  const node = element("details", "docnats-failures");
  const summary = element("summary");
  const list = element("div", "docnats-list");
  const rows = element("div", "docnats-rows");
  const text = element("div", "docnats-text");
  const id = `docnats-failures-${(lists += 1)}`;
  node.open = true;
  list.append(rows);
  node.append(summary, list, text);
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Failed documents and reasons, the newest first");
  rows.setAttribute("role", "presentation");

  let found = [];
  let chosen = null; // the job's id: its row moves when newer ones come in

  const show = () => {
    const first = clamp(Math.floor(list.scrollTop / ROW) - 2, 0, found.length);
    const inView = found.slice(first, first + ROWS + 4);
    rows.replaceChildren(
      ...inView.map((failure, place) => {
        const at = first + place;
        const item = row(failure);
        item.id = `${id}-${at}`;
        item.style.top = `${at * ROW}px`;
        item.setAttribute("aria-posinset", at + 1);
        item.setAttribute("aria-setsize", found.length);
        item.setAttribute("aria-selected", failure.job_id === chosen);
        item.addEventListener("click", () => choose(at));
        return item;
      }),
    );
    const at = found.findIndex((failure) => failure.job_id === chosen);
    text.hidden = at === -1;
    write(text, at === -1 ? "" : `${found[at].filename}\n${found[at].reason}`);
    if (at === -1) list.removeAttribute("aria-activedescendant");
    else list.setAttribute("aria-activedescendant", `${id}-${at}`);
  };
  const choose = (place) => {
    const at = clamp(place, 0, found.length - 1);
    chosen = found[at].job_id;
    list.scrollTop = clamp(list.scrollTop, (at + 1) * ROW - list.clientHeight, at * ROW);
    show();
  };
  const move = (step) => choose(found.findIndex((failure) => failure.job_id === chosen) + step);

  list.addEventListener("scroll", show);
  onKeys(list, {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    PageDown: () => move(ROWS),
    PageUp: () => move(-ROWS),
    Home: () => choose(0),
    End: () => choose(found.length - 1),
  });

  return {
    node,
    draw: ({ progress, failures: newest }) => {
      const failed = Math.max(progress.counts.failed, newest.length);
      const capped = failed > newest.length ? `, the newest ${newest.length}` : "";
      node.hidden = newest.length === 0;
      write(summary, `${many(failed, "failed document")}${capped}`);
      if (found === newest) return;
      found = newest;
      list.style.height = `${Math.min(found.length, ROWS) * ROW}px`;
      rows.style.height = `${found.length * ROW}px`;
      show();
    },
  };
}

function row({ filename, reason }) {
  const item = element("div", "docnats-failure");
  const name = element("bdi", "docnats-filename", filename);
  name.title = filename;
  item.setAttribute("role", "option");
  item.append(name, element("span", "docnats-reason", reason));
  return item;
}
