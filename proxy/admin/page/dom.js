// Nodes and texts. Data becomes text nodes and attributes, never markup.

export const $ = (selector, within = document) => within.querySelector(selector);

const make = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null && child !== ""));
  return node;
};

// el and svg make a node with attributes and children.
export const el = (name, attributes = {}, ...children) => make(document.createElement(name), attributes, children);
export const svg = (name, attributes = {}, ...children) =>
  make(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// write changes a text where it is another one: what stays is not touched.
export const write = (node, text) => {
  if (node.textContent !== String(text)) node.textContent = text;
};

export const attribute = (node, name, value) => {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
};

const kept = new WeakMap();

// keyed makes the children of a node those of a list, each made once for its key
// and then updated, so that focus and selection stay where they are.
export const keyed = (parent, list, keyOf, create, update) => {
  const before = kept.get(parent) ?? new Map();
  const after = new Map(list.map((item) => [keyOf(item), before.get(keyOf(item)) ?? create(item)]));
  for (const [key, child] of before) {
    if (!after.has(key)) child.remove(); // at first: who is moved loses the focus
  }
  list.forEach((item, index) => {
    const child = after.get(keyOf(item));
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
    update(child, item);
  });
  kept.set(parent, after);
};

const digits = (n) => {
  const places = Math.abs(n) >= 99.95 || n === 0 ? 0 : Math.abs(n) >= 9.995 ? 1 : 2;
  return n.toFixed(places);
};

// count writes a number with three digits and a unit of thousands.
export const count = (n) => {
  if (Number.isInteger(n) && n < 10000) return String(n);
  for (const [unit, of] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (n >= of * 0.9995) return `${digits(n / of)} ${unit}`;
  }
  return digits(n);
};

// rate is for what is counted in a second: 0.4, 12, 1.25 k.
export const rate = (n) => (n > 0 && n < 10 ? String(Number(n.toFixed(1))) : n < 1000 ? n.toFixed(0) : count(n));

export const bytes = (n) => {
  let unit = 0;
  while (n >= 1000 && unit < 4) {
    n /= 1024;
    unit++;
  }
  return `${unit === 0 ? n.toFixed(0) : digits(n)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
};

export const percent = (part) => `${(100 * part).toFixed(part > 0 && part < 0.0995 || part > 0.995 && part < 1 ? 1 : 0)} %`;

// duration writes seconds, of which there may be few or many.
export const duration = (s) => {
  const sign = s < 0 ? "−" : "";
  s = Math.abs(s);
  if (s === 0) return "0 s";
  if (s < 0.0009995) return `${sign}${digits(s * 1e6)} µs`;
  if (s < 0.9995) return `${sign}${digits(s * 1e3)} ms`;
  if (s < 100) return `${sign}${Number(s.toFixed(1))} s`;
  for (const [unit, of] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (s >= 2 * of || unit === "min") return `${sign}${Math.floor(s / of)} ${unit}`;
  }
};

export const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

// plural: "1 key", "2 keys".
export const plural = (n, noun, many = `${noun}s`) => `${count(n)} ${n === 1 ? noun : many}`;
