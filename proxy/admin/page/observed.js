// What routes that only observe would have come to with a cache.

import { $, bytes, count, el, keyed, percent, write } from "./dom.js";

const ratio = (part) => (part === null ? "–" : percent(part));
const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);

const create = ([name]) => el("tr", {},
  el("th", { scope: "row", class: "code" }, name), el("td", { class: "number asked" }),
  el("td", { class: "number" }, el("span", { class: "ratio" }), el("meter", { min: 0, max: 1, "aria-hidden": "true" })),
  el("td", { class: "number spared" }), el("td", { class: "wide quiet reasons" }));

// reasons are those against storing that are met most.
const reasons = (unstored) => Object.entries(unstored).sort(([, a], [, b]) => b - a).slice(0, 3)
  .map(([reason, n]) => `${count(n)} ${reason}`).join(" · ");

const update = (node, [, route]) => {
  write($(".asked", node), count(total(route.outcomes)));
  write($(".ratio", node), ratio(route.hit_ratio));
  $("meter", node).value = route.hit_ratio ?? 0;
  write($(".spared", node), ratio(route.offload_ratio));
  write($(".reasons", node), reasons(route.unstored) || "none");
};

// showObserved returns what shows an event.
export const showObserved = (section, note) => ({ status: { observed } }) => {
  section.hidden = !observed;
  if (!observed) return;
  write(note, `since the start · ${bytes(observed.bytes)} of ${bytes(observed.max_bytes)} would be stored · spared: hits, and what another request's fill would have answered`);
  keyed($("tbody", section), Object.entries(observed.routes).sort(([a], [b]) => (a < b ? -1 : 1)), ([name]) => name, create, update);
};
