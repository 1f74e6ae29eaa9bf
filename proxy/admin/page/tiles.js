// The figures at the top, each with its last five minutes.

import { $, attribute, bytes, count, duration, el, percent, plural, rate, svg, write } from "./dom.js";

const span = 300; // seconds that are shown
const width = 300;
const height = 36;
const gap = 3; // seconds without an event that are shown as such

const perSecond = (n) => [rate(n), "/s"];
const split = (text) => [text.slice(0, text.lastIndexOf(" ")), text.slice(text.lastIndexOf(" ") + 1)];
const share = (n) => split(percent(n));
const time = (n) => split(duration(n));

const quantiles = (of) => (of ? `p50 ${duration(of.p50)} · p90 ${duration(of.p90)}` : "no request in this second");

const leases = (fleet) => {
  if (!fleet) return "this instance is by itself";
  const up = fleet.nodes.filter((node) => node.up).length;
  return `${count(fleet.leases)} held, ${count(fleet.following)} followed · ${up} of ${plural(fleet.nodes.length, "node")} up`;
};

// figures: value is null where there is none, of is how it is written, max the
// scale where that is not what there was, and note the line below.
const figures = [
  { id: "requests", title: "Requests", value: (e) => e.rates.answers, of: perSecond,
    note: (e) => `${count(e.status.requests.in_flight)} in flight · ${bytes(e.rates.bytes)}/s` },
  { id: "hit-ratio", title: "Hit ratio", value: (e) => e.hit_ratio, of: share, max: 1,
    note: (e) => `${rate(e.rates.hits)}/s hits · ${rate(e.rates.forwarded)}/s not` },
  { id: "latency-hits", title: "Latency of hits, p99", value: (e) => e.latency.hits?.p99 ?? null, of: time,
    note: (e) => quantiles(e.latency.hits) },
  { id: "latency-rest", title: "Latency of the rest, p99", value: (e) => e.latency.rest?.p99 ?? null, of: time,
    note: (e) => quantiles(e.latency.rest) },
  { id: "collapsed", title: "Collapsed", value: (e) => e.rates.collapsed, of: perSecond,
    note: (e) => `${plural(e.status.flights.in_progress, "fill")}, ${count(e.status.flights.waiting)} waiting` },
  { id: "leases", title: "Leases", value: (e) => (e.status.fleet ? e.rates.leases : null), of: perSecond,
    note: (e) => leases(e.status.fleet) },
  { id: "errors", title: "Errors (5xx)", value: (e) => e.rates.errors, of: perSecond, grave: true,
    note: (e) => `${rate(e.rates.stale)}/s stale in their place` },
  { id: "memory", title: "Memory tier", value: (e) => e.status.memory.bytes / (e.status.memory.max_bytes || 1), of: share, max: 1, always: true,
    note: (e) => `${bytes(e.status.memory.bytes)} of ${bytes(e.status.memory.max_bytes)} · ${plural(e.status.memory.entries, "entry", "entries")}` },
];

const tile = (figure) => {
  const graph = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "area" }), svg("path", { class: "trace" }));
  return el("div", { class: figure.grave ? "tile grave-figure" : "tile", id: figure.id },
    el("h2", {}, figure.title),
    el("p", { class: "value" }, el("output", { "aria-live": "off" }, "–"), el("span", { class: "unit" })),
    el("p", { class: "quiet note" }),
    el("div", { class: "graph" }, graph, el("span", { class: "quiet scale" })));
};

// line is the path of what there was, [second, value], with a gap where there was
// nothing.
const line = (points, now, max) => {
  const x = (at) => (width * (at - now + span) / span).toFixed(1);
  const y = (value) => (height - 2 - (height - 4) * Math.min(value / max, 1)).toFixed(1);
  let trace = "", area = "", from = null, last = null;
  const close = () => { if (from !== null) area += `L${x(last)} ${height}L${x(from)} ${height}Z`; };
  for (const [at, value] of points) {
    const on = from !== null && at - last <= gap;
    if (!on) {
      close();
      from = at;
    }
    const step = `${on ? "L" : "M"}${x(at)} ${y(value)}`;
    trace += step;
    area += step;
    last = at;
  }
  close();
  return { trace, area };
};

// showTiles makes the tiles, and returns what shows an event in them.
export const showTiles = (parent) => {
  const history = new Map(figures.map((figure) => [figure, []]));
  parent.append(...figures.map(tile));
  return (event) => {
    const now = Date.parse(event.time) / 1000;
    for (const figure of figures) {
      const node = $(`#${figure.id}`, parent);
      write($(".note", node), figure.note(event));
      const value = event.seconds > 0 || figure.always ? figure.value(event) : null;
      const [text, unit] = value === null ? ["–", ""] : figure.of(value);
      write($("output", node), text);
      write($(".unit", node), unit);
      const points = history.get(figure);
      if (value !== null) points.push([now, value]);
      while (points.length && points[0][0] < now - span) points.shift();
      const most = Math.max(0, ...points.map((point) => point[1]));
      const { trace, area } = line(points, now, figure.max ?? (most || 1));
      attribute($(".trace", node), "d", trace);
      attribute($(".area", node), "d", area);
      write($(".scale", node), points.length > 1 ? `5 min, at most ${figure.of(most).join(figure.of === perSecond ? "" : " ")}` : "");
    }
  };
};
