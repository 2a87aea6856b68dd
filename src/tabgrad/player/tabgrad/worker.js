// The worker's side: messages in, a Session's answers out; link.js is the other side.
//
// In:  {id, method, request}   call a method; "open" makes the session
//      {id, reply}             the answer to an "epochEnd"
//      {id, abort: true}
// Out: {ready: true}           once, at the start
//      {id, event, args}       "epochEnd", "progress"
//      {id, result} or {id, error: {name, code, message}}
//      {now}                   the engine, if it may be another one later

import { asTabgradError } from "./errors.js";
import { openSession } from "./session.js";

/** @type {(message: object, transfer?: Transferable[]) => void} */
const post = /** @type {any} */ (globalThis).postMessage;
/** @type {any} */
let session;
/** @type {Map<number, {abort: AbortController, reply: (value: boolean) => void}>} */
const calls = new Map();

const notify = (/** @type {object} */ now) => post({ now });

/** @param {MessageEvent} message */
async function receive({ data: { id, method, request, reply, abort } }) {
  if (abort) return calls.get(id)?.abort.abort();
  if (!method) return calls.get(id)?.reply(reply);
  const call = { abort: new AbortController(), reply: (/** @type {boolean} */ _) => {} };
  calls.set(id, call);
  const send = (/** @type {string} */ event) => (/** @type {unknown[]} */ ...args) =>
    post({ id, event, args });
  const hooks = {
    signal: call.abort.signal,
    progress: request?.progress ? send("progress") : undefined,
    epochEnd: request?.epochEnd
      ? (/** @type {unknown[]} */ ...args) => {
          const answer = new Promise((resolve) => (call.reply = resolve));
          send("epochEnd")(...args);
          return answer;
        }
      : undefined,
  };
  try {
    let result = null;
    if (method === "open") session = await openSession(request, notify);
    else result = await session[method](request, hooks);
    post({ id, result }, buffers(result));
  } catch (error) {
    const { name, code, message } = asTabgradError(error);
    post({ id, error: { name, code, message } });
  } finally {
    calls.delete(id);
  }
}

/**
 * The buffers of a result, which are handed over instead of copied.
 * @param {any} result
 * @returns {Transferable[]}
 */
function buffers(result) {
  if (result instanceof ArrayBuffer) return [result];
  return Object.values(result ?? {}).flatMap((value) => (value?.data ? [value.data.buffer] : []));
}

addEventListener("message", receive);
post({ ready: true });
