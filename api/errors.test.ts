import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { SluiceError, toSluiceError } from './errors.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Everything that can say an error to somebody. */
const FOLDERS = ['api', 'mappers', 'agent', 'cloudcore', 'cli', 'scripts', 'demo', 'hil', 'firmware', 'node-red']

function* sourcesUnder(folder: string): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory() && !['generated', 'test-helpers', 'testing'].includes(entry.name)) yield* sourcesUnder(path)
    else if (/\.ts$/.test(entry.name) && !/\.test\.ts$|test-helper/.test(entry.name)) yield path
  }
}

/** A code is a text of its own; names of environment variables look alike and stand after `env`. */
const CODE = /(?<!\benv(?:\[|: |\())'(SLUICE_[A-Z0-9_]*[A-Z0-9])'/g
const COMPUTED = /`SLUICE_[A-Z0-9_]*\$\{/

const used = new Map<string, string>()
const computed: string[] = []
for (const file of FOLDERS.flatMap((folder) => [...sourcesUnder(folder)])) {
  const text = readFileSync(join(root, file), 'utf8')
  for (const [, code] of text.matchAll(CODE)) used.set(code!, file)
  if (COMPUTED.test(text)) computed.push(file)
}

const rows = readFileSync(join(root, 'docs/errors.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))
  .map(([, code = '', cause = '', remedy = '', ...rest]) => ({ code: code.replaceAll('`', ''), cause, remedy, rest }))
const documented = rows.map(({ code }) => code)

describe('docs/errors.md', () => {
  test('has a row for every code in the sources', () => {
    const missing = [...used].filter(([code]) => !documented.includes(code)).map(([code, file]) => `${code} (${file})`)
    expect(missing.sort()).toEqual([])
  })

  test('has no row that no source uses', () => {
    expect(documented.filter((code) => !used.has(code))).toEqual([])
  })

  test('says cause and remedy of each code, once, in order of the codes', () => {
    for (const { code, cause, remedy, rest } of rows) {
      expect(`${code}: ${cause}`).toMatch(/^SLUICE_[A-Z0-9_]+: .{10,}[.)]$/)
      expect(`${code}: ${remedy}`).toMatch(/^SLUICE_[A-Z0-9_]+: .{10,}[.)]$/)
      expect(rest).toEqual([''])
    }
    expect(documented).toEqual([...new Set(documented)].sort())
  })

  test('can be held against the sources, because every code is written out', () => {
    expect(computed).toEqual([])
  })
})

describe('toSluiceError', () => {
  test('leaves a SluiceError as it is and wraps anything else', () => {
    const own = new SluiceError('SLUICE_X', 'own')
    expect(toSluiceError(own)).toBe(own)
    const foreign = new TypeError('foreign')
    expect(toSluiceError(foreign)).toMatchObject({ code: 'SLUICE_INTERNAL', message: 'foreign', cause: foreign })
    expect(toSluiceError('thrown text', 'SLUICE_Y')).toMatchObject({ code: 'SLUICE_Y', message: 'thrown text' })
  })

  test('turns into JSON without cause and stack', () => {
    const error = new SluiceError('SLUICE_X', 'm', { hint: 'h', field: 'spec.a', cause: new Error('secret') })
    expect(JSON.parse(JSON.stringify(error))).toEqual({ code: 'SLUICE_X', message: 'm', hint: 'h', field: 'spec.a' })
  })
})
