// What would become of a request.

import { ask } from "./api.js";
import { $, bytes, clock, duration, el, percent, plural } from "./dom.js";

const kinds = { hit: "good", stale: "warn", revalidate: "warn", refused: "bad" };

const facts = (list) => el("dl", {}, ...list.filter(([, value]) => value !== undefined && value !== "" && value !== null)
  .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));

const part = (p) => `${p.name} ${p.absent ? "(absent)" : p.value}`;

const freshness = (f) => {
  const steps = [
    ["apparent age", f.apparent_age], ["Age field", f.age_value], ["response delay", f.response_delay],
    ["corrected age", f.corrected_age_value], ["initial age", f.corrected_initial_age], ["in this cache", f.resident_time],
    ["age now", f.current_age], [`lifetime (${f.lifetime_from})`, f.freshness_lifetime], ["left", f.ttl],
    ["stale while revalidating", f.stale_while_revalidate], ["stale if error", f.stale_if_error],
  ];
  return el("details", {}, el("summary", {}, "The sum of its freshness"), facts(steps.map(([name, s]) => [name, duration(s)])));
};

const stored = (o) => facts([
  ["answer", `${o.status}, ${bytes(o.bytes)}, in ${o.tier}`],
  ["age", `${duration(o.freshness.current_age)} of ${duration(o.freshness.freshness_lifetime)} (${o.freshness.lifetime_from}), ${o.freshness.ttl < 0 ? `stale for ${duration(-o.freshness.ttl)}` : `fresh for ${duration(o.freshness.ttl)} more`}`],
  ["purged", o.purged && clock(o.purged)], ["made stale", o.expired && clock(o.expired)],
  ["said", o.fields?.length && el("span", { class: "code lines" }, o.fields.join("\n"))],
  ["tags", o.tags?.join(", ")], ["groups", o.groups?.join(", ")],
]);

const steps = (placement) => el("ol", { class: "steps" }, ...placement.steps.map((s) =>
  el("li", {}, el("b", {}, s.id), el("span", { class: "quiet" },
    ` ${[s.standing, s.reason, s.share < 1 ? `${percent(s.share)} of weight ${s.weight}` : `weight ${s.weight}`, `${s.in_flight} in flight`, { yes: "has room", "over-share": "over its share", full: "full", out: "gets nothing" }[s.room]].filter(Boolean).join(" · ")}`))));

const section = (title, ...children) => [el("h3", {}, title), ...children];

const describe = (x) => [
  el("p", { class: "outcome" }, el("span", { class: `badge ${kinds[x.outcome] ?? ""}` }, x.outcome), ` ${x.why}`),
  facts([
    ["Cache-Status", x.cache_status && el("span", { class: "code" }, x.cache_status)], ["status", x.status || ""],
    ["route", x.route && `${x.route.name} to ${x.route.upstream}${x.route.cache ? "" : ", uncached"}`],
    ["key", x.key && el("span", {}, el("span", { class: "code" }, x.key.hash), el("span", { class: "quiet" }, ` ${x.key.parts.map(part).join(" · ")}`))],
    ["variant", x.key?.variant?.map(part).join(" · ")],
  ]),
  ...(x.notes ?? []).map((note) => el("p", { class: "quiet" }, note)),
  ...(x.stored ? section("Stored here", stored(x.stored), freshness(x.stored.freshness)) : []),
  ...(x.shared ? section("Stored in the fleet", stored(x.shared)) : []),
  ...(x.marks ?? []).map((m) => el("p", {}, `Remembered until ${clock(m.until)}: ${m.mark} (${m.reason})`)),
  ...(x.placement ? section(`Servers of ${x.placement.upstream}, by ${x.placement.balance}${x.placement.keyed ? ", in the order in which they are asked" : ""}`,
    steps(x.placement), x.placement.more ? el("p", { class: "quiet" }, `and ${plural(x.placement.more, "other")}`) : undefined) : []),
].filter(Boolean);

// showExplain makes the form work, and returns what explains a URL by it.
export const showExplain = (form, output) => {
  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const { method, url, fields, client } = Object.fromEntries(new FormData(form));
    const query = { method, url, header: fields.split("\n").map((line) => line.trim()).filter(Boolean) };
    if (client) query.client = client;
    try {
      output.replaceChildren(...describe(await ask("GET", "api/explain", query)));
    } catch (error) {
      output.replaceChildren(el("p", { class: "failed" }, error.message));
    }
  });
  return (url) => {
    $("[name=url]", form).value = url;
    form.requestSubmit();
    form.scrollIntoView({ block: "center" });
    $("[name=url]", form).focus({ preventScroll: true });
  };
};
