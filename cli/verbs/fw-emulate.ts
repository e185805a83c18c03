import { existsSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { join } from 'node:path'
import { systemClock } from '../../api/clock.ts'
import type { DeviceView } from '../../api/views.ts'
import { PROJECT_FILE } from '../../firmware/project/project.ts'
import type { Emulation } from '../fw/emulation.ts'
import { withUnit } from '../values.ts'
import { type Call, defineVerb, EXIT } from '../verb.ts'

const SHOW_EVERY_MS = 1000

const options = {
  board: { kind: 'text', value: 'BOARD', help: "Another board than the project's." },
  for: { kind: 'duration', value: 'TIME', help: 'End after this long. Default: with Ctrl-C.' },
} as const

export const fwEmulate = defineVerb({
  name: 'fw emulate',
  summary: 'Generate, build and run a board here, with an agent that reads it',
  description:
    'Runs the very program a board would run: on QEMU (microbit, mps2-an385, the STM32 boards), in rp2040js (rp2040) or ' +
    'as a process (host). Its serial line is a pseudo-terminal that any master can open instead of the agent.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options,
  examples: [
    { command: 'sluice fw emulate greenhouse', says: 'Until Ctrl-C; values as they change' },
    { command: 'sluice fw emulate greenhouse --for 10s --json', says: 'One object with firstValueMs and its parts' },
    { command: 'sluice fw emulate greenhouse --board host', says: 'As a process: needs nothing but cc' },
  ],
  async run(call) {
    const { options, args, out, env } = call
    const over = new AbortController()
    const signal = AbortSignal.any([call.signal, over.signal])
    const { board } = options
    const folder = args[0] ?? '.'
    // Three processes of ours start here: what they compile is kept beside the project, which halves their start.
    const cache = join(folder, 'build', 'node')
    if (existsSync(join(folder, PROJECT_FILE))) enableCompileCache(cache)
    const [{ Emulation }, { requireProject }] = await Promise.all([
      import('../fw/emulation.ts'),
      import('../fw/load.ts'),
    ])
    const load = () => requireProject(folder, board === undefined ? {} : { board })
    await using emulation = await Emulation.start(load, { NODE_COMPILE_CACHE: cache, ...env }, call.signal)
    const firstValueMs = await emulation.firstValue(call.signal)
    if (options.for !== undefined) systemClock.after(options.for, () => over.abort(), true)
    const { built, path, folder: data, milestones } = emulation
    if (!out.json) {
      out.line(`${out.style.green('✓')} ${built.board.title}: first value after ${firstValueMs} ms`)
      out.line(
        `  read ${milestones.loadedMs}, generated ${milestones.generatedMs}, built ${milestones.builtMs}, board up ${milestones.boardMs}, agent up ${milestones.agentMs} ms`,
      )
      out.line(`  line ${path}; agent: sluice device ls --data ${data}`)
    }
    const view = await watch(emulation, call, signal)
    if (out.json)
      out.value({
        board: built.board.name,
        firstValueMs,
        parts: milestones,
        path,
        data,
        sizes: built.sizes,
        device: view,
      })
    return call.signal.aborted && options.for !== undefined ? EXIT.interrupted : EXIT.ok
  },
})

/** Shows what changes until it is over; the last state of the device. */
async function watch(
  emulation: Emulation,
  { out }: Call<typeof options>,
  signal: AbortSignal,
): Promise<DeviceView | undefined> {
  let last: DeviceView | undefined
  const shown = new Map<string, string>()
  while (true) {
    // A view that is under way when time is up still counts.
    last = await emulation.view(AbortSignal.timeout(10_000))
    for (const twin of last.twins) {
      const text =
        twin.quality === 'good' ? withUnit(twin) : `${twin.quality ?? 'no value yet'} ${twin.reason ?? ''}`.trim()
      if (out.json || shown.get(twin.name) === text) continue
      shown.set(twin.name, text)
      out.line(`  ${new Date().toISOString().slice(11, 19)} ${twin.name} ${text}`)
    }
    if (signal.aborted) return last
    await new Promise<void>((resolve) => {
      const timer = systemClock.after(SHOW_EVERY_MS, resolve, true)
      const end = (): void => {
        timer.cancel()
        resolve()
      }
      signal.addEventListener('abort', end, { once: true })
    })
  }
}
