import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_YAML_LENGTH, readYaml } from './read.ts'

const one = (text: string) => {
  const { documents, findings } = readYaml(text, 'a.yaml')
  expect(findings).toEqual([])
  expect(documents).toHaveLength(1)
  return documents[0]!
}

const codes = (text: string) =>
  readYaml(text, 'a.yaml').findings.map(({ code, line, column }) => `${code} ${line}:${column}`)

const plant = `# the plant
apiVersion: sluice.dev/v1alpha1
kind: Device
metadata: {name: meter-3, namespace: plant}
spec:
  model: eastron
  modbus:
    rtu: {port: /dev/ttyUSB0, baud: 9600}
  desired:
    limits: [1, 2,
      3]
    empty:
    list:
      - name: a
      - 5
`

describe('readYaml', () => {
  test('splits documents and skips empty ones', () => {
    const { documents } = readYaml('---\na: 1\n---\n---\n# only a comment\n---\nb: 2\n...\n---\nnull\n', 'a.yaml')
    expect(documents.map(({ value }) => value)).toEqual([{ a: 1 }, { b: 2 }])
    expect(documents.map(({ line }) => line)).toEqual([2, 7])
    expect(readYaml('', 'a.yaml')).toEqual({ documents: [], findings: [] })
  })

  test('knows kind, name and namespace', () => {
    expect(one(plant)).toMatchObject({
      apiVersion: 'sluice.dev/v1alpha1',
      kind: 'Device',
      name: 'meter-3',
      namespace: 'plant',
      file: 'a.yaml',
      line: 2,
    })
    expect(one('kind: 5\nmetadata: [x]')).toMatchObject({ kind: undefined, name: undefined, namespace: undefined })
  })

  test.each([
    ['0x000C', 12],
    ['0o17', 15],
    ['1e3', 1000],
    ['-0.5', -0.5],
    ['true', true],
    ['~', null],
    ['2026-01-31', '2026-01-31'],
    ["'7'", '7'],
  ])('reads %s as the core schema does', (text, value) => {
    expect(one(`a: ${text}`).value).toEqual({ a: value })
  })

  test('reads JSON and a byte order mark', () => {
    expect(one('\ufeff{"a": [1, {"b": null}]}').value).toEqual({ a: [1, { b: null }] })
  })

  test('turns number keys into words and unfolds merge keys, as kubectl does', () => {
    expect(one('map: {0: idle, 1: run}').value).toEqual({ map: { 0: 'idle', 1: 'run' } })
    expect(one('base: &b {x: 1}\nuse:\n  <<: *b\n  z: 2').value).toEqual({ base: { x: 1 }, use: { x: 1, z: 2 } })
  })
})

describe('positionOf', () => {
  test.each<[readonly (string | number)[], 'key' | 'value', number, number]>([
    [['kind'], 'value', 3, 7],
    [['kind'], 'key', 3, 1],
    [['metadata', 'namespace'], 'value', 4, 38],
    [['spec'], 'value', 5, 1],
    [['spec', 'modbus', 'rtu', 'baud'], 'value', 8, 37],
    [['spec', 'modbus', 'rtu', 'baud'], 'key', 8, 31],
    [['spec', 'desired', 'limits', 2], 'value', 11, 7],
    [['spec', 'desired', 'empty'], 'value', 12, 5],
    [['spec', 'desired', 'list', 0, 'name'], 'value', 14, 15],
    [['spec', 'desired', 'list', 1], 'value', 15, 9],
    [['spec', 'modbus', 'unit'], 'value', 7, 3],
    [['spec', 'desired', 'list', 9], 'value', 13, 5],
    [['spec', 'model', 'deeper'], 'value', 6, 10],
    [['nowhere', 'at', 'all'], 'value', 2, 1],
    [[], 'value', 2, 1],
  ])('of %j (%s) is %i:%i', (path, part, line, column) => {
    expect(one(plant).positionOf(path, part)).toEqual({ line, column })
  })

  test('counts lines of later documents from the top of the file', () => {
    const { documents } = readYaml('a: 1\n---\n\nb:\n  c: 2\n', 'a.yaml')
    expect(documents[1]?.positionOf(['b', 'c'])).toEqual({ line: 5, column: 6 })
  })

  test('follows an alias to where the value is written', () => {
    expect(one('base: &b\n  x: 1\nuse: *b').positionOf(['use', 'x'])).toEqual({ line: 2, column: 6 })
  })
})

