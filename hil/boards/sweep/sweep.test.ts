import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { lacks } from '../test-boards.test-helper.ts'
import { prepareSweep, SWEEP_BOARDS } from './prepare.ts'
import { sweep } from './sweep.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-sweep-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Some operations and the last ones of each phase, one of each to its end; all are `npm run sweep:firmware`. */
const SAMPLE = { step: 150, seeds: 1, finish: 20 }

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))('an emulated board whose power goes', () => {
  it.each(SWEEP_BOARDS)(
    '%s starts a whole image after each cut, and the phase ends as if nothing had been',
    async (name) => {
      const { board, images, factory } = await prepareSweep(name, join(folder, name))
      await using _ = board
      const results = await sweep(board, factory, images, SAMPLE)
      expect(results.map(({ phase }) => phase)).toEqual([
        'update',
        'newer',
        'back',
        'forth',
        'trial-runs-out',
        'trial-taken-back',
      ])
      for (const { phase, operations, cuts, finished } of results) {
        expect(cuts, phase).toBeGreaterThanOrEqual(Math.min(operations, 8))
        expect(finished, phase).toBeGreaterThan(0)
        if (phase === 'update' || phase === 'newer') expect(operations).toBeGreaterThan(200)
      }
    },
    600_000,
  )
})
