import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { buildPrograms } from '../scripts/build.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const bench = 'firmware-first-value'
const BUDGET_MS = 2000
/** Jaguar's live reload over Wi-Fi, as its makers say; ESPHome compiles and uploads in minutes. Neither was run here. */
const peer = 'Jaguar 2000 ms, recorded (ESPHome 189 s, recorded)'
const PEER_MS = 2000
const root = fileURLToPath(new URL('..', import.meta.url))

interface Said {
  readonly firstValueMs: number
  readonly parts: Readonly<Record<string, number>>
}

/** From a saved model to the first value of the freshly built board in the agent, as `sluice fw emulate` measures it. */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-first-'))
  const figures: Figure[] = []
  try {
    const command = await packaged(folder)
    const sluice = async (...args: string[]): Promise<string> =>
      (await promisify(execFile)(process.execPath, [command, ...args])).stdout
    for (const board of quick ? ['rp2040'] : ['rp2040', 'microbit', 'host']) {
      const project = join(folder, 'projects', board)
      await sluice('fw', 'init', project, '--board', board)
      const rounds: Said[] = []
      for (let round = 0; round <= (quick ? 3 : 9); round++) {
        save(join(project, 'model.yaml'), round)
        const said = JSON.parse(await sluice('fw', 'emulate', project, '--for', '1ms', '--json')) as Said
        // The first round compiles the core, which no change of a model does again.
        if (round > 0) rounds.push(said)
      }
      figures.push(...figuresOf(board, rounds))
    }
    return figures
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A change that moves the generated code and the model's hash. */
function save(path: string, round: number): void {
  const text = readFileSync(path, 'utf8')
  writeFileSync(
    path,
    text.replace(/min: -?\d+, max: \d+, precision: 0.1/, `min: -40, max: ${100 + round}, precision: 0.1`),
  )
}

/** The command as it is installed: bundled, the C and the catalogue beside it. */
async function packaged(folder: string): Promise<string> {
  const { programs } = await buildPrograms(root, join(folder, 'dist'))
  for (const name of ['firmware', 'devicemodels', 'node_modules', 'package.json'])
    symlinkSync(join(root, name), join(folder, name))
  return join(folder, 'dist', programs['sluice']!)
}

function figuresOf(board: string, rounds: readonly Said[]): Figure[] {
  const middle = (values: readonly number[]): number => percentile(values, 0.5)
  const value = middle(rounds.map(({ firstValueMs }) => firstValueMs))
  const parts = Object.keys(rounds[0]?.parts ?? {}).map((part): Figure => {
    const at = middle(rounds.map(({ parts }) => parts[part] ?? Number.NaN))
    return { bench, figure: `${board}: until ${part.replace(/Ms$/, '')}, median`, value: at, unit: 'ms', ok: true }
  })
  const whole: Figure = {
    bench,
    figure: `${board}: saved model to the first value in the agent, median of ${rounds.length}`,
    value,
    unit: 'ms',
    peer,
    ratio: value / PEER_MS,
    budget: `<= ${BUDGET_MS} ms`,
    ok: value <= BUDGET_MS,
  }
  return [whole, ...parts]
}