describe('unsound YAML', () => {
  test.each([
    ['an open bracket', 'a: [1, 2\nb: 3', 'SLUICE_YAML_SYNTAX 2:1'],
    ['a tab as indent', 'a:\n\tb: 1', 'SLUICE_YAML_SYNTAX 2:1'],
    ['the same key twice', 'a: 1\nb: 2\na: 3', 'SLUICE_YAML_DUPLICATE_KEY 3:1'],
    ['an undefined alias', 'a: *b', 'SLUICE_YAML_ALIASES 1:4'],
    ['a tag', 'a: !!binary AQID', 'SLUICE_YAML_SYNTAX 1:4'],
    ['a tag of a language', 'a: !!python/object:os.system x', 'SLUICE_YAML_SYNTAX 1:4'],
    ['infinity', 'a: .inf', 'SLUICE_YAML_NOT_JSON 1:4'],
    ['a number too long to be exact', 'a: 9007199254740993', 'SLUICE_YAML_INEXACT 1:4'],
    ['a list as a key', '[a, b]: 1', 'SLUICE_YAML_NOT_JSON 1:1'],
    ['off without quotes', 'map: {0: off}', 'SLUICE_YAML_AMBIGUOUS 1:10'],
    ['y as a key', 'y: 1', 'SLUICE_YAML_AMBIGUOUS 1:1'],
    ['a leading zero', 'a: 010', 'SLUICE_YAML_AMBIGUOUS 1:4'],
  ])('is a finding with its place: %s', (_, text, finding) => {
    expect(codes(text)[0]).toBe(finding)
  })

  test('does not keep other documents from being read', () => {
    const { documents, findings } = readYaml('a: 1\n---\na: 1\na: 2\n---\nb: 3\n', 'a.yaml')
    expect(documents.map(({ value }) => value)).toEqual([{ a: 1 }, { b: 3 }])
    expect(findings).toHaveLength(1)
  })

  test('is refused when it is too large, too deep or unfolds without end', () => {
    expect(codes('a'.repeat(MAX_YAML_LENGTH + 1))).toEqual(['SLUICE_YAML_TOO_LARGE 1:1'])
    expect(codes(`a: ${'['.repeat(100)}${']'.repeat(100)}`)[0]).toMatch(/^SLUICE_YAML_TOO_DEEP/)
    expect(codes('['.repeat(50_000))[0]).toMatch(/^SLUICE_YAML_(TOO_DEEP|SYNTAX)/)
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    for (let i = 1; i < 10; i++)
      bomb.push(
        `a${i}: &a${i} [${Array(9)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      )
    expect(codes(bomb.join('\n'))[0]).toMatch(/^SLUICE_YAML_ALIASES/)
    expect(codes('a: &a [*a]')).toEqual(['SLUICE_YAML_ALIASES 1:8'])
    expect(codes('a: &a {b: [*a]}')).toEqual(['SLUICE_YAML_ALIASES 1:12'])
  })

  test('whatever a %YAML directive says, values stay JSON', () => {
    const { documents } = readYaml('%YAML 1.1\n---\na: 2026-01-31\nb: yes\n', 'a.yaml')
    expect(documents[0]?.value).toEqual({ a: '2026-01-31', b: 'yes' })
  })

  test('cannot reach a prototype', () => {
    const { value } = one('__proto__: {polluted: true}\nconstructor: 1')
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
    expect(Object.keys(value as object)).toEqual(['__proto__', 'constructor'])
  })
})

describe('any text', () => {
  const yamlish = fc.string({
    unit: fc.constantFrom(...'ab: -[]{}"\'&*!|>%@`,#?~\n\t 0x1.é\u{1f600}\u0000'.split('')),
    maxLength: 80,
  })

  const holds = (text: string) => {
    const { documents, findings } = readYaml(text, 'x.yaml')
    const lineCount = text.split('\n').length
    for (const { line, column } of findings) {
      expect(line).toBeGreaterThanOrEqual(1)
      expect(line).toBeLessThanOrEqual(lineCount)
      expect(column).toBeGreaterThanOrEqual(1)
    }
    for (const document of documents) {
      expect(JSON.parse(JSON.stringify(document.value))).toEqual(document.value)
      document.positionOf(['a', 0, 'b'])
    }
  }

  test('is read without throwing, and what comes out is JSON', () => {
    fc.assert(fc.property(fc.oneof(yamlish, fc.string()), holds), { numRuns: 500 })
  })

  test('has one zero, as JSON has', () => {
    holds('-0')
    holds('a: [-0, -0.0]')
  })

  test('so are random changes of a sound file', () => {
    const at = fc.integer({ min: 0, max: plant.length })
    fc.assert(
      fc.property(at, fc.integer({ min: 0, max: 20 }), yamlish, (start, cut, insert) =>
        holds(plant.slice(0, start) + insert + plant.slice(start + cut)),
      ),
      { numRuns: 500 },
    )
  })

  test('every JSON value survives the trip', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const { documents, findings } = readYaml(JSON.stringify({ value }), 'x.yaml')
        if (findings.every(({ code }) => code !== 'SLUICE_YAML_INEXACT')) {
          // JSON.stringify(-0) is "0": the text decides.
          expect(documents[0]?.value).toEqual(JSON.parse(JSON.stringify({ value })))
        }
      }),
    )
  })
})
