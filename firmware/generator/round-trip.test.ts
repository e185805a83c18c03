import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { missingTools } from '../tools/toolchain.ts'
import { buildSamples, roundTrips, sampleOf } from './many-models.test-helper.ts'
import { randomModel } from './random-model.test-helper.ts'
import { catalogueModels, generateFor } from './round-trip.test-helper.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-round-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)

/** Without the properties that limits and offset leave no number for: a board refuses those, and only those. */
function possible(model: DeviceModelSpec): DeviceModelSpec {
  const { findings } = generateFor('m', model)
  for (const { message } of findings) expect(message).toContain('fits its registers')
  const refused = new Set(findings.map(({ path }) => path[2]))
  return { ...model, properties: model.properties.filter((_, index) => !refused.has(index)) }
}

describe('a model of another protocol', () => {
  it.each(['ble', 'lora', 'mqtt', 'custom'])('of %s is one clear refusal', (protocol) => {
    const properties = ['a', 'b', 'c'].map((name) => ({ name, type: 'int' as const, [protocol]: {} }))
    const { findings } = generateFor('m', { properties })
    expect(findings).toHaveLength(1)
    expect(findings[0]).toMatchObject({
      code: 'SLUICE_FW_MODEL_INVALID',
      message: `a is bound to ${protocol}, and firmware serves Modbus only`,
      path: ['spec', 'properties', 0, protocol],
    })
  })
})

const missing = missingTools(['cc'])
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(`nothing may be skipped here: ${missing}`)

describe.skipIf(missing !== undefined)('a model, made a board, read and written by the gateway', () => {
  it('is what it was, for every Modbus model of the catalogue', { timeout: 300_000 }, async () => {
    const samples = catalogueModels().map(({ name, spec }, index) => sampleOf(name, spec, index + 1))
    expect(samples.length).toBeGreaterThan(60)
    expect(
      samples.flatMap(({ name, generated }) => generated.findings.map(({ message }) => `${name}: ${message}`)),
    ).toEqual([])
    const valued = samples.reduce((sum, { first }) => sum + first.size, 0)
    const all = samples.reduce((sum, { generated }) => sum + generated.model.properties.length, 0)
    expect(valued / all).toBeGreaterThan(0.97)
    const build = await buildSamples(samples, folder, cacheDir)
    expect(await roundTrips(build, samples)).toEqual([])
  })

  /** Deep: SLUICE_ROUND_TRIP_MODELS=500 vitest run firmware/generator/round-trip.test.ts */
  const many = Number(process.env['SLUICE_ROUND_TRIP_MODELS'] ?? 24)
  const batches = Array.from({ length: Math.ceil(many / 24) }, (_, batch) => batch)
  it.each(batches)('is what it was, for models drawn at random (batch %i)', { timeout: 300_000 }, async (batch) => {
    const seeds = Array.from({ length: Math.min(24, many - batch * 24) }, (_, at) => 1000 * (batch + 1) + at)
    const samples = seeds.map((seed) => sampleOf(`random-${seed}`, possible(randomModel(seed, 30)), seed))
    expect(samples.flatMap(({ generated }) => generated.findings)).toEqual([])
    expect(samples.reduce((sum, { first }) => sum + first.size, 0)).toBeGreaterThan(25 * samples.length)
    const build = await buildSamples(samples, join(folder, `random-${batch}`), join(folder, 'objects'))
    expect(await roundTrips(build, samples)).toEqual([])
  })
})
