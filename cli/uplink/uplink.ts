import { mkdirSync } from 'node:fs'
import { AgentCore } from '../../agent/core.ts'
import { type HubLink, openHubLink } from '../../agent/link/hub-link.ts'
import { loadIdentity } from '../../agent/link/identity.ts'
import type { Log } from '../../agent/log.ts'
import { mapperStorage } from '../../agent/mappers/storage.ts'
import { lockDirectory } from '../../agent/store/lock.ts'
import { Store } from '../../agent/store/store.ts'
import { AGENT_VERSION } from '../../agent/version.ts'
import { type Clock, systemClock, type Timer } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { MachineFacts } from '../../api/link/machine.ts'
import type { PodTarget } from '../../api/link/pod-streams.ts'
import { type Gateway, type GatewayStatus, type Json, objectKey } from '../../api/resources.ts'
import { supernodeId } from '../../cloudcore/hub/supernode-loop.ts'
import type { KubeClient } from '../../cloudcore/kube/client.ts'
import { collectionPath, GATEWAYS, NODES, PODS } from '../../cloudcore/kube/paths.ts'
import { watchResource } from '../../cloudcore/kube/watch.ts'
import { type NodeView, readNode } from '../../cloudcore/scheduler/cluster.ts'
import { type PodView, readPod } from '../../cloudcore/scheduler/pod-view.ts'
import { asOneMachine, FROM_ABOVE, subtree } from './aggregate.ts'
import { type ChildPod, keyOf, Mirror, parentOf } from './mirror.ts'
import type { StatsBelowOptions } from './stats.ts'

export interface UplinkOptions {
  /** Of this supernode's API. */
  readonly kube: KubeClient
  /** Folder of the uplink: its identity above, and what it has to remember. */
  readonly dataDir: string
  /** Read when there is no identity yet. */
  readonly joinTokenFile: string | undefined
  /** Instead of the address that the supernode above gave. */
  readonly hubUrl?: string
}

export interface UplinkDeps {
  readonly clock?: Clock
  readonly log: Log
  /** What the gateways have changes with every pod; it is said anew at most so often. Default 5 s. */
  readonly sayAgainMs?: number
}

export interface Uplink extends AsyncDisposable {
  readonly link: HubLink
  /** As it is told above. */
  readonly machine: MachineFacts
}

const SAY_AGAIN_MS = 5_000
const LOOK_MS = 5_000
/** Streams at a time, for all gateways here together: what one above asks of one node at most. */
const MOST_STREAMS = 256

/**
 * Shows the gateways of this supernode to a higher one as one node: what they have together goes up, pods come down and
 * become pods here, and what becomes of them goes up again. To the one above it is a gateway like any other.
 */
