// The live view of one batch. Each part is { node, draw, end? }: `draw` gets all that Python
// has told and changes only what differs.
import { element } from "./dom.js";
import { failures } from "./failures.js";
import { mosaic } from "./mosaic.js";
import { announcer, bar, header, legend, note, notice, tiles } from "./numbers.js";
import { workers } from "./workers.js";

const TRAITS = ["progress", "snapshot", "filenames", "workers", "failures"];

function render({ model, el }) {
  const parts = [header(), bar(), legend(), note(), notice("waiting"), notice("unserved")];
  parts.push(tiles(), mosaic(), workers(), failures(), announcer());
  const root = element("section", "docnats-panel tex2jax_ignore mathjax_ignore");
  root.append(...parts.map((part) => part.node));
  el.append(root);

  const draw = () => {
    const told = Object.fromEntries(TRAITS.map((trait) => [trait, model.get(trait)]));
    const { buffer, byteOffset, byteLength } = told.snapshot;
    told.snapshot = new Uint8Array(buffer, byteOffset, byteLength);
    root.setAttribute("aria-label", `Progress of batch ${told.progress.batch}`);
    parts.forEach((part) => part.draw(told));
  };
  let frame = 0;
  const redraw = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw); // none while the tab is hidden
  };
  TRAITS.forEach((trait) => model.on(`change:${trait}`, redraw));
  draw(); // so that nothing is seen empty
  redraw(); // what needs to know how wide it is
  return () => {
    cancelAnimationFrame(frame);
    TRAITS.forEach((trait) => model.off(`change:${trait}`, redraw));
    parts.forEach((part) => part.end?.());
  };
}

export default { render };
