import { userInfo } from 'node:os'
import { SluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import type { DesiredAnswer } from '../../api/views.ts'
import { deviceKey, openDeviceApi, TARGET_OPTIONS } from '../device-api.ts'
import type { Style } from '../output.ts'
import { printable } from '../text.ts'
import { formatValue, parseValue } from '../values.ts'
import { defineVerb, EXIT, type ExitCode } from '../verb.ts'

export const deviceSet = defineVerb({
  name: 'device set',
  summary: 'Write values and wait until they are applied or refused',
  description:
    'A value is applied when the gateway has written it and read it back. Exits with 4 when a value was rejected and ' +
    'with 3 when the time was over before the device had answered; the write then goes on and may still be applied ' +
    "until the model's own deadline. Values are written in the order given; the first that fails stops the rest.",
  positionals: { usage: 'DEVICE PROPERTY=VALUE...', min: 2, max: 64 },
  options: {
    ...TARGET_OPTIONS,
    wait: { kind: 'duration', value: 'TIME', default: '10s', help: 'Wait this long for the end of each write.' },
    'no-wait': { kind: 'flag', help: 'Leave the value as desired and return at once.' },
    text: { kind: 'flag', help: 'Values are text even where they look like a number or JSON.' },
  },
  examples: [
    { command: 'sluice device set drive-1 speed=1200', says: 'Write one value and see it applied' },
    { command: 'sluice device set drive-1 speed=0 enable=false --wait 30s', says: 'Several, in this order' },
    { command: 'sluice device set display-2 label=007 --text', says: 'The text 007, not the number 7' },
  ],
  async run({ options, args, out, signal, env }) {
    const key = deviceKey(args[0]!)
    const writes = args.slice(1).map((text) => readAssignment(text, options.text))
    const api = openDeviceApi(options, env)
    const waitMs = options['no-wait'] ? 0 : options.wait
    const answers: DesiredAnswer[] = []
    let exitCode: ExitCode = EXIT.ok
    for (const { property, value } of writes) {
      const answer = await api.setDesired(key, property, value, { by: writer(), waitMs, signal })
      answers.push(answer)
      if (!out.json) out.line(outcomeLine(answer, out.style))
      exitCode = outcomeExit(answer, waitMs > 0)
      if (exitCode !== EXIT.ok) break
    }
    if (out.json) out.value(answers.length === 1 && writes.length === 1 ? answers[0] : { items: answers })
    return exitCode
  },
})

export function readAssignment(text: string, asText: boolean): { property: string; value: Json } {
  const equals = text.indexOf('=')
  if (equals <= 0) {
    throw new SluiceError('SLUICE_CLI_ASSIGNMENT', `'${text}' is not PROPERTY=VALUE`, {
      hint: 'Write for example speed=1200, enable=true or mode=eco.',
    })
  }
  const written = text.slice(equals + 1)
  return { property: text.slice(0, equals), value: asText ? written : parseValue(written) }
}

/** Who wrote, as the twin remembers it. */
function writer(): string {
  try {
    return `cli:${userInfo().username}`
  } catch {
    return 'cli'
  }
}

export function outcomeExit(answer: DesiredAnswer, waited: boolean): ExitCode {
  if (answer.state === 'applied' || answer.state === 'synced') return EXIT.ok
  if (answer.state === 'rejected') return EXIT.refused
  if (answer.state === 'pending' && !waited) return EXIT.ok
  return EXIT.unreachable
}

function outcomeLine(answer: DesiredAnswer, style: Style): string {
  const head = `${answer.device} ${answer.property} = ${formatValue(answer.value)}`
  const why = answer.reason === undefined ? '' : `: ${printable(answer.reason)}`
  switch (answer.state) {
    case 'applied':
    case 'synced':
      return `${style.green('✓')} ${head}  ${style.green(answer.state)}${why}`
    case 'rejected':
    case 'timedOut':
      return `${style.red('✗')} ${head}  ${style.red(answer.state)}${why}`
    default:
      return `${style.yellow('…')} ${head}  ${style.yellow(answer.state)}${why}`
  }
}
