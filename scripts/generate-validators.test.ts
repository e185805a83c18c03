import { readFile } from 'node:fs/promises'
import { evaluate } from '@marcbachmann/cel-js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { schemas } from '../api/generated/validators.js'
import { equal, isIn, size } from '../api/validate-runtime.ts'
import { celToJs } from './cel-to-js.ts'
import { generatedFolder, generateValidators, registeredSchemas } from './generate-validators.ts'

describe('the generated validators', () => {
  test('are up to date with the schemas: `npm run generate` would change nothing', async () => {
    for (const file of generateValidators(await registeredSchemas())) {
      const committed = await readFile(`${generatedFolder}${file.name}`, 'utf8')
      // A boolean, since the difference itself would fill screens.
      expect(committed === file.text, `${file.name} is out of date: npm run generate`).toBe(true)
    }
  })

  test('import our own few lines of runtime and neither ajv nor TypeBox', async () => {
    const code = await readFile(`${generatedFolder}validators.js`, 'utf8')
    expect(code.match(/^import .*$/gm)).toEqual([expect.stringContaining("from '../validate-runtime.ts'")])
    expect(code).not.toMatch(/require\(|import\(|ajv|typebox/)
  })
})

describe('celToJs', () => {
  const run = (rule: string, self: unknown): unknown =>
    new Function('self', 'equal', 'isIn', 'size', `return ${celToJs(rule)}`)(
      self,
      Object.is,
      (needle: unknown, hay: unknown[]) => hay.includes(needle),
      (value: { length: number }) => value.length,
    )

  test.each([
    ['has(self.a)', { a: 0 }, true],
    ['has(self.a)', {}, false],
    ['has(self.a.b)', {}, false],
    ['!has(self.min) || !has(self.max) || self.min <= self.max', { min: 1, max: 0 }, false],
    ['!has(self.min) || !has(self.max) || self.min <= self.max', { min: 1 }, true],
    ['(has(self.a) ? 1 : 0) + (has(self.b) ? 1 : 0) == 1', { a: 1, b: 2 }, false],
    ["self.as in ['x', 'y']", { as: 'y' }, true],
    ["self.__as__ in ['x', 'y']", { as: 'z' }, false],
    ['self.n != 0.0 && self.n * 2 - 1 > 3 % 2', { n: 3 }, true],
    ["self.s.startsWith('ab') && size(self.s) == 3 && self.s.size() == 3", { s: 'abc' }, true],
    ["self['a'] == 1 ? true : false", { a: 1 }, true],
    ['1 + 2 * 3 == 7 && -(1) < 0', {}, true],
  ])('%s of %j is %j', (rule, self, result) => {
    expect(run(rule, self)).toBe(result)
  })

  test.each([
    'self.all(x, x > 1)',
    'other.a',
    'has(1)',
    "self.a == 'x\\n'",
    'self.a &&',
    'self.a $ 1',
    'self.process()',
  ])('refuses what it cannot translate: %s', (rule) => {
    expect(() => celToJs(rule)).toThrow(expect.objectContaining({ code: 'SLUICE_CEL_UNSUPPORTED' }))
  })
})

describe('every rule of the schemas', () => {
  interface Site {
    readonly rule: string
    readonly properties: Readonly<Record<string, { readonly type?: string }>>
  }

  function* rulesIn(schema: unknown): Generator<Site> {
    if (typeof schema !== 'object' || schema === null) return
    const rules: unknown = Reflect.get(schema, 'x-kubernetes-validations')
    const properties = Reflect.get(schema, 'properties') as Site['properties']
    if (Array.isArray(rules)) for (const { rule } of rules as { rule: string }[]) yield { rule, properties }
    for (const child of Object.values(schema)) yield* rulesIn(child)
  }

  const arbitraryOf = (type: string | undefined): fc.Arbitrary<unknown> => {
    if (type === 'integer') return fc.integer({ min: -1, max: 300 }).map(BigInt)
    if (type === 'number') return fc.constantFrom(-1.5, 0, 0.5, 3)
    if (type === 'string') return fc.constantFrom('', 'string', 'bytes', 'uint16')
    return fc.constant({})
  }

  const plain = (self: Readonly<Record<string, unknown>>) =>
    Object.fromEntries(
      Object.entries(self).map(([key, value]) => [key, typeof value === 'bigint' ? Number(value) : value]),
    )

  const sites = [...new Map([...rulesIn(schemas)].map((site) => [site.rule, site])).values()]

  test.each(sites)('means offline what it means to a CEL evaluator: $rule', ({ rule, properties }) => {
    const fields = [...new Set([...rule.matchAll(/self\.(\w+)/g)].map(([, field]) => field!))]
    const offline = new Function('self', 'equal', 'isIn', 'size', `return ${celToJs(rule)}`)
    const record = Object.fromEntries(fields.map((field) => [field, arbitraryOf(properties[field]?.type)]))
    fc.assert(
      fc.property(fc.record(record, { requiredKeys: [] }), (self) => {
        expect(offline(plain(self), equal, isIn, size)).toBe(evaluate(rule, { self }))
      }),
    )
  })
})
