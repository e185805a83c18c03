import { parseArgs } from 'node:util'
import { toSluiceError } from '../api/errors.ts'
import { MQTT_FLAGS, mqttOptions } from './broker/flags.ts'
import { createLog, type LogLevel } from './log.ts'
import { type AgentOptions, type RunningAgent, runAgent } from './run.ts'

const LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'] satisfies LogLevel[]

function isLevel(text: string): text is LogLevel {
  return LEVELS.includes(text)
}

/** The agent as a process of its own: one JSON line on stdout when it is ready, everything else on stderr. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      data: { type: 'string' },
      gateway: { type: 'string' },
      'token-file': { type: 'string' },
      hub: { type: 'string' },
      'local-port': { type: 'string' },
      objects: { type: 'string', multiple: true },
      // A gateway says nothing on a network of machines unless it is told to.
      discover: { type: 'string', default: 'usb' },
      pods: { type: 'string', default: 'off' },
      'pods-dir': { type: 'string' },
      'static-pods-dir': { type: 'string' },
      ...MQTT_FLAGS,
      'log-level': { type: 'string', default: 'info' },
      'log-format': { type: 'string', default: 'text' },
    },
  })
  const level = values['log-level']
  const log = createLog({
    level: isLevel(level) ? level : 'info',
    format: values['log-format'] === 'json' ? 'json' : 'text',
  })
  const options: AgentOptions = {
    dataDir: values.data ?? 'sluice-data',
    ...(values.gateway === undefined ? {} : { gateway: values.gateway }),
    ...(values['token-file'] === undefined ? {} : { joinTokenFile: values['token-file'] }),
    ...(values.hub === undefined ? {} : { hubUrl: values.hub }),
    ...(values['local-port'] === undefined ? {} : { localPort: Number(values['local-port']) }),
    ...(values.objects === undefined ? {} : { manifests: values.objects }),
    discover: values.discover,
    pods: values.pods,
    ...(values['pods-dir'] === undefined ? {} : { podsDir: values['pods-dir'] }),
    ...(values['static-pods-dir'] === undefined ? {} : { staticPodsDir: values['static-pods-dir'] }),
    ...mqttOptions(values),
  }
  try {
    let stopping = false
    let running: RunningAgent | undefined
    const onDamage = () => stop('a damaged store', 1)
    const agent = await runAgent(options, { log, onDamage })
    running = agent
    const { gateway, socketPath, port } = agent
    if (options.manifests !== undefined) {
      // Before anybody is told that it runs. What was served stays served when the files are wrong.
      process.on('SIGHUP', () => void agent.reload().catch((error) => log('error', toSluiceError(error).message)))
    }
    process.stdout.write(`${JSON.stringify({ event: 'ready', gateway, socket: socketPath, port, pid: process.pid })}\n`)
    function stop(why: string, code: number): void {
      // Before it runs, what went wrong ends the start by itself.
      if (stopping || running === undefined) return
      stopping = true
      log('info', `Stopping on ${why}`)
      running[Symbol.asyncDispose]().then(
        () => process.exit(code),
        (error: unknown) => {
          log('error', toSluiceError(error).message)
          process.exit(1)
        },
      )
    }
    process.on('SIGTERM', () => stop('SIGTERM', 0))
    process.on('SIGINT', () => stop('SIGINT', 0))
  } catch (thrown) {
    const { code, message, hint } = toSluiceError(thrown)
    log('error', message, { code, hint: hint ?? '' })
    process.exit(1)
  }
}

if (import.meta.main) await main()
