import { HAND_BACK_ANNOTATION } from '../../api/intents/intents.ts'
import type { LinkPod, PodContainer } from '../../api/link/pods.ts'
import type { GatewaySpec } from '../../api/resources.ts'
import type { PodStage } from '../../api/schema/policy.ts'
import type { MapperStorage } from '../../mappers/sdk/mapper.ts'
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
    const { storage, stage } = this.#options
    const held = storage.get(pod.uid)
    if (held !== undefined && held !== ADMITTED) return held
    const inForce = stays(pod) ? undefined : stage()
    if (held === ADMITTED) {
      return inForce?.does === 'handBack' ? this.#decide(pod, `${HANDED_BACK}: ${inForce.why}`) : undefined
    }
    const why = inForce === undefined ? this.#tooMuch(pod) : `RefusedByGateway: ${inForce.why}`
    if (why !== undefined) return this.#decide(pod, why)
    storage.put({ [pod.uid]: ADMITTED }, 'soon')
    return undefined
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

  /** A scheduler keeps to the limits by itself; a pod that was bound past it is refused in the kubelet's words. */
  #tooMuch(pod: LinkPod): string | undefined {
    const { limits, pods, storage } = this.#options
    const { max, cpu, memory } = limits() ?? {}
    const others = pods().filter(({ uid }) => uid !== pod.uid && storage.get(uid) === ADMITTED)
    const asks = [
      ['pods', 1, max, others.length],
      ['cpu', requestOf(pod, 'cpu'), quantity(cpu), sum(others, 'cpu')],
      ['memory', requestOf(pod, 'memory'), quantity(memory), sum(others, 'memory')],
    ] as const
    for (const [name, asked, capacity, used] of asks) {
      if (capacity === undefined || asked === 0 || used + asked <= capacity) continue
      const figures = `requested: ${asked}, used: ${used}, capacity: ${capacity}`
      return `OutOf${name}: Gateway.spec.pods leaves too little: ${name}, ${figures}`
    }
    return undefined
  }
}

const sum = (pods: readonly LinkPod[], name: string) => pods.reduce((all, pod) => all + requestOf(pod, name), 0)

const asked = ({ resources }: PodContainer, name: string): number =>
  quantity(resources?.requests?.[name] ?? resources?.limits?.[name]) ?? 0

/** What a pod asks for: its containers together, or its hungriest init container. */
function requestOf({ spec }: LinkPod, name: string): number {
  const inits = spec.initContainers ?? []
  const lasting = [...spec.containers, ...inits.filter(({ restartPolicy }) => restartPolicy === 'Always')]
  const together = lasting.reduce((all, one) => all + asked(one, name), 0)
  return Math.max(together, ...inits.map((one) => asked(one, name)))
}

/** Made for this very node, or by a person's word. */
const stays = ({ metadata }: LinkPod): boolean =>
  metadata.annotations?.[HAND_BACK_ANNOTATION] === 'never' ||
  metadata.ownerReferences?.some(({ kind, controller }) => kind === 'DaemonSet' && controller === true) === true
