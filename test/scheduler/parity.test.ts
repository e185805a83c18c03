import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ALL_VERBS } from '../../cli/verbs.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const page = readFileSync(join(ROOT, 'docs/parity.md'), 'utf8')
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| what '))
  .map((line) => line.split('|').slice(1, -1))

describe('what the peers have, and what Sluice has', () => {
  it('names for each line a test that there is, or the page that says what is missing', () => {
    expect(rows.length).toBeGreaterThan(20)
    for (const row of rows) {
      const shown = row.at(-1) ?? ''
      const tests = [...shown.matchAll(/`([^`]+\.test\.ts)`/g)].map(([, path]) => path ?? '')
      const pages = [...shown.matchAll(/\]\(([\w.-]+\.md)/g)].map(([, path]) => `docs/${path}`)
      expect([row[0], tests.length + pages.length > 0]).toEqual([row[0], true])
      expect([row[0], [...tests, ...pages].filter((path) => !existsSync(join(ROOT, path)))]).toEqual([row[0], []])
      // What is there is shown by a test, and not by a page.
      if (/^ (yes|partly|other)/.test(row[2] ?? '')) expect([row[0], tests.length > 0]).toEqual([row[0], true])
    }
  })

  it('names commands that there are', () => {
    const names = ALL_VERBS.map(({ name }) => name)
    const named = [...page.matchAll(/`sluice ([a-z]+)/g)].map(([, verb]) => verb)
    expect(named.length).toBeGreaterThan(3)
    for (const verb of named) expect([verb, names.some((name) => name.split(' ')[0] === verb)]).toEqual([verb, true])
  })
})
