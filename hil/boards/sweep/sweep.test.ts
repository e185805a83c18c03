import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { lacks } from '../test-boards.test-helper.ts'
import { prepareSweep } from './prepare.ts'
import { sweep } from './sweep.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-sweep-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Some operations and the last ones of each phase; all of them are `npm run sweep:firmware`. */
const STEP = 150

describe.skipIf(lacks('arm-none-eabi-gcc'))('an emulated RP2040 whose power goes', () => {
  it('starts a whole image after each cut, and the phase ends as if nothing had been', async () => {
    const { board, images, factory } = await prepareSweep(folder)
    await using _ = board
    const results = await sweep(board, factory, images, { step: STEP, seeds: 1 })
    expect(results.map(({ phase }) => phase)).toEqual([
      'update',
      'newer',
      'back',
      'forth',
      'trial-runs-out',
      'trial-taken-back',
    ])
    for (const { phase, operations, cuts } of results) {
      expect(cuts, phase).toBeGreaterThanOrEqual(Math.min(operations, 8))
      if (phase === 'update' || phase === 'newer') expect(operations).toBeGreaterThan(200)
    }
  }, 600_000)
})
