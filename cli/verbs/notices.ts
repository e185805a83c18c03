import type { NoticeView } from '../../api/views.ts'
import type { Style } from '../output.ts'
import { printable, table } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'
import { AGENT_OPTIONS, openVitalsApi } from '../vitals-api.ts'

export const notices = defineVerb({
  name: 'notices',
  summary: 'What went wrong with devices and the gateway, counted, the newest first',
  description:
    'What the agent of this machine tells the cloud core as Kubernetes Events, kept here as well: wrong keys, payloads of ' +
    'the wrong shape, decoders that fail, stages of the policy. Works without any cloud.',
  options: {
    ...AGENT_OPTIONS,
    warnings: { kind: 'flag', help: 'Only what is wrong, not what is said for information.' },
  },
  examples: [
    { command: 'sluice notices --warnings', says: 'Why does a device show no value?' },
    { command: 'sluice notices --json | jq -r .[].reason', says: 'Reasons for a script' },
  ],
  async run({ options, out, signal, env }) {
    const all = await openVitalsApi(options, env).notices(signal)
    const items = options.warnings ? all.filter(({ type }) => type === 'Warning') : all
    if (out.json) out.value(items)
    else if (items.length === 0) out.note('Nothing was noticed since the agent started.')
    else for (const line of noticeLines(items, out.style, out.width)) out.line(line)
    return EXIT.ok
  },
})

export function noticeLines(items: readonly NoticeView[], style: Style, width: number): string[] {
  const columns = [
    { title: '' },
    { title: 'LAST' },
    { title: 'COUNT' },
    { title: 'ABOUT' },
    { title: 'REASON' },
    { title: 'MESSAGE' },
  ]
  const rows = items.map(({ type, lastAt, count, about, reason, message }) => [
    type === 'Warning' ? style.yellow('●') : style.dim('○'),
    lastAt.slice(0, 19).replace('T', ' '),
    String(count),
    printable(about),
    printable(reason),
    printable(message),
  ])
  return table(columns, rows, width, style.dim)
}
