// doctor.html: shows what doctor-engines.js finds out, engine after engine.
//
// Scripts find the report at window.tabgradDoctor once `main` is no longer busy.

import { find, make } from "./elements.js";

/** @typedef {import("./doctor-engines.js").Facts} Facts */

/** @type {["wasm" | "webgpu" | "webgl", string][]} */
const ENGINES = [
  ["wasm", "WebAssembly"],
  ["webgpu", "WebGPU"],
  ["webgl", "WebGL2"],
];

/** @param {string | number | boolean} value */
function shown(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? value.toLocaleString("en") : value;
}

/** @param {Facts} facts */
const list = (facts) =>
  make(
    "dl",
    { className: "facts" },
    ...Object.entries(facts).flatMap(([name, value]) => [
      make("dt", {}, name),
      make("dd", {}, shown(value)),
    ]),
  );

/** @param {string} title */
function card(title) {
  const verdict = make("span", { className: "verdict" }, "measuring…");
  const section = make("section", {}, make("h2", {}, title, verdict));
  find("main").append(section);
  return { section, verdict };
}

/** @param {any} report */
async function look(report) {
  const { device, examine } = await import("./doctor-engines.js");
  const answer = await fetch(new URL("./doctor.json", import.meta.url));
  if (!answer.ok) throw new Error(`doctor.json is not there: ${answer.status}`);
  const content = await answer.json();
  report.tabgrad = content.tabgrad;
  const { section, verdict } = card("This device");
  verdict.textContent = `tabgrad ${content.tabgrad}`;
  report.device = device();
  section.append(list(report.device));
  for (const [kind, title] of ENGINES) {
    const { section, verdict } = card(title);
    // Time to show that, before this thread is busy with measuring.
    await new Promise((resume) => setTimeout(resume, 50));
    const found = (report.engines[kind] = await examine(kind, content));
    const works = found.available && !found.why;
    verdict.textContent = works ? "works" : found.available ? "fails" : "not available";
    verdict.classList.add(works ? "good" : found.available ? "bad" : "verdict");
    if (found.why) section.append(make("p", { className: "why" }, found.why));
    if (found.speed) section.append(list(found.speed));
    if (Object.keys(found.facts).length) section.append(list(found.facts));
    if (found.limits) {
      section.append(make("details", {}, make("summary", {}, "Limits"), list(found.limits)));
    }
  }
  const working = ENGINES.filter(([kind]) => report.engines[kind].speed);
  return `${working.length} of ${ENGINES.length} engines work in this browser.`;
}

/** @type {any} */
const report = { engines: {} };
/** @type {any} */ (window).tabgradDoctor = report;
const about = find("#about");
look(report)
  .then((text) => {
    about.textContent = text;
    const copy = find("#copy");
    copy.disabled = false;
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(JSON.stringify(report, null, 2));
      copy.textContent = "Copied";
    });
  })
  .catch((error) => {
    about.textContent = error.message;
    about.className = "bad";
  })
  .finally(() => find("main").setAttribute("aria-busy", "false"));
