// What a page does beyond showing: the newest `now`, and ways by key and swipe, and the values below a pointer. Without it everything else works.

/** How long to wait at least between two looks, in ms. */
const LEAST = 1000;
/** How long nothing may happen before it is looked again, since readings grow old by themselves. */
const MOST = 10000;
/** How long to wait before a stream that was closed is opened again. */
const AGAIN = 5000;

/** Keeps the page up to date.
 * @param {HTMLElement} live what changes */
function follow(live) {
  const lost = document.getElementById("lost");
  let looked = 0;
  let looking = false;
  let timer = 0;

  /** @param {boolean} is whether the collector is out of reach */
  const setLost = (is) => {
    if (lost) lost.hidden = !is;
    live.classList.toggle("lost", is);
  };

  const look = async () => {
    if (looking || document.hidden) return plan(MOST);
    looking = true;
    try {
      const answer = await fetch(live.dataset.now ?? "", { cache: "no-store" });
      // The session has ended, or the page has been switched off: loading it anew says what there is to do.
      if (answer.status === 401 || answer.status === 404) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const focused = live.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
      live.replaceChildren(...page.body.childNodes);
      const link = focused && live.querySelector(`a[href="${CSS.escape(focused)}"]`);
      if (link instanceof HTMLElement) link.focus();
      setLost(false);
    } catch {
      setLost(true);
    } finally {
      looking = false;
      looked = Date.now();
      plan(MOST);
    }
  };

  /** @param {number} wait in ms */
  const plan = (wait) => {
    clearTimeout(timer);
    timer = setTimeout(look, wait);
  };

  const soon = () => plan(Math.max(0, looked + LEAST - Date.now()));

  const listen = () => {
    const stream = new EventSource(live.dataset.stream ?? "");
    stream.addEventListener("reading", soon);
    stream.addEventListener("status", soon);
    stream.addEventListener("error", () => {
      soon();
      // Where the answer was an error, a browser does not try again by itself.
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
    });
    addEventListener("pagehide", () => stream.close(), { once: true });
  };

  document.addEventListener("visibilitychange", soon);
  listen();
}

/** Goes to the period before or after, if there is one.
 * @param {"prev" | "next"} rel */
function step(rel) {
  const link = document.querySelector(`a[rel="${rel}"]`);
  if (link instanceof HTMLAnchorElement) link.click();
}

/** Follows keys and swipes from one period to the next, and the date as soon as it is picked. */
function turn() {
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    const typing = at instanceof HTMLElement && at.closest("input, select, .scroll");
    if (typing || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.key === "ArrowLeft") step("prev");
    if (event.key === "ArrowRight") step("next");
  });

  /** @type {Touch | undefined} */
  let from;
  document.addEventListener("touchstart", (event) => {
    const at = event.target;
    const scrolls = at instanceof Element && at.closest(".scroll, input, select");
    from = event.touches.length === 1 && !scrolls ? event.touches[0] : undefined;
  }, { passive: true });
  document.addEventListener("touchend", (event) => {
    const to = event.changedTouches[0];
    if (!from || !to) return;
    const [x, y] = [to.clientX - from.clientX, to.clientY - from.clientY];
    if (Math.abs(x) > 60 && Math.abs(x) > 2 * Math.abs(y)) step(x > 0 ? "prev" : "next");
  }, { passive: true });

  const choice = document.getElementById("choice");
  if (choice instanceof HTMLFormElement) {
    choice.querySelector("select")?.addEventListener("change", () => choice.requestSubmit());
  }
}

/** Shows the values below a pointer on a chart.
 * @param {HTMLElement} plot the charts, of which one is to be seen */
function tell(plot) {
  /** @type {{from: number, to: number, name: string, lines: [string, string][]}[]} */
  const tips = JSON.parse(plot.dataset.tips ?? "[]");
  const box = document.createElement("div");
  const mark = document.createElement("div");
  box.className = "tip";
  mark.className = "mark";
  box.hidden = mark.hidden = true;
  plot.append(mark, box);

  /** @param {PointerEvent} event */
  const show = (event) => {
    const chart = event.target instanceof Element ? event.target.closest("svg") : null;
    if (!chart) return;
    const [frame, around] = [chart.getBoundingClientRect(), plot.getBoundingClientRect()];
    const scale = frame.width / chart.viewBox.baseVal.width;
    const [from, to] = [Number(chart.dataset.from) * scale, Number(chart.dataset.to) * scale];
    const place = (event.clientX - frame.left - from) / (to - from) * 1000;
    const tip = tips.find((one) => one.from <= place && place < one.to);
    box.hidden = mark.hidden = !tip;
    if (!tip) return;
    const name = document.createElement("strong");
    name.textContent = tip.name;
    box.replaceChildren(name, ...tip.lines.map(([what, value]) => {
      const line = document.createElement("div");
      const number = document.createElement("b");
      number.textContent = value;
      line.append(what, " ", number);
      return line;
    }));
    const middle = from + (tip.from + tip.to) / 2000 * (to - from);
    mark.style.left = `${middle}px`;
    const isLeft = middle > around.width / 2;
    box.style.left = isLeft ? "auto" : `${middle + 12}px`;
    box.style.right = isLeft ? `${around.width - middle + 12}px` : "auto";
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", (event) => {
    // A finger that is lifted leaves the values to be read.
    if (event.pointerType === "mouse") box.hidden = mark.hidden = true;
  });
}

const live = document.getElementById("live");
if (live) follow(live);
document.querySelectorAll("[data-tips]").forEach((plot) => tell(/** @type {HTMLElement} */ (plot)));
turn();
