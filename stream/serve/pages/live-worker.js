// A SharedWorker: one event stream for all tabs of this browser. Browsers open six connections to a
// server at most, so a stream in each tab would leave none for the seventh.
//
// Tabs say "here" when they come and every half minute, and "gone" when they leave; one that has
// been silent for long was killed and is forgotten (should it live after all, "here" brings it back).
// Without tabs there is no stream. It says what is heard, [name, data], and keeps the last snapshot's
// successors to nobody: whoever comes later gets a stream's beginning by a stream begun anew.

const SILENCE_MS = 180_000; // a tab in the background has its timers run once a minute
const tabs = new Map();
let source = null;

function tell(name, data) {
  for (const port of tabs.keys()) port.postMessage([name, data]);
}

function listen() {
  source?.close();
  source = new EventSource("/api/v1/live");
  source.onopen = () => tell("open", null);
  source.onerror = () => {
    tell("lost", null);
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(() => tabs.size && !source && listen(), 3000);
    }
  };
  for (const name of ["snapshot", "delta", "status"]) {
    source.addEventListener(name, (event) => tell(name, JSON.parse(event.data)));
  }
}

function leave(port) {
  tabs.delete(port);
  if (!tabs.size) {
    source?.close();
    source = null;
  }
}

setInterval(() => {
  for (const [port, heard] of tabs) if (Date.now() - heard > SILENCE_MS) leave(port);
}, 60_000);

onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data === "gone") {
      leave(port);
      return;
    }
    const known = tabs.has(port);
    tabs.set(port, Date.now());
    if (!known) listen(); // a new stream begins with a snapshot, for all
  };
};
