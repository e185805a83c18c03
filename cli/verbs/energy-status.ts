import { scaled } from '../../api/vital-words.ts'
import { headLines, joulesWords } from '../energy-picture.ts'
import { printable, table } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'
import { AGENT_OPTIONS, openVitalsApi } from '../vitals-api.ts'

export const energyStatus = defineVerb({
  name: 'energy status',
  summary: 'Where the power figures come from, and what is missing',
  description:
    'Power, energy, battery and heat of this gateway; every meter with what it covers, and every source with why it says ' +
    'nothing and what to do about it. Exits with 1 when a source is there and may not be read.',
  options: AGENT_OPTIONS,
  examples: [
    { command: 'sluice energy status', says: 'Is the power measured or estimated, and by what?' },
    { command: 'sluice energy status --json | jq .battery', says: 'The battery alone' },
  ],
  async run({ options, out, signal, env }) {
    const snapshot = await openVitalsApi(options, env).energy(signal)
    const forbidden = snapshot.sources.some(({ state }) => state === 'forbidden')
    if (out.json) {
      out.value(snapshot)
      return forbidden ? EXIT.failure : EXIT.ok
    }
    const { style, width } = out
    for (const line of headLines(snapshot, style)) out.line(line)
    const { zones = [] } = snapshot.thermal ?? {}
    if (zones.length > 0)
      out.line(zones.map(({ name, celsius }) => `${printable(name)} ${celsius.toFixed(0)} °C`).join(', '))
    if (snapshot.totals.unknownS >= 1) out.line(`${Math.round(snapshot.totals.unknownS)} s of which nothing is known`)
    const meters = snapshot.meters.map(({ meter, covers, source, watts, joules, doubt }) => [
      printable(meter),
      covers,
      source,
      watts === undefined ? '' : scaled(watts, 'W'),
      joulesWords(joules),
      printable(doubt ?? ''),
    ])
    if (meters.length > 0) {
      const columns = [
        { title: 'METER', flexible: true },
        { title: 'COVERS' },
        { title: 'SOURCE' },
        { title: 'POWER', align: 'right' as const },
        { title: 'ENERGY', align: 'right' as const },
        { title: 'DOUBT', flexible: true },
      ]
      out.line()
      for (const line of table(columns, meters, width, style.dim)) out.line(line)
    }
    const mark = { ok: style.green('●'), absent: style.dim('○'), forbidden: style.red('●'), faulty: style.yellow('●') }
    out.line()
    for (const { source, state, reason, remedy } of snapshot.sources) {
      out.line(`${mark[state]} ${printable(source)}: ${state}${reason === undefined ? '' : `, ${printable(reason)}`}`)
      if (remedy !== undefined) out.line(`    ${style.dim(printable(remedy))}`)
    }
    return forbidden ? EXIT.failure : EXIT.ok
  },
})
