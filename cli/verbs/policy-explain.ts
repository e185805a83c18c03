import { existsSync } from 'node:fs'
import type { PolicyFacts } from '../../agent/policy/conditions.ts'
import { type DevicePlan, explainPolicy, type PolicyExplanation, type StageEffect } from '../../agent/policy/explain.ts'
import { SluiceError } from '../../api/errors.ts'
import type { Gateway } from '../../api/resources.ts'
import { spanWords } from '../../api/vital-words.ts'
import type { Style } from '../output.ts'
import { printable, table, wrap } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'
import { AGENT_OPTIONS, openVitalsApi } from '../vitals-api.ts'

const FACT_OPTIONS = {
  battery: { kind: 'count', value: 'PERCENT', help: 'Suppose this charge.' },
  'on-battery': { kind: 'flag', help: 'Suppose that mains are off.' },
  'empty-in': { kind: 'duration', value: 'TIME', help: 'Suppose that the battery is empty after this time.' },
  celsius: { kind: 'count', value: 'DEGREES', help: 'Suppose this heat.' },
  throttled: { kind: 'flag', help: 'Suppose that the machine is slowed down.' },
  link: {
    kind: 'count',
    value: 'PERCENT',
    help: 'Suppose this quality of the way to the hub, 0 unusable to 100 perfect.',
  },
} as const

export const policyExplain = defineVerb({
  name: 'policy explain',
  summary: 'What each stage of a gateway policy would do to each device',
  description:
    'Shows when each stage begins and ends, and how often every device would be read and reported in it. Nothing is ' +
    'changed. With files (a Gateway and its devices and models) it works offline, before anything is applied; without, it ' +
    'asks the agent of this machine, with the stage in force and why. What is supposed by options decides which stages hold.',
  positionals: { usage: '[FILE...]', min: 0, max: 100 },
  options: { ...AGENT_OPTIONS, ...FACT_OPTIONS },
  examples: [
    { command: 'sluice policy explain', says: 'The policy in force here' },
    {
      command: 'sluice policy explain gateway.yaml devices/ --battery 12 --on-battery',
      says: 'A file, before it is applied',
    },
  ],
  async run({ options, args, out, signal, env }) {
    const supposed: PolicyFacts = {
      ...(options['on-battery'] ? { onBattery: true } : {}),
      ...(options.throttled ? { throttled: true } : {}),
      ...(options.battery === undefined ? {} : { batteryPercent: options.battery }),
      ...(options['empty-in'] === undefined ? {} : { timeToEmptyS: options['empty-in'] / 1000 }),
      ...(options.celsius === undefined ? {} : { celsius: options.celsius }),
      ...(options.link === undefined ? {} : { linkQuality: options.link / 100 }),
    }
    if (args.length === 0 && Object.keys(supposed).length > 0) {
      throw new SluiceError('SLUICE_CLI_ARGUMENTS', 'What is supposed needs a file to suppose it of', {
        hint: 'Give the file of the Gateway: sluice policy explain gateway.yaml --battery 12.',
      })
    }
    const explanation =
      args.length === 0 ? await openVitalsApi(options, env).policy(signal) : await explainFiles(args, supposed)
    if (out.json) out.value(explanation)
    else for (const line of policyLines(explanation, out.style, Math.min(out.width, 120))) out.line(line)
    return EXIT.ok
  },
})

async function explainFiles(paths: readonly string[], facts: PolicyFacts): Promise<PolicyExplanation> {
  const { keyOf, modelKeyOf, requireSoundFiles } = await import('../model-files.ts')
  const { protocols } = await import('../../mappers/registry.ts')
  const { protocolOf } = await import('../../agent/mappers/host.ts')
  const present = paths.find((path) => path !== '-' && !existsSync(path))
  if (present !== undefined) throw new SluiceError('SLUICE_CLI_FILE', `'${present}' cannot be read (ENOENT)`)
  const { resources, devices, models } = await requireSoundFiles(paths)
  const gateways = resources.filter((each): each is Gateway => each.kind === 'Gateway')
  const [gateway] = gateways
  if (gateway === undefined || gateways.length > 1) {
    throw new SluiceError('SLUICE_CLI_NO_GATEWAY', `There are ${gateways.length} Gateways in ${paths.join(', ')}`, {
      hint: 'Give the file of one Gateway with spec.policy, and of the devices it serves.',
    })
  }
  const byKey = new Map(models.map((model) => [keyOf(model), model.spec]))
  const served = devices
    .filter(({ spec }) => spec.nodeName === undefined || spec.nodeName === gateway.metadata.name)
    .map((device) => {
      const listens = protocolOf(protocols, device.spec)?.listens
      const model = byKey.get(modelKeyOf(device))
      return { key: keyOf(device), spec: device.spec, model, ...(listens === undefined ? {} : { listens }) }
    })
  return explainPolicy(gateway.spec, served, facts)
}

