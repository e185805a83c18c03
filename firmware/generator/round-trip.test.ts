import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { missingTools } from '../tools/toolchain.ts'
import { buildSamples, roundTrips, sampleOf } from './many-models.test-helper.ts'
import { catalogueModels } from './round-trip.test-helper.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-round-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)

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
})
