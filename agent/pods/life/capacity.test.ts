import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../../api/errors.ts'
import type { LinkPod, PodSpec } from '../../../api/link/pods.ts'
import { RuntimesByClass } from '../runtimes/by-class.ts'
import type { PodRuntime } from '../runtimes/runtime.ts'
import { capacityRefusal, pressureRefusal } from './capacity.ts'
import { PressureBoard } from './pressure.ts'

const MACHINE = {
  gateway: 'gw-1',
  machine: { cpuMillis: 2000, allocatableMemoryBytes: 2 ** 30, pods: 3, architecture: 'arm64' },
}

const pod = (requests: Record<string, string>, spec: Partial<PodSpec> = {}): LinkPod => ({
  ...{ uid: 'u', generation: 1, metadata: {} },
  spec: { containers: [{ name: 'c', image: 'i', resources: { requests } }], ...spec },
})

describe('a pod that asks for what the gateway has not', () => {
  it('is refused with a reason as the kubelet has it, the figures, and the remedy', () => {
    const half = pod({ cpu: '1', memory: '512Mi' })
    expect(capacityRefusal(half, [half], MACHINE)).toBeUndefined()
    expect(capacityRefusal(pod({ cpu: '1500m' }), [half], MACHINE)).toMatch(
      /^OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000\. Ask for less/,
    )
    expect(capacityRefusal(pod({ memory: '600Mi' }), [half], MACHINE)).toMatch(/^OutOfmemory: /)
    expect(capacityRefusal(pod({}), [half, half, half], MACHINE)).toMatch(/^OutOfpods: /)
    expect(capacityRefusal(pod({ 'nvidia.com/gpu': '1' }), [], MACHINE)).toMatch(/^OutOfnvidia.com\/gpu: /)
    expect(capacityRefusal(pod({ 'sluice.dev/device': '1' }), [], MACHINE)).toMatch(/asked for by annotation/)
    const elsewhere = pod({}, { nodeSelector: { 'kubernetes.io/arch': 'amd64' } })
    expect(capacityRefusal(elsewhere, [], MACHINE)).toMatch(/^NodeAffinity: .*arm64 here, and the pod wants amd64/)
  })

  it('may not have a host port that another has', () => {
    const ports = (hostPort: number) =>
      pod({}, { containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80, hostPort }] }] })
    expect(capacityRefusal(ports(80), [ports(81)], MACHINE)).toBeUndefined()
    expect(capacityRefusal(ports(80), [ports(80)], MACHINE)).toMatch(/^NodePorts: .*80\/TCP/)
  })

  it('waits elsewhere while the gateway is short: of memory who asked for none, of disk and processes everybody', () => {
    const board = new PressureBoard()
    expect(pressureRefusal(pod({}), board)).toBeUndefined()
    board.saw([{ kind: 'MemoryPressure', resource: 'memory', words: 'Threshold quantity: 100Mi, available: 9Mi' }], 0)
    expect(pressureRefusal(pod({}), board)).toMatch(/^Evicted: The node had condition: \[MemoryPressure\]\. .*9Mi/)
    expect(pressureRefusal(pod({ memory: '1Mi' }), board)).toBeUndefined()
    board.saw([{ kind: 'DiskPressure', resource: 'inodes', words: '' }], 0)
    expect(pressureRefusal(pod({ memory: '1Mi' }), board)).toMatch(/DiskPressure/)
  })

  it('is told which runtime classes there are, and why one is not', () => {
    const usual = { name: 'process', version: 'process://1', images: {} } as PodRuntime
    const lacking = new SluiceError('SLUICE_POD_RUNTIME_MISSING', 'bwrap not found', { hint: 'Install it.' })
    const runtimes = new RuntimesByClass(usual, new Map([['wasm', lacking]]))
    const of = (runtimeClassName?: string) =>
      runtimes.refusal(pod({}, runtimeClassName === undefined ? {} : { runtimeClassName }))
    expect(of()).toBeUndefined()
    expect(of('process')).toBeUndefined()
    expect(of('wasm')).toBe('bwrap not found. Install it.')
    expect(of('kata')).toMatch(/no runtime class 'kata', only process, wasm/)
  })
})
