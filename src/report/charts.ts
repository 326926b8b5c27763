import { BarChart, LineChart, ScatterChart } from "echarts/charts";
import { GridComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { type Html, html, raw } from "./page.ts";

use([BarChart, LineChart, ScatterChart, GridComponent, SVGRenderer]);

/** Colours that stand in for the page's variables, which follow light and dark. */
const stand = { ink: "#010203", soft: "#010204", line: "#010205", before: "#010206", after: "#010207" } as const;

/** Colours of series, told apart on light and dark, also by most colour-blind readers. */
const palette = ["#0d9488", "#d97706", "#6366f1", "#db2777", "#65a30d", "#0284c7", "#b45309", "#8b5cf6", "#64748b"];

type Option = Parameters<ReturnType<typeof init>["setOption"]>[0];

const width = 920;

/** Draws a chart as SVG text; no script is needed to look at it. `name` tells its inner ids from those of others on a page. */
function draw(name: string, height: number, option: Option): Html {
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      color: palette,
      textStyle: { fontFamily: "system-ui, sans-serif" },
      ...option,
    });
    let svg = chart.renderToSVGString();
    for (const [name, colour] of Object.entries(stand)) svg = svg.replaceAll(colour, `var(--${name})`);
    // Styles on hover belong to live charts; ids count the charts of a process, which would make each page differ.
    svg = svg.replace(/<style[^>]*>.*?<\/style>/gs, "").replaceAll(/ class="zr[^"]*"/g, "");
    return raw(svg.replaceAll(/\bzr\d+-/g, `${name}-`).replace(/<svg /, '<svg role="img" '));
  } finally {
    chart.dispose();
  }
}

const label = { color: stand.soft, fontSize: 12 };
const split = { lineStyle: { color: stand.line } };
const bare = { axisLine: { show: false }, axisTick: { show: false } };

function cut(name: string, most = 44): string {
  return name.length <= most ? name : `${name.slice(0, 16)}…${name.slice(-(most - 17))}`;
}

/** Room for the longest name in a wide font; what measures text here does not know the reader's font. */
function margin(rows: readonly { readonly name: string }[]): number {
  return 16 + 7.4 * Math.max(...rows.map(({ name }) => cut(name).length), 4);
}

/** One line of a chart of widths. */
export interface Width {
  readonly name: string;
  readonly before: number;
  readonly after: number;
}

/** Two bars for each name: how wide it was behind, how wide it is in front. */
export function widthBars(rows: readonly Width[]): Html {
  return draw("widths", Math.max(120, 46 + rows.length * 20), {
    grid: { left: margin(rows), right: 64, top: 8, bottom: 26 },
    xAxis: { type: "value", axisLabel: label, splitLine: split, ...bare },
    yAxis: {
      type: "category",
      inverse: true,
      data: rows.map(({ name }) => cut(name)),
      axisLabel: { ...label, interval: 0, color: stand.ink },
      ...bare,
    },
    series: [
      {
        type: "bar",
        data: rows.map(({ before }) => before),
        barWidth: 11,
        itemStyle: { color: stand.before, borderRadius: 2 },
      },
      {
        type: "bar",
        data: rows.map(({ after }) => after),
        barWidth: 11,
        barGap: "-100%",
        itemStyle: { color: stand.after, borderRadius: 2 },
        label: {
          show: true,
          position: "right",
          color: stand.soft,
          fontSize: 11,
          formatter: ({ dataIndex }: { readonly dataIndex: number }) => {
            const row = rows[dataIndex];
            return row === undefined || row.after === row.before
              ? `${row?.after ?? ""}`
              : `${row.after} of ${row.before}`;
          },
        },
      },
    ],
  });
}

/** What is left of each amount, in percent, on a track of 100. `id` tells it from other such charts of the page. */
export function shareBars(rows: readonly { readonly name: string; readonly share: number }[], id = "shares"): Html {
  // Many rows lie closer.
  const [pitch, barWidth] = rows.length > 12 ? [20, 11] : [34, 16];
  return draw(id, 40 + rows.length * pitch, {
    grid: { left: margin(rows), right: 64, top: 4, bottom: 26 },
    xAxis: {
      type: "value",
      min: 0,
      max: Math.max(100, ...rows.map((row) => Math.ceil(row.share * 10) * 10)),
      axisLabel: { ...label, formatter: "{value} %" },
      splitLine: split,
      ...bare,
    },
    yAxis: {
      type: "category",
      inverse: true,
      data: rows.map(({ name }) => cut(name)),
      axisLabel: { ...label, interval: 0, color: stand.ink },
      ...bare,
    },
    series: [
      {
        type: "bar",
        data: rows.map(() => 100),
        barWidth,
        itemStyle: { color: stand.before, opacity: 0.45, borderRadius: 3 },
      },
      {
        type: "bar",
        data: rows.map((row) => row.share * 100),
        barWidth,
        barGap: "-100%",
        itemStyle: { color: stand.after, borderRadius: 3 },
        label: {
          show: true,
          position: "right",
          color: stand.ink,
          fontSize: 12,
          formatter: ({ dataIndex }: { readonly dataIndex: number }) =>
            `${((rows[dataIndex]?.share ?? 0) * 100).toFixed(1)} %`,
        },
      },
    ],
  });
}

