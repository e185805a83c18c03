import type { Clock, Timer } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import { PLACED_ANNOTATION } from '../../api/intents/intents.ts'
import type { EventNote } from '../gateways/event-recorder.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, NODES, objectPath, PODS } from '../kube/paths.ts'
import { watchResource } from '../kube/watch.ts'
import { choose, gistOf } from './choose.ts'
import { Cluster, readNode } from './cluster.ts'
import type { DeviceFacts, GatewayFacts } from './gateway-facts.ts'
import { lackedBy, WorkloadIntents, withIntents } from './inherited.ts'
import { NodeLifecycle } from './keep-nodes.ts'
import type { MayMoveFrom } from './lifecycle.ts'
import type { MoveBook } from './move-book.ts'
import { Mover } from './mover.ts'
import { hasEnded, isGivenBack, type PodView, readPod, subjectOf } from './pod-view.ts'
import { preempt } from './preempt.ts'
import { NEVER, type Waiting, WaitingPods } from './waiting.ts'

export const SCHEDULER_NAME = 'sluice'
/** Pods that ask for nobody in particular are ours where there is no other scheduler. */
const DEFAULT_NAME = 'default-scheduler'

export interface SchedulerOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly book: MoveBook
  /** The API is the embedded one: nobody else schedules, taints nodes or evicts. */
  readonly embedded: boolean
  readonly gateway: (name: string) => GatewayFacts | undefined
  /** Devices behind gateways, newest facts; asked when pods ask for devices. */
  readonly devices: () => Iterable<DeviceFacts>
  readonly mayMoveFrom: MayMoveFrom
  readonly record: (note: EventNote) => void
  readonly onTrouble: (what: string, error: SluiceError) => void
}

const TICK_MS = 1_000
/** Gateways and pods are looked over for breaches this often. */
const LOOK_OVER_MS = 5_000
/** After a device changed hands, with every tick for this long. */
const HURRY_MS = 10_000

/** Places pods on nodes by what they mean, and moves them when that no longer holds. */
export class Scheduler {
  readonly cluster = new Cluster()
  readonly #options: SchedulerOptions
  readonly #waiting: WaitingPods
  readonly #workloads: WorkloadIntents
  /** Pods whose workload is being asked, as they were told last. */
  readonly #reading = new Map<string, object>()
  readonly #binding = new Set<string>()
  readonly #mover: Mover
  readonly #lifecycle: NodeLifecycle | undefined
  #timer: Timer | undefined
  #changed = true
  #ready = false
  #kicked = false
  /** Of pods that have to leave, not all were looked at. */
  #more = false
  #lookedOverMs = Number.NEGATIVE_INFINITY
  #hurryUntilMs = Number.NEGATIVE_INFINITY

  constructor(options: SchedulerOptions) {
    this.#options = options
    const { client, clock, signal, onTrouble } = options
    this.#waiting = new WaitingPods(clock)
    this.#workloads = new WorkloadIntents(client, clock, signal)
    this.#mover = new Mover({ ...options, cluster: this.cluster, isOurs: (pod) => this.#isOurs(pod) })
    this.#lifecycle = options.embedded ? new NodeLifecycle({ ...options, cluster: this.cluster }) : undefined
    const nodes = watchResource<{ metadata: { name: string } }, string>(
      client,
      collectionPath(NODES),
      {
        upsert: (node) => {
          this.cluster.setNode(readNode(node))
          this.#refresh(node.metadata.name)
          this.#kick()
        },
        remove: (name) => this.cluster.removeNode(name),
        trouble: (error) => onTrouble('watch of nodes', error),
      },
      { clock, signal, keep: () => '' },
    )
    const pods = watchResource<{ metadata: { name: string; namespace?: string; uid?: string } }, string>(
      client,
      collectionPath(PODS),
      {
        upsert: (pod, held) => this.#read(pod, held),
        remove: (_key, uid) => this.#gone(uid),
        trouble: (error) => onTrouble('watch of pods', error),
      },
      { clock, signal, keep: (pod) => pod.metadata.uid ?? '' },
    )
    void Promise.all([nodes.synced, pods.synced]).then(() => {
      this.#ready = true
      this.#mover.begin()
      this.#kick()
    })
    signal.addEventListener('abort', () => this.#timer?.cancel(), { once: true })
    this.#arm()
  }

  /** A gateway told something new, came or went. */
  gatewayChanged(name: string): void {
    this.#refresh(name)
    this.#changed = true
  }

  /** What decisions are made from, as of now; for whoever explains them. */
  look(): Cluster {
    this.cluster.setDevices(this.#options.devices())
    return this.cluster
  }

  /** A device is served by another gateway: pods that need it are looked at with the next tick, and not much later. */
  deviceMoved(): void {
    this.#hurryUntilMs = this.#options.clock.monotonic() + HURRY_MS
    this.#changed = true
  }

  #refresh(name: string): void {
    this.cluster.setGateway(name, this.#options.gateway(name))
  }

  #isOurs(pod: PodView): boolean {
    return pod.scheduler === SCHEDULER_NAME || (this.#options.embedded && pod.scheduler === DEFAULT_NAME)
  }

  /** A pod that waits for a place is read with what its workload means by it; until that is known it waits. */
  #read(raw: object, heldUid: string | undefined): void {
    const own = readPod(raw)
    this.#reading.delete(own.uid)
    if (!this.#waits(own)) {
      this.#seen(own, heldUid)
      return
    }
    const told = this.#workloads.of(raw, () => {
      // Only as long as nothing newer was told of it.
      if (this.#reading.get(own.uid) === raw) this.#read(raw, undefined)
    })
    if (told !== undefined) {
      const inherited = lackedBy(raw, told)
      this.#seen({ ...readPod(withIntents(raw, inherited)), inherited }, heldUid)
      return
    }
    this.#reading.set(own.uid, raw)
    if (heldUid !== undefined && heldUid !== own.uid) this.#gone(heldUid)
    if (!this.cluster.pods.has(own.uid)) this.cluster.setPod(own)
  }

