// What the page asks of the admin API.

const name = "ringfence-token";
const silence = 5000; // ms without an event, of which there is one a second

export const token = {
  get: () => sessionStorage.getItem(name) ?? "",
  set: (value) => sessionStorage.setItem(name, value),
  forget: () => sessionStorage.removeItem(name),
};

// Refused is an answer other than a success, with the problem's detail (RFC 9457).
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const send = async (method, path, { body, accept = "application/json", signal } = {}) => {
  const headers = { Accept: accept };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Refused(response.status, problem.detail ?? `${response.status} ${response.statusText}`);
  }
  return response;
};

// ask returns the answer's JSON.
export const ask = async (method, path, query = {}, body = undefined) => {
  const search = new URLSearchParams();
  for (const [key, values] of Object.entries(query)) {
    for (const value of [values].flat()) search.append(key, value);
  }
  const response = await send(method, search.size ? `${path}?${search}` : path, { body });
  return response.json();
};

// listen calls back with each event. It never returns: it throws where the stream
// ends, breaks or is silent for too long. EventSource could not show a token.
export const listen = async (onEvent) => {
  const abort = new AbortController();
  let timer;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(new Error("nothing was heard for 5 s")), silence);
  };
  try {
    heard();
    const response = await send("GET", "api/events", { accept: "text/event-stream", signal: abort.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the stream has ended");
      heard();
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) onEvent(JSON.parse(event.replace(/^data: /, "")));
    }
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
};
