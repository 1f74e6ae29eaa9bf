// The upstreams: the ring of each, and its servers with what can be done to them.

import { ask } from "./api.js";
import { drawRing } from "./ring.js";
import { $, attribute, count, duration, el, keyed, percent, plural, rate, write } from "./dom.js";

// signs say the same as the colours.
const signs = { live: "●", unchecked: "◌", ejected: "▲", down: "✕", drained: "❚❚" };
const hues = 8;

const card = (upstream) => {
  const columns = [["Server"], ["State"], ["Keys", "number"], ["Requests/s", "number"], ["In flight", "number"],
    ["Connections", "number wide"], ["Failures", "number wide"], ["Actions", "actions"]];
  const title = `upstream-${upstream.name}`;
  return el("section", { class: "card upstream", "aria-labelledby": title },
    el("h2", {}, el("span", { class: "quiet" }, "Upstream "), el("span", { id: title }, upstream.name), el("span", { class: "badge warn", hidden: true }, "health is disregarded: too few servers are fit")),
    el("div", { class: "upstream-body" },
      el("figure", {}, el("div", { class: "ring-box" }),
        el("figcaption", { class: "quiet" }, "outside: part of the keys · inside: requests/s")),
      el("table", {},
        el("thead", {}, el("tr", {}, ...columns.map(([name, kind]) =>
          el("th", { scope: "col", class: kind }, kind === "actions" ? el("span", { class: "unseen" }, name) : name)))),
        el("tbody", {}))));
};

const cell = (name, kind) => el("td", { class: kind ? `${name} ${kind}` : name });

const row = (act) => (member) => {
  const button = el("button", { type: "button", class: "act" });
  button.addEventListener("click", () => act(button));
  return el("tr", { "data-server": member.id },
    el("th", { scope: "row" }, el("span", { class: `swatch hue${member.hue}`, "aria-hidden": "true" }), el("span", { class: "id" }), el("span", { class: "quiet address" })),
    el("td", { class: "state" }, el("span", { class: "standing" }, el("span", { class: "sign", "aria-hidden": "true" }), " ", el("span", { class: "word" })), el("span", { class: "quiet why" })),
    cell("keys", "number"), cell("rate", "number"), cell("flight", "number"), cell("connections", "number wide"), cell("failures", "number wide"),
    el("td", { class: "actions" }, button));
};

const why = (server, now) => {
  const since = Math.max(0, (now - Date.parse(server.since)) / 1000);
  const parts = [server.reason, Number.isFinite(since) && since < 1e8 ? `for ${duration(Math.floor(since))}` : ""];
  if (server.until) parts.push(`until ${new Date(server.until).toLocaleTimeString([], { hour12: false })}`);
  if (server.last_check && server.last_check !== server.reason) parts.push(`check: ${server.last_check}`);
  return parts.filter(Boolean).join(" · ");
};

const fill = (upstream, now, readOnly) => (node, m) => {
  const set = (selector, text) => write($(selector, node), text);
  set(".id", m.id);
  set(".address", [m.address === m.id ? "" : m.address, `weight ${m.weight}`, m.backup ? "backup" : ""].filter(Boolean).join(" · "));
  attribute($(".state", node), "data-standing", m.standing);
  set(".sign", signs[m.standing] ?? "?");
  set(".word", m.share < 1 && m.share > 0 ? `${m.standing}, at ${percent(m.share)} of its weight` : m.standing);
  set(".why", why(m, now));
  set(".keys", percent(m.ring));
  set(".rate", rate(m.rate));
  set(".flight", m.queued ? `${count(m.in_flight)} + ${count(m.queued)} queued` : count(m.in_flight));
  set(".connections", `${count(m.connections)}, ${count(m.idle_connections)} idle`);
  const failures = Object.entries(m.failures);
  set(".failures", count(failures.reduce((sum, [, n]) => sum + n, 0)));
  attribute($(".failures", node), "title", failures.map(([kind, n]) => `${n} ${kind}`).join(", "));
  const button = $("button", node), verb = m.standing === "drained" ? "restore" : "drain";
  button.hidden = readOnly;
  button.dataset.verb = verb;
  button.dataset.upstream = upstream;
  button.dataset.server = m.id;
  write(button, verb === "drain" ? "Drain" : "Restore");
  attribute(button, "aria-label", `${verb === "drain" ? "Drain" : "Restore"} ${m.id} of ${upstream}`);
};

// showServers returns what shows an event. say tells the user what has become of
// an action.
export const showServers = (parent, say) => {
  let last = new Map(); // requests by upstream and server
  const act = async (button) => {
    const { verb, upstream, server } = button.dataset;
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true"); // a disabled one would lose the focus
    try {
      await ask("POST", `api/${verb}`, { upstream, server });
      say(verb === "drain" ? `${server} is drained: it gets no new requests` : `${server} is restored`);
    } catch (error) {
      say(`${verb} ${server}: ${error.message}`, true);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  };
  const create = row(act);
  return (event) => {
    const now = Date.parse(event.time), requests = new Map();
    keyed(parent, event.status.upstreams, (u) => u.name, card, (node, u) => {
      const members = u.servers.map((server, index) => {
        const key = JSON.stringify([u.name, server.id]);
        requests.set(key, server.requests);
        const more = server.requests - (last.get(key) ?? server.requests);
        return { ...server, hue: index % hues, rate: event.seconds > 0 ? Math.max(more, 0) / event.seconds : 0 };
      });
      $(".badge", node).hidden = !u.panicking;
      const drawn = members.map((m) => [m.id, m.standing, m.ring.toFixed(3), rate(m.rate)].join()).join();
      const box = $(".ring-box", node);
      if (box.dataset.drawn !== drawn) {
        box.dataset.drawn = drawn;
        box.replaceChildren(drawRing(u.name, members));
      }
      keyed($("tbody", node), members, (m) => m.id, create, fill(u.name, now, event.status.read_only));
      attribute(node, "title", u.limit ? `adaptive concurrency: at most ${plural(u.limit, "request")} in flight` : "");
    });
    last = requests;
  };
};
