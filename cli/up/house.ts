import { join } from 'node:path'
import { DeviceApi } from '../../api/client/device-api.ts'
import { type Endpoint, openRequest, readBody } from '../../api/client/http.ts'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { Device, DeviceModel } from '../../api/resources.ts'
import type { SluiceResource } from '../../api/validate.ts'
import { ConsoleApi } from '../console-api.ts'
import { cloudEndpoint, socketPath } from '../device-api.ts'
import { applyKeepingDesired, applyObject, openKube } from '../kube.ts'
import { requireSoundFiles } from '../model-files.ts'
import { childLaunchOf, type Part } from '../processes.ts'
import { type Ready, Supervised } from '../supervisor.ts'
import type { Progress } from './progress.ts'
import { adopt, atHome, atPlant, inApplyOrder, type LineChoice, onLine, type PlantEndpoints } from './site.ts'

export interface HouseOptions {
  readonly data: string
  readonly gateway: string
  readonly demo: boolean
  readonly files: readonly string[]
  readonly line: { readonly port: string; readonly baud: number | undefined } | undefined
  /** The files are the demo's: their devices live here whatever they say. */
  readonly demoFiles: boolean
  /** Of the files, only devices on a serial line are meant. */
  readonly onlySerial: boolean
  readonly apiPort: number | undefined
  readonly hubPort: number | undefined
  readonly kubeconfig: string | undefined
  readonly verbose: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly say: Progress
  readonly signal: AbortSignal
}

/** Whatever ports it got, a cloud core that is started again takes the same ones: the gateway knows them by now. */
const KEEP_PORTS = { apiPort: undefined, hubPort: undefined }
const TOKEN_TTL_MS = 600_000

/** Everything that runs for `sluice up`. */
export interface House extends AsyncDisposable {
  readonly data: string
  readonly cloud: DeviceApi
  readonly restarts: number
  /** `namespace/name property=value`: something that may be written, for the examples on the screen. */
  readonly writable: string | undefined
  /** Pulls the plant's serial adapter out, or plugs it back; says whether it is in now. Only with the demo plant. */
  readonly toggleCable: (() => boolean) | undefined
  /** Values that the gateway's outbox had to drop since its start. */
  drops(): Promise<number>
}

