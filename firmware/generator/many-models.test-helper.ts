import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec, Json } from '../../api/resources.ts'
import type { BoardRig, LineKind } from '../../hil/boards/rig.ts'
import { startBoard } from '../../hil/boards/start.ts'
import { createMapper } from '../../mappers/modbus/mapper.ts'
import { openTcpSession } from '../../mappers/modbus/session.ts'
import type { Mapper, Reading, WriteOutcome } from '../../mappers/sdk/mapper.ts'
import { firmwareRoot } from '../tools/board.ts'
import { buildFirmware, type FirmwareBuild } from '../tools/build.ts'
import { gatewayModel } from './emit-documents.ts'
import type { Generated } from './generate.ts'
import { generateFor } from './round-trip.test-helper.ts'
import { SampleValues } from './sample-values.test-helper.ts'

/** A model with a first value for each of its properties, and what was generated of it. */
export interface Sample {
  readonly name: string
  readonly generated: Generated
  readonly first: ReadonlyMap<string, Json>
  readonly values: SampleValues
}

export function sampleOf(name: string, model: DeviceModelSpec, seed: number): Sample {
  // Addresses are needed before values can be drawn for what is at them.
  const bound = generateFor(name, model).model
  const values = new SampleValues(bound, seed)
  const first = new Map(
    bound.properties.flatMap((property) => {
      const value = values.valueOf(property)
      return value === undefined ? [] : [[property.name, value] as const]
    }),
  )
  const properties = new Map([...first].map(([key, value]) => [key, { default: value }]))
  return { name, generated: generateFor(name, model, { properties, hooks: seed % 2 === 0 }), first, values }
}

/** One program for the host with all of them: compiling each is quick, linking and starting each would not be. */
export async function buildSamples(
  samples: readonly Sample[],
  folder: string,
  cacheDir: string,
): Promise<FirmwareBuild> {
  mkdirSync(folder, { recursive: true })
  const sources = samples.map((sample, index) => writeModel(sample, `m${index}`, folder))
  const rows = samples.map(
    ({ generated }, index) => `  {{${[...generated.hash].join(', ')}}, &m${index}_sl_model_map},`,
  )
  const externs = samples.map((_, index) => `extern const sl_register_map m${index}_sl_model_map;`)
  writeFileSync(
    join(folder, 'models.h'),
    [
      '#include "registers.h"',
      ...externs,
      'static const struct {\n  uint8_t hash[8];\n  const sl_register_map *map;\n} models[] = {',
      ...rows,
      '};',
    ].join('\n'),
  )
  const main = join(firmwareRoot, 'testing', 'many-models.c')
  return buildFirmware({
    board: 'host',
    sources: [...sources, main],
    modules: ['forms'],
    includes: [folder],
    outDir: join(folder, 'out'),
    cacheDir,
  })
}

/** The generated files with a prefix on every name that another file could see. */
function writeModel({ generated }: Sample, prefix: string, folder: string): string {
  const ids = generated.plan.properties.flatMap(({ id }) => [`set_${id}`, `read_${id}`, `on_write_${id}`])
  const names = ['properties', 'sl_model_map', 'sl_model_restore', 'sl_model_keep', ...ids]
  const own = join(folder, prefix)
  mkdirSync(own, { recursive: true })
  for (const file of ['properties.h', 'properties.c', 'model.h'])
    writeFileSync(join(own, file), generated.files.get(file)!)
  const path = join(folder, `${prefix}.c`)
  const defines = names.map((name) => `#define ${name} ${prefix}_${name}`)
  writeFileSync(path, `${defines.join('\n')}\n#include "${prefix}/properties.c"\n`)
  return path
}

/** The agent's own mapper on a board, and what it reads there. */
export class MappedBoard implements AsyncDisposable {
  readonly #mapper: Mapper
  readonly #newest = new Map<string, Reading>()
  readonly #watchers = new Set<() => void>()
  readonly #line: object
  #version = 0

