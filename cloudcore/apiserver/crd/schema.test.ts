import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ruleProblem, validateRules } from './cel.ts'
import { compileJsonPath } from './json-path.ts'
import { applyDefaults, prune } from './prune.ts'
import type { Schema } from './schema.ts'
import { structuralProblems } from './structural.ts'
import { validateSchema } from './validate.ts'

const part: Schema = {
  type: 'object',
  required: ['name'],
  properties: { name: { type: 'string' }, count: { type: 'integer', default: 1 } },
}
const parts: Schema = {
  type: 'array',
  items: part,
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['name'],
}

const messages = (value: unknown, schema: Schema, old?: unknown) =>
  validateSchema(value, old, schema, 'spec').map((cause) => `${cause.field}: ${cause.message}`)
const withRule = (rule: string, properties: Record<string, Schema>, extra = {}): Schema => ({
  type: 'object',
  properties,
  'x-kubernetes-validations': [{ rule, ...extra }],
})

describe('pruning and defaulting', () => {
  it('drop unknown fields, name them, and keep what may be anything', () => {
    const schema: Schema = {
      type: 'object',
      properties: { parts, free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
    }
    const unknown: string[] = []
    expect(prune({ odd: 1, parts: [{ name: 'x', odd: 2 }], free: { any: 1 } }, schema, unknown, 'spec')).toEqual({
      parts: [{ name: 'x' }],
      free: { any: 1 },
    })
    expect(unknown).toEqual(['spec.odd', 'spec.parts[0].odd'])
  })

  it('fill in defaults at every depth, and in the place of a null', () => {
    const schema: Schema = {
      type: 'object',
      properties: {
        parts,
        mode: { type: 'string', default: 'a' },
        deep: { type: 'object', default: {}, properties: { x: { type: 'integer', default: 7 } } },
      },
    }
    expect(applyDefaults({ parts: [{ name: 'x' }], mode: null }, schema)).toEqual({
      parts: [{ name: 'x', count: 1 }],
      mode: 'a',
      deep: { x: 7 },
    })
  })

  it('give the same object back when there is nothing to do (property)', () => {
    const schema: Schema = { type: 'object', properties: { parts } }
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const clean = applyDefaults(prune(value, schema, [], 'spec'), schema)
        expect(applyDefaults(prune(clean, schema, [], 'spec'), schema)).toBe(clean)
      }),
    )
  })
})

