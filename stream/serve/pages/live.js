// The live feed, shared by all tabs of a browser. How to use it:
//   const stop = follow((name, message) => …)
// `name` is "snapshot", "delta" or "status" with the message of /api/v1/live, "open" when the stream
// (again) begins, "lost" when it broke; it is begun again by itself. Where there is no SharedWorker,
// each tab has a stream of its own.

const HERE_MS = 30_000;

export function follow(handler) {
  return globalThis.SharedWorker ? share(handler) : listen(handler);
}

function share(handler) {
  const { port } = new SharedWorker("/static/live-worker.js", { name: "live" });
  const here = () => port.postMessage("here");
  const gone = () => port.postMessage("gone");
  port.onmessage = ({ data: [name, message] }) => handler(name, message);
  addEventListener("pagehide", gone);
  addEventListener("pageshow", here); // from the browser's back-forward cache, too
  const timer = setInterval(here, HERE_MS);
  here();
  return () => {
    clearInterval(timer);
    removeEventListener("pagehide", gone);
    removeEventListener("pageshow", here);
    gone();
    port.close();
  };
}

function listen(handler) {
  let source = null;
  let timer = null;
  function open() {
    source = new EventSource("/api/v1/live");
    source.onopen = () => handler("open", null);
    source.onerror = () => {
      handler("lost", null);
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, 3000);
    };
    for (const name of ["snapshot", "delta", "status"]) {
      source.addEventListener(name, (event) => handler(name, JSON.parse(event.data)));
    }
  }
  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
