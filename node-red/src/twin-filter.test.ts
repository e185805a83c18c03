import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { TwinView } from '../../api/views.ts'
import { endpointOf } from './sluice-gateway.ts'
import { methodValues } from './sluice-method.ts'
import { targetOf } from './target.ts'
import { TwinGate, twinFilter } from './twin-filter.ts'
import type { TwinChange } from './twin-mirror.ts'

function change(
  twin: Partial<TwinView>,
  kind: 'reported' | 'desired' | 'write' = 'reported',
  initial = false,
): TwinChange {
  const common = { device: 'default/pump', property: 'level', at: '' } as const
  const event =
    kind === 'reported'
      ? ({ kind, ...common, value: twin.value ?? null, quality: twin.quality ?? 'good' } as const)
      : kind === 'desired'
        ? ({ kind, ...common, version: 1, value: twin.desired?.value ?? 0 } as const)
        : ({ kind, ...common, version: 1, state: 'applied' } as const)
  return {
    event,
    twin: { name: 'level', access: 'readwrite', ...twin },
    device: { namespace: 'default', name: 'pump', model: 'grundfos', state: 'online', twins: [] },
    before: undefined,
    initial,
  }
}

const gate = (config: object) => new TwinGate(twinFilter({ id: 'n', ...config }))

describe('what a twin in node sends', () => {
  it('is about its device, model and property, where it names them', () => {
    expect(gate({ device: 'pump' }).passes(change({ value: 1 }))).toBe(true)
    expect(gate({ device: 'default/pump', property: 'level', model: 'grundfos' }).passes(change({ value: 1 }))).toBe(
      true,
    )
    for (const other of [{ device: 'other/pump' }, { model: 'wilo' }, { property: 'flow' }]) {
      expect(gate(other).passes(change({ value: 1 }))).toBe(false)
    }
  })

  it('is at least the deadband away from what it sent last, whatever the numbers', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ noNaN: true, min: -1e6, max: 1e6 })),
        fc.double({ min: 0.1, max: 100, noNaN: true }),
        (values, deadband) => {
          const one = gate({ deadband: String(deadband) })
          const sent = values.filter((value) => one.passes(change({ value })))
          expect(sent.slice(0, 1)).toEqual(values.slice(0, 1))
          for (const [index, value] of sent.entries()) {
            if (index > 0) expect(Math.abs(value - sent[index - 1]!)).toBeGreaterThanOrEqual(deadband)
          }
        },
      ),
    )
  })

  it('is the state at the start only when that is wanted', () => {
    expect(gate({ initial: false }).passes(change({ value: 1 }, 'reported', true))).toBe(false)
    expect(gate({ initial: true }).passes(change({ value: 1 }, 'reported', true))).toBe(true)
  })

  it('tells a difference between desired and reported once, and once that it is gone', () => {
    const one = gate({ trigger: 'delta' })
    const desired = { value: 5, version: 1, at: '' }
    expect(one.passes(change({ value: 1 }))).toBe(false)
    expect(one.passes(change({ value: 1, desired, state: 'pending' }, 'desired'))).toBe(true)
    expect(one.passes(change({ value: 1, desired, state: 'pending' }))).toBe(false)
    expect(one.passes(change({ value: 5, desired, state: 'synced' }))).toBe(true)
    expect(one.passes(change({ value: 5, desired, state: 'synced' }))).toBe(false)
  })
})

describe('whom a message is about', () => {
  const config = { id: 'n' }
  it('is what the node says, else the twin of the message, else its topic', () => {
    expect(targetOf({ ...config, device: 'a', property: 'b' }, { topic: 'x/y' })).toEqual({
      device: 'default/a',
      property: 'b',
    })
    expect(targetOf(config, { twin: { device: 'm', namespace: 'plant', property: 'p' }, topic: 'x/y' })).toEqual({
      device: 'plant/m',
      property: 'p',
    })
    expect(targetOf(config, { topic: 'plant/x/y' })).toEqual({ device: 'plant/x', property: 'y' })
    expect(targetOf(config, { topic: 'x/y' })).toEqual({ device: 'default/x', property: 'y' })
    expect(targetOf(config, {})).toEqual({ device: '', property: '' })
  })
})

describe('the values of a method', () => {
  it('are all of its properties and nothing else', () => {
    expect(methodValues('run', ['a', 'b'], { payload: { a: 1, b: 2 } })).toEqual({ a: 1, b: 2 })
    expect(methodValues('go', ['a'], { payload: 7 })).toEqual({ a: 7 })
    for (const payload of [{ a: 1 }, { a: 1, b: 2, c: 3 }, 5, undefined, [1, 2]]) {
      expect(() => methodValues('run', ['a', 'b'], { payload })).toThrow(/method 'run'/)
    }
  })
})

describe('the address of a gateway', () => {
  it('is a socket, a loopback port, or a cloud core that is reached by https only', () => {
    const config = { id: 'n' }
    expect(endpointOf({ ...config, socket: '/run/agent.sock' }, undefined)).toEqual({
      kind: 'socket',
      path: '/run/agent.sock',
    })
    const port = { ...config, target: 'port', url: 'http://127.0.0.1:8099' }
    expect(endpointOf(port, 't')).toEqual({ kind: 'http', url: 'http://127.0.0.1:8099', token: 't' })
    expect(endpointOf({ ...config, target: 'cloud', url: 'https://hub:7443' }, 't')).toMatchObject({ kind: 'https' })
    for (const bad of [
      { target: 'cloud', url: 'http://hub' },
      { target: 'port', url: 'hub' },
      { target: 'cloud', url: '' },
    ]) {
      expect(() => endpointOf({ ...config, ...bad }, undefined)).toThrow(
        expect.objectContaining({ code: 'SLUICE_NODERED_ADDRESS' }),
      )
    }
  })
})
