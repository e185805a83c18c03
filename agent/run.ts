import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { type Clock, systemClock } from '../api/clock.ts'
import { QUESTION_STREAM } from '../api/console/questions.ts'
import { SluiceError, toSluiceError } from '../api/errors.ts'
import { FIRMWARE_STREAM } from '../api/link/firmware.ts'
import { parseJoinToken } from '../api/link/join.ts'
import type { LinkObject } from '../api/link/messages.ts'
import type { Json } from '../api/resources.ts'
import type { StreamEvent } from '../api/views.ts'
import { protocols as allProtocols } from '../mappers/registry.ts'
import type { Protocol } from '../mappers/sdk/mapper.ts'
import { BrokerService, type MqttOptions } from './broker/service.ts'
import { Calibrator } from './calibrator.ts'
import { AgentCore } from './core.ts'
import type { CheckObject } from './desired/check-object.ts'
import { sourcesNamed, startSources } from './discovery/sources/registry.ts'
import { openFirmware } from './firmware/start.ts'
import { gatewayConditions, gatewayStatus, Transitions } from './gateway-status.ts'
import { type HubLink, openHubLink } from './link/hub-link.ts'
import { loadIdentity } from './link/identity.ts'
import type { LinkStatus } from './link/status.ts'
import type { GatewayConsole } from './local-api/console.ts'
import { EventStream } from './local-api/event-stream.ts'
import type { Insight } from './local-api/insight.ts'
import { localRoutes, noticeView } from './local-api/routes.ts'
import { LocalApi } from './local-api/server.ts'
import { createLog, type Log } from './log.ts'
import { metricsPage } from './metrics/page.ts'
import type { RunningNorthbound } from './northbound/attach.ts'
import { openOwnEnergy } from './own-energy.ts'
import { machineFacts } from './pods/machine.ts'
import { openPods } from './pods/pods.ts'
import { chooseRuntimes, versionOf } from './pods/runtimes/choice.ts'
import { openStatics } from './pods/static/open.ts'
import { lockDirectory } from './store/lock.ts'
import { Store } from './store/store.ts'
import type { StreamHandler } from './streams/host.ts'
import { AGENT_VERSION } from './version.ts'
import { Vitals } from './vitals.ts'

export interface AgentOptions {
  /** Everything the agent keeps is in here; made when missing. */
  readonly dataDir: string
  /** Name of this gateway; the join token's name wins. Default the host's name. */
  readonly gateway?: string
  /** File with a join token, read when this gateway has no identity yet. */
  readonly joinTokenFile?: string
  /** `wss://host:port`, instead of the address the hub gave when the gateway joined. */
  readonly hubUrl?: string
  /** Loopback TCP port of the local API beside its socket; 0 picks a free one. */
  readonly localPort?: number
  /** JSON files, each with a list of objects as the link carries them: for a gateway without a cloud. */
  readonly manifests?: readonly string[]
  /** The MQTT broker: which, where it listens, what it shows. Default: its own, when the first device needs it. */
  readonly mqtt?: MqttOptions
  /** Where to look for devices beside what the protocols hear: `usb,mdns`. Default `off`. */
  readonly discover?: string
  readonly maxOutboxBytes?: number
  readonly maxOutboxAgeMs?: number
  /** Whether pods run here, and how: `off` (default), `auto`, or runtimes; see `chooseRuntimes`. */
  readonly pods?: string
  /** Folder with manifests of pods that run with no API. Default: `manifests` in the data directory. */
  readonly staticPodsDir?: string
  /** Images, sandboxes, volumes and logs of pods. Default: beside the data directory, with `-pods` at the end. */
  readonly podsDir?: string
}

export interface AgentDeps {
  readonly clock?: Clock
  readonly random?: () => number
  readonly log?: Log
  readonly protocols?: readonly Protocol[]
  readonly check?: CheckObject
  /** Objects as from a manifest file. */
  readonly objects?: readonly LinkObject[]
  /** Called when the store turns out to be damaged while running: starting the process again repairs it. */
  readonly onDamage?: () => void
  /** Sees every change, as a subscriber of the local API does. */
  readonly onEvent?: (event: StreamEvent) => void
  /** Serves streams that the hub asks for, besides those the agent knows. */
  readonly streams?: (kind: string) => Promise<StreamHandler | undefined>
}

