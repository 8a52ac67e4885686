// The wall: no controls, no scrolling, a screen that stays on, and campaigns that take turns.
// startWall calls `turn` with a campaign and its place among all, as text.
// Parameters of the address: wall=1, rotate=30s, campaigns=a,b (or campaigns=a&campaigns=b).

const UNITS = { s: 1000, m: 60_000, h: 3_600_000 };

export function wallOf(address) {
  const found = /^(\d+(?:\.\d+)?)(s|m|h)$/.exec(address.get("rotate") ?? "");
  return {
    on: address.get("wall") === "1",
    rotateMs: found ? Math.max(1000, Number(found[1]) * UNITS[found[2]]) : null,
    campaigns: address.getAll("campaigns").flatMap((text) => text.split(",")).map((text) => text.trim()).filter(Boolean),
  };
}

export function startWall(wall, turn) {
  document.documentElement.dataset.wall = "";
  keepAwake();
  if (!wall.campaigns.length) return;
  const total = wall.campaigns.length;
  let place = 0;
  const show = () => turn(wall.campaigns[place], total > 1 ? `${place + 1}/${total}` : "");
  show();
  if (wall.rotateMs === null || total < 2) return;
  setInterval(() => {
    place = (place + 1) % total;
    show();
  }, wall.rotateMs);
}

// Browsers give a wake lock to visible pages only, and over https or on localhost only.
function keepAwake() {
  const ask = () => {
    if (document.visibilityState === "visible") navigator.wakeLock?.request("screen").catch(() => {});
  };
  document.addEventListener("visibilitychange", ask);
  ask();
}