/** One bar of a chart of amounts. */
export interface Amount {
  readonly name: string;
  readonly value: number;
  /** What stands at its end. */
  readonly text: string;
  /** Drawn in the colour of what was before. */
  readonly before?: boolean;
}

/** Amounts of one kind, from zero. `id` tells it from other such charts of the page. */
export function amountBars(rows: readonly Amount[], id: string): Html {
  return draw(id, 14 + rows.length * 28, {
    grid: { left: margin(rows), right: 90, top: 4, bottom: 4 },
    xAxis: { type: "value", min: 0, show: false },
    yAxis: {
      type: "category",
      inverse: true,
      data: rows.map(({ name }) => cut(name)),
      axisLabel: { ...label, interval: 0, color: stand.ink },
      ...bare,
    },
    series: [
      {
        type: "bar",
        data: rows.map(({ value, before }) => ({
          value,
          itemStyle: { color: before === true ? stand.before : stand.after, borderRadius: 3 },
        })),
        barWidth: 14,
        label: {
          show: true,
          position: "right",
          color: stand.ink,
          fontSize: 12,
          formatter: ({ dataIndex }: { readonly dataIndex: number }) => rows[dataIndex]?.text ?? "",
        },
      },
    ],
  });
}

/** A measured time with the range that eight of ten runs fell into. */
export interface Timing {
  readonly name: string;
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}

/** Medians as dots, p10 to p90 as lines. */
export function timings(rows: readonly Timing[]): Html {
  return draw("timings", 56 + rows.length * 36, {
    grid: { left: margin(rows), right: 90, top: 8, bottom: 26 },
    xAxis: {
      type: "value",
      min: 0,
      name: "ms",
      nameTextStyle: label,
      axisLabel: label,
      splitLine: split,
      ...bare,
    },
    yAxis: {
      type: "category",
      inverse: true,
      data: rows.map(({ name }) => name),
      axisLabel: { ...label, color: stand.ink },
      ...bare,
    },
    series: [
      ...rows.map(({ p10, p90 }, i) => ({
        type: "line" as const,
        data: [
          [p10, i],
          [p90, i],
        ],
        symbol: "none",
        lineStyle: { width: 9, opacity: 0.5, cap: "round" as const, color: i === 0 ? stand.before : stand.after },
      })),
      {
        type: "scatter",
        symbolSize: 13,
        data: rows.map(({ median }, i) => ({
          value: [median, i],
          itemStyle: { color: i === 0 ? stand.soft : stand.after },
        })),
        label: {
          show: true,
          position: "top",
          distance: 6,
          color: stand.ink,
          fontSize: 12,
          formatter: ({ dataIndex }: { readonly dataIndex: number }) =>
            `${(rows[dataIndex]?.median ?? 0).toPrecision(3)} ms`,
        },
      },
    ],
  });
}

/** One line of points of a plot. */
export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
  /** Drawn thin and grey, without a name. */
  readonly faint?: boolean;
}

export interface Axes {
  readonly x: string;
  readonly y: string;
  /** Values are shares and shown in percent. */
  readonly xShare?: boolean;
  readonly yShare?: boolean;
}

/** Curves over a plane, one colour for each name. */
export function curves(lines: readonly Curve[], axes: Axes): Html {
  const named = lines.filter(({ faint }) => faint !== true);
  const axis = (name: string, isShare: boolean | undefined) => ({
    type: "value" as const,
    scale: true,
    name,
    nameLocation: "middle" as const,
    nameTextStyle: { ...label, color: stand.ink },
    axisLabel: isShare === true ? { ...label, formatter: (v: number) => `${+(v * 100).toFixed(2)} %` } : label,
    splitLine: split,
    axisLine: { lineStyle: { color: stand.line } },
    axisTick: { show: false },
  });
  const colours = new Map(named.map(({ name }, i) => [name, palette[i % palette.length] ?? stand.ink]));
  const legend = named.map(
    ({ name }) => html`<span><i style="background:${colours.get(name) ?? ""}"></i>${cut(name)}</span>`,
  );
  const plot = draw(axes.x.replaceAll(/\W/g, ""), 350, {
    grid: { left: 76, right: 24, top: 14, bottom: 48 },
    xAxis: { ...axis(axes.x, axes.xShare), nameGap: 30 },
    yAxis: { ...axis(axes.y, axes.yShare), nameGap: 54 },
    series: [...lines]
      .sort((a, b) => Number(b.faint === true) - Number(a.faint === true))
      .map(({ name, points, faint }) => ({
        type: "line" as const,
        name: cut(name),
        data: points.map(([a, b]) => [a, b]),
        symbol: "circle",
        symbolSize: faint === true ? 0 : 7,
        lineStyle: faint === true ? { width: 1, color: stand.before } : { width: 2 },
        color: colours.get(name) ?? stand.before,
      })),
  });
  return html`<div class="legend">${legend}</div>${plot}`;
}