  #waits = (pod: PodView): boolean => pod.node === undefined && !pod.leaving && !hasEnded(pod) && this.#isOurs(pod)

  #seen(pod: PodView, heldUid: string | undefined): void {
    if (heldUid !== undefined && heldUid !== pod.uid) this.#gone(heldUid)
    const before = this.cluster.pods.get(pod.uid)
    // What was bound a moment ago is bound, also when an older picture of the pod arrives.
    const assumed = pod.node === undefined && this.#binding.has(pod.uid) ? before?.node : undefined
    this.cluster.setPod(assumed === undefined ? pod : { ...pod, node: assumed })
    if (this.#waits(pod) && !this.#binding.has(pod.uid)) {
      const held = this.#waiting.get(pod.uid)
      const nominated = held?.nominated
      this.#waiting.set({
        ...{ pod, triedMs: held?.triedMs ?? NEVER, told: held?.told ?? '' },
        ...(nominated === undefined ? {} : { nominated }),
      })
      if (nominated !== undefined) this.cluster.setPod({ ...pod, node: nominated })
      if (held === undefined) this.#kick()
    } else this.#waiting.delete(pod.uid)
    if (before !== undefined && (hasEnded(pod) || pod.leaving)) this.#changed = true
    if (pod.node !== undefined) this.#mover.placed(pod)
    if (isGivenBack(pod) && this.#isOurs(pod)) this.#mover.givenBack(pod)
  }

  #gone(uid: string): void {
    const pod = this.cluster.pods.get(uid)
    this.cluster.removePod(uid)
    this.#waiting.delete(uid)
    this.#reading.delete(uid)
    this.#binding.delete(uid)
    this.#changed = true
    if (pod !== undefined) this.#mover.gone(pod)
  }

  /** Places what waits in the next turn of the event loop: what arrives together is decided together. */
  #kick(): void {
    this.#changed = true
    if (this.#ready) this.#goOn()
  }

  /** What is left of those that came just now goes on when everybody else had a turn. */
  #goOn(): void {
    if (this.#kicked) return
    this.#kicked = true
    setImmediate(() => {
      this.#kicked = false
      if (!this.#options.signal.aborted) this.#placeWaiting()
    })
  }

  #arm(): void {
    if (this.#options.signal.aborted) return
    this.#timer = this.#options.clock.after(
      TICK_MS,
      () => {
        if (this.#ready) this.#tick()
        this.#arm()
      },
      true,
    )
  }

  #tick(): void {
    const { clock } = this.#options
    const nowMs = clock.monotonic()
    this.#waiting.refill()
    if (nowMs - this.#lookedOverMs >= LOOK_OVER_MS || nowMs < this.#hurryUntilMs) {
      this.#lookedOverMs = nowMs
      for (const name of this.cluster.places.keys()) this.#refresh(name)
      this.#lookAtDevices(this.cluster.pods.values())
      this.#more = this.#mover.lookOver()
      this.#lifecycle?.lookOver()
    } else if (this.#more) this.#more = this.#mover.lookOver()
    this.#placeWaiting()
  }

  /** Devices count only for pods that ask for some: a fleet of a hundred thousand is not copied for nothing. */
  #lookAtDevices(pods: Iterable<PodView>): void {
    for (const pod of pods) {
      if (!asksDevices(pod)) continue
      this.cluster.setDevices(this.#options.devices())
      return
    }
  }

  #placeWaiting(): void {
    const changed = this.#changed
    this.#changed = false
    this.#lookAtDevices(this.#waiting.fresh())
    const { soon, later } = this.#waiting.run(changed, (waiting) => this.#place(waiting))
    if (soon || later) this.#changed ||= changed
    if (soon) this.#goOn()
  }

  #place(waiting: Waiting): void {
    const { pod } = waiting
    if (pod.gated) return
    const [problem] = pod.problems
    if (problem !== undefined) {
      this.#unplaced(waiting, 'IntentInvalid', `${problem.message}. ${problem.hint ?? ''}`.trim())
      return
    }
    const wallMs = this.#options.clock.now()
    // What it was given is given to it, and not taken.
    if (waiting.nominated !== undefined) {
      this.cluster.setPod(pod)
      delete waiting.nominated
    }
    const decision = this.#mover.decide(pod) ?? choose(pod, this.cluster, { nowMs: wallMs })
    if (decision.node === undefined) {
      const waits = decision.waitUntilMs !== undefined
      if (!waits && this.#preempt(waiting)) return
      this.#unplaced(waiting, waits ? 'WaitsForCleanPower' : 'FailedScheduling', decision.why)
      return
    }
    this.#waiting.delete(pod.uid)
    this.#binding.add(pod.uid)
    this.cluster.setPod({ ...pod, node: decision.node })
    void this.#bind(pod, decision.node, decision.why)
  }

  /** Makes room: what is less important goes, within its disruption budgets, and the pod is next where they were. */
  #preempt(waiting: Waiting): boolean {
    const { pod } = waiting
    const found = preempt(pod, this.cluster)
    if (found === undefined) return false
    const { node, victims } = found
    waiting.nominated = node
    this.cluster.setPod({ ...pod, node })
    const staying = victims.filter(({ leaving }) => !leaving)
    for (const victim of staying) this.#mover.makeWay(victim, pod)
    const who = victims.length === 1 ? victims[0]?.key : `${victims.length} pods of lower priority`
    this.#unplaced(waiting, 'Preempting', `waits until ${who} has left ${node}`, node)
    return true
  }

  async #bind(pod: PodView, node: string, why: string): Promise<void> {
    const { client, signal, onTrouble, record } = this.#options
    const { name, namespace, uid } = pod
    const metadata = { name, namespace, uid, annotations: { ...pod.inherited, [PLACED_ANNOTATION]: why.slice(0, 512) } }
    const target = { apiVersion: 'v1', kind: 'Node', name: node }
    const binding = { apiVersion: 'v1', kind: 'Binding', metadata, target }
    try {
      await client.create(objectPath(PODS, name, namespace, 'binding'), binding, { signal })
      record({
        subject: subjectOf(pod),
        type: 'Normal',
        reason: 'Scheduled',
        message: `Successfully assigned ${pod.key} to ${node}: ${why}`,
      })
    } catch (thrown) {
      if (signal.aborted) return
      const error = toSluiceError(thrown)
      if (error.code !== 'SLUICE_KUBE_CONFLICT' && error.code !== 'SLUICE_KUBE_NOT_FOUND')
        onTrouble(`binding of ${pod.key}`, error)
      // Whether it was bound, the watch says; until then it waits like any other.
      const held = this.cluster.pods.get(uid)
      if (held !== undefined && held.phase === 'Pending' && !held.leaving) {
        this.cluster.setPod({ ...held, node: undefined })
        if (error.code !== 'SLUICE_KUBE_NOT_FOUND')
          this.#waiting.set({ pod, triedMs: this.#options.clock.monotonic(), told: '' })
      }
    } finally {
      this.#binding.delete(uid)
    }
  }

  /** Says once why a pod waits: an Event and its condition. */
  #unplaced(waiting: Waiting, reason: string, why: string, nominatedNodeName?: string): void {
    // Figures move all the time: what differs in nothing else is no news.
    const gist = `${reason} ${nominatedNodeName ?? ''} ${gistOf(why)}`
    if (waiting.told === gist) return
    waiting.told = gist
    const { pod } = waiting
    const { client, clock, signal, record } = this.#options
    const type = reason === 'FailedScheduling' || reason === 'IntentInvalid' ? 'Warning' : 'Normal'
    record({ subject: subjectOf(pod), type, reason, message: why })
    const lastTransitionTime = `${new Date(clock.now()).toISOString().slice(0, 19)}Z`
    const condition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message: why.slice(0, 1024),
      lastTransitionTime,
    }
    const nominated = nominatedNodeName === undefined ? {} : { nominatedNodeName }
    client
      .patch(
        objectPath(PODS, pod.name, pod.namespace, 'status'),
        'strategic',
        // Only as long as nothing else became of the pod: it may have been placed meanwhile.
        { metadata: { resourceVersion: pod.version }, status: { conditions: [condition], ...nominated } },
        { signal },
      )
      .catch((thrown: unknown) => {
        const error = toSluiceError(thrown)
        const moot = ['SLUICE_KUBE_NOT_FOUND', 'SLUICE_KUBE_CONFLICT'].includes(error.code)
        if (!moot && !signal.aborted) this.#options.onTrouble(`status of ${pod.key}`, error)
      })
  }
}

const ASKS: ReadonlySet<string> = new Set(['sensor', 'robot-status', 'robot-preferred'])

const asksDevices = ({ devices, nearDevices, meaning }: PodView): boolean =>
  devices.length + nearDevices.length > 0 || meaning.intents.some(({ name }) => ASKS.has(name))
