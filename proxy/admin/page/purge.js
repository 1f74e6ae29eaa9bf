// What is taken out of the cache.

import { ask } from "./api.js";
import { $, plural, write } from "./dom.js";

const names = {
  url: ["URL", "https://example.com/news"], prefix: ["URL that all of it begins with", "https://example.com/news"],
  tag: ["Tag", "news"], key: ["Key's hash", "0123456789abcdef"],
};

const told = (answer) => {
  const what = [answer.purged, ...(answer.names ?? [])].join(" ");
  const done = answer.soft ? "made stale" : "purged";
  return answer.acknowledged ? `${what}: ${done}, confirmed by ${plural(answer.instances, "instance")}` : `${what}: ${done} here, not confirmed by the fleet: ${answer.error}`;
};

// isSure asks before everything goes.
const isSure = (dialog, soft) => new Promise((resolve) => {
  write($("#confirm-text", dialog), soft
    ? "All that is stored, in the whole fleet, becomes stale, and is revalidated at its next use."
    : "All that is stored, in the whole fleet, is gone: the servers get all requests until it is filled again.");
  dialog.returnValue = "";
  dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  dialog.showModal();
});

// showPurge makes the form work, and returns what takes a key to it.
export const showPurge = (form, output, dialog) => {
  const kind = $("[name=kind]", form), name = $("[name=name]", form), line = $("#purge-name", form);
  const arrange = () => {
    const [label, example] = names[kind.value] ?? [];
    line.hidden = !label;
    name.required = Boolean(label);
    if (label) {
      line.firstChild.textContent = `${label} `;
      name.placeholder = example;
    }
  };
  kind.addEventListener("change", arrange);
  arrange();
  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const soft = $("[name=soft]", form).checked, everything = kind.value === "everything";
    if (everything && !(await isSure(dialog, soft))) return;
    try {
      const answer = await ask("POST", "api/purge", {}, { [kind.value]: everything || name.value.trim(), soft });
      output.className = answer.acknowledged ? "done" : "failed";
      write(output, told(answer));
    } catch (error) {
      output.className = "failed";
      write(output, error.message);
    }
  });
  return (key) => {
    kind.value = "key";
    arrange();
    name.value = key;
    form.scrollIntoView({ block: "center" });
    name.focus({ preventScroll: true });
  };
};
