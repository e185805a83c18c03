import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../api/clock.ts'
import type { Json, ModelProperty } from '../../api/resources.ts'
import { gatewayModel } from '../../firmware/generator/emit-documents.ts'
import { build, type Made, writeGenerated } from '../../firmware/project/make.ts'
import { createMapper } from '../../mappers/modbus/mapper.ts'
import type { Reading } from '../../mappers/sdk/mapper.ts'
import { OwnPart } from './part.ts'

/** What came of trying one property. */
export interface Trial {
  readonly property: string
  /** `read`, and every value that was written. */
  readonly tried: readonly string[]
  /** Undefined when all went well. */
  readonly problem: string | undefined
}

const PATIENCE_MS = 10_000
const KEY = 'default/trial'

/** Builds the project, runs it here and tries every property through the gateway's own mapper. */
export async function tryBoard(
  made: Made,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<readonly Trial[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-trial-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rmSync(folder, { recursive: true, force: true }))
  const board = cleanup.use(new OwnPart('board', [], env))
  writeGenerated(made)
  const { elf, bin, address, image } = await build(made, { signal })
  const port = join(folder, 'line0')
  board.tell(JSON.stringify({ board: made.board.name, image, elf, bin, address, link: port }))
  await board.next('ready', signal)
  const newest = new Map<string, Reading>()
  const watchers = new Set<() => void>()
  const mapper = cleanup.use(
    createMapper({
      clock: systemClock,
      random: Math.random,
      readings: (batch) => {
        for (const reading of batch) newest.set(reading.property, reading)
        for (const watcher of [...watchers]) watcher()
      },
      reachability: () => undefined,
      event: () => undefined,
      writeNews: () => undefined,
      log: () => undefined,
    }),
  )
  const { model } = made.generated
  const quick = model.properties.map(({ poll: _, ...property }) => property)
  const { baud, parity, stopBits } = made.project.line
  const device = {
    model: 'trial',
    modbus: { rtu: { port, baud, parity, stopBits }, unit: made.project.unit },
    poll: { every: '50ms' },
  }
  mapper.configure([{ key: KEY, device, model: gatewayModel({ ...model, properties: quick }), revision: '1' }])
  const isGood = (name: string): boolean => newest.get(name)?.quality === 'good'

  /** Whether a property gets a good value before patience ends. */
  const reads = (name: string): Promise<boolean> =>
    new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        watchers.delete(look)
        resolve(isGood(name))
      }
      const look = (): void => void (isGood(name) && done())
      const timer = systemClock.after(PATIENCE_MS, done)
      signal.addEventListener('abort', done, { once: true })
      watchers.add(look)
      look()
    })

  const trials: Trial[] = []
  for (const property of model.properties) {
    signal.throwIfAborted()
    const { name, access = 'read' } = property
    const tried: string[] = []
    let problem: string | undefined
    if (access !== 'write') {
      tried.push('read')
      const reading = newest.get(name)
      if (!(await reads(name))) problem = `${newest.get(name)?.quality ?? 'no reading'} ${reading?.reason ?? ''}`.trim()
    }
    for (const value of access === 'read' || problem !== undefined ? [] : valuesFor(property)) {
      tried.push(JSON.stringify(value))
      const deadlineMs = systemClock.monotonic() + PATIENCE_MS
      const outcome = await mapper.write(
        { device: KEY, property: name, value, version: tried.length, deadlineMs },
        signal,
      )
      if (outcome.state === 'applied') continue
      problem = `${JSON.stringify(value)} is ${outcome.state}: ${outcome.reason}`
      break
    }
    trials.push({ property: name, tried, problem })
  }
  return trials
}

/** Values at the edges of what a property may be: those that go wrong first. */
function valuesFor(property: ModelProperty): readonly Json[] {
  const { type, min, max, enum: listed } = property
  const words = (property['modbus'] as { map?: Record<string, string> } | undefined)?.map
  if (listed !== undefined) return listed as readonly Json[]
  if (words !== undefined) return Object.values(words)
  if (type === 'bool') return [true, false]
  if (type === 'string') return ['a']
  if (type === 'bytes') return []
  return [...new Set([min ?? 0, max ?? min ?? 1])]
}
