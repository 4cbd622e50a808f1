// The management API, with the viewer's token. The token is in this variable and nowhere else: not in storage, not in
// a cookie, not in the address.

let token = "";

/** The routes lie beside this page: `…/runtime/`. */
const BASE = new URL(".", location.href.split("#")[0]);

/** What the runtime has answered instead of a result. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the runtime answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
    this.requestId = problem.request_id ?? "";
  }
}

export function holdToken(text) {
  token = text;
}

/** Asks; the answer's body is not read yet. */
export async function send(method, path, { body, accept, signal, headers } = {}) {
  const all = { accept: accept ?? "application/json", ...headers };
  // With identity off and in development no token may be needed.
  if (token) all.authorization = `Bearer ${token}`;
  if (body !== undefined) all["content-type"] = "application/json";
  const answer = await fetch(new URL(path, BASE), {
    method, signal, headers: all, body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store", credentials: "omit", redirect: "error",
  });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem);
}

export async function ask(method, path, body) {
  const answer = await send(method, path, { body });
  return answer.json();
}

/** Calls `take` with each line of a body. */
export async function lines(answer, take) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) take(part.endsWith("\r") ? part.slice(0, -1) : part);
  }
  if (rest) take(rest);
}

/** An id in a path. */
export function inPath(id) {
  return encodeURIComponent(id);
}
