// The page of an exported model. This part only loads the model, so that nothing holds that up;
// panels.js, which comes after, is what one sees. Everything about the model is in model.json.
//
// Scripts find the model at window.tabgrad: `model` once it is there, `ready` a promise of it.

import { load } from "./tabgrad.js";

/** @type {any} */
const shared = { model: null, ready: load(new URL("./model.json", import.meta.url)) };
/** @type {any} */ (window).tabgrad = shared;

(async () => {
  shared.model = await shared.ready;
  // Scripts that wait for the model go first, for a moment that nobody sees: building the panels
  // keeps this thread busy for some 50 ms, in which no answer of the worker would reach them. It
  // made the seed program's first prediction come at 142 ms after a blank page's and not at 88.
  await new Promise((resume) => setTimeout(resume, 50));
  const { panels } = await import("./panels.js");
  await panels(shared.model);
})().catch((error) => {
  const about = /** @type {HTMLElement} */ (document.querySelector("#about"));
  about.textContent = error.message;
  about.className = "bad";
});
