import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Schema } from '../crd/schema.ts'
import type { KubeObject, ManagedFieldsEntry } from '../objects.ts'
import { toFieldSet } from './compare.ts'
import { decodeFields, difference, encodeFields, intersection, isEmpty, paths, union } from './field-set.ts'
import { afterUpdate, applyConfiguration } from './managed-fields.ts'
import { mergePatch } from './merge-patch.ts'

const schema: Schema = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        desired: { type: 'object', additionalProperties: { 'x-kubernetes-preserve-unknown-fields': true } },
        parts: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: { type: 'object', properties: { name: { type: 'string' }, count: { type: 'integer' } } },
        },
      },
    },
    status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  },
}

const device = (spec: Record<string, unknown>): KubeObject => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'Device',
  metadata: { name: 'd' },
  spec,
})
const writer = (manager: string, nowMs = 0) => ({ manager, subresource: undefined, nowMs })
const owned = (entries: readonly ManagedFieldsEntry[]) =>
  Object.fromEntries(
    entries.map((entry) => [`${entry.manager}:${entry.operation}`, paths(decodeFields(entry.fieldsV1))]),
  )

describe('managedFields after an update', () => {
  it('say who set each desired property last, whoever wrote the others', () => {
    const first = device({ desired: { baud: 9600, limit: 5 } })
    let entries = afterUpdate(undefined, first, schema, [], writer('installer'))
    expect(owned(entries)).toEqual({
      'installer:Update': ['.spec', '.spec.desired', '.spec.desired.baud', '.spec.desired.limit'],
    })
    const second = mergePatch(first, { spec: { desired: { baud: 19200 } } }) as KubeObject
    entries = afterUpdate(first, second, schema, entries, writer('console', 5000))
    expect(owned(entries)).toEqual({
      'installer:Update': ['.spec', '.spec.desired', '.spec.desired.limit'],
      'console:Update': ['.spec.desired.baud'],
    })
    expect(entries.find((entry) => entry.manager === 'console')?.time).toBe('1970-01-01T00:00:05Z')
    const third = mergePatch(second, { spec: { desired: { limit: null } } }) as KubeObject
    entries = afterUpdate(second, third, schema, entries, writer('console'))
    expect(owned(entries)).toEqual({
      'installer:Update': ['.spec', '.spec.desired'],
      'console:Update': ['.spec.desired.baud'],
    })
  })

  it('stay as they are, the same array, when nothing changed', () => {
    const object = device({ desired: { baud: 1 } })
    const entries = afterUpdate(undefined, object, schema, [], writer('a'))
    expect(afterUpdate(object, structuredClone(object), schema, entries, writer('b'))).toBe(entries)
  })

  it('own items of a keyed list by key, and a whole list without keys as one', () => {
    const before = device({ parts: [{ name: 'x', count: 1 }], desired: { list: [1, 2] } })
    const after = device({ parts: [{ name: 'y' }, { name: 'x', count: 2 }], desired: { list: [1] } })
    expect(owned(afterUpdate(before, after, schema, [], writer('a')))['a:Update']).toEqual([
      '.spec.parts[name="y"]',
      '.spec.parts[name="y"].name',
      '.spec.parts[name="x"].count',
      '.spec.desired.list',
    ])
  })

  it('stay bounded whoever writes under ever new names', () => {
    let object = device({ desired: {} })
    let entries: readonly ManagedFieldsEntry[] = []
    for (let index = 0; index < 40; index++) {
      const next = mergePatch(object, { spec: { desired: { [`p${index}`]: 1 } } }) as KubeObject
      entries = afterUpdate(object, next, schema, entries, writer(`w${index}`, index * 1000))
      object = next
    }
    expect(entries.length).toBeLessThanOrEqual(11)
    expect(paths(entries.map((entry) => decodeFields(entry.fieldsV1)).reduce(union))).toContain('.spec.desired.p0')
  })
})

describe('server-side apply', () => {
  const apply = (
    live: KubeObject | undefined,
    spec: Record<string, unknown>,
    manager: string,
    force = false,
  ): KubeObject => {
    const { object, entries } = applyConfiguration(live, device(spec), schema, writer(manager), force, ['status'])
    return { ...object, metadata: { ...object.metadata, managedFields: entries } }
  }

  it('removes what an applier gave up, unless another owns it too', () => {
    let live = apply(undefined, { desired: { a: 1, b: 2 }, parts: [{ name: 'x' }] }, 'alice')
    live = apply(live, { desired: { b: 2 } }, 'bob')
    live = apply(live, { desired: {} }, 'alice')
    expect(live['spec']).toEqual({ desired: { b: 2 } })
  })

  it('names every owner and field in a conflict, and takes over when forced', () => {
    let live = apply(undefined, { desired: { a: 1 } }, 'alice')
    live = apply(live, { desired: { a: 1 } }, 'bob')
    expect(() => apply(live, { desired: { a: 2 } }, 'carol')).toThrow(
      'Apply failed with 2 conflicts: conflicts with "alice":\n- .spec.desired.a\nconflicts with "bob":\n- .spec.desired.a',
    )
    const forced = apply(live, { desired: { a: 2 } }, 'carol', true)
    expect(forced['spec']).toEqual({ desired: { a: 2 } })
    expect(owned(forced.metadata.managedFields ?? [])['carol:Apply']).toContain('.spec.desired.a')
    expect(owned(forced.metadata.managedFields ?? [])['alice:Apply'] ?? []).not.toContain('.spec.desired.a')
  })

  it('applied again changes nothing, and forced always ends as configured (property)', () => {
    const spec = fc.record(
      {
        desired: fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat(3)),
        parts: fc.uniqueArray(fc.constantFrom('x', 'y', 'z')).map((names) => names.map((name) => ({ name }))),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('ann', 'bob', 'cy'), spec), { minLength: 1, maxLength: 8 }),
        (rounds) => {
          let live: KubeObject | undefined
          for (const [manager, wanted] of rounds) {
            live = apply(live, wanted, manager, true)
            expect(live['spec']).toMatchObject({ ...(wanted.desired === undefined ? {} : { desired: wanted.desired }) })
            expect(apply(live, wanted, manager)).toEqual(live)
          }
        },
      ),
    )
  })
})

describe('field sets', () => {
  const value = fc.dictionary(
    fc.constantFrom('a', 'b', 'c'),
    fc.oneof(fc.nat(2), fc.dictionary(fc.constantFrom('x', 'y'), fc.nat(2))),
  )
  const set = value.map((fields) => toFieldSet(fields, undefined))

  it('survive encoding, and obey the laws of sets (property)', () => {
    fc.assert(
      fc.property(set, set, (a, b) => {
        expect(paths(decodeFields(JSON.parse(JSON.stringify(encodeFields(a)))))).toEqual(
          expect.arrayContaining(paths(a)),
        )
        expect(isEmpty(difference(a, a))).toBe(true)
        expect(new Set(paths(union(a, b)))).toEqual(new Set([...paths(a), ...paths(b)]))
        expect(new Set(paths(intersection(a, b)))).toEqual(new Set(paths(a).filter((path) => paths(b).includes(path))))
        expect(new Set(paths(difference(a, b)))).toEqual(new Set(paths(a).filter((path) => !paths(b).includes(path))))
      }),
    )
  })
})
