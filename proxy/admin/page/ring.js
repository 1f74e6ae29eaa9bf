// The ring of an upstream: how much of the keys each server has, how it is, and
// how many requests it gets.

import { percent, plural, rate, svg } from "./dom.js";

const outer = 100, inner = 82, floor = 54;
const most = 14; // letters of a name
const ghost = 6; // degrees of a server that has no keys
const space = 1.4; // degrees between two
const least = 9; // degrees that are worth a name

const at = (degrees, radius) => {
  const radians = (degrees - 90) * Math.PI / 180;
  return `${(radius * Math.cos(radians)).toFixed(2)} ${(radius * Math.sin(radians)).toFixed(2)}`;
};

const arc = (from, to, inside, outside) => {
  const middle = (from + to) / 2; // a whole circle is two arcs
  return `M${at(from, outside)}A${outside} ${outside} 0 0 1 ${at(middle, outside)}A${outside} ${outside} 0 0 1 ${at(to, outside)}` +
    `L${at(to, inside)}A${inside} ${inside} 0 0 0 ${at(middle, inside)}A${inside} ${inside} 0 0 0 ${at(from, inside)}Z`;
};

const short = (name) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);

const label = (member, middle) => {
  const [x, y] = at(middle, outer + 9).split(" ").map(Number);
  const anchor = Math.abs(x) < 12 ? "middle" : x > 0 ? "start" : "end";
  const drop = y > 60 ? 8 : y < -60 ? -8 : -2;
  return svg("text", { x, y: y + drop, "text-anchor": anchor },
    svg("tspan", { class: "name" }, short(member.id)),
    svg("tspan", { class: "quiet", x, dy: "1.15em" }, member.ring > 0 ? percent(member.ring) : member.standing));
};

// drawRing draws the members: their id, standing, ring (part of the keys), rate
// (requests/s) and hue.
export const drawRing = (name, members) => {
  const ghosts = members.filter((member) => !(member.ring > 0)).length;
  const whole = Math.max(360 - ghosts * ghost, 180);
  const busiest = Math.max(...members.map((member) => member.rate), 1e-9);
  const live = members.filter((member) => member.standing === "live").length;
  const total = members.reduce((sum, member) => sum + member.rate, 0);
  const parts = [], labels = [];
  let from = 0;
  for (const member of members) {
    const isGhost = !(member.ring > 0);
    const size = isGhost ? Math.min(ghost, 180 / ghosts) : member.ring * whole;
    const [begin, end] = size >= 359 ? [from, from + size - 0.01] : [from + space / 2, from + Math.max(size - space / 2, space)];
    const title = svg("title", {}, `${member.id}: ${member.standing}, ${percent(member.ring)} of the keys, ${rate(member.rate)} requests/s`);
    const shape = svg("g", { class: isGhost ? "member ghost" : `member hue${member.hue} ${member.standing}` }, title,
      svg("path", { class: "share", d: arc(begin, end, inner, outer) }));
    if (!isGhost && member.rate > 0) {
      shape.append(svg("path", { class: "load", d: arc(begin, end, inner - 2 - (inner - 2 - floor) * member.rate / busiest, inner - 2) }));
    }
    parts.push(shape);
    if (isGhost || size >= least) labels.push(label(member, from + size / 2));
    from += size;
  }
  return svg("svg", { class: "ring", viewBox: "-190 -132 380 264", role: "img",
    "aria-label": `The ring of ${name}: ${members.map((member) => `${member.id} ${percent(member.ring)} ${member.standing}`).join(", ")}` },
  svg("circle", { r: floor, class: "floor" }), ...parts, ...labels,
  svg("text", { class: "middle", "text-anchor": "middle", y: 2 }, `${rate(total)}/s`),
  svg("text", { class: "quiet", "text-anchor": "middle", y: 20 }, `${live} of ${plural(members.length, "server")}`),
  svg("text", { class: "quiet", "text-anchor": "middle", y: 34 }, "live"));
};