/** Starts plant, cloud core and agent in this order, and applies what the files say. Cleans up when a step fails. */
export async function startHouse(options: HouseOptions): Promise<House> {
  const { data, say, signal } = options
  const children: Supervised[] = []
  // The agent goes first, so that it says good-bye to a cloud core that still listens.
  const stop = async () => {
    for (const child of children.toReversed()) await child.stop()
  }
  const start = (part: Part, args: readonly string[], argsAgain = args): Promise<Ready> => {
    const child = new Supervised(childOptions(options, part, args, argsAgain))
    children.push(child)
    return child.start(signal)
  }
  try {
    const files = options.files.length === 0 ? undefined : await requireSoundFiles(options.files)
    const plant = options.demo
      ? readPlant(await start('plant', ['--memory', join(data, 'plant.json'), '--link', join(data, 'demo-serial')]))
      : undefined
    if (plant !== undefined) {
      const { meter, drive } = plant
      say.step(
        `Plant: a meter on ${meter.port} (Modbus RTU, ${meter.baud} baud), a drive on ${drive.host}:${drive.port} (Modbus TCP)`,
      )
    }
    say.step('Starting the cloud core ...')
    const ready = await start('cloud', cloudArguments(options), cloudArguments({ ...options, ...KEEP_PORTS }))
    const endpoint = cloudEndpoint(data)
    const where = endpoint.kind === 'socket' ? endpoint.path : endpoint.url
    say.step(`Cloud core is up at ${where}`)
    const resources = files === undefined ? [] : placeAll(files.resources, options, plant)
    await applyAll(resources, options)
    await joinOnce(endpoint, options)
    await start('agent', ['--data', data, '--log-format', 'json', ...hubArguments(ready)])
    const cloud = new DeviceApi(endpoint)
    return {
      data,
      cloud,
      writable: writableOf(resources),
      get restarts() {
        return children.reduce((sum, child) => sum + child.restarts, 0)
      },
      toggleCable: plant === undefined ? undefined : cableOf(children[0]!),
      drops: () => droppedValues(data),
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function cableOf(plant: Supervised): () => boolean {
  let plugged = true
  return () => {
    plugged = !plugged
    plant.send(plugged ? 'plug\n' : 'unplug\n')
    return plugged
  }
}

function childOptions(options: HouseOptions, part: Part, args: readonly string[], argsAgain: readonly string[]) {
  const { say, clock, env, verbose } = options
  const name = part === 'cloud' ? 'cloud core' : part
  return {
    name,
    launch: (again: boolean) => childLaunchOf(part, again ? argsAgain : args),
    env,
    clock,
    random: Math.random,
    onLine: (line: string) => {
      if (verbose) say.step(`${part}: ${line}`)
    },
    onRestart: (inMs: number, why: string) =>
      say.warn(`The ${name} ${why}; starting it again in ${(inMs / 1000).toFixed(1)} s`),
  }
}

const cloudArguments = ({ data, apiPort, hubPort, kubeconfig }: HouseOptions): string[] => [
  '--data',
  data,
  ...(apiPort === undefined ? [] : ['--api-port', String(apiPort)]),
  ...(hubPort === undefined ? [] : ['--hub-port', String(hubPort)]),
  ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]),
]

function readPlant(ready: Ready): PlantEndpoints {
  const { meter, drive } = ready as Partial<PlantEndpoints>
  if (meter === undefined || drive === undefined) {
    throw new SluiceError('SLUICE_CLI_PART_FAILED', 'The plant does not say where its devices are')
  }
  return { meter, drive }
}

/** The hub may have another port than when the gateway joined. */
function hubArguments(ready: Ready): string[] {
  const hub = ready['hubUrl']
  return typeof hub === 'string' ? ['--hub', hub.replace(/^https:/, 'wss:')] : []
}

/** Gets the gateway its certificate, unless it has one. The token lives in this process only and is used at once. */
async function joinOnce(endpoint: Endpoint, { data, gateway, say, signal }: HouseOptions): Promise<void> {
  const { loadIdentity, saveIdentity } = await import('../../agent/link/identity.ts')
  const known = loadIdentity(data)
  if (known !== undefined) {
    if (known.gateway === gateway) return say.step(`Gateway ${gateway} is back`)
    throw new SluiceError(
      'SLUICE_CLI_OTHER_GATEWAY',
      `The agent in ${data} is gateway ${known.gateway}, not ${gateway}`,
      {
        hint: `Start with --gateway ${known.gateway}, or give another folder: --data DIR.`,
      },
    )
  }
  const { join: enrol } = await import('../../agent/link/enrol.ts')
  const { token } = await new ConsoleApi(endpoint).createToken(gateway, TOKEN_TTL_MS, signal)
  saveIdentity(data, await enrol(token, signal))
  say.step(`Gateway ${gateway} has joined with a token of its own`)
}

function placeAll(
  resources: readonly SluiceResource[],
  options: HouseOptions,
  plant: PlantEndpoints | undefined,
): SluiceResource[] {
  const { gateway, line } = options
  const choice: LineChoice | undefined =
    line === undefined ? undefined : { port: line.port, ...(line.baud === undefined ? {} : { baud: line.baud }) }
  const devices = resources
    .filter((each): each is Device => each.kind === 'Device')
    .filter((device) => {
      return !options.onlySerial || onLine(device, { port: '' }) !== device
    })
  const models = new Set(devices.map((device) => device.spec.model))
  const placed = devices.map((device) => {
    const homed = options.demoFiles ? atHome(device, gateway) : adopt(device, gateway)
    const here = plant === undefined || !options.demoFiles ? homed : atPlant(homed, plant)
    return choice === undefined ? here : onLine(here, choice)
  })
  const rest = resources.filter(
    (each) => each.kind !== 'Device' && (!options.onlySerial || models.has(each.metadata.name)),
  )
  return inApplyOrder([...rest, ...placed])
}

async function applyAll(
  resources: readonly SluiceResource[],
  { data, demoFiles, say, signal }: HouseOptions,
): Promise<void> {
  if (resources.length === 0) {
    say.step('Nothing to apply; kubectl apply -f FILE adds devices at any time')
    return
  }
  await using kube = openKube(data)
  for (const resource of resources) {
    if (demoFiles && resource.kind === 'Device') await applyKeepingDesired(kube, resource as Device, signal)
    else await applyObject(kube, resource, signal)
  }
  const names = resources.map((resource) => `${resource.kind.toLowerCase()}/${resource.metadata.name}`)
  say.step(`Applied ${names.join(', ')}`)
}

/** The first number that may be written, with a value inside its limits that is not what is wanted already. */
export function writableOf(resources: readonly SluiceResource[]): string | undefined {
  const models = new Map(
    resources
      .filter((each): each is DeviceModel => each.kind === 'DeviceModel')
      .map((model) => [model.metadata.name, model]),
  )
  for (const device of resources.filter((each): each is Device => each.kind === 'Device')) {
    for (const property of models.get(device.spec.model)?.spec.properties ?? []) {
      if (property.access !== 'readwrite' || (property.type !== 'int' && property.type !== 'float')) continue
      const { min = 0, max = 100 } = property
      const value = property.enum?.[0] ?? Math.round(min + (max - min) * 0.4)
      return `${device.metadata.namespace ?? 'default'}/${device.metadata.name} ${property.name}=${String(value)}`
    }
  }
  return undefined
}

async function droppedValues(data: string): Promise<number> {
  try {
    const signal = AbortSignal.timeout(2_000)
    const answer = await openRequest({ kind: 'socket', path: socketPath(data) }, { path: '/metrics', signal })
    const text = await readBody(answer)
    return [...text.matchAll(/^sluice_outbox_dropped_values_total(?:\{[^}]*\})? (\d+)/gm)].reduce(
      (sum, match) => sum + Number(match[1]),
      0,
    )
  } catch {
    return 0
  }
}
