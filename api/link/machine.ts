/**
 * The machine that pods of a gateway run on, as its Node shows it. Told in the hello by agents that run pods and by no
 * others: it does not change while they run.
 */
export interface MachineFacts {
  /** What runs the pods, as `Node.status.nodeInfo` names it: `process://1`. */
  readonly runtime: string
  /** Thousandths of a core. */
  readonly cpuMillis: number
  readonly memoryBytes: number
  /** Of the memory, what pods may ask for: the rest is the machine's own. */
  readonly allocatableMemoryBytes: number
  /** Pods at a time. */
  readonly pods: number
  /** As Go names it: `amd64`, `arm64`, `arm`, `riscv64`. */
  readonly architecture: string
  readonly kernel: string
  readonly osImage: string
  /** Its address in its own network. */
  readonly hostIp: string
  /** It is no machine but a supernode with its gateways: its id, then those of the supernodes beneath it. */
  readonly supernodes?: readonly string[]
}

const WORD = /^[\x20-\x7e]{0,128}$/
const ADDRESS = /^[0-9A-Fa-f.:]{2,45}$/
const LABEL = /^[a-z0-9]{1,63}$/

/** Whether something from outside says so, with figures that a Node can hold. */
export function isMachineFacts(value: unknown): value is MachineFacts {
  if (typeof value !== 'object' || value === null) return false
  const { runtime, cpuMillis, memoryBytes, allocatableMemoryBytes, pods } = value as Record<string, unknown>
  const { architecture, kernel, osImage, hostIp, supernodes } = value as Record<string, unknown>
  return (
    isCount(cpuMillis, 10_000_000) &&
    isCount(memoryBytes, 2 ** 50) &&
    isCount(allocatableMemoryBytes, memoryBytes) &&
    isCount(pods, 10_000) &&
    [runtime, kernel, osImage].every((text) => typeof text === 'string' && WORD.test(text)) &&
    typeof architecture === 'string' &&
    LABEL.test(architecture) &&
    typeof hostIp === 'string' &&
    ADDRESS.test(hostIp) &&
    (supernodes === undefined || isSupernodes(supernodes))
  )
}

const isCount = (value: unknown, most: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most

/** So many supernodes beneath each other nobody can have built; more is a loop or a lie. */
const MOST_SUPERNODES = 64

const ID = /^[A-Za-z0-9-]{1,64}$/

const isSupernodes = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length >= 1 &&
  value.length <= MOST_SUPERNODES &&
  value.every((id) => typeof id === 'string' && ID.test(id))
