// The hottest keys, and the requests that failed last.

import { $, attribute, clock, count, el, keyed, percent, write } from "./dom.js";

const shown = 12; // keys
const told = 7; // failures
const cutAt = 128; // bytes of a key's text that are kept

// isHeld says that somebody points at a list or is in it: what moves then is hit
// by accident.
const isHeld = (table) => table.matches(":hover, :focus-within");

// showHot returns what shows an event. explain and purge take what was chosen to
// their forms.
export const showHot = (table, note, explain, purge) => {
  const create = (key) => {
    const asks = el("button", { type: "button", class: "plain", "aria-label": `Explain ${key.text}` }, "Explain");
    asks.addEventListener("click", () => explain(`http://${key.text}`));
    const purges = el("button", { type: "button", class: "plain purges", "aria-label": `Purge ${key.text}` }, "Purge");
    purges.addEventListener("click", () => purge(key.key));
    asks.hidden = key.text.length >= cutAt;
    return el("tr", {},
      el("td", { class: "key" }, el("span", { class: "code", title: `key ${key.key}` }, key.text),
        el("meter", { min: 0, max: 1, "aria-hidden": "true" })),
      el("td", { class: "number requests" }), el("td", { class: "wide code" }, key.route),
      el("td", { class: "actions" }, asks, purges));
  };
  return (event) => {
    const { seconds, keys } = event.hot_keys, held = isHeld(table);
    write(note, keys.length ? `estimated over ${Math.round(seconds)} s${held ? " · held while you are here" : ""}` : "");
    table.parentElement.dataset.empty = keys.length === 0;
    if (held) return;
    const most = keys[0]?.requests || 1;
    keyed($("tbody", table), keys.slice(0, shown), (key) => key.key, create, (node, key) => {
      write($(".requests", node), count(key.requests));
      $("meter", node).value = key.requests / most;
      $(".purges", node).hidden = event.status.read_only;
      attribute(node, "title", `${percent(key.requests / most)} of the hottest one`);
    });
  };
};

// showFailures returns what shows an event.
export const showFailures = (table, note) => {
  let newest = "";
  const create = (f) => el("tr", {},
    el("td", { class: "number" }, el("time", { datetime: f.time }, clock(f.time))),
    el("td", {}, el("span", { class: "badge bad" }, String(f.status))),
    el("td", {}, el("span", { class: "code" }, `${f.method} ${f.url}`),
      el("span", { class: "quiet why" }, [f.error.includes(f.kind) ? "" : f.kind, f.error, f.skipped && `${count(f.skipped)} more before it`].filter(Boolean).join(" · "))));
  return (event) => {
    const list = event.failures.slice(0, told);
    table.parentElement.dataset.empty = list.length === 0;
    const now = JSON.stringify([list[0]?.time, list.length]);
    if (now === newest || isHeld(table)) return;
    newest = now;
    write(note, event.failures.length > told ? `the last ${told} of ${event.failures.length} that are kept` : "");
    $("tbody", table).replaceChildren(...list.map(create));
  };
};
