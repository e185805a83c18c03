// biome-ignore-all lint/suspicious/noTemplateCurlyInString: sources as texts are what is tested here
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkSource } from './check-imports.ts'
import { findImports } from './imports.ts'

const specifiers = (source: string) => findImports(source).map(({ specifier, line }) => `${specifier}:${line}`)

describe('findImports', () => {
  test.each([
    ["import { a } from './a.ts'", ['./a.ts:1']],
    ["import type { A } from './a.ts'", ['./a.ts:1']],
    ["import a, * as b from './a.ts'", ['./a.ts:1']],
    ["import './a.ts'", ['./a.ts:1']],
    ["export * from './a.ts'", ['./a.ts:1']],
    ['export { a as b } from "./a.ts"', ['./a.ts:1']],
    ["\nconst a = await import('./a.ts')", ['./a.ts:2']],
    ["const a = () => import(\n  './a.ts'\n)", ['./a.ts:2']],
    ['const a = import(`./a.ts`)', ['./a.ts:1']],
    ["let a: import('./a.ts').A", ['./a.ts:1']],
    ["const p = import.meta.resolve('./a.ts')", ['./a.ts:1']],
    ["const r = require('./a.js')", ['./a.js:1']],
    ["import {\n  a, // from './no.ts'\n  b,\n} from './a.ts'", ['./a.ts:4']],
    ["import data from './a.json' with { type: 'json' }", ['./a.json:1']],
    ["const a = `${await import('./a.ts')} and ${`deep ${import('./b.ts')}`}`", ['./a.ts:1', './b.ts:1']],
    ["const half = a / b; import('./a.ts') / 2", ['./a.ts:1']],
    ["const r = /'/; import './a.ts'", ['./a.ts:1']],
    ["const r = /[/'\"`]/.test(x) ? {} : `}`; import './a.ts'", ['./a.ts:1']],
    ['const e = `\\`${1}`; import "./a.ts"', ['./a.ts:1']],
    ["if (x) { y = { z: `${ { a: 1 }.a }` } } import './a.ts'", ['./a.ts:1']],
  ])('sees %j', (source, expected) => {
    expect(specifiers(source)).toEqual(expected)
  })

  test.each([
    "// import './a.ts'",
    "/* import './a.ts'\n */",
    'const text = "import \'./a.ts\'"',
    'const text = `import "./a.ts"`',
    "const r = /import '.a.ts'/",
    "take({ from: 'a' }); array.from('./a.ts'); of.import('./a.ts')",
    "const from = './a.ts'",
    'const url = new URL("./a.ts", import.meta.url)',
  ])('is not taken in by %j', (source) => {
    expect(specifiers(source)).toEqual([])
  })

  test('ends on any text', () => {
    const unit = fc.constantFrom(...'import from\'"`${}()/*\\.a \n'.split(''))
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 60 }), (source) => {
        findImports(source)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('checkSource', () => {
  const why = (file: string, specifier: string) =>
    checkSource(file, `import '${specifier}'`).map((breach) => breach.why)

  test.each([
    ['cli/up.ts', '../agent/main.ts'],
    ['cli/up.ts', '../cloudcore/main.ts'],
    ['cli/plan.ts', '../mappers/modbus/plan.ts'],
    ['agent/main.ts', '../mappers/registry.ts'],
    ['agent/main.ts', '../mappers/sdk/mapper.ts'],
    ['agent/store/a.ts', '../../api/errors.ts'],
    ['mappers/registry.ts', './modbus/protocol.ts'],
    ['mappers/modbus/plan.ts', './codec.ts'],
    ['mappers/modbus/plan.ts', '../sdk/mapper.ts'],
    ['mappers/modbus/mapper.ts', '../../api/clock.ts'],
    ['api/a.test.ts', '../mappers/modbus/schema.ts'],
    ['api/crd-rules.test-helper.ts', '../hil/bus.ts'],
    ['test/a.ts', '../hil/bus.ts'],
    ['bench/a.ts', '../cli/up.ts'],
    ['scripts/a.ts', '../mappers/registry.ts'],
    ['agent/main.ts', 'node:fs'],
    ['agent/main.ts', 'ws'],
    ['vitest.config.ts', 'vitest/config'],
  ])('%s may import %s', (file, specifier) => {
    expect(why(file, specifier)).toEqual([])
  })

  test.each([
    ['api/a.ts', '../mappers/registry.ts', 'api/ may import nothing of ours, not mappers/'],
    ['mappers/sdk/a.ts', '../../agent/a.ts', 'mappers/ may import api/, not agent/'],
    ['mappers/sdk/a.ts', '../modbus/codec.ts', 'mappers/sdk/ knows no protocol'],
    ['mappers/ble/a.ts', '../modbus/codec.ts', 'a protocol knows no other'],
    ['agent/a.ts', '../cloudcore/hub.ts', 'agent/ may import firmware/, mappers/, api/, not cloudcore/'],
    ['cloudcore/a.ts', '../agent/a.ts', 'not agent/'],
    ['agent/deep/a.ts', '../../mappers/modbus/mapper.ts', 'through mappers/registry.ts only'],
    ['cloudcore/a.ts', '../mappers/modbus/schema.ts', 'through mappers/registry.ts only'],
    ['agent/a.ts', '../cli/up.ts', 'not cli/'],
    ['cli/a.ts', '../hil/bus.ts', 'not hil/'],
    ['cli/a.ts', '../test/helper.ts', 'not test/'],
    ['cli/a.ts', '../demo/plant.ts', 'not demo/'],
    ['cli/a.ts', '../scripts/build.ts', 'not scripts/'],
    ['cli/a.ts', '../../other/a.ts', 'leaves the repository'],
  ])('%s may not import %s', (file, specifier, words) => {
    expect(why(file, specifier)[0]).toContain(words)
  })

  test('says file and line of a dynamic import', () => {
    expect(checkSource('agent/a.ts', "\n\nconst x = await import('../cli/up.ts')")).toMatchObject([
      { file: 'agent/a.ts', line: 3, specifier: '../cli/up.ts' },
    ])
  })
})
