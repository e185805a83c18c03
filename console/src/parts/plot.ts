import uPlot from 'uplot'
import type { HistoryPoint } from '../../../api/views.ts'
import { locale, number } from '../words.ts'

export interface PlotOptions {
  readonly spanMs: number
  readonly unit: string
  readonly label: string
  /** A value stands until the next: switches and states. */
  readonly steps: boolean
}

export interface Openable {
  close(): void
}

export interface Plot extends Openable {
  add(point: HistoryPoint): void
}

const MAX_POINTS = 5_000
const HEIGHT_PX = 220

export const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** Asked for at each drawing: the reader may change from light to dark. */
export const axisOf = (): uPlot.Axis => ({
  stroke: () => colour('--muted'),
  grid: { stroke: () => colour('--line'), width: 1 },
  ticks: { show: false },
})

/** Tells of another size of the box, and of another colour scheme, until it is called. */
export function followBox(
  box: HTMLElement,
  { resized, recoloured }: { readonly resized: (widthPx: number) => void; readonly recoloured: () => void },
): () => void {
  const scheme = matchMedia('(prefers-color-scheme: dark)')
  scheme.addEventListener('change', recoloured)
  const observer = new ResizeObserver(() => resized(Math.max(200, box.clientWidth)))
  observer.observe(box)
  return () => {
    observer.disconnect()
    scheme.removeEventListener('change', recoloured)
  }
}

/** Draws points into a box, and follows the clock and what is added until it is closed. */
export function openPlot(box: HTMLElement, given: readonly HistoryPoint[], options: PlotOptions): Plot {
  const points = [...given]
  const axis = axisOf()
  const paths = options.steps ? uPlot.paths.stepped!({ align: 1 }) : uPlot.paths.linear!()
  const plot = new uPlot(
    {
      width: Math.max(200, box.clientWidth),
      height: HEIGHT_PX,
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      scales: {
        x: { range: () => [(Date.now() - options.spanMs) / 1000, Date.now() / 1000] },
        y: { range: (_, low, high) => (options.steps ? [-0.1, 1.1] : padded(low, high)) },
      },
      axes: [
        { ...axis, space: 70, size: 28, values: (_, splits) => splits.map((at) => timeLabel(at, options.spanMs)) },
        { ...axis, size: 64, values: (_, splits) => splits.map((value) => number(value)) },
      ],
      series: [
        {},
        {
          label: options.label,
          stroke: () => colour('--accent'),
          width: 1.5,
          paths,
          points: { show: false },
          spanGaps: false,
        },
        // What was recorded while the link was down: the same line, in another colour.
        {
          label: 'backfill',
          stroke: () => colour('--warn'),
          width: 2,
          paths,
          points: { show: true, size: 4 },
          spanGaps: false,
        },
      ],
    },
    dataOf(points),
    box,
  )
  let due = false
  const draw = () => {
    due = false
    points.splice(0, points.length - MAX_POINTS)
    plot.setData(dataOf(points))
  }
  const ask = () => {
    if (!due) requestAnimationFrame(draw)
    due = true
  }
  const timer = setInterval(ask, 1_000)
  const unfollow = followBox(box, {
    resized: (width) => plot.setSize({ width, height: HEIGHT_PX }),
    recoloured: () => plot.redraw(false, true),
  })
  return {
    add(point) {
      // Back-filled points belong before what is there.
      const after = points.findLastIndex(([at]) => at <= point[0])
      if (points[after]?.[0] === point[0]) points[after] = point
      else points.splice(after + 1, 0, point)
      ask()
    },
    close() {
      clearInterval(timer)
      unfollow()
      plot.destroy()
    },
  }
}

/** What was reported last stands until something else is: a value is reported when it changes. */
function dataOf(reported: readonly HistoryPoint[]): uPlot.AlignedData {
  const last = reported.findLast(([, , backfill]) => backfill !== 1)
  const points = last === undefined ? reported : [...reported, [Date.now(), last[1]] as const]
  const live = points.map(([, value, backfill]) => (backfill === 1 ? null : value))
  const late = points.map(([, value, backfill]) => (backfill === 1 ? value : null))
  return [points.map(([at]) => at / 1000), live, late]
}

function padded(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1]
  const room = high - low
  const pad = room > 0 ? room * 0.1 : Math.max(Math.abs(high) * 0.05, 0.5)
  return [low - pad, high + pad]
}

export const timeLabel = (s: number, spanMs: number): string =>
  new Date(s * 1000).toLocaleTimeString(locale, {
    hour: '2-digit',
    minute: '2-digit',
    ...(spanMs <= 600_000 ? { second: '2-digit' } : {}),
  })
