import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { isMachineFacts, type MachineFacts } from '../../api/link/machine.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Taint } from './node-facts.ts'
import { NodeKeeper, type NodeKeeperOptions } from './node-keeper.ts'

const machine: MachineFacts = {
  ...{ runtime: 'process://0.1.0', cpuMillis: 4000, memoryBytes: 2 ** 31, allocatableMemoryBytes: 2 ** 30, pods: 110 },
  ...{ architecture: 'arm64', kernel: '6.1.0', osImage: 'Debian', hostIp: '192.168.1.7' },
}

describe('the Node of a gateway', () => {
  let taints: readonly Taint[]
  let labels: Record<string, string>
  let status: Record<string, unknown>
  let clock: VirtualClock

  const foreign: Taint = { key: 'somebody.else/wants', effect: 'NoSchedule' }
  const devicesOnly: Taint = { key: 'sluice.dev/devices-only', value: 'true', effect: 'NoSchedule' }

  beforeEach(() => {
    ;[taints, labels, status, clock] = [[foreign, devicesOnly], {}, {}, new VirtualClock()]
  })

  /** A merge patch of a Node that is there; leases are taken. */
  const patch = async (_path: string, _type: string, body: object) => {
    const {
      metadata,
      spec,
      status: told,
    } = body as {
      metadata?: { labels?: Record<string, string> }
      spec?: { taints?: readonly Taint[] }
      status?: Record<string, unknown>
    }
    taints = spec?.taints ?? taints
    Object.assign(labels, metadata?.labels)
    Object.assign(status, told)
    return { metadata: { resourceVersion: '1', labels: { ...labels } }, spec: { taints } }
  }
  const keeper = () => {
    const client: Pick<KubeClient, 'patch'> = { patch: patch as KubeClient['patch'] }
    const options: Omit<NodeKeeperOptions, 'client'> = {
      ...{ clock, signal: new AbortController().signal, version: '1', parallelRenewals: 1, onTrouble: () => {} },
    }
    return new NodeKeeper({ ...options, client: client as KubeClient })
  }
  const written = async () => {
    await clock.advance(3000)
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
  }

  it('has room for pods while something there runs them, and keeps what others put on it', async () => {
    const nodes = keeper()
    nodes.online('gw', '0.1.0', machine)
    await written()
    expect(taints).toEqual([foreign])
    expect(status).toMatchObject({
      capacity: { cpu: '4000m', memory: '2097152Ki', pods: '110' },
      allocatable: { memory: '1048576Ki' },
      nodeInfo: { architecture: 'arm64', containerRuntimeVersion: 'process://0.1.0' },
    })
    expect(labels).toEqual({ 'kubernetes.io/arch': 'arm64' })
    nodes.online('gw', '0.1.0')
    await written()
    expect(taints).toEqual([foreign, devicesOnly])
    expect(status).toMatchObject({ capacity: null, allocatable: null })
  })

  it('keeps its room while the gateway is silent, also for a hub that was started meanwhile', async () => {
    keeper().online('gw', '0.1.0', machine)
    await written()
    keeper().away('gw', 0)
    await written()
    expect(taints).toEqual([foreign])
    expect(status).toMatchObject({ allocatable: { pods: '110' } })
  })
})

describe('what a gateway says of its machine', () => {
  it('is taken as it has to be, and nothing else is', () => {
    expect(isMachineFacts(machine)).toBe(true)
    for (const key of Object.keys(machine)) expect(isMachineFacts({ ...machine, [key]: undefined })).toBe(false)
    expect(isMachineFacts({ ...machine, allocatableMemoryBytes: machine.memoryBytes + 1 })).toBe(false)
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(machine)), fc.anything(), (key, value) => {
        const taken = isMachineFacts({ ...machine, [key]: value })
        if (taken) expect(typeof value).toBe(typeof machine[key as keyof MachineFacts])
      }),
    )
    fc.assert(fc.property(fc.anything(), (value) => void isMachineFacts(value)))
  })
})
