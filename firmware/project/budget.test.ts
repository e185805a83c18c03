import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { DeviceModelSpec } from '../../api/resources.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { build, plan, writeGenerated } from './make.ts'
import { projectOf } from './project.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-budget-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Every one with limits and a function of its own that is told of writes. */
const spec: DeviceModelSpec = {
  properties: Array.from({ length: 100 }, (_, at) => ({
    ...{ name: `p${at}`, type: 'int' as const, access: 'readwrite' as const, min: 0, max: 60_000 },
  })),
}

describe.skipIf(lacks('arm-none-eabi-gcc'))('a hundred registers that can be updated', { timeout: 120_000 }, () => {
  it.each(['microbit', 'rp2040', 'mps2-an385'])('keep the budget on %s', async (board) => {
    process.env['SLUICE_FW_OBJECTS'] ??= join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)
    const project = projectOf(join(folder, board), `board: ${board}\nbudget: {flash: 24K, ram: 4K}`)
    const { findings, ...made } = plan(project, { name: 'hundred', spec })
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([])
    writeGenerated(made)
    const { sizes } = await build(made, { image: 'slotA' })
    expect(sizes.largest.map(({ name }) => name)).toContain('tunnel')
    expect(sizes.flashBytes).toBeGreaterThan(20_000)
    expect(sizes.stackBytes).toBeGreaterThan(1000)
  })
})
