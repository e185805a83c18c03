import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { prepareSweep, SWEEP_BOARDS, type SweepBoardName } from '../hil/boards/sweep/prepare.ts'
import { type SweepOptions, sweep } from '../hil/boards/sweep/sweep.ts'

const HELP = `npm run sweep:firmware -- [BOARD...] [--seeds N] [--step N] [--finish N] [--phase NAME]

Cuts the power at every flash operation of every phase of an update, on emulated boards that run the ARM code of the
bootloader and of the application: ${SWEEP_BOARDS.join(', ')}. After each cut a whole image has to start, and the phase has
to end as if nothing had been. The same sweep of the C on this machine, thousands of cuts a second, is in
"npm test -- firmware/core/power-cut".

  --seeds N     how often each operation is torn, each time otherwise (default 1)
  --step N      every so manyth operation only (default 1: all)
  --finish N    the phase is brought to its end after every so manyth cut only (default 1: all)
  --phase NAME  one phase only

Examples
  npm run sweep:firmware
  npm run sweep:firmware -- microbit mps2-an385 --finish 20
  npm run sweep:firmware -- rp2040 --seeds 3`

const isBoard = (name: string): name is SweepBoardName => SWEEP_BOARDS.some((each) => each === name)

async function main(): Promise<number> {
  const { values: flags, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seeds: { type: 'string', default: '1' },
      step: { type: 'string', default: '1' },
      finish: { type: 'string', default: '1' },
      phase: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [seeds, step, finish] = [Number(flags.seeds), Number(flags.step), Number(flags.finish)]
  const names = positionals.filter(isBoard)
  const counts = [seeds, step, finish].every((count) => Number.isInteger(count) && count >= 1)
  if (flags.help || names.length < positionals.length || !counts) {
    process.stdout.write(`${HELP}\n`)
    return flags.help ? 0 : 2
  }
  let broken = 0
  for (const name of names.length > 0 ? names : SWEEP_BOARDS) {
    await sweepBoard(name, {
      seeds,
      step,
      finish,
      ...(flags.phase === undefined ? {} : { only: [flags.phase] }),
    }).catch((error: unknown) => {
      broken++
      process.stdout.write(`${name} ${error instanceof Error ? error.message : String(error)}\n`)
    })
  }
  return broken > 0 ? 1 : 0
}

async function sweepBoard(name: SweepBoardName, options: SweepOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-sweep-'))
  try {
    const { board, images, factory } = await prepareSweep(name, folder)
    await using _ = board
    let startMs = performance.now()
    await sweep(board, factory, images, {
      ...options,
      onPhase: ({ phase, operations, cuts, finished }) => {
        const seconds = ((performance.now() - startMs) / 1000).toFixed(0)
        process.stdout.write(
          `${name} ${phase}: ${operations} operations, ${cuts} cuts survived, ${finished} to the end, ${seconds} s\n`,
        )
        startMs = performance.now()
      },
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

process.exitCode = await main()
