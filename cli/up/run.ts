import { existsSync } from 'node:fs'
import { requestJson } from '../../api/client/http.ts'
import { delay, systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { DeviceView } from '../../api/views.ts'
import { vitalLine } from '../../api/vital-words.ts'
import { modelFile } from '../catalogue.ts'
import { dataFolder, socketPath } from '../device-api.ts'
import { kubeconfigPath } from '../kube.ts'
import { commandName, demoFolder } from '../processes.ts'
import { age, printable } from '../text.ts'
import { keyOf } from '../values.ts'
import { type Call, EXIT, type ExitCode } from '../verb.ts'
import type { UpOptions } from '../verbs/up.ts'
import { makeDataFolder } from './data-folder.ts'
import { DemoWrites } from './demo-writes.ts'
import { type House, startHouse } from './house.ts'
import { listenForKeys } from './keys.ts'
import { LiveScreen } from './live-screen.ts'
import { Observer } from './observer.ts'
import { type Progress, progress } from './progress.ts'
import { perSecond, type Summary } from './tally.ts'

const PROGRESS_MS = 5_000
const TICK_MS = 100

/** The main job: everything on one machine until Ctrl-C or the end of `--for`. */
export async function runUp(call: Call<UpOptions>): Promise<ExitCode> {
  const { options, out, env } = call
  const clock = systemClock
  const data = dataFolder(options.data, env)
  const files = [...options.model, ...options.device].map(modelFile)
  const usesDemoFiles = files.length === 0 && (options.demo || options.serial !== undefined)
  await refuseSecond(data, call.signal)
  makeDataFolder(data)
  const over = new AbortController()
  const signal = AbortSignal.any([call.signal, over.signal])
  const say = progress(out)
  say.step(`Everything is kept in ${data}`)
  const startedMs = clock.monotonic()
  await using house = await startHouse({
    data,
    gateway: options.gateway,
    demo: options.demo,
    files: usesDemoFiles ? [demoFolder()] : files,
    line: options.serial === undefined ? undefined : { port: options.serial, baud: options.baud },
    demoFiles: usesDemoFiles,
    onlySerial: usesDemoFiles && !options.demo,
    apiPort: options['api-port'],
    hubPort: options['hub-port'],
    kubeconfig: options.kubeconfig,
    verbose: options.verbose,
    env,
    clock,
    say,
    signal,
  })
  const observer = new Observer({ api: house.cloud, clock, startedMs, signal })
  observer.start()
  const writes =
    options.demo && !options.still && !out.interactive
      ? new DemoWrites({ api: house.cloud, clock, observer, say, signal })
      : undefined
  writes?.start()
  if (options.for !== undefined) clock.after(options.for, () => over.abort(), true)
  if (out.interactive && !out.json) await showLive(call, house, observer, startedMs, signal, () => over.abort())
  else await showLines(call, house, observer, say, startedMs, signal)
  const summary = await summarize(house, observer, clock.monotonic() - startedMs, data)
  say.step('Stopping; everything is kept for the next start')
  await house[Symbol.asyncDispose]()
  if (out.json) out.value(summary)
  else say.step(closingWords(summary))
  // Who runs it for a while asks whether all went well; who stops it by hand has seen how it went.
  return summary.ok || options.for === undefined ? EXIT.ok : EXIT.failure
}

/** Two agents on one folder would fight over the same devices. */
async function refuseSecond(data: string, signal: AbortSignal): Promise<void> {
  const path = socketPath(data)
  if (!existsSync(path)) return
  try {
    await requestJson(
      { kind: 'socket', path },
      { path: '/healthz', signal: AbortSignal.any([signal, AbortSignal.timeout(2_000)]) },
    )
  } catch (thrown) {
    // Left over by a killed agent; it is cleared away at the start.
    if (thrown instanceof SluiceError && thrown.code === 'SLUICE_CLIENT_UNREACHABLE') return
    if (signal.aborted) throw signal.reason
  }
  throw new SluiceError('SLUICE_CLI_ALREADY_RUNNING', `An agent is already running in ${data}`, {
    hint: "Use it ('sluice status'), end it, or give this one a folder of its own: --data DIR.",
  })
}

async function showLive(
  { out, env }: Call<UpOptions>,
  house: House,
  observer: Observer,
  startedMs: number,
  signal: AbortSignal,
  quit: () => void,
): Promise<void> {
  const { bold, dim, cyan, red } = out.style
  let plugged = true
  const { toggleCable } = house
  using _keys = listenForKeys(process.stdin, quit, {
    ...(toggleCable === undefined ? {} : { u: () => void (plugged = toggleCable()) }),
  })
  const screen = new LiveScreen(out)
  const kubeconfig = kubeconfigPath(house.data)
  const command = commandName(env)
  const sample = house.writable ?? 'default/drive-1 speed=1200'
  const where = house.data.endsWith('/.sluice') ? '' : ` --data ${house.data}`
  try {
    while (!signal.aborted) {
      const nowMs = Date.now()
      const upMs = systemClock.monotonic() - startedMs
      const { tally, devices } = observer
      screen.draw(
        {
          head: [
            '',
            `  ${dim('in another terminal')}`,
            `  ${cyan(`export KUBECONFIG=${kubeconfig}`)}`,
            `  ${cyan('kubectl get devices')}          ${dim('every device, its state and first values')}`,
            `  ${cyan(patchCommand(sample))}   ${dim('write a value')}`,
            `  ${cyan(`${command} plan ${sample.split(' ')[0]!.replace(/^default\//, '')}${where}`)}   ${dim('how it is read, and why')}`,
            `  ${cyan(`${command} console --cloud${where}`)}          ${dim('the fleet in a browser')}`,
          ],
          devices,
          foot: [
            ...observer.gateways.flatMap(({ name, status }) => {
              const words = vitalLine(status)
              return words === '' ? [] : [dim(printable(`${name}: ${words}`))]
            }),
            dim(
              [
                `up ${age(upMs)}`,
                `${devices.filter((each) => each.state === 'online').length}/${devices.length} online`,
                `${tally.values} values (${perSecond(tally.values, upMs)}/s)`,
                `${tally.applied} writes applied`,
                ...(house.restarts > 0 ? [`${house.restarts} restarts`] : []),
                ...(observer.trouble === undefined ? [] : [observer.trouble]),
              ].join(' · '),
            ),
            [
              `${bold('Ctrl-C')} ${dim('stops everything in order')}`,
              ...(toggleCable === undefined
                ? []
                : plugged
                  ? [`${bold('u')} ${dim("unplugs the meter's adapter")}`]
                  : [red("the meter's adapter is unplugged"), `${bold('u')} ${dim('plugs it back')}`]),
            ].join(dim(' · ')),
          ],
        },
        nowMs,
      )
      await pause(TICK_MS, signal)
    }
  } finally {
    screen.close()
  }
}

const patchCommand = (sample: string): string => {
  const [device = '', assignment = ''] = sample.split(' ')
  const [property, value] = assignment.split('=')
  const [namespace, name] = device.split('/')
  const space = namespace === 'default' ? '' : ` -n ${namespace}`
  return `kubectl patch device ${name}${space} --type merge -p '{"spec":{"desired":{"${property}":${value}}}}'`
}

async function showLines(
  { env }: Call<UpOptions>,
  house: House,
  observer: Observer,
  say: Progress,
  startedMs: number,
  signal: AbortSignal,
): Promise<void> {
  say.step(`kubectl: export KUBECONFIG=${kubeconfigPath(house.data)}`)
  say.step(`In a browser: ${commandName(env)} console --cloud --data ${house.data}`)
  const told = new Map<string, string>()
  let first = true
  let nextMs = PROGRESS_MS
  while (!signal.aborted) {
    await pause(TICK_MS, signal)
    const upMs = systemClock.monotonic() - startedMs
    if (first && observer.firstValueMs !== undefined) {
      first = false
      say.step(`First value in the cloud core after ${(observer.firstValueMs / 1000).toFixed(1)} s`)
    }
    for (const device of observer.devices) {
      const key = keyOf(device)
      const now = `${device.state}${device.reason ?? ''}`
      if (told.get(key) === now || (device.state === 'unknown' && device.reason === undefined)) continue
      told.set(key, now)
      if (device.state === 'online') say.step(`${key} is online`)
      else say.warn(`${key} is ${device.state}${device.reason === undefined ? '' : `: ${printable(device.reason)}`}`)
    }
    if (upMs < nextMs) continue
    nextMs += PROGRESS_MS
    say.step(lineOf(observer.devices, observer))
  }
}

function lineOf(devices: readonly DeviceView[], observer: Observer): string {
  const online = devices.filter((each) => each.state === 'online').length
  const { values, applied, rejected } = observer.tally
  const refused = rejected > 0 ? `, ${rejected} rejected` : ''
  const trouble = observer.trouble === undefined ? '' : ` (${observer.trouble})`
  return `${online} of ${devices.length} devices online, ${values} values, ${applied} writes applied${refused}${trouble}`
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(systemClock, ms, signal)
  } catch {
    // The loop looks at the signal itself.
  }
}

async function summarize(house: House, observer: Observer, upMs: number, data: string): Promise<Summary> {
  await observer.refresh(AbortSignal.timeout(3_000))
  const { devices, tally } = observer
  const online = devices.filter((each) => each.state === 'online').length
  return {
    ok: devices.length > 0 ? online === devices.length && tally.values > 0 : true,
    devices: devices.length,
    online,
    values: tally.values,
    writes: tally.applied,
    rejected: tally.rejected,
    timedOut: tally.timedOut,
    drops: await house.drops(),
    restarts: house.restarts,
    firstValueMs: observer.firstValueMs === undefined ? null : Math.round(observer.firstValueMs),
    seconds: Math.round(upMs / 100) / 10,
    kubeconfig: kubeconfigPath(data),
    data,
  }
}

const closingWords = (summary: Summary): string =>
  `${summary.devices} device${summary.devices === 1 ? '' : 's'}, ${summary.values} values, ${summary.writes} writes applied, ${summary.drops} dropped in ${summary.seconds} s`
