// Lines over time, drawn by uPlot. It is loaded when the first chart is needed: most visitors come to vote.

import { Problem } from "./api.js";
import { element } from "./dom.js";
import { number } from "./format.js";
import { locale } from "./texts.js";

const FOLDER = "/assets/vendor/uplot/dist";
const HEIGHT = 220;
/** Pixels between two times on the axis, at least. */
const TIME_GAP = 20;
/** Lines that can be told apart; of more options, those with the most votes are drawn. */
const LINES_MAX = 6;
/** Milliseconds of a day: of more than that, dates are written, too. */
const DAY = 86_400_000;
/** Milliseconds from which dates are written alone. */
const LONG = 30 * DAY;
/** Milliseconds below which seconds are written, because minutes would repeat. */
const FINE = 600_000;
/** The height of the chart is so many times that of its highest line, which would lie on the edge otherwise. */
const HEADROOM = 1.08;

let library = null;

function loaded() {
  library ??= new Promise((resolve, reject) => {
    const script = element("script", {
      src: `${FOLDER}/uPlot.iife.min.js`,
      onload: () => resolve(window.uPlot),
      onerror: () => {
        // Asked for again with the next chart: a server that was away may be back.
        library = null;
        reject(new Problem({ type: "unreachable" }));
      },
    });
    document.head.append(element("link", { rel: "stylesheet", href: `${FOLDER}/uPlot.min.css` }), script);
  });
  return library;
}

export class Chart {
  /** A chart of a poll in `place`, as long as `signal` lets it. */
  static async in(place, poll, signal) {
    return new Chart(await loaded(), place, poll, signal);
  }

  constructor(uPlot, place, poll, signal) {
    this.uPlot = uPlot;
    this.place = place;
    this.options = poll.results.options;
    this.drawing = element("div", { role: "img" });
    this.legend = element("ul", { class: "legend" });
    place.replaceChildren(this.drawing, this.legend);
    const sizes = new ResizeObserver(() => this.plot?.setSize({ width: this.drawing.clientWidth, height: HEIGHT }));
    sizes.observe(place);
    // Colours are painted, so they have to be painted again in another theme.
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const repaint = () => this.points && this.paint();
    dark.addEventListener("change", repaint, { signal });
    addEventListener("themechange", repaint, { signal });
    signal.addEventListener("abort", () => {
      sizes.disconnect();
      this.plot?.destroy();
    });
  }

  /** Shows these points; `words` say the same. */
  draw(points, words) {
    this.points = points;
    this.drawing.setAttribute("aria-label", words);
    const last = points.at(-1).options;
    const most = [...last]
      .sort((one, other) => other.votes - one.votes)
      .slice(0, LINES_MAX)
      .map((option) => option.id);
    const ids = last.map((option) => option.id).filter((id) => most.includes(id));
    if (this.plot && String(ids) === String(this.ids)) {
      this.plot.setData(this.data());
    } else {
      this.ids = ids;
      this.paint();
    }
  }

  data() {
    const votesOf = (id) => this.points.map((point) => point.options.find((option) => option.id === id)?.votes ?? 0);
    return [this.points.map((point) => new Date(point.at).getTime() / 1000), ...this.ids.map(votesOf)];
  }

  /** Milliseconds from the first of these points to the last. */
  span() {
    return new Date(this.points.at(-1).at) - new Date(this.points[0].at);
  }

  /** Pixels that a time takes at most, in any language of the page. */
  timeWidth() {
    return this.span() > DAY ? 92 : 68;
  }

  /** How the times of these points are written. */
  times() {
    const span = this.span();
    const day = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
    const hours = { timeStyle: span < FINE ? "medium" : "short" };
    return new Intl.DateTimeFormat(locale(), span > LONG ? { dateStyle: "medium" } : span > DAY ? day : hours);
  }

  paint() {
    this.plot?.destroy();
    const colour = (name) => {
      this.drawing.style.color = `var(${name})`;
      return getComputedStyle(this.drawing).color;
    };
    const axis = {
      stroke: colour("--soft"),
      font: `12px ${getComputedStyle(this.place).fontFamily}`,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    this.plot = new this.uPlot(
      {
        width: this.drawing.clientWidth,
        height: HEIGHT,
        // Half of a time has to find room beside the end of the line.
        padding: [8, () => this.timeWidth() / 2, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { y: { range: (_, low, high) => [0, Math.max(high * HEADROOM, 1)] } },
        axes: [
          {
            ...axis,
            size: 30,
            space: () => this.timeWidth() + TIME_GAP,
            values: (_, seconds) => seconds.map((second) => this.times().format(second * 1000)),
          },
          {
            ...axis,
            size: 44,
            incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6, 1e7],
            values: (_, votes) => votes.map((vote) => number(vote)),
          },
        ],
        series: [
          {},
          ...this.ids.map((id, index) => ({ stroke: colour(`--line-${index + 1}`), width: 2.5, points: { show: false } })),
        ],
      },
      this.data(),
      this.drawing,
    );
    this.legend.replaceChildren(
      ...this.ids.map((id, index) =>
        element("li", { "data-line": String(index + 1) }, this.options.find((option) => option.id === id).text),
      ),
    );
  }
}
