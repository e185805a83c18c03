import { describe, expect, it } from 'vitest'
import type { LinkPod } from '../../api/link/pods.ts'
import type { GatewaySpec } from '../../api/resources.ts'
import { PodAdmission, type PodStageInForce } from './admission.ts'

const pod = (uid: string, cpu = '100m', more: Partial<LinkPod['metadata']> = {}): LinkPod => ({
  uid,
  generation: 1,
  metadata: more,
  spec: { containers: [{ name: 'c', image: 'x', resources: { requests: { cpu, memory: '64Mi' } } }] },
})

/** What a gateway decides, with a disk that survives a new agent. */
class Gateway {
  readonly disk = new Map<string, string>()
  readonly durabilities: string[] = []
  stage: PodStageInForce | undefined
  limits: GatewaySpec['pods']
  bound: LinkPod[] = []
  admission = this.start()

  start(): PodAdmission {
    return new PodAdmission({
      storage: {
        get: (key) => this.disk.get(key),
        keys: (prefix) => [...this.disk.keys()].filter((key) => key.startsWith(prefix)),
        put: (entries, durability) => {
          this.durabilities.push(durability)
          for (const [key, value] of Object.entries(entries)) {
            if (value === undefined) this.disk.delete(key)
            else this.disk.set(key, value)
          }
        },
      },
      stage: () => this.stage,
      limits: () => this.limits,
      pods: () => this.bound,
    })
  }

  bind(one: LinkPod): string | undefined {
    this.bound.push(one)
    return this.admission.refuse(one)
  }
}

const saving = { why: 'stage saving (battery 12 % below 20 %)' }

describe('what a gateway takes', () => {
  it('refuses what comes during a stage that refuses, keeps what runs, and says why', () => {
    const gateway = new Gateway()
    const runs = pod('runs')
    expect(gateway.bind(runs)).toBeUndefined()
    gateway.stage = { does: 'refuse', ...saving }
    expect(gateway.bind(pod('new'))).toBe('RefusedByGateway: stage saving (battery 12 % below 20 %)')
    expect(gateway.admission.refuse(runs)).toBeUndefined()
  })

  it('never begins what it refused or gave back, also when the reason is gone and the agent another', () => {
    const gateway = new Gateway()
    const [given, refused] = [pod('given'), pod('refused')]
    expect(gateway.bind(given)).toBeUndefined()
    gateway.stage = { does: 'handBack', ...saving }
    expect(gateway.admission.refuse(given)).toMatch(/^HandedBack: stage saving/)
    expect(gateway.bind(refused)).toMatch(/^RefusedByGateway: /)
    expect(gateway.durabilities.filter((each) => each === 'now')).toHaveLength(2)
    gateway.stage = undefined
    gateway.admission = gateway.start()
    expect(gateway.admission.refuse(given)).toMatch(/^HandedBack: /)
    expect(gateway.admission.refuse(refused)).toMatch(/^RefusedByGateway: /)
    expect(gateway.bind(pod('later'))).toBeUndefined()
    gateway.bound = gateway.bound.filter(({ uid }) => uid === 'later')
    gateway.admission.forgetOthers()
    expect([...gateway.disk]).toEqual([['later', 'admitted']])
  })

  it('leaves pods that belong to this node, or are told to stay', () => {
    const gateway = new Gateway()
    const ownerReferences = [{ kind: 'DaemonSet', name: 'probe', controller: true }]
    const stays = [
      pod('daemon', '1m', { ownerReferences }),
      pod('pinned', '1m', { annotations: { 'sluice.dev/hand-back': 'never' } }),
    ]
    for (const each of stays) expect(gateway.bind(each)).toBeUndefined()
    gateway.stage = { does: 'handBack', ...saving }
    for (const each of stays) expect(gateway.admission.refuse(each)).toBeUndefined()
    expect(gateway.bind(pod('daemon-2', '1m', { ownerReferences }))).toBeUndefined()
  })

  it.each([
    [{ max: 1 }, 'OutOfpods: Gateway.spec.pods leaves too little: pods, requested: 1, used: 1, capacity: 1'],
    [{ cpu: '150m' }, 'OutOfcpu: Gateway.spec.pods leaves too little: cpu, requested: 0.1, used: 0.1, capacity: 0.15'],
    [
      { memory: '100Mi' },
      'OutOfmemory: Gateway.spec.pods leaves too little: memory, requested: 67108864, used: 67108864, capacity: 104857600',
    ],
  ])('refuses what was bound past %j', (limits, words) => {
    const gateway = new Gateway()
    gateway.limits = limits
    expect(gateway.bind(pod('one'))).toBeUndefined()
    expect(gateway.bind(pod('two'))).toBe(words)
    gateway.bound.shift()
    expect(gateway.bind(pod('three'))).toBeUndefined()
  })
})