export interface RunningAgent extends AsyncDisposable {
  readonly gateway: string
  readonly socketPath: string
  /** Loopback port of the local API, when one was asked for. */
  readonly port: number | undefined
  readonly core: AgentCore
  readonly link: HubLink | undefined
  readonly broker: BrokerService
  /** Replaces the objects given by manifests. */
  apply(objects: readonly LinkObject[]): Promise<void>
  /** Reads the manifest files once more; what did not change goes on undisturbed. */
  reload(): Promise<void>
}

/** Starts an agent; resolves when its local API answers. Disposing it ends it cleanly. */
export async function runAgent(options: AgentOptions, deps: AgentDeps = {}): Promise<RunningAgent> {
  const { clock = systemClock, random = Math.random, log = createLog(), protocols = allProtocols } = deps
  const startedMonotonicMs = clock.monotonic()
  makeDirectory(options.dataDir)
  await using cleanup = new AsyncDisposableStack()
  cleanup.use(lockDirectory(options.dataDir))
  const identity = loadIdentity(options.dataDir)
  const joins = identity !== undefined || options.joinTokenFile !== undefined
  const named = identity?.gateway ?? gatewayOfToken(options.joinTokenFile) ?? options.gateway
  const gateway = named ?? hostname().toLowerCase()
  const store = new Store({
    directory: options.dataDir,
    clock,
    log,
    ...(deps.onDamage === undefined ? {} : { onDamage: deps.onDamage }),
    ...(options.maxOutboxBytes === undefined ? {} : { maxOutboxBytes: options.maxOutboxBytes }),
    ...(options.maxOutboxAgeMs === undefined ? {} : { maxOutboxAgeMs: options.maxOutboxAgeMs }),
  })
  cleanup.use(store)
  const podRuntimes = chooseRuntimes(options.pods)
  const events = new EventStream(clock, randomBytes(6).toString('hex'))
  const { onEvent } = deps
  let gatewayConsole: GatewayConsole | undefined
  let northbound: RunningNorthbound | undefined
  const broker: BrokerService = cleanup.use(
    new BrokerService(
      {
        mqtt: options.mqtt,
        directory: options.dataDir,
        async prepare() {
          if (options.mqtt?.northbound === false) return undefined
          const { prepareNorthbound } = await import('./northbound/attach.ts')
          const prepared = prepareNorthbound(options.mqtt ?? {}, {
            clock,
            log,
            gateway,
            store,
            devices: core.engine.devices,
            desire: (key, property, value, by) => core.desire(key, property, value, by),
          })
          return { hooks: prepared.hooks, attach: (running) => (northbound = prepared.attach(running)) }
        },
      },
      { clock, log },
    ),
  )
  const core: AgentCore = cleanup.use(
    new AgentCore({
      store,
      clock,
      random,
      log,
      protocols,
      ...(deps.check === undefined ? {} : { check: deps.check }),
      broker: () => broker.local(),
      listening: () =>
        events.listening || onEvent !== undefined || northbound !== undefined || gatewayConsole !== undefined,
      onEvent: (event) => {
        gatewayConsole?.event(event)
        if (events.listening) events.push(event)
        northbound?.event(event)
        onEvent?.(event)
      },
      offersDesires: joins,
      ...(podRuntimes === undefined ? {} : { machine: machineFacts(versionOf(podRuntimes[0], AGENT_VERSION)) }),
    }),
  )
  core.start()
  // Before anything of pods begins: what runs and is wanted by a file must not be taken for a leaving.
  if (podRuntimes !== undefined) {
    const folder = resolve(options.staticPodsDir ?? join(options.dataDir, 'manifests'))
    cleanup.use(await openStatics({ core, clock, log, gateway, folder }))
  }
  const pods =
    podRuntimes === undefined
      ? undefined
      : cleanup.use(
          openPods({
            core,
            clock,
            log,
            gateway,
            choice: podRuntimes,
            folder: resolve(options.podsDir ?? `${resolve(options.dataDir)}-pods`),
          }),
        )
  const { sightings } = core
  cleanup.use(
    startSources(sourcesNamed(options.discover ?? 'off'), {
      clock,
      log,
      addresses: () => sightings.addresses,
      sighted: (protocol, items) => sightings.sighted(protocol, items),
      withdrawn: (protocol, ids) => sightings.withdrawn(protocol, ids),
    }),
  )
  const firmware = cleanup.use(openFirmware(core, options.dataDir, clock, log))
  let link: HubLink | undefined
  const energy = cleanup.use(openOwnEnergy({ core, clock, log, broker: () => broker.local() }))
  const calibrator = cleanup.use(new Calibrator(energy))
  const vitals = cleanup.use(
    new Vitals({
      ...{ core, clock },
      link: () => link?.status,
      energy: () => energy.snapshot(),
      energyVitals: () => energy.vitals(),
      onChange: () => core.listener?.statusChanged(),
    }),
  )
  const health = {
    core,
    transitions: new Transitions(),
    clock,
    startedMonotonicMs,
    link: () => link?.status,
    vitals,
    ...(pods === undefined ? {} : { pressures: () => pods.pressures() }),
  }
  const showMetrics = () =>
    metricsPage({
      ...{ core, clock, gateway, startedMonotonicMs, version: AGENT_VERSION, link: () => link?.status },
      subscribers: () => events.subscribers,
      broker: () => broker.running?.stats(),
      vitals: () => vitals.metrics(gateway, gatewayStatus(health).link),
    })
  let opening: Promise<GatewayConsole> | undefined
  let insight: Promise<Insight> | undefined
  /** What consoles ask, this gateway's and the fleet's; loaded with the first question. */
  const openInsight = () => {
    insight ??= import('./local-api/insight.ts').then(
      ({ Insight }) =>
        new Insight({
          ...{ core, clock, protocols, energy: () => energy.snapshot() },
          notices: () => core.notices.list().map(noticeView),
          metrics: showMetrics,
          podStream: async (kind) => (await deps.streams?.(kind)) ?? (await pods?.streams(kind)),
        }),
    )
    return insight
  }
  cleanup.defer(async () => (await insight)?.[Symbol.dispose]())
  const openConsole = async (port: number | undefined): Promise<GatewayConsole> => {
    // Loaded when somebody asks for it: on a gateway each megabyte counts.
    const { GatewayConsole } = await import('./local-api/console.ts')
    const insight = await openInsight()
    const opened = new GatewayConsole({ clock, gateway, directory: options.dataDir, log, handler, insight })
    await opened.listen(port)
    gatewayConsole = opened
    return opened
  }
  cleanup.defer(() => gatewayConsole?.[Symbol.asyncDispose]())
  const handler = localRoutes({
    console: async (role, name, port) => {
      opening ??= openConsole(port)
      opening.catch(() => (opening = undefined))
      return (await opening).invite(name, role)
    },
    clock,
    gateway,
    devices: core.engine.devices,
    events,
    notices: () => core.notices.list(),
    discovered: () => core.sightings.list(),
    sighted: (protocol, items) => core.sightings.sighted(protocol, items),
    desire: (key, property, value, by) => core.desire(key, property, value, by),
    onEnded: (key, property, wake) => core.engine.onEnded(key, property, wake),
    models: () => core.objects.models(),
    gatewayView: () => ({ name: gateway, state: 'online', status: gatewayStatus(health) }),
    links: () => core.mappers.links(),
    explain: (key) => core.mappers.explain(key),
    health: () => ({
      ok: store.failure === undefined,
      gateway,
      version: AGENT_VERSION,
      conditions: [...gatewayConditions(health)],
      hub: hubHealth(link?.status),
    }),
    vitals: {
      energy: () => energy.snapshot(),
      network: async (look) => ({ link: gatewayStatus(health).link, ...(await vitals.network(look)) }),
      policy: () => vitals.explain(protocols),
      calibrator,
    },
    metrics: showMetrics,
  })
  const api = cleanup.use(
    new LocalApi({
      directory: options.dataDir,
      ...(options.localPort === undefined ? {} : { port: options.localPort }),
      log,
      handler,
    }),
  )
  await api.listen()
  // Asked for by name: a broker that cannot start then is a reason not to start.
  if (options.mqtt !== undefined && options.mqtt.off !== true) await broker.local()
  cleanup.defer(() => events.close())
  const given = () => [...(deps.objects ?? []), ...(options.manifests ?? []).flatMap(readObjects)]
  const apply = (objects: readonly LinkObject[]) => applyManifests(core, objects)
  const reload = async () => apply(given())
  if (given().length > 0) await reload()
  if (joins) {
    link = cleanup.use(
      openHubLink({
        core,
        clock,
        random,
        log,
        gateway,
        agentVersion: AGENT_VERSION,
        dataDir: options.dataDir,
        identity,
        joinTokenFile: options.joinTokenFile,
        hubUrl: options.hubUrl,
        gatewayStatus: () => gatewayStatus(health, 'told'),
        streams: async (kind) => {
          if (kind === FIRMWARE_STREAM) return firmware.receive
          if (kind === QUESTION_STREAM) return (await openInsight()).serve
          return (await deps.streams?.(kind)) ?? (await pods?.streams(kind))
        },
      }),
    )
  }
  energy.start()
  vitals.start()
  const resources = cleanup.move()
  return {
    gateway,
    socketPath: api.socketPath,
    port: api.port,
    core,
    link,
    broker,
    apply,
    reload,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

/** The name in the token is known before the hub certifies it. A file or token that cannot be read is told by joining. */
function gatewayOfToken(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  try {
    return parseJoinToken(readFileSync(path, 'utf8')).gateway
  } catch {
    return undefined
  }
}

/** Makes the given objects the only ones; refuses all of them when one is invalid. */
async function applyManifests(core: AgentCore, objects: readonly LinkObject[]): Promise<void> {
  const wanted = new Set(objects.map(({ kind, key }) => `${kind} ${key}`))
  const deletes = core.objects.holds
    .filter(([kind, key]) => !wanted.has(`${kind} ${key}`))
    .map(([kind, key]) => ({ kind, key }))
  const held = new Set(core.objects.holds.map(([kind, key, rev]) => `${kind} ${key} ${rev}`))
  const upserts = objects.filter(({ kind, key, rev }) => !held.has(`${kind} ${key} ${rev}`))
  const acks = await core.objects.apply({ upserts, deletes })
  const refused = acks.find(({ ok }) => !ok)
  if (refused !== undefined) {
    throw new SluiceError(
      'SLUICE_MANIFEST_REFUSED',
      `${refused.kind} ${refused.key}: ${refused.message ?? 'refused'}`,
      {
        hint: 'Check the manifest with `sluice model lint`; what was in force before stays.',
      },
    )
  }
}

function readObjects(path: string): LinkObject[] {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LinkObject[]
  } catch (cause) {
    throw new SluiceError(
      'SLUICE_MANIFEST_UNREADABLE',
      `The manifest ${path} cannot be read: ${toSluiceError(cause).message}`,
      {
        hint: 'Give YAML to `sluice agent --device FILE`, which writes this file.',
        cause,
      },
    )
  }
}

/** The link as `/healthz` and `sluice status` show it; null for a gateway that has never joined. */
function hubHealth(status: LinkStatus | undefined): Json {
  if (status === undefined) return null
  const { connected, hubUrl, downReason } = status
  return { connected, url: hubUrl, ...(downReason === undefined ? {} : { reason: downReason }) }
}

function makeDirectory(path: string): void {
  try {
    if (!existsSync(path)) mkdirSync(path, { recursive: true, mode: 0o750 })
  } catch (cause) {
    throw new SluiceError(
      'SLUICE_AGENT_DATA_DIR',
      `The data directory ${path} cannot be made: ${toSluiceError(cause).message}`,
      {
        hint: 'Give a directory this user may write to with --data.',
        cause,
      },
    )
  }
}
