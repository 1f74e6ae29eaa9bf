// The page: it follows the events, and shows each.

import { listen, Refused, token } from "./api.js";
import { $, el, keyed, write } from "./dom.js";
import { showExplain } from "./explain.js";
import { showFailures, showHot } from "./lists.js";
import { showObserved } from "./observed.js";
import { showPurge } from "./purge.js";
import { showServers } from "./servers.js";
import { showTiles } from "./tiles.js";

const longest = 8; // seconds between two attempts to connect

const say = (text, isBad = false) => {
  write($("#said"), text);
  $("#said").className = isBad ? "toast bad" : "toast";
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { $("#said").className = "unseen"; }, 6000);
};

const explain = showExplain($("#explain"), $("#explanation"));
const purge = showPurge($("#purge"), $("#purged"), $("#confirm"));
const parts = [
  showTiles($("#tiles")), showServers($("#servers"), say), showObserved($("#observed"), $("#observed-note")),
  showHot($("#hot"), $("#hot-note"), explain, purge), showFailures($("#failures"), $("#failures-note")),
];

// notices are what an operator has to know at once.
const notices = ({ unready, fleet, upstreams }) => [
  unready && `Not ready: ${unready}`,
  ...(fleet?.nodes ?? []).filter((node) => !node.up).map((node) => `Node ${node.address} of the engine is out of use: ${node.cause}`),
  ...upstreams.filter((u) => u.servers.length && !u.servers.some((s) => s.standing === "live")).map((u) => `Upstream ${u.name} has no live server`),
].filter(Boolean);

const show = (event) => {
  const { status } = event;
  connection("live", "live");
  write($("#version"), status.version);
  $("#read-only").hidden = !status.read_only;
  $("#purging").hidden = status.read_only;
  $("#forget").hidden = !token.get();
  keyed($("#notices"), notices(status), (text) => text, (text) => el("li", { class: "notice" }, text), () => {});
  for (const part of parts) part(event);
};

const connection = (is, text) => {
  const node = $("#connection");
  node.dataset.is = is;
  write(node, text);
  document.body.dataset.connection = is;
};

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// askToken returns when there is a token to try.
const askToken = (why) => new Promise((resolve) => {
  const dialog = $("#token-dialog"), form = $("#token");
  write($("#token-why"), token.get() ? why : "");
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  form.addEventListener("submit", () => {
    token.set(form.elements.token.value.trim());
    form.elements.token.value = "";
    resolve();
  }, { once: true });
  if (!dialog.open) dialog.showModal();
});

// lost says what is wrong, and when the next attempt is. The text is read out, so
// it counts no seconds down.
const lost = async (why, seconds) => {
  connection("lost", `connection lost: ${why} · next attempt in ${seconds} s`);
  await pause(1000 * seconds);
};

const follow = async () => {
  for (let wait = 1; ;) {
    try {
      await listen((event) => {
        wait = 1;
        show(event);
      });
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        connection("locked", "a token is wanted");
        await askToken(error.message);
        continue;
      }
      await lost(error instanceof TypeError ? "the proxy does not answer" : error.message, wait);
      wait = Math.min(2 * wait, longest);
    }
  }
};

$("#forget").addEventListener("click", () => {
  token.forget();
  location.reload();
});

follow();
