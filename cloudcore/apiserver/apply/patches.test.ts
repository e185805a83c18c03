import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Schema } from '../crd/schema.ts'
import { deepEqual } from '../objects.ts'
import { jsonPatch } from './json-patch.ts'
import { mergePatch } from './merge-patch.ts'
import { strategicMerge } from './strategic-merge.ts'

const plain = fc.jsonValue({ maxDepth: 3 })

describe('a JSON merge patch', () => {
  it('sets, nests and removes as RFC 7396 has it', () => {
    expect(mergePatch({ a: 'b', c: { d: 'e', f: 'g' } }, { a: 'z', c: { f: null } })).toEqual({ a: 'z', c: { d: 'e' } })
    expect(mergePatch({ a: [1] }, { a: { b: { c: null } } })).toEqual({ a: { b: {} } })
    expect(mergePatch([1], { a: 1 })).toEqual({ a: 1 })
  })

  it('shares what it does not touch, and gives the same object back when nothing changes', () => {
    const target = { spec: { size: 1 }, status: { phase: 'x' } }
    const patched = mergePatch(target, { status: { phase: 'y' } }) as typeof target
    expect(patched.spec).toBe(target.spec)
    expect(mergePatch(target, { status: { phase: 'x' } })).toBe(target)
  })

  it('is idempotent and never changes its target (property)', () => {
    fc.assert(
      fc.property(plain, plain, (target, patch) => {
        const before = structuredClone(target)
        const once = mergePatch(target, patch)
        expect(target).toEqual(before)
        expect(deepEqual(mergePatch(once, patch), once)).toBe(true)
      }),
    )
  })
})

describe('a JSON patch', () => {
  it('applies its operations in order', () => {
    const patch = [
      { op: 'test', path: '/a', value: 1 },
      { op: 'add', path: '/list/-', value: 3 },
      { op: 'add', path: '/list/0', value: 0 },
      { op: 'move', from: '/a', path: '/b~1c' },
      { op: 'copy', from: '/list/1', path: '/d' },
      { op: 'remove', path: '/list/1' },
    ]
    expect(jsonPatch({ a: 1, list: [1, 2] }, patch)).toEqual({ 'b/c': 1, d: 1, list: [0, 2, 3] })
  })

  it.each([
    [{ op: 'test', path: '/a', value: 2 }, 422],
    [{ op: 'remove', path: '/missing' }, 422],
    [{ op: 'add', path: '/list/9', value: 1 }, 422],
    [{ op: 'add', path: '/__proto__/x', value: 1 }, 422],
    [{ op: 'dance', path: '/a' }, 400],
    [{ op: 'add', path: 'a' }, 400],
  ])('refuses %j with %i', (operation, httpCode) => {
    expect(() => jsonPatch({ a: 1, list: [1] }, [operation])).toThrow(expect.objectContaining({ httpCode }))
  })

  it('refuses or applies anything without touching the target (property)', () => {
    const operation = fc.record({
      op: fc.constantFrom('add', 'remove', 'replace', 'test', 'move', 'copy'),
      path: fc.constantFrom('', '/a', '/a/0', '/a/-', '/b/c'),
      from: fc.constantFrom('/a', '/b'),
      value: plain,
    })
    fc.assert(
      fc.property(plain, fc.array(operation, { maxLength: 5 }), (target, patch) => {
        const before = structuredClone(target)
        try {
          jsonPatch(target, patch)
        } catch (error) {
          expect(error).toMatchObject({ httpCode: expect.any(Number) })
        }
        expect(target).toEqual(before)
      }),
    )
  })
})

describe('a strategic merge patch', () => {
  const item: Schema = { type: 'object', properties: { name: { type: 'string' } }, additionalProperties: true }
  const schema: Schema = {
    type: 'object',
    properties: {
      containers: {
        type: 'array',
        items: item,
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['name'],
      },
      finalizers: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
      args: { type: 'array', items: { type: 'string' } },
    },
  }
  const target = {
    containers: [
      { name: 'a', image: '1' },
      { name: 'b', image: '2' },
    ],
    finalizers: ['x'],
    args: ['p'],
  }

  it('merges keyed lists by key, adds to sets, replaces the rest', () => {
    expect(
      strategicMerge(target, { containers: [{ name: 'b', image: '3' }], finalizers: ['y'], args: ['q'] }, schema),
    ).toEqual({
      containers: [
        { name: 'a', image: '1' },
        { name: 'b', image: '3' },
      ],
      finalizers: ['x', 'y'],
      args: ['q'],
    })
  })

  it('puts new items before what only the server has', () => {
    const merged = strategicMerge(target, { containers: [{ name: 'c' }] }, schema)
    expect(merged).toMatchObject({ containers: [{ name: 'c' }, { name: 'a' }, { name: 'b' }] })
  })

  it('obeys its directives', () => {
    // What a new item is told to have no more, it never has.
    expect(strategicMerge({}, { containers: [{ name: 'n', image: null }] }, schema)).toEqual({
      containers: [{ name: 'n' }],
    })
    expect(strategicMerge(target, { containers: [{ name: 'a', $patch: 'delete' }] }, schema)).toMatchObject({
      containers: [{ name: 'b' }],
    })
    expect(strategicMerge(target, { containers: [{ $patch: 'replace' }, { name: 'z' }] }, schema)).toMatchObject({
      containers: [{ name: 'z' }],
    })
    expect(strategicMerge(target, { '$deleteFromPrimitiveList/finalizers': ['x'] }, schema)).toMatchObject({
      finalizers: [],
    })
    const ordered = {
      '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }],
      containers: [{ name: 'b', image: '9' }],
    }
    expect(strategicMerge(target, ordered, schema)).toMatchObject({
      containers: [{ name: 'b', image: '9' }, { name: 'a' }],
    })
    expect(strategicMerge({ a: { x: 1 }, b: 2 }, { a: { $patch: 'replace', y: 2 }, b: null }, undefined)).toEqual({
      a: { y: 2 },
    })
  })
})
