import { delay, systemClock } from '../../api/clock.ts'
import { asDivided, type EnergySort, energyRows, energyTable, headLines, idleParts } from '../energy-picture.ts'
import { listenForKeys } from '../up/keys.ts'
import { Redrawn } from '../up/live-screen.ts'
import { defineVerb, EXIT } from '../verb.ts'
import { AGENT_OPTIONS, openVitalsApi } from '../vitals-api.ts'

const EVERY_MS = 1000

export const energyTop = defineVerb({
  name: 'energy top',
  summary: 'Who takes how much power at this gateway, live',
  description:
    'The whole of the gateway and its parts: what it takes for being switched on, pods, slices of the system, this agent, ' +
    'and under it every mapper and device. How the whole divides is an estimate by processor time, traffic and bus time, ' +
    'also where the whole is measured. Keys: w sorts by power, j by energy, q ends.',
  options: {
    ...AGENT_OPTIONS,
    once: { kind: 'flag', help: 'One picture, then end.' },
    every: { kind: 'duration', value: 'TIME', help: 'Time between two pictures.', default: '1s' },
    joules: { kind: 'flag', help: 'Sort by energy since the start of the agent instead of by power.' },
  },
  examples: [
    { command: 'sluice energy top', says: 'Live, until q' },
    { command: 'sluice energy top --once --json | jq .attribution.agent.watts', says: 'What the agent itself takes' },
  ],
  async run({ options, out, signal, env }) {
    const api = openVitalsApi(options, env)
    const live = !options.once && !out.json && out.interactive
    let sort: EnergySort = options.joules ? 'joules' : 'watts'
    const over = new AbortController()
    const until = AbortSignal.any([signal, over.signal])
    using _keys = live
      ? listenForKeys(process.stdin, () => over.abort(), {
          w: () => void (sort = 'watts'),
          j: () => void (sort = 'joules'),
        })
      : undefined
    using screen = live ? new Redrawn(out) : undefined
    const floor: number[] = []
    do {
      const snapshot = await api.energy(until)
      if (out.json) out.value(snapshot)
      else {
        const width = Math.min(out.width, 110)
        const rows = energyRows(snapshot, sort)
        const still = idleParts(snapshot)
        const lines = [
          ...headLines(asDivided(snapshot), out.style),
          '',
          ...energyTable(rows, out.style, width, floor),
          ...(still === 0 ? [] : [out.style.dim(`… ${still} more that took nothing`)]),
        ]
        if (screen === undefined) for (const line of lines) out.line(line)
        else screen.draw(lines)
      }
      if (options.once) break
      if (!live && !out.json) out.line()
      await delay(systemClock, Math.max(EVERY_MS / 10, options.every), until).catch(() => {})
    } while (!until.aborted)
    return EXIT.ok
  },
})
