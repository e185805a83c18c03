import { HAND_BACK_ANNOTATION } from '../../api/intents/intents.ts'
import type { LinkPod } from '../../api/link/pods.ts'
import { isStatic } from '../../api/link/static-pods.ts'
import type { GatewaySpec } from '../../api/resources.ts'
import type { PodStage } from '../../api/schema/policy.ts'
import type { MapperStorage } from '../../mappers/sdk/mapper.ts'
import { requested } from './life/eviction.ts'
import { quantity } from './life/quantity.ts'
import { HANDED_BACK } from './plan.ts'

/** Where the agent keeps what it decided, by the uid of the pod. */
export const ADMISSION_STORE = 'pods'
const ADMITTED = 'admitted'

export interface AdmissionOptions {
  readonly storage: MapperStorage
  /** What the policy in force does about pods, and why; undefined also while somebody else decides for the gateway. */
  readonly stage: () => PodStageInForce | undefined
  readonly limits: () => GatewaySpec['pods']
  /** Every pod that is bound here. */
  readonly pods: () => readonly LinkPod[]
  /** Whether anything of a pod was begun here before: what was decided about it may not have reached the disk. */
  readonly begun?: (uid: string) => boolean
  /** Why a pod cannot run on this machine beside those others: `Reason: words`. */
  readonly cannot?: (pod: LinkPod, others: readonly LinkPod[]) => string | undefined
}

export interface PodStageInForce {
  readonly does: PodStage
  readonly why: string
}

/**
 * Whether a pod may begin here, and whether one that runs is given back. Each pod is decided upon once, on the disk: what
 * was refused or given back begins elsewhere, and so never again here, whatever becomes of the reason or of the agent.
 */
export class PodAdmission {
  readonly #options: AdmissionOptions

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  /** Why a pod does not run here: `Reason: words`. Undefined: it may. */
  refuse(pod: LinkPod): string | undefined {
    const { storage, stage, begun, cannot } = this.#options
    const held = storage.get(pod.uid)
    if (held !== undefined && held !== ADMITTED) return held
    const inForce = stays(pod) ? undefined : stage()
    if (held === ADMITTED || begun?.(pod.uid) === true) {
      return inForce?.does === 'handBack' ? this.#decide(pod, `${HANDED_BACK}: ${inForce.why}`) : undefined
    }
    const others = this.#others(pod)
    const why =
      inForce === undefined ? (this.#tooMuch(pod, others) ?? cannot?.(pod, others)) : `RefusedByGateway: ${inForce.why}`
    if (why !== undefined) return this.#decide(pod, why)
    storage.put({ [pod.uid]: ADMITTED }, 'soon')
    return undefined
  }

  /** Ends one that runs, for good: `Evicted: words`. */
  evict(pod: LinkPod, why: string): void {
    this.#decide(pod, why)
  }

  /** Forgets pods that are not bound here any more. */
  forgetOthers(): void {
    const { storage, pods } = this.#options
    const bound = new Set(pods().map(({ uid }) => uid))
    const gone = storage.keys('').filter((uid) => !bound.has(uid))
    if (gone.length > 0) storage.put(Object.fromEntries(gone.map((uid) => [uid, undefined])), 'soon')
  }

  /** On the disk before anything is done or said: it must not begin again after a kill. */
  #decide({ uid }: LinkPod, why: string): string {
    const told = why.slice(0, 512)
    this.#options.storage.put({ [uid]: told }, 'now')
    return told
  }

  #others({ uid }: LinkPod): readonly LinkPod[] {
    const { pods, storage } = this.#options
    return pods().filter((other) => other.uid !== uid && storage.get(other.uid) === ADMITTED)
  }

  /** A scheduler keeps to the limits by itself; a pod that was bound past it is refused in the kubelet's words. */
  #tooMuch(pod: LinkPod, others: readonly LinkPod[]): string | undefined {
    const { limits } = this.#options
    const { max, cpu, memory } = limits() ?? {}
    const asks = [
      ['pods', 1, max, others.length],
      ['cpu', requested(pod, 'cpu'), quantity(cpu), sum(others, 'cpu')],
      ['memory', requested(pod, 'memory'), quantity(memory), sum(others, 'memory')],
    ] as const
    for (const [name, asked, capacity, used] of asks) {
      if (capacity === undefined || asked === 0 || used + asked <= capacity) continue
      const figures = `requested: ${asked}, used: ${used}, capacity: ${capacity}`
      return `OutOf${name}: Gateway.spec.pods leaves too little: ${name}, ${figures}`
    }
    return undefined
  }
}

const sum = (pods: readonly LinkPod[], name: string) => pods.reduce((all, pod) => all + requested(pod, name), 0)

/** Made for this very node, or by a person's word. */
const stays = ({ metadata }: LinkPod): boolean =>
  metadata.annotations?.[HAND_BACK_ANNOTATION] === 'never' ||
  isStatic(metadata) ||
  metadata.ownerReferences?.some(({ kind, controller }) => kind === 'DaemonSet' && controller === true) === true
