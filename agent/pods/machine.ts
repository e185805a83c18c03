import { arch, availableParallelism, release, totalmem, version } from 'node:os'
import type { MachineFacts } from '../../api/link/machine.ts'
import { nodeFacts } from './life/node.ts'

/** Memory that pods may not ask for: the agent's own, and what the kubelet leaves before it evicts (100 Mi). */
const RESERVED_BYTES = 200 * 1024 * 1024
/** As the kubelet has it. */
const MAX_PODS = 110

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' }

/** What pods can be placed on here. Memory and cores are those this process may use, if a control group says less. */
export function machineFacts(runtime: string): MachineFacts {
  const constrained = process.constrainedMemory()
  const memoryBytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
  return {
    runtime: plain(runtime),
    cpuMillis: availableParallelism() * 1000,
    memoryBytes,
    allocatableMemoryBytes: Math.max(0, memoryBytes - RESERVED_BYTES),
    pods: MAX_PODS,
    architecture: ARCHITECTURES[arch()] ?? arch(),
    kernel: plain(release()),
    osImage: plain(version()),
    hostIp: nodeFacts('').hostIp,
  }
}

const plain = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '').slice(0, 128)
