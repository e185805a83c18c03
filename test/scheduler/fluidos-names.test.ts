import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { INTENT_NAMES } from '../../api/intents/intents.ts'
import { readMeaning } from '../../api/intents/parse.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const page = readFileSync(join(ROOT, 'docs/scheduling.md'), 'utf8')
const section = /^## FLUIDOS, name by name\n([\s\S]*?)^## /m.exec(page)?.[1] ?? ''

type Row = readonly string[]

/** Rows of the table whose first column is headed by `first`. */
function rowsOf(first: string): readonly Row[] {
  const lines = section.split('\n')
  const from = lines.findIndex((line) => line.startsWith(`| ${first} |`))
  const rest = lines.slice(from + 2)
  const end = rest.findIndex((line) => !line.startsWith('|'))
  return from < 0
    ? []
    : rest.slice(0, end).map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      )
}

const coded = (cell: string | undefined) => [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, word]) => word!)
const isTaken = (row: Row) => /^taken\b/.test(row.at(-1) ?? '')

/** Sources of what runs, without tests. */
function sources(folder: string): string[] {
  const files = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
  const ours = files.filter((name) => name.endsWith('.ts') && !/\.test(-helper)?\.ts$/.test(name))
  return ours.map((name) => readFileSync(join(ROOT, folder, name), 'utf8'))
}

const programs = ['api', 'agent', 'cloudcore'].flatMap(sources)
/** Names of metrics, as they are given to the page. */
const metrics = new Set(
  programs.flatMap((text) => [...text.matchAll(/\.(?:gauge|counter|histogram)\(\s*'(\w+)'/g)].map(([, name]) => name!)),
)

describe('the table of what FLUIDOS calls its things', () => {
  it('has every intent that the code knows, and no other, each once', () => {
    const named = rowsOf('intent').map(([name]) => coded(name))
    expect(named.filter((names) => names.length !== 1)).toEqual([])
    expect(named.flat().sort()).toEqual([...INTENT_NAMES].sort())
  })

  it('shows values that are read as they stand there, and decide something where it says that they are taken', () => {
    for (const row of rowsOf('intent')) {
      const [name] = coded(row[0])
      const [value] = coded(row[1])
      const { meaning, problems } = readMeaning({ [`fluidos-intent-${name}`]: value ?? '' })
      expect([name, problems]).toEqual([name, []])
      const decides = meaning.intents.length > 0 || meaning.maxDelayMs > 0
      expect([name, decides]).toEqual([name, isTaken(row)])
      expect([name, /^(taken|accepted, decides nothing: )/.test(row.at(-1) ?? '')]).toEqual([name, true])
    }
  })

  it('says taken of the metrics that there are, and of no other', () => {
    const rows = rowsOf('metric')
    const taken = rows.filter(isTaken).flatMap(([names]) => coded(names))
    const ours = [...metrics].filter((name) => /^(fluidos|battery|robot)_/.test(name))
    expect(ours.length).toBeGreaterThan(0)
    expect(taken.sort()).toEqual(ours.sort())
    for (const row of rows.filter((each) => !isTaken(each))) {
      expect([row[0], coded(row[0]).filter((name) => metrics.has(name))]).toEqual([row[0], []])
      const verdict = row.at(-1) ?? ''
      if (verdict.startsWith('as '))
        expect([row[0], coded(verdict).filter((name) => !metrics.has(name))]).toEqual([row[0], []])
      else expect([row[0], verdict]).toEqual([row[0], expect.stringMatching(/^refused: .{20}/)])
    }
  })

  it('gives a reason for each resource that is refused, names words that the scheduler reads, and hides no use of them', () => {
    const rows = rowsOf('resource or word')
    expect(rows.length).toBeGreaterThan(5)
    const scheduler = sources('cloudcore/scheduler').join('\n')
    for (const row of rows) {
      const verdict = row.at(-1) ?? ''
      expect([row[0], verdict]).toEqual([row[0], expect.stringMatching(/^(taken$|as .|refused: .{20})/)])
      for (const word of coded(verdict)) {
        const own = /^sluice\.dev\/([a-z-]+?)(?:-POINT)?$/.exec(word)?.[1]
        if (own === undefined) continue
        const read = scheduler.includes(`'${own}'`) || scheduler.includes(`sluice.dev/${own}-$`)
        expect([word, read || INTENT_NAMES.some((name) => name === own)]).toEqual([word, true])
      }
    }
    const used = programs.flatMap((text) => [...text.matchAll(/[\w.-]*\bfluidos\.eu[\w./-]*/g)].map(([word]) => word))
    expect(used.filter((word) => !section.includes(word))).toEqual([])
  })
})