  constructor(line: object) {
    this.#line = line
    this.#mapper = createMapper({
      clock: systemClock,
      random: Math.random,
      readings: (batch) => {
        for (const reading of batch) this.#newest.set(reading.property, reading)
        for (const watcher of this.#watchers) watcher()
      },
      reachability: () => undefined,
      event: () => undefined,
      writeNews: () => undefined,
      log: () => undefined,
    })
  }

  serve(model: DeviceModelSpec): void {
    const modbus = { ...this.#line, unit: 1, timeout: '2s' }
    const device = { model: 'm', modbus, poll: { every: '50ms' } }
    const quick = model.properties.map(({ poll: _, ...property }) => property)
    this.#mapper.configure([{ key: 'ns/board', device, model: { ...model, properties: quick }, revision: '1' }])
  }

  /** Resolves when every property reads as expected; rejects with those that do not when `patienceMs` are over. */
  async reads(expected: ReadonlyMap<string, Json>, patienceMs = 20_000): Promise<void> {
    const wrong = () => [...expected].filter(([name, value]) => !this.#is(name, value))
    if (wrong().length === 0) return
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error) => {
        timer.cancel()
        this.#watchers.delete(look)
        if (error === undefined) resolve()
        else reject(error)
      }
      const look = () => wrong().length === 0 && done()
      const timer = systemClock.after(patienceMs, () => {
        const lines = wrong().map(
          ([name, value]) => `${name}: ${JSON.stringify(this.#newest.get(name))} instead of ${JSON.stringify(value)}`,
        )
        done(new Error(lines.join('\n')))
      })
      this.#watchers.add(look)
    })
  }

  /** Quality of the next reading of a property. */
  quality(property: string): Promise<string> {
    return new Promise((resolve) => {
      const look = () => {
        const reading = this.#newest.get(property)
        if (reading === undefined) return
        this.#watchers.delete(look)
        resolve(reading.quality)
      }
      this.#watchers.add(look)
      look()
    })
  }

  #is(name: string, value: Json): boolean {
    const reading = this.#newest.get(name)
    return reading?.quality === 'good' && JSON.stringify(reading.value) === JSON.stringify(value)
  }

  write(property: string, value: Json): Promise<WriteOutcome> {
    this.#newest.delete(property)
    const command = {
      device: 'ns/board',
      property,
      value,
      version: ++this.#version,
      deadlineMs: systemClock.monotonic() + 20_000,
    }
    return this.#mapper.write(command, new AbortController().signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mapper[Symbol.asyncDispose]()
  }
}

/** What of a board did not come back as its model says; empty when all did. */
export async function roundTrip(mapped: MappedBoard, sample: Sample): Promise<string[]> {
  const { generated, first, values } = sample
  mapped.serve(gatewayModel(generated.model))
  const { properties } = generated.model
  const readable = properties.filter(({ access }) => access !== 'write').map(({ name }) => name)
  const expected = new Map([...first].filter(([name]) => readable.includes(name)))
  const problems: string[] = []
  try {
    await mapped.reads(expected)
  } catch (error) {
    return [`first values: ${error instanceof Error ? error.message : String(error)}`]
  }
  for (const property of properties) {
    if ((property.access ?? 'read') === 'read') continue
    const value = values.valueOf(property)
    if (value === undefined) continue
    const outcome = await mapped.write(property.name, value)
    if (outcome.state !== 'applied')
      problems.push(`${property.name} = ${JSON.stringify(value)}: ${JSON.stringify(outcome)}`)
    if (readable.includes(property.name)) expected.set(property.name, value)
  }
  await mapped.reads(expected).catch((error: unknown) => void problems.push(`after writing: ${String(error)}`))
  return problems
}

/** Runs samples one after the other on one program of `buildSamples`; what is wrong, by model. */
export async function roundTrips(build: FirmwareBuild, samples: readonly Sample[]): Promise<string[]> {
  const lines: LineKind[] = ['tcp']
  await using rig = await startBoard({ build, lines })
  const problems: string[] = []
  for (const [index, sample] of samples.entries()) {
    if (index > 0) await rig.reset()
    await choose(rig, index)
    await using mapped = new MappedBoard({ rtuOverTcp: rig.lines[0]!.tcp! })
    for (const problem of await roundTrip(mapped, sample)) problems.push(`${sample.name}: ${problem}`)
  }
  return problems
}

async function choose(rig: BoardRig, index: number): Promise<void> {
  const { host, port } = rig.lines[0]!.tcp!
  await using session = openTcpSession({ host, port, framing: 'rtu' }, { clock: systemClock })
  for (let tries = 0; ; tries++) {
    try {
      await session.request(1, { fc: 6, address: 0xfffe, value: index }, { timeoutMs: 500 + 500 * tries })
      return
    } catch (error) {
      if (tries === 8) throw error
    }
  }
}
