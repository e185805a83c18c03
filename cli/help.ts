import { GLOBAL_OPTIONS } from './arguments.ts'
import type { Style } from './output.ts'
import { displayWidth, padEnd, wrap } from './text.ts'
import { EXIT_WORDS, type OptionSpecs, type Verb } from './verb.ts'
import type { VerbGroup } from './verbs.ts'

const pairs = (rows: readonly (readonly [string, string])[], width: number, style: Style): string[] => {
  const left = Math.min(30, Math.max(...rows.map(([name]) => displayWidth(name))))
  return rows.flatMap(([name, text]) => {
    const lines = wrap(text, width - left - 4)
    const head = displayWidth(name) > left ? [`  ${style.cyan(name)}`] : []
    return [
      ...head,
      ...lines.map((line, index) => {
        const label = index === 0 && head.length === 0 ? style.cyan(name) : ''
        return `  ${padEnd(label, left)}  ${line}`
      }),
    ]
  })
}

function optionRows(options: OptionSpecs): [string, string][] {
  return Object.entries(options).map(([name, spec]) => {
    const value = spec.kind === 'flag' ? '' : ` ${spec.value ?? spec.kind.toUpperCase()}`
    const fallback = spec.default === undefined ? '' : ` Default ${spec.default}.`
    const often = spec.repeatable === true ? ' May be given several times.' : ''
    return [`${spec.short === undefined ? '' : `-${spec.short}, `}--${name}${value}`, spec.help + often + fallback]
  })
}

const exitLines = (width: number, style: Style) => [
  style.bold('Exit codes'),
  ...pairs(
    EXIT_WORDS.map(([code, words]) => [String(code), words] as const),
    width,
    style,
  ),
]

/** The page of `sluice help VERB`. */
export function verbHelp(verb: Verb, style: Style, width: number): string {
  const usage = ['sluice', verb.name, verb.positionals?.usage, '[options]'].filter((part) => part).join(' ')
  const own = optionRows(verb.options)
  return [
    `${style.bold(`sluice ${verb.name}`)}  ${verb.summary}`,
    '',
    ...(verb.description === undefined
      ? []
      : [...verb.description.split('\n\n').flatMap((part) => [...wrap(part, width), ''])]),
    style.bold('Usage'),
    `  ${usage}`,
    '',
    style.bold('Options'),
    ...pairs([...own, ...optionRows(GLOBAL_OPTIONS)], width, style),
    '',
    style.bold('Examples'),
    ...verb.examples.flatMap(({ command, says }) => [`  ${style.cyan(command)}`, `      ${style.dim(says)}`]),
    '',
    ...exitLines(width, style),
  ].join('\n')
}

/** The page of `sluice help`, or of a group such as `sluice help device`. */
export function overview(groups: readonly VerbGroup[], style: Style, width: number): string {
  const whole = groups.length > 1
  const lines = whole
    ? [
        `${style.bold('sluice')}  field devices as Kubernetes device twins`,
        '',
        style.bold('Usage'),
        '  sluice VERB [arguments] [options]',
        '',
      ]
    : []
  for (const group of groups) {
    lines.push(style.bold(group.title))
    lines.push(
      ...pairs(
        group.verbs.map((verb) => [verb.name, verb.summary] as const),
        width,
        style,
      ),
    )
    lines.push('')
  }
  if (whole) {
    lines.push(
      style.bold('Examples'),
      `  ${style.cyan('sluice up --demo')}`,
      `      ${style.dim('A cloud core, an agent and a small plant to play with, in one go')}`,
      `  ${style.cyan('sluice device set default/drive-1 speed=1200')}`,
      `      ${style.dim('Write a value and wait until the device has taken it')}`,
      `  ${style.cyan('sluice plan default/meter-1')}`,
      `      ${style.dim('How the gateway reads this device, and why')}`,
      '',
    )
  }
  lines.push(...exitLines(width, style), '')
  lines.push(style.dim("Options and examples of a verb: 'sluice help VERB'. Error codes: docs/errors.md."))
  return lines.join('\n')
}