describe('validation', () => {
  it.each<[unknown, Schema, string]>([
    ['x', { type: 'integer' }, 'spec: Invalid value: "string": spec in body must be of type integer: "string"'],
    [1.5, { type: 'integer' }, 'spec: Invalid value: "number": spec in body must be of type integer: "number"'],
    [0, { type: 'integer', minimum: 1 }, 'spec: Invalid value: 0: spec in body should be greater than or equal to 1'],
    [
      5,
      { type: 'number', maximum: 5, exclusiveMaximum: true },
      'spec: Invalid value: 5: spec in body should be less than 5',
    ],
    [5, { type: 'integer', multipleOf: 2 }, 'spec: Invalid value: 5: spec in body should be a multiple of 2'],
    ['', { type: 'string', minLength: 1 }, 'spec: Invalid value: "": spec in body should be at least 1 chars long'],
    ['é'.repeat(3), { type: 'string', maxLength: 2 }, 'spec: Too long: may not be more than 2 bytes'],
    [
      'soon',
      { type: 'string', pattern: '^[0-9]+$' },
      'spec: Invalid value: "soon": spec in body should match \'^[0-9]+$\'',
    ],
    [
      'noon',
      { type: 'string', format: 'date-time' },
      'spec: Invalid value: "noon": spec in body must be of type date-time: "noon"',
    ],
    [
      true,
      { 'x-kubernetes-int-or-string': true },
      'spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean"',
    ],
    [
      [1, 2],
      { type: 'array', maxItems: 1, items: { type: 'integer' } },
      'spec: Too many: 2: must have at most 1 items',
    ],
    [
      ['a', 'a'],
      { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
      'spec[1]: Duplicate value: "a"',
    ],
    [[{ name: 'p' }, { name: 'p' }], parts, 'spec[1]: Duplicate value: map[string]interface {}{"name":"p"}'],
    [{}, part, 'spec.name: Required value'],
    [
      3,
      { type: 'integer', anyOf: [{ minimum: 5 }, { maximum: 1 }] },
      'spec: Invalid value: 3: spec in body must validate at least one schema (anyOf)',
    ],
  ])('says of %j what the real server says', (value, schema, message) => {
    expect(messages(value, schema)).toEqual([message])
  })

  it('leaves alone what has not changed since a schema was tightened', () => {
    const schema: Schema = {
      type: 'object',
      properties: {
        old: { type: 'object', properties: { size: { type: 'integer', maximum: 1 } } },
        fresh: { type: 'integer' },
      },
    }
    const old = { old: { size: 5 }, fresh: 1 }
    expect(messages({ ...old, fresh: 2 }, schema, old)).toEqual([])
    expect(messages({ old: { size: 6 }, fresh: 1 }, schema, old)).toHaveLength(1)
  })

  it('takes any value without throwing, and stays short (property)', () => {
    const schema: Schema = {
      type: 'object',
      properties: { parts, text: { type: 'string', pattern: '^a' }, n: { type: 'number' } },
    }
    fc.assert(
      fc.property(
        fc.jsonValue(),
        (value) => void expect(validateSchema(value, undefined, schema, '').length).toBeLessThan(60),
      ),
    )
  })
})

describe('CEL rules', () => {
  const size: Record<string, Schema> = { size: { type: 'integer' }, note: { type: 'string' } }

  it('hold a value against a rule and say the message', () => {
    const schema = withRule("self.size <= 10 || (has(self.note) && self.note != '')", size, { message: 'needs a note' })
    expect(validateRules({ size: 5 }, undefined, schema, 'spec')).toEqual([])
    expect(validateRules({ size: 11 }, undefined, schema, 'spec')).toEqual([
      { reason: 'FieldValueInvalid', message: 'Invalid value: "object": needs a note', field: 'spec' },
    ])
  })

  it('compare with the old value on an update, item by item of a keyed list, and not on a create', () => {
    const schema: Schema = {
      ...parts,
      items: {
        ...part,
        'x-kubernetes-validations': [
          { rule: 'self.count >= oldSelf.count', messageExpression: '"may not fall below " + string(oldSelf.count)' },
        ],
      },
    }
    const old = [
      { name: 'a', count: 1 },
      { name: 'b', count: 5 },
    ]
    expect(validateRules(old, undefined, schema, 'spec')).toEqual([])
    expect(
      validateRules(
        [
          { name: 'b', count: 4 },
          { name: 'a', count: 2 },
        ],
        old,
        schema,
        'spec',
      ),
    ).toMatchObject([{ field: 'spec[0]', message: 'Invalid value: "object": may not fall below 5' }])
  })

  it('know the list and string functions that Kubernetes adds', () => {
    const schema = withRule(
      "self.tags.isSorted() && self.tags.indexOf('b') == 1 && [1, 2].sum() == 3 && 'a-b'.replace('-', '+') == 'a+b' && isURL('http://x')",
      { tags: { type: 'array', items: { type: 'string' } } },
    )
    expect(validateRules({ tags: ['a', 'b'] }, undefined, schema, 'spec')).toEqual([])
  })

  it('spell fields that CEL could not name', () => {
    const schema = withRule("self.__namespace__ == 'a' && self.my__dash__name == 'b'", {
      namespace: { type: 'string' },
      'my-name': { type: 'string' },
    })
    expect(validateRules({ namespace: 'a', 'my-name': 'b' }, undefined, schema, 'spec')).toEqual([])
  })

  it('are refused before they run when they could take too long', () => {
    const schema = withRule('self.list.all(a, self.list.all(b, self.list.all(c, a + b + c >= 0)))', {
      list: { type: 'array', items: { type: 'integer' } },
    })
    const list = Array.from({ length: 1000 }, (_, index) => index)
    expect(validateRules({ list }, undefined, schema, 'spec')[0]?.message).toContain('running out of cost budget')
    expect(validateRules({ list: list.slice(0, 20) }, undefined, schema, 'spec')).toEqual([])
  })

  it('that cannot be compiled or give no bool are said to be wrong', () => {
    expect(ruleProblem({ rule: 'self.size >' })).toContain('compilation failed')
    expect(ruleProblem({ rule: 'other == 1' })).toContain('compilation failed')
    expect(ruleProblem({ rule: '1 + 1' })).toBe('must evaluate to a bool')
    expect(ruleProblem({ rule: 'self == oldSelf' })).toBeUndefined()
  })
})

describe('a definition is refused', () => {
  it.each<[string, Schema]>([
    ['.type', { properties: { spec: {} } }],
    ['.properties[a].items', { type: 'object', properties: { a: { type: 'array' } } }],
    ['.properties[a].pattern', { type: 'object', properties: { a: { type: 'string', pattern: '(' } } }],
    ['.properties[a].default', { type: 'object', properties: { a: { type: 'string', default: 5 } } }],
    [
      '.properties[a].x-kubernetes-list-map-keys',
      { type: 'object', properties: { a: { ...parts, 'x-kubernetes-list-map-keys': ['odd'] } } },
    ],
  ])('at %s', (path, schema) => {
    expect(structuralProblems(schema, 'schema').map((cause) => cause.field)).toContain(`schema${path}`)
  })
})

describe('JSON paths', () => {
  const object = {
    spec: {
      list: [
        { type: 'Ready', status: 'True' },
        { type: 'Low', n: 5 },
      ],
      'a.b': 1,
    },
  }

  it.each<[string, unknown[]]>([
    ['.spec.list[0].type', ['Ready']],
    ['.spec.list[-1].n', [5]],
    ['.spec.list[*].type', ['Ready', 'Low']],
    ['.spec.list[?(@.type=="Ready")].status', ['True']],
    ['.spec.list[?(@.n>4)].type', ['Low']],
    ["{.spec['a.b']}", [1]],
    ['.spec.a\\.b', [1]],
    ['.spec.missing.deep', []],
  ])('%s finds %j', (path, found) => {
    expect(compileJsonPath(path)?.(object)).toEqual(found)
  })

  it('take any text without throwing (property)', () => {
    fc.assert(fc.property(fc.string(), (text) => void compileJsonPath(text)?.(object)))
  })
})
