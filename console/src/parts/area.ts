import uPlot from 'uplot'
import type { Stack } from '../energy-parts.ts'
import { number } from '../words.ts'
import { axisOf, colour, followBox, type Openable, timeLabel } from './plot.ts'

export interface AreaPlot extends Openable {
  set(stack: Stack): void
}

const HEIGHT_PX = 210
/** Seconds between two words of the axis: whole ones, each of them told once. */
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600]

/**
 * Areas one on top of the other, in a box, until it is closed.
 * @param toneOf the colour of a band, as the number of a `--c` variable.
 */
export function openArea(box: HTMLElement, first: Stack, toneOf: (id: string) => number, unit: string): AreaPlot {
  let shown: Stack = first
  let plot = make()
  const unfollow = followBox(box, {
    resized: (width) => plot.setSize({ width, height: HEIGHT_PX }),
    recoloured: () => plot.redraw(false, true),
  })
  function make(): uPlot {
    // The highest edge is drawn first, each lower one over it: so no band needs to know its neighbour.
    const bands = [...shown.bands].reverse()
    const spread = new Map<number, number>()
    const series = bands.map(({ id }): uPlot.Series => {
      const tone = toneOf(id)
      const nth = spread.get(tone) ?? 0
      spread.set(tone, nth + 1)
      return {
        label: id,
        fill: () => shade(colour(`--c${tone}`), nth),
        stroke: () => colour('--surface'),
        width: 1,
        points: { show: false },
      }
    })
    return new uPlot(
      {
        width: Math.max(200, box.clientWidth),
        height: HEIGHT_PX,
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        scales: {
          y: { range: (_, _low, high) => [0, Math.max(0.01, (high ?? 0) * 1.1)] },
        },
        axes: [
          {
            ...axisOf(),
            space: 70,
            size: 28,
            incrs: STEPS_S,
            values: (_, splits) => splits.map((at) => timeLabel(at, 0)),
          },
          { ...axisOf(), size: 58, values: (_, splits) => splits.map((each) => `${number(each)}\u202f${unit}`) },
        ],
        series: [{}, ...series],
      },
      dataOf(shown),
      box,
    )
  }
  return {
    set(stack) {
      const same = stack.bands.map(({ id }) => id).join() === shown.bands.map(({ id }) => id).join()
      shown = stack
      if (same) {
        plot.setData(dataOf(stack))
        return
      }
      plot.destroy()
      plot = make()
    },
    close() {
      unfollow()
      plot.destroy()
    },
  }
}

const dataOf = ({ atS, bands }: Stack): uPlot.AlignedData => [
  [...atS],
  ...[...bands].reverse().map(({ top }) => [...top]),
]

/** Bands of one kind lie beside each other: every other one is a little nearer to the paper. */
const shade = (base: string, nth: number): string => (nth % 2 === 0 ? base : mixed(base, colour('--surface'), 0.35))

/** Two colours as `#rrggbb` or `#rgb`. */
function mixed(a: string, b: string, share: number): string {
  const [one, other] = [channels(a), channels(b)]
  const parts = one.map((value, at) => Math.round(value * (1 - share) + (other[at] ?? 0) * share))
  return `rgb(${parts.join(',')})`
}

function channels(hex: string): number[] {
  const digits = hex.slice(1)
  const each = digits.length === 3 ? [...digits].map((digit) => digit + digit) : (digits.match(/../g) ?? [])
  return each.map((pair) => Number.parseInt(pair, 16))
}
