import { cpus, networkInterfaces, totalmem } from 'node:os'
import type { NodeFacts } from './values.ts'

/** What pods may know of the machine they run on. */
export function nodeFacts(name: string): NodeFacts {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const outer =
    addresses.find(({ internal, family }) => !internal && family === 'IPv4') ??
    addresses.find(({ internal }) => !internal)
  return {
    name,
    hostIp: outer?.address ?? '127.0.0.1',
    allocatableCpu: cpus().length,
    allocatableMemoryBytes: totalmem(),
  }
}
