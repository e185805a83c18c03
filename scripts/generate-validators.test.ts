import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
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
