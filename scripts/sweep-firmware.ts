import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { prepareSweep } from '../hil/boards/sweep/prepare.ts'
import { sweep } from '../hil/boards/sweep/sweep.ts'

const HELP = `npm run sweep:firmware -- [--seeds N] [--step N] [--phase NAME]

Cuts the power at every flash operation of every phase of an update, on an emulated RP2040 that runs the ARM code of the
bootloader and of the application. After each cut a whole image has to start, and the phase has to end as if nothing had
been. The same sweep of the C on this machine, thousands of cuts a second, is in "npm test -- firmware/core/power-cut".

  --seeds N     how often each operation is torn, each time otherwise (default 1)
  --step N      every so manyth operation only (default 1: all)
  --phase NAME  one phase only

Examples
  npm run sweep:firmware
  npm run sweep:firmware -- --seeds 3`

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
  if (flags.help || positionals.length > 0 || !(seeds >= 1) || !(step >= 1)) {
    process.stdout.write(`${HELP}\n`)
    return flags.help ? 0 : 2
  }
  const folder = mkdtempSync(join(tmpdir(), 'sluice-sweep-'))
  try {
    const { board, images, factory } = await prepareSweep(folder)
    await using _ = board
    let startMs = performance.now()
    await sweep(board, factory, images, {
      ...{ seeds, step },
      ...(flags.phase === undefined ? {} : { only: [flags.phase] }),
      onPhase: ({ phase, operations, cuts }) => {
        const seconds = ((performance.now() - startMs) / 1000).toFixed(0)
        process.stdout.write(`${phase}: ${operations} operations, ${cuts} cuts survived, ${seconds} s\n`)
        startMs = performance.now()
      },
    })
    return 0
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

process.exitCode = await main()
