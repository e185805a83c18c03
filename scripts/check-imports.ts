import { readdir, readFile } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findImports } from './imports.ts'

/**
 * Holds the sources against the one direction imports may go:
 * `cli -> agent | cloudcore -> mappers -> api`. `node scripts/check-imports.ts` prints every breach and exits 1.
 */

/** Folders of the house, and which of the others each may import from. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  api: [],
  mappers: ['api'],
  agent: ['firmware', 'mappers', 'api'],
  cloudcore: ['firmware', 'mappers', 'api'],
  cli: ['agent', 'cloudcore', 'firmware', 'mappers', 'api'],
  firmware: ['mappers', 'api'],
  'node-red': ['api'],
  console: ['api'],
  // Stand beside the product: they may look at everything, and nothing looks at them.
  demo: ['cli', 'agent', 'cloudcore', 'mappers', 'api', 'hil'],
  hil: ['firmware', 'mappers', 'api'],
  scripts: ['node-red', 'console', 'agent', 'cloudcore', 'firmware', 'mappers', 'api', 'cli', 'demo', 'hil'],
  bench: ['console', 'cli', 'agent', 'cloudcore', 'firmware', 'mappers', 'api', 'hil', 'demo', 'test', 'scripts'],
  test: [
    'cli',
    'agent',
    'cloudcore',
    'firmware',
    'node-red',
    'console',
    'mappers',
    'api',
    'hil',
    'demo',
    'bench',
    'scripts',
  ],
}

/** What the product knows of firmware: the format of images and the protocol that manages boards. */
const FIRMWARE_WORDS = /^firmware\/tools\/(smp\/[\w-]+|image|sign|keys)\.ts$/

/** Rooms of mappers/ that are no protocol. */
const SHARED_IN_MAPPERS = new Set(['sdk', 'registry.ts'])

const SOURCE = /\.(ts|mts|js|mjs)$/
const IGNORED = new Set(['node_modules', 'dist', 'data', 'coverage'])

/** Tests and what only tests use may reach for any helper. */
const isTest = (file: string): boolean => /\.test\.ts$|\.test-helper\.ts$|(^|\/)test-[\w-]+\.ts$/.test(file)

export interface Breach {
  /** Path from the repository's root, with slashes. */
  readonly file: string
  readonly line: number
  readonly specifier: string
  readonly why: string
}

const roomOf = (file: string): string => file.split('/')[0] ?? ''

/** The protocol folder of a file in mappers/, if it is in one. */
function protocolOf(file: string): string | undefined {
  const [house, room] = file.split('/')
  return house === 'mappers' && room !== undefined && !SHARED_IN_MAPPERS.has(room) && !room.endsWith('.ts')
    ? room
    : undefined
}

function breachOf(file: string, target: string): string | undefined {
  const from = roomOf(file)
  const to = roomOf(target)
  const allowed = MAY_IMPORT[from]
  if (from !== to) {
    if (allowed === undefined) return MAY_IMPORT[to] === undefined ? undefined : `${from}/ may not import the product`
    if (!allowed.includes(to) && MAY_IMPORT[to] !== undefined) {
      return `${from}/ may import ${allowed.length === 0 ? 'nothing of ours' : allowed.map((each) => `${each}/`).join(', ')}, not ${to}/`
    }
  }
  if ((from === 'agent' || from === 'cloudcore') && to === 'firmware' && !FIRMWARE_WORDS.test(target)) {
    return `${from}/ knows images and SMP of firmware/, not how it is built: ${target}`
  }
  const own = protocolOf(file)
  const other = protocolOf(target)
  if (other === undefined) return undefined
  if (from === 'mappers') {
    if (own === undefined && file !== 'mappers/registry.ts')
      return `mappers/sdk/ knows no protocol, not mappers/${other}/`
    return own === undefined || own === other
      ? undefined
      : `a protocol knows no other: mappers/${own}/, mappers/${other}/`
  }
  if (from === 'agent' || from === 'cloudcore') {
    return `${from}/ reaches protocols through mappers/registry.ts only, not mappers/${other}/`
  }
  return undefined
}

/** What is wrong with the imports of one file. `file` is relative to the root. */
export function checkSource(file: string, source: string): Breach[] {
  if (isTest(file)) return []
  return findImports(source).flatMap(({ specifier, line }) => {
    if (!specifier.startsWith('.')) return []
    const target = posix.normalize(posix.join(posix.dirname(file), specifier))
    const why = target.startsWith('../') ? 'leaves the repository' : breachOf(file, target)
    return why === undefined ? [] : [{ file, line, specifier, why }]
  })
}

async function* sourcesUnder(root: string, folder: string): AsyncGenerator<string> {
  const entries = await readdir(join(root, folder), { withFileTypes: true })
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = posix.join(folder, entry.name)
    if (entry.isDirectory() && !IGNORED.has(entry.name) && !entry.name.startsWith('.')) yield* sourcesUnder(root, path)
    else if (entry.isFile() && SOURCE.test(entry.name)) yield path
  }
}

export interface CheckResult {
  readonly files: number
  readonly breaches: readonly Breach[]
}

/** Checks every source below a folder. */
export async function checkFolder(root: string): Promise<CheckResult> {
  const breaches: Breach[] = []
  let files = 0
  for await (const file of sourcesUnder(root, '.')) {
    files++
    breaches.push(...checkSource(file, await readFile(join(root, file), 'utf8')))
  }
  return { files, breaches }
}

if (import.meta.main) {
  const { files, breaches } = await checkFolder(fileURLToPath(new URL('..', import.meta.url)))
  for (const { file, line, specifier, why } of breaches) {
    process.stderr.write(`${file}:${line}: import of '${specifier}': ${why}\n`)
  }
  process.stdout.write(`imports: ${files} files, ${breaches.length} going the wrong way\n`)
  process.exitCode = breaches.length > 0 ? 1 : 0
}
