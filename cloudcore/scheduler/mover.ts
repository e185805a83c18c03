import type { Clock } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import { OFFLOAD_ANNOTATION, PLACED_ANNOTATION, SUCCESSOR_ANNOTATION } from '../../api/intents/intents.ts'
import type { EventNote } from '../gateways/event-recorder.ts'
import type { KubeClient } from '../kube/client.ts'
import { collectionPath, objectPath, PODS } from '../kube/paths.ts'
import { choose, type Decision, gistOf } from './choose.ts'
import type { Cluster } from './cluster.ts'
import { ask, obstacles } from './filter.ts'
import type { BookedMove, MoveBook } from './move-book.ts'
import { type Move, planMoves, type Troubles } from './moves.ts'
import { type PodView, subjectOf } from './pod-view.ts'

interface MoverOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly book: MoveBook
  readonly cluster: Cluster
  readonly isOurs: (pod: PodView) => boolean
  readonly record: (note: EventNote) => void
  readonly onTrouble: (what: string, error: SluiceError) => void
}

/** A successor that did not come within this time will not come. */
const FORGET_AFTER_MS = 3_600_000
const TRY_AGAIN_MS = 30_000
/** So long places are searched for in vain, in one piece, for pods that have to leave. */
const SEARCH_MS = 50

/**
 * Carries out moves: first the book, then the eviction, then the successor. Whoever made the pod makes its successor; for
 * a pod that nobody owns that is done here, under its own name, as soon as the old one is gone and never before.
 */
export class Mover {
  readonly #options: MoverOptions
  readonly #troubles: Troubles = new Map()
  readonly #booked = new Map<string, BookedMove>()
  readonly #refusedMs = new Map<string, number>()
  readonly #told = new Map<string, string>()

  constructor(options: MoverOptions) {
    this.#options = options
    for (const move of options.book.all()) this.#booked.set(move.uid, move)
  }

