/**
 * A board as a process of its own, for `sluice fw`: an emulated processor must not share one with whoever watches it. The
 * first line on standard input says what it runs, `{"board","image","elf","bin","address","link"}`; it prints
 * `{"event":"ready","path"}` when its line is open, with `link` a name for it, and ends when standard input closes.
 * Later lines `reset`, `off` and `on` are the reset button and the power.
 */
import { rmSync, symlinkSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { loadBoard } from '../../firmware/tools/board.ts'
import type { FirmwareBuild } from '../../firmware/tools/build.ts'
import type { BoardRig } from './rig.ts'
import { startBoard } from './start.ts'

const say = (fields: object): void => void process.stdout.write(`${JSON.stringify(fields)}\n`)

interface Order {
  readonly build: FirmwareBuild
  readonly link: string
}

function orderOf(line: string): Order {
  const fields: unknown = JSON.parse(line)
  const text = (key: string): string => {
    const value = typeof fields === 'object' && fields !== null ? Reflect.get(fields, key) : undefined
    if (typeof value === 'string') return value
    throw new SluiceError('SLUICE_HIL_RIG_FAILED', `the order for a board has no ${key}`)
  }
  const address = typeof fields === 'object' && fields !== null ? Number(Reflect.get(fields, 'address')) : 0
  const sizes = { flashBytes: 0, ramBytes: 0, codeBytes: 0, dataBytes: 0, zeroBytes: 0, stackBytes: 0, largest: [] }
  const build: FirmwareBuild = {
    board: loadBoard(text('board')),
    image: 'standalone',
    elf: text('elf'),
    bin: text('bin'),
    address,
    sizes,
    compiled: 0,
  }
  return { build, link: text('link') }
}

const COMMANDS: Readonly<Record<string, (rig: BoardRig) => Promise<void>>> = {
  reset: (rig) => rig.reset(),
  off: (rig) => rig.powerCut(),
  on: (rig) => rig.powerOn(),
}

async function main(): Promise<void> {
  const lines = createInterface({ input: process.stdin })
  let rig: BoardRig | undefined
  let link: string | undefined
  let turn = Promise.resolve()
  const fail = (thrown: unknown): void => {
    say({ event: 'failed', ...toSluiceError(thrown).toJSON() })
    process.exitCode = 1
    process.stdin.destroy()
  }
  const take = async (line: string): Promise<void> => {
    if (rig === undefined) {
      const order = orderOf(line)
      rig = await startBoard({ build: order.build, lines: ['pty'] })
      const path = rig.lines[0]?.path ?? ''
      link = order.link
      rmSync(link, { force: true })
      symlinkSync(path, link)
      say({ event: 'ready', path: link })
      return
    }
    const command = COMMANDS[line]
    if (command === undefined) return
    await command(rig)
    say({ event: 'done', command: line })
  }
  lines.on('line', (line) => {
    turn = turn.then(() => take(line)).catch(fail)
  })
  process.stdin.once('close', () => {
    void turn
      .then(() => rig?.[Symbol.asyncDispose]())
      .finally(() => {
        if (link !== undefined) rmSync(link, { force: true })
        process.exit()
      })
  })
}

if (import.meta.main) await main()
