// What the parts share. Text from outside goes into the page as text only, never as HTML.

// By the byte that stands for one in the snapshot.
export const STATES = ["uploading", "queued", "running", "done", "failed", "cancelled"];

export function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

// A new text means a new layout, so the same text is left alone.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function number(value) {
  return value.toLocaleString("en-US");
}

export function many(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

export function share(part, whole) {
  return whole > 0 ? part / whole : 0;
}

export function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}

// Handles keys as a control of its own: JupyterLab's shortcuts would move to another cell.
export function onKeys(node, actions) {
  node.tabIndex = 0;
  node.setAttribute("data-lm-suppress-shortcuts", "true");
  node.addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  });
}
