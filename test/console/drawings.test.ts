import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type EnergyAnswer, flowOf, stackOf } from '../../console/src/energy-parts.ts'
import { sankey } from '../../console/src/sankey.ts'

const part = (name: string, watts: number) => ({ name, watts, joules: watts })
const watts = fc.double({ min: 0, max: 500, noNaN: true })

const attribution = fc
  .record({
    idle: watts,
    rest: watts,
    own: watts,
    pods: fc.array(watts, { maxLength: 20 }),
    devices: fc.array(watts, { maxLength: 20 }),
  })
  .map(({ idle, rest, own, pods, devices }): NonNullable<EnergyAnswer['attribution']> => {
    const sum = [idle, rest, own, ...pods, ...devices].reduce((total, each) => total + each, 0)
    return {
      ...{
        source: 'estimated',
        whole: part('whole', sum),
        idle: part('idle', idle),
        rest: part('rest', rest),
        slices: [],
      },
      pods: pods.map((each, at) => ({ ...part(`default/p${at}`, each), state: 'running' })),
      agent: {
        ...{ ...part('agent', 0), own: part('agent', own) },
        mappers: [{ ...part('modbus', 0), devices: devices.map((each, at) => part(`default/d${at}`, each)) }],
      },
    }
  })

describe('the flow of energy', () => {
  it('loses nothing: what enters a group leaves it, whatever is taken together', () => {
    fc.assert(
      fc.property(attribution, (found) => {
        const nodes = flowOf(found, 'Mains', (kind) => kind)
        const [supply, ...rest] = nodes
        const groups = rest.filter(({ column }) => column === 1)
        const sum = (of: typeof rest) => of.reduce((total, { value }) => total + value, 0)
        expect(sum(groups)).toBeCloseTo(supply!.value, 6)
        for (const { id, value } of groups) {
          const leaves = rest.filter(({ from, column }) => column === 2 && from === id)
          if (leaves.length > 0) expect(sum(leaves)).toBeCloseTo(value, 6)
        }
      }),
    )
  })

  it('is drawn without one label on top of another, inside of its box', () => {
    fc.assert(
      fc.property(attribution, fc.integer({ min: 200, max: 1400 }), (found, width) => {
        const { nodes, ribbons, height } = sankey(
          flowOf(found, 'Mains', (kind) => kind),
          width,
          190,
        )
        for (const column of [0, 1, 2]) {
          const own = nodes.filter((node) => node.column === column).sort((a, b) => a.y - b.y)
          for (const [at, node] of own.entries()) {
            expect(node.height).toBeGreaterThanOrEqual(17)
            expect(node.y + node.height).toBeLessThanOrEqual(height + 0.001)
            expect(node.x).toBeGreaterThanOrEqual(0)
            expect(node.x).toBeLessThanOrEqual(width)
            const next = own[at + 1]
            if (next !== undefined) expect(next.y).toBeGreaterThanOrEqual(node.y + node.height)
          }
        }
        expect(ribbons.every(({ path }) => !/NaN|Infinity/.test(path))).toBe(true)
      }),
    )
  })
})

describe('power over time', () => {
  it('is stacked to the sum, whatever is taken together and wherever something is not known', () => {
    const series = fc
      .integer({ min: 1, max: 30 })
      .chain((length) =>
        fc.array(fc.array(fc.option(watts), { minLength: length, maxLength: length }), { minLength: 1, maxLength: 14 }),
      )
    fc.assert(
      fc.property(series, (parts) => {
        const atMs = parts[0]!.map((_, at) => at * 5_000)
        const named = parts.map((each, at) => ({ name: `device:default/d${at}`, watts: each }))
        const { bands } = stackOf({ everyMs: 5_000, since: '', atMs, parts: named })
        expect(bands.length).toBeLessThanOrEqual(8)
        for (const at of atMs.keys()) {
          const sum = parts.reduce((total, each) => total + (each[at] ?? 0), 0)
          expect(bands.at(-1)!.top[at]).toBeCloseTo(sum, 6)
        }
      }),
    )
  })
})