  /** After the first look at everything: what was begun before a restart goes on. */
  begin(): void {
    for (const move of [...this.#booked.values()]) {
      if (!this.#options.cluster.pods.has(move.uid)) this.#succeed(move)
    }
  }

  /** Looks for pods that have to move, by intents and by hand. True when some are left for the next look. */
  lookOver(): boolean {
    const { cluster, clock, isOurs } = this.#options
    const nowMs = clock.now()
    this.#forgetOld(nowMs)
    // Counted from the first search that was in vain: what can be saved is saved at once.
    let startMs: number | undefined
    const mayGoOn = () => clock.monotonic() - (startMs ??= clock.monotonic()) < SEARCH_MS
    const { moves, stuck, more } = planMoves(cluster, this.#troubles, nowMs, mayGoOn)
    for (const move of moves) if (isOurs(move.pod)) this.#begin(move)
    for (const { pod, why } of stuck) if (isOurs(pod)) this.#tell(pod, 'Warning', 'NoBetterPlace', why)
    for (const pod of cluster.pods.values()) {
      if (pod.offloadTo === undefined || pod.node === undefined || pod.node === pod.offloadTo || pod.leaving) continue
      if (isOurs(pod)) this.#byHand(pod, pod.offloadTo)
    }
    return more
  }

  /** The successor of a moved pod goes where it was meant to, if that still is a place for it. */
  decide(pod: PodView): Decision | undefined {
    const move = this.#moveFor(pod)
    if (move === undefined) return undefined
    const { cluster, clock } = this.#options
    const nowMs = clock.now()
    const place = cluster.places.get(move.to)
    const free = place !== undefined && obstacles(ask(pod, cluster, false), place).length === 0
    if (free) return { node: move.to, candidates: [], why: `moved from ${move.from}: ${move.why}` }
    const elsewhere = choose(pod, cluster, { nowMs, avoid: new Map([[move.from, `moved away: ${move.why}`]]) })
    if (elsewhere.node !== undefined) return { ...elsewhere, why: `moved from ${move.from}: ${move.why}` }
    // Who gave it back a moment ago is not asked again at once, whatever is known of it.
    return move.to === '' && nowMs - move.atMs < TRY_AGAIN_MS ? elsewhere : undefined
  }

  placed(pod: PodView): void {
    const move = this.#moveFor(pod)
    if (move !== undefined) this.#close(move.uid)
  }

  /**
   * A gateway refused a pod or gave it back, and nothing of it runs there any more. Whoever owns it makes another one; what
   * nobody owns is made anew here.
   */
  givenBack(pod: PodView): void {
    // Where a person put it himself, it is his to say what now.
    if (!pod.placed || pod.owner !== undefined || pod.leaving || this.#booked.has(pod.uid)) return
    const why = pod.message === '' ? pod.reason : pod.message
    this.#begin({ pod, from: pod.node ?? '', to: '', why }, (move) => this.#takeBack(move))
  }

  /** A pod goes for a more important one. Who owns it makes another; what nobody owns is gone, as it is with any scheduler. */
  makeWay(victim: PodView, preemptor: PodView): void {
    const { client, signal, clock, record } = this.#options
    const { uid, name, namespace } = victim
    const triedMs = this.#refusedMs.get(uid)
    if (this.#booked.has(uid) || (triedMs !== undefined && clock.monotonic() - triedMs < TRY_AGAIN_MS)) return
    // Until the eviction is seen it is not asked for again.
    this.#refusedMs.set(uid, clock.monotonic())
    const body = {
      ...{ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } },
      deleteOptions: { preconditions: { uid } },
    }
    client.create(objectPath(PODS, name, namespace, 'eviction'), body, { signal }).then(
      () => {
        const message = `Preempted by ${preemptor.key} on node ${victim.node}`
        record({ subject: subjectOf(victim), type: 'Normal', reason: 'Preempted', message })
      },
      (thrown: unknown) => {
        const error = toSluiceError(thrown)
        if (error.code === 'SLUICE_KUBE_NOT_FOUND' || signal.aborted) return
        this.#tell(victim, 'Warning', 'MoveDelayed', `${preemptor.key} needs its place, but: ${error.message}`)
      },
    )
  }

  gone(pod: PodView): void {
    this.#told.delete(pod.uid)
    this.#refusedMs.delete(pod.uid)
    const move = this.#booked.get(pod.uid)
    if (move !== undefined) this.#succeed(move)
  }

  #moveFor(pod: PodView): BookedMove | undefined {
    for (const move of this.#booked.values()) {
      if (move.uid === pod.uid) continue
      const heir =
        move.body === undefined
          ? pod.owner?.uid === move.owner && this.#bornAfter(pod, move)
          : pod.key === `${move.namespace}/${move.name}`
      if (heir) return move
    }
    return undefined
  }

  /** Pods that were there before are no successors; times of objects are whole seconds. */
  #bornAfter(pod: PodView, move: BookedMove): boolean {
    return pod.createdMs >= Math.floor(move.atMs / 1000) * 1000
  }

  #byHand(pod: PodView, to: string): void {
    const { cluster } = this.#options
    const place = cluster.places.get(to)
    if (place === undefined) {
      this.#tell(pod, 'Warning', 'OffloadRefused', `there is no gateway ${to}; see: kubectl get nodes`)
      return
    }
    const against = obstacles(ask({ ...pod, offloadTo: undefined }, cluster, false), place)
    if (against.length > 0)
      this.#tell(pod, 'Warning', 'OffloadRefused', `${to} is no place for it: ${against.join(', ')}`)
    else this.#begin({ pod, from: pod.node ?? '', to, why: 'a person asked for it' })
  }

  #begin(move: Move, work = (each: Move) => this.#evict(each)): void {
    const { pod } = move
    const refusedMs = this.#refusedMs.get(pod.uid)
    if (this.#booked.has(pod.uid)) return
    if (refusedMs !== undefined && this.#options.clock.monotonic() - refusedMs < TRY_AGAIN_MS) return
    void work(move).catch((thrown: unknown) => {
      this.#refusedMs.set(pod.uid, this.#options.clock.monotonic())
      const error = toSluiceError(thrown)
      if (this.#options.signal.aborted) return
      // Nothing was taken away: a budget, or the API, did not allow it.
      this.#close(pod.uid)
      if (error.code === 'SLUICE_KUBE_NOT_FOUND') return
      this.#tell(pod, 'Warning', 'MoveDelayed', `${move.why}, but: ${error.message}`)
    })
  }

  async #evict(move: Move): Promise<void> {
    const { client, signal, record } = this.#options
    const { pod, from, to, why } = move
    const { uid, namespace, name } = pod
    await this.#book(move)
    await client.create(
      objectPath(PODS, name, namespace, 'eviction'),
      {
        ...{ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } },
        deleteOptions: { preconditions: { uid } },
      },
      { signal },
    )
    const message = `moves from ${from} to ${to}: ${why}`
    record({ subject: subjectOf(pod), type: 'Normal', reason: 'Moving', message })
  }

  /** What has ended already needs no leave of a budget. */
  async #takeBack(move: Move): Promise<void> {
    const { client, signal } = this.#options
    const { uid, namespace, name } = move.pod
    await this.#book(move)
    await client.delete(objectPath(PODS, name, namespace), { signal, body: { preconditions: { uid } } })
  }

