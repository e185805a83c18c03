import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { prepareSweep, SWEEP_BOARDS, type SweepBoardName } from '../firmware/boot/sweep/prepare.ts'
import { sweep } from '../firmware/boot/sweep/sweep.ts'

const HELP = `npm run sweep:firmware -- [BOARD...] [--seeds N] [--step N] [--phase NAME]

Cuts the power at every flash operation of every phase of an update, on emulated boards that run the ARM code of the
bootloader and of the application: ${SWEEP_BOARDS.join(', ')}. After each cut a whole image has to start, and the phase has to
end as if nothing had been.

  --seeds N     how often each operation is torn, each time otherwise (default 1)
  --step N      every so manyth operation only (default 1: all)
  --phase NAME  one phase only

Examples
  npm run sweep:firmware
  npm run sweep:firmware -- rp2040 --seeds 3`

const isBoard = (name: string): name is SweepBoardName => SWEEP_BOARDS.some((each) => each === name)

async function main(): Promise<number> {
  const { values: flags, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seeds: { type: 'string', default: '1' },
      step: { type: 'string', default: '1' },
      phase: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [seeds, step] = [Number(flags.seeds), Number(flags.step)]
  const names = positionals.filter(isBoard)
  if (flags.help || names.length < positionals.length || !(seeds >= 1) || !(step >= 1)) {
    process.stdout.write(`${HELP}\n`)
    return flags.help ? 0 : 2
  }
  let broken = 0
  for (const name of names.length > 0 ? names : SWEEP_BOARDS) {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-sweep-'))
    try {
      const { board, images, factory } = await prepareSweep(name, folder)
      await using _ = board
      let startMs = performance.now()
      await sweep(board, factory, images, {
        ...{ seeds, step },
        ...(flags.phase === undefined ? {} : { only: [flags.phase] }),
        onPhase: ({ phase, operations, cuts }) => {
          const seconds = ((performance.now() - startMs) / 1000).toFixed(0)
          process.stdout.write(`${name} ${phase}: ${operations} operations, ${cuts} cuts survived, ${seconds} s\n`)
          startMs = performance.now()
        },
      })
    } catch (error) {
      broken++
      process.stdout.write(`${name} ${error instanceof Error ? error.message : String(error)}\n`)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  return broken > 0 ? 1 : 0
}

process.exitCode = await main()
