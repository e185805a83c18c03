import { readFile, writeFile } from 'node:fs/promises'
import { cpus, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

/** A line that `npm run bench -- --json` prints; bench/harness.ts says what the fields mean. */
interface Figure {
  readonly bench: string
  readonly figure: string
  readonly value: number
  readonly unit: string
  readonly peer?: string
  readonly ratio?: number
  readonly budget?: string
  readonly ok: boolean
}

/**
 * Puts measured figures into bench/README.md: `node scripts/bench-table.ts FILE`, where FILE is what
 * `npm run bench -- --json` printed. To be run on the machine that measured: its name goes into the table.
 */
const BEGIN = '<!-- figures: begin -->'
const END = '<!-- figures: end -->'

/** Figures from JSON lines; other lines are left alone. Of a figure that is there twice the later one counts. */
export function readFigures(text: string): Figure[] {
  const figures = new Map<string, Figure>()
  for (const line of text.split('\n')) {
    if (!line.startsWith('{"bench":')) continue
    const figure = JSON.parse(line) as Figure
    figures.set(`${figure.bench} ${figure.figure}`, figure)
  }
  return [...figures.values()].sort((a, b) => a.bench.localeCompare(b.bench))
}

const rounded = (value: number): string => value.toLocaleString('en', { maximumSignificantDigits: 4 })

const cell = (text: string): string => text.replaceAll('|', '\\|')

/** One table a benchmark. */
export function renderFigures(figures: readonly Figure[]): string {
  const parts: string[] = []
  for (const [bench, rows] of Map.groupBy(figures, (figure) => figure.bench)) {
    const lines = rows.map(({ figure, value, unit, peer, ratio, budget, ok }) => {
      const beside = peer === undefined ? '' : `${peer}${ratio === undefined ? '' : ` (ratio ${rounded(ratio)})`}`
      const verdict = budget === undefined || budget === 'none' ? '' : `${budget}: ${ok ? 'kept' : '**missed**'}`
      return `| ${[figure, `${rounded(value)} ${unit}`.trim(), beside, verdict].map(cell).join(' | ')} |`
    })
    parts.push(`### ${bench}\n\n| what | measured | beside | budget |\n|---|---|---|---|\n${lines.join('\n')}\n`)
  }
  return parts.join('\n')
}

/** Sections of benchmarks, by name, as `renderFigures` made them. */
function sectionsOf(text: string): Map<string, string> {
  const parts = text.split(/^(?=### )/m).filter((part) => part.startsWith('### '))
  return new Map(parts.map((part) => [part.slice(4, part.indexOf('\n')), part.trimEnd()]))
}

/** The sections of a README with those of the benchmarks that were run again in their place, in order of their names. */
export function merged(readme: string, rendered: string): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  const sections = new Map([...sectionsOf(readme.slice(begin, end)), ...sectionsOf(rendered)])
  return `${[...sections]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([, text]) => text)
    .join('\n\n')}\n`
}

/** The text between the marks of `readme` replaced by `content`. */
export function between(readme: string, content: string): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  if (begin === -1 || end < begin) throw new Error(`the README has no place for figures: ${BEGIN} ... ${END}`)
  return `${readme.slice(0, begin + BEGIN.length)}\n\n${content}\n${readme.slice(end)}`
}

if (import.meta.main) {
  const [file] = process.argv.slice(2)
  if (file === undefined) {
    process.stderr.write('usage: node scripts/bench-table.ts FILE   (from: npm run bench -- --json > FILE)\n')
    process.exit(2)
  }
  const figures = readFigures(await readFile(file, 'utf8'))
  const all = cpus()
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
  const machine = `${all.length} CPUs (${all[0]?.model.trim() ?? 'unknown'}), ${memory}, Linux ${release()}, Node ${process.versions.node}`
  const missed = figures.filter(({ ok }) => !ok).length
  const names = [...new Set(figures.map(({ bench }) => bench))].join(', ')
  const verdict = missed === 0 ? 'every budget kept' : `${missed} budgets missed`
  const heading = `Last taken ${new Date().toISOString().slice(0, 10)} on ${machine}: ${names}; ${figures.length} figures, ${verdict}. The others are older and stay until they are taken again.`
  const path = fileURLToPath(new URL('../bench/README.md', import.meta.url))
  const readme = await readFile(path, 'utf8')
  await writeFile(path, between(readme, `${heading}\n\n${merged(readme, renderFigures(figures))}`))
  process.stdout.write(`bench/README.md: ${figures.length} figures\n`)
}