export async function openUplink(options: UplinkOptions, deps: UplinkDeps): Promise<Uplink> {
  const { kube, dataDir, joinTokenFile } = options
  const { clock = systemClock, log, sayAgainMs = SAY_AGAIN_MS } = deps
  mkdirSync(dataDir, { recursive: true, mode: 0o750 })
  await using cleanup = new AsyncDisposableStack()
  cleanup.use(lockDirectory(dataDir))
  const identity = loadIdentity(dataDir)
  if (identity === undefined && joinTokenFile === undefined) {
    throw new SluiceError('SLUICE_UPLINK_TOKEN', 'This supernode has not joined one above it yet', {
      hint: 'Give a token of the one above with --token-file: `sluice token create --gateway NAME` there.',
    })
  }
  const stop = new AbortController()
  cleanup.defer(() => stop.abort(new Error('the uplink ends')))
  const { signal } = stop
  const own = await supernodeId(kube)
  const nodes = new Map<string, NodeView>()
  const pods = new Map<string, PodView>()
  const gateways = new Map<string, Gateway>()
  const held = new Map<string, ChildPod>()
  let machine = asOneMachine([], [], [own], AGENT_VERSION)
  let link: HubLink | undefined
  let mirror: Mirror | undefined
  let saying: Timer | undefined
  const say = () => {
    saying = undefined
    const now = asOneMachine(nodes.values(), pods.values(), subtree(own, gateways.values()), AGENT_VERSION)
    if (JSON.stringify(now) === JSON.stringify(machine)) return
    machine = now
    link?.reconnect('what this supernode has is another')
  }
  const changed = () => {
    saying ??= clock.after(sayAgainMs, say, true)
  }
  const trouble = (what: string, message: string) => log('warn', `${what}: ${message}`, {})
  const watch = <T extends { readonly metadata: { readonly name: string; readonly uid?: string } }>(
    path: string,
    upsert: (object: T, key: string) => void,
    remove: (key: string) => void,
  ) =>
    watchResource<T, string>(
      kube,
      path,
      {
        upsert: (object) => upsert(object, ''),
        remove: (_key, uid) => remove(uid),
        trouble: ({ message }) => trouble(`watch of ${path}`, message),
      },
      { clock, signal, keep: ({ metadata }) => metadata.uid ?? metadata.name },
    ).synced
  const byUid = new Map<string, string>()
  const synced = Promise.all([
    watch<{ metadata: { name: string; uid?: string } }>(
      collectionPath(NODES),
      (node) => {
        byUid.set(node.metadata.uid ?? '', node.metadata.name)
        nodes.set(node.metadata.name, readNode(node))
        changed()
      },
      (uid) => {
        nodes.delete(byUid.get(uid) ?? '')
        changed()
      },
    ),
    watch<Gateway>(
      collectionPath(GATEWAYS),
      (gateway) => {
        gateways.set(gateway.metadata.uid ?? '', gateway)
        changed()
      },
      (uid) => {
        gateways.delete(uid)
        changed()
      },
    ),
    watch<ChildPod & { metadata: { labels?: Readonly<Record<string, string>> } }>(
      collectionPath(PODS),
      (pod) => {
        pods.set(pod.metadata.uid, readPod(pod))
        if (pod.metadata.labels?.[FROM_ABOVE] !== undefined) held.set(keyOf(pod), pod)
        changed()
        mirror?.look()
      },
      (uid) => {
        pods.delete(uid)
        for (const [key, pod] of held) if (pod.metadata.uid === uid) held.delete(key)
        changed()
        mirror?.look()
      },
    ),
  ])
  await synced
  say()
  const store = cleanup.use(new Store({ directory: dataDir, clock, log }))
  const core: AgentCore = cleanup.use(
    new AgentCore({
      ...{ store, clock, random: Math.random, log, protocols: [], listening: () => false, onEvent: () => {} },
      offersDesires: false,
      // Read with every hello.
      machine: liveView(() => machine),
    }),
  )
  core.start()
  const storage = mapperStorage(store, 'uplink')
  const wanted = () => core.objects.podObjects()
  mirror = new Mirror({ client: kube, clock, signal, board: core.pods!, storage, wanted, held, onTrouble: trouble })
  cleanup.defer(core.onPodObjects(() => mirror?.look()))
  const look = () => {
    mirror?.look()
    if (!signal.aborted) looking = clock.after(LOOK_MS, look, true)
  }
  let looking: Timer | undefined
  cleanup.defer(() => {
    looking?.cancel()
    saying?.cancel()
  })
  const has = ({ namespace, pod, uid }: PodTarget) => {
    const found = held.get(objectKey(namespace, pod))
    return found !== undefined && parentOf(found) === uid
  }
  const names = () => new Set([...gateways.values()].map(({ metadata }) => metadata.name))
  const below: StatsBelowOptions = {
    ...{ client: kube, clock },
    nodes: () => {
      const known = names()
      const ready = [...nodes.values()].filter((node) => node.ready === 'True')
      return ready.map(({ name }) => ({ name, isGateway: known.has(name) }))
    },
    held: () => [...held.values()].map((pod) => ({ pod, node: pods.get(pod.metadata.uid)?.node })),
  }
  const streams = async () => {
    const [{ streamsBelow }, { statsBelow }] = await Promise.all([import('./streams.ts'), import('./stats.ts')])
    const stats = async (asked: AbortSignal): Promise<Json> => {
      const told: unknown = await statsBelow(below, asked)
      return told as Json
    }
    return streamsBelow({ client: kube, has, stats })
  }
  let handlers: ReturnType<typeof streams> | undefined
  link = cleanup.use(
    openHubLink({
      ...{ core, clock, random: Math.random, log, dataDir, identity, joinTokenFile, hubUrl: options.hubUrl },
      gateway: identity?.gateway ?? 'supernode',
      agentVersion: AGENT_VERSION,
      gatewayStatus: () => statusAbove(gateways.values()),
      streams: async (kind) => {
        handlers ??= streams()
        return (await handlers)(kind)
      },
      maxStreams: MOST_STREAMS,
    }),
  )
  look()
  const resources = cleanup.move()
  return {
    link,
    get machine() {
      return machine
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

/** An object whose fields are always those of now. */
function liveView(now: () => MachineFacts): MachineFacts {
  return new Proxy(now(), {
    get: (_, field) => Reflect.get(now(), field),
    ownKeys: () => Reflect.ownKeys(now()),
    getOwnPropertyDescriptor: (_, field) => ({
      ...{ configurable: true, enumerable: true, value: Reflect.get(now(), field) },
    }),
  })
}

/** Devices of all gateways together. */
function statusAbove(gateways: Iterable<Gateway>): GatewayStatus {
  const devices = { total: 0, online: 0, offline: 0 }
  for (const { status } of gateways) {
    devices.total += status?.devices?.total ?? 0
    devices.online += status?.devices?.online ?? 0
    devices.offline += status?.devices?.offline ?? 0
  }
  return { devices }
}