export function policyLines(explanation: PolicyExplanation, style: Style, width: number): string[] {
  const { stages, devices, stage, why, readsPerSecond, more } = explanation
  const lines = [
    `stage ${style.bold(printable(stage))}${why === undefined ? '' : ` (${printable(why)})`}; known: ${factWords(explanation.facts)}`,
  ]
  if (stages.length === 0) return [...lines, 'This gateway has no policy: nothing changes by itself.']
  for (const each of stages) {
    const saved = readsPerSecond === 0 ? '' : `, ${percent(each.readsPerSecond / readsPerSecond)} of the reads`
    const mark = each.holds ? style.yellow('●') : style.dim('○')
    lines.push(
      '',
      `${mark} ${style.bold(printable(each.stage))}: ${each.stretched} less often, ${each.paused} paused${saved}`,
    )
    lines.push(
      ...wrap(
        `when ${each.when.join(', or ')}; for ${clock(each.afterMs)}; lasts ${clock(each.holdMs)} at least`,
        width,
        '    ',
      ),
    )
  }
  const podTable = podLines(explanation, style, width)
  if (devices.length === 0) return [...lines, ...podTable, '', 'No device is known, so nothing is shown of them.']
  const columns = [
    { title: 'DEVICE', flexible: true },
    { title: 'IMPORTANCE' },
    { title: 'NORMAL' },
    ...stages.map((each) => ({ title: each.stage.toUpperCase() })),
  ]
  lines.push(
    '',
    ...table(
      columns,
      devices.map((device) => deviceCells(device, style)),
      width,
      style.dim,
    ),
  )
  if (more > 0) lines.push(style.dim(`… ${more} more devices`))
  return [...lines, ...podTable]
}

function podLines({ pods, stages }: PolicyExplanation, style: Style, width: number): string[] {
  if (pods.length === 0) return []
  const columns = [
    { title: 'POD', flexible: true },
    { title: 'IMPORTANCE' },
    ...stages.map((each) => ({ title: each.stage.toUpperCase() })),
  ]
  const rows = pods.map(({ pod, importance, pausedIn }) => [
    printable(pod.replace(/^default\//, '')),
    importance,
    ...stages.map(({ stage }) => (pausedIn.includes(stage) ? style.yellow('stands still') : style.dim('as now'))),
  ])
  return ['', ...table(columns, rows, width, style.dim)]
}

function deviceCells(device: DevicePlan, style: Style): string[] {
  const [normal, ...rest] = device.effects
  const plain = effectWords(normal!)
  const cells = rest.map((effect) => {
    const words = effectWords(effect)
    return words === plain ? style.dim('as now') : effect.paused ? style.yellow(words) : words
  })
  const note = device.untouched === undefined || device.untouched === 'critical' ? '' : ' (measures the gateway)'
  return [printable(device.device.replace(/^default\//, '')), `${device.importance}${note}`, plain, ...cells]
}

function effectWords({ paused, pollMs, reportMs }: StageEffect): string {
  if (paused) return 'paused'
  const [low, high] = pollMs ?? []
  const poll =
    low === undefined || high === undefined
      ? 'listens'
      : low === high
        ? `reads ${clock(low)}`
        : `reads ${clock(low)} to ${clock(high)}`
  return reportMs > 0 ? `${poll}, reports ${clock(reportMs)}` : poll
}

const clock = (ms: number): string =>
  ms < 1000 ? `${Math.round(ms)}ms` : ms < 120_000 ? `${Number((ms / 1000).toFixed(1))}s` : spanWords(ms / 1000)

const percent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`

function factWords(facts: PolicyFacts): string {
  const { onBattery, batteryPercent, timeToEmptyS, celsius, throttled, linkQuality } = facts
  const words = [
    onBattery === undefined ? '' : onBattery ? 'on battery' : 'on mains',
    batteryPercent === undefined ? '' : `charge ${Math.round(batteryPercent)} %`,
    timeToEmptyS === undefined ? '' : `empty in ${spanWords(timeToEmptyS)}`,
    celsius === undefined ? '' : `${Math.round(celsius)} °C`,
    throttled === true ? 'throttled' : '',
    linkQuality === undefined ? '' : `link quality ${linkQuality.toFixed(2)}`,
  ].filter((word) => word !== '')
  return words.length === 0 ? 'nothing' : words.join(', ')
}