  /** In the book before anything is taken away. */
  async #book({ pod, from, to, why }: Move): Promise<void> {
    const { signal, book, clock } = this.#options
    const { uid, namespace, name, owner } = pod
    const booked: BookedMove = {
      ...{ uid, namespace, name, from, to, why, owner: owner?.uid ?? '' },
      ...{ atMs: Math.floor(clock.now()), body: undefined },
    }
    // Taken before anything is awaited: a second look must not begin it twice.
    this.#booked.set(uid, booked)
    const path = objectPath(PODS, name, namespace)
    const whole = owner === undefined ? { ...booked, body: await this.#successorOf(path, uid, signal) } : booked
    this.#booked.set(uid, whole)
    book.add(whole)
  }

  async #successorOf(path: string, uid: string, signal: AbortSignal): Promise<string> {
    const pod = await this.#options.client.get<RawPod>(path, { signal })
    const { namespace, name, labels, annotations = {} } = pod.metadata
    const { [OFFLOAD_ANNOTATION]: _to, [PLACED_ANNOTATION]: _why, ...kept } = annotations
    const { nodeName: _node, ephemeralContainers: _debug, ...spec } = pod.spec
    const metadata = {
      name,
      namespace,
      ...(labels === undefined ? {} : { labels }),
      annotations: { ...kept, [SUCCESSOR_ANNOTATION]: uid },
    }
    return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec })
  }

  /** The old pod is gone: what nobody else makes anew is made here. */
  #succeed(move: BookedMove): void {
    if (move.body === undefined) return
    const { client, signal, clock, onTrouble } = this.#options
    client.create(collectionPath(PODS, move.namespace), JSON.parse(move.body), { signal }).catch((thrown: unknown) => {
      const error = toSluiceError(thrown)
      // Somebody was quicker, or has taken the namespace away.
      if (['SLUICE_KUBE_EXISTS', 'SLUICE_KUBE_NOT_FOUND', 'SLUICE_KUBE_FORBIDDEN'].includes(error.code))
        return this.#close(move.uid)
      if (signal.aborted) return undefined
      onTrouble(`successor of ${move.namespace}/${move.name}`, error)
      clock.after(TRY_AGAIN_MS / 10, () => signal.aborted || this.#succeed(move), true)
      return undefined
    })
  }

  #close(uid: string): void {
    if (!this.#booked.delete(uid)) return
    this.#options.book.remove(uid)
  }

  #forgetOld(nowMs: number): void {
    for (const { uid, atMs, body } of [...this.#booked.values()]) {
      // A pod that nobody owns is never given up: it waits for its old self to end.
      if (body === undefined && nowMs - atMs > FORGET_AFTER_MS) this.#close(uid)
    }
  }

  #tell(pod: PodView, type: 'Normal' | 'Warning', reason: string, message: string): void {
    // Figures move all the time; the same trouble is told once.
    const gist = `${reason} ${gistOf(message)}`
    if (this.#told.get(pod.uid) === gist) return
    this.#told.set(pod.uid, gist)
    this.#options.record({ subject: subjectOf(pod), type, reason, message })
  }
}

interface RawPod {
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec: {
    readonly nodeName?: string
    readonly ephemeralContainers?: unknown
    readonly [field: string]: unknown
  }
}
