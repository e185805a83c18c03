import type { StreamEvent } from '../../api/views.ts'
import { deviceKey, openDeviceApi, TARGET_OPTIONS } from '../device-api.ts'
import type { Style } from '../output.ts'
import { padEnd, printable } from '../text.ts'
import { formatValue } from '../values.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const deviceWatch = defineVerb({
  name: 'device watch',
  summary: 'Follow values, writes and reachability as they change',
  description: 'One line a change until Ctrl-C; with --json one JSON object a line.',
  positionals: { usage: '[DEVICE [PROPERTY]]', min: 0, max: 2 },
  options: {
    ...TARGET_OPTIONS,
    for: { kind: 'duration', value: 'TIME', help: 'Stop by itself after this time.' },
    count: { kind: 'count', value: 'N', help: 'Stop by itself after this many changes.' },
  },
  examples: [
    { command: 'sluice device watch', says: 'Everything that changes' },
    { command: 'sluice device watch drive-1 speed', says: 'One property of one device' },
    { command: 'sluice device watch --json --for 1m > changes.jsonl', says: 'A minute of changes into a file' },
  ],
  async run({ options, args, out, signal, env }) {
    const api = openDeviceApi(options, env)
    const until = options.for === undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(options.for)])
    const filter = {
      ...(args[0] === undefined ? {} : { device: deviceKey(args[0]) }),
      ...(args[1] === undefined ? {} : { property: args[1] }),
    }
    let left = options.count ?? Number.POSITIVE_INFINITY
    try {
      for await (const { events, missed } of api.events(filter, until)) {
        if (missed) out.note('Some changes were missed: this reader was too slow.')
        for (const event of events) {
          if (out.json) out.value(event)
          else out.line(eventLine(event, out.style))
          if (--left <= 0) return EXIT.ok
        }
      }
    } catch (error) {
      if (!until.aborted) throw error
    }
    if (until.aborted) return EXIT.ok
    out.note('The other side closed the stream.')
    return EXIT.unreachable
  },
})

export function eventLine(event: StreamEvent, style: Style): string {
  const time = style.dim(event.at.slice(11, 23))
  const about = event.kind === 'gateway' ? event.gateway.name : event.device
  const device = padEnd(printable(about.replace(/^default\//, '')), 14)
  switch (event.kind) {
    case 'reported': {
      const value = `${padEnd(printable(event.property), 14)} ${formatValue(event.value)}`
      const back = event.backfill === true ? style.dim('  (recorded while away)') : ''
      if (event.quality === 'good') return `${time}  ${device} ${value}${back}`
      const why = event.reason === undefined ? '' : `, ${printable(event.reason)}`
      return `${time}  ${device} ${value}  ${style.yellow(`${event.quality}${why}`)}${back}`
    }
    case 'write': {
      const state = event.state === 'applied' ? style.green(event.state) : style.red(event.state)
      const why = event.reason === undefined ? '' : `: ${printable(event.reason)}`
      return `${time}  ${device} ${padEnd(printable(event.property), 14)} write ${event.version} ${state}${why}`
    }
    case 'desired': {
      const value = event.value === undefined ? style.dim('nothing') : formatValue(event.value)
      const by = event.by === undefined ? '' : style.dim(`  by ${printable(event.by)}`)
      return `${time}  ${device} ${padEnd(printable(event.property), 14)} desired ${value}${by}`
    }
    case 'gateway':
      return `${time}  ${device} gateway ${event.gateway.state}`
    case 'reach': {
      const why = event.reason === undefined ? '' : `: ${printable(event.reason)}`
      return `${time}  ${device} ${event.online ? style.green('online') : style.red(`offline${why}`)}`
    }
  }
}
