import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { NODES, objectPath } from '../../cloudcore/kube/paths.ts'
import { missingForHouse, PodHouse, skipHouse } from '../harness/pod-house.ts'
import { eventually } from '../harness/until.ts'

/** A condition that every link keeps: what a stage does is looked at here, not when it begins. */
const stage = (pods: 'refuse' | 'handBack') => ({
  stages: [{ name: 'saving', when: [{ roundTripAboveMs: 0 }], after: '1s', hold: '1s', pods }],
})

interface Node {
  readonly spec: { readonly taints?: readonly { readonly key: string }[] }
  readonly status: { readonly allocatable?: Readonly<Record<string, string>> }
}

describe.skipIf(skipHouse)(`a gateway with a will of its own ${missingForHouse ?? ''}`, () => {
  let house: PodHouse
  beforeAll(async () => {
    house = await PodHouse.start({ gateways: ['gw-a', 'gw-b'] })
  }, 60_000)
  afterAll(() => house[Symbol.asyncDispose](), 90_000)
  beforeEach(() => house.tellOnFailure())

  const node = (name: string) => house.kube.get<Node>(objectPath(NODES, name))
  const taint = 'sluice.dev/refuses-pods'
  const refuses = (name: string, does = true) =>
    eventually(
      async () => ((await node(name)).spec.taints ?? []).some(({ key }) => key === taint) === does,
      `${name} ${does ? 'takes no pods' : 'takes pods'}`,
      40_000,
    )
  const told = async (what: string) => (await house.kubectl('get', 'events', '-A')).stdout.includes(what)

  it('hands back what runs, which then runs elsewhere, each once; what may not go stays', async () => {
    await house.kubectl('cordon', 'gw-b')
    await house.createPod('lone')
    await house.createPod('pinned', {}, { annotations: { 'sluice.dev/hand-back': 'never' } })
    await house.running('lone', 'gw-a')
    const pinned = await house.running('pinned', 'gw-a')
    await house.kubectl('uncordon', 'gw-b')
    await house.setGateway('gw-a', { policy: stage('handBack') })
    let most = 0
    const watching = setInterval(() => (most = Math.max(most, house.processes('lone').length)), 50)
    const moved = await house.running('lone', 'gw-b', 60_000).finally(() => clearInterval(watching))
    expect(moved.metadata.annotations?.['sluice.dev/placed-because']).toContain('HandedBack: stage saving')
    await eventually(() => house.processes('lone').length === 1, 'one process')
    expect(most).toBe(1)
    expect(house.begun('lone')).toHaveLength(2)
    expect((await house.running('pinned', 'gw-a')).metadata.uid).toBe(pinned.metadata.uid)
    expect(await told('HandedBack')).toBe(true)
  }, 120_000)

  it('begins nothing while it refuses, and says why to whoever binds past the scheduler', async () => {
    await house.setGateway('gw-a', { policy: stage('refuse') })
    await refuses('gw-a')
    await house.createPod('forced', { nodeName: 'gw-a' })
    const failed = await eventually(async () => {
      const pod = await house.pod('forced')
      return pod?.status.phase === 'Failed' && pod
    }, 'it is refused')
    expect(failed.status).toMatchObject({
      reason: 'RefusedByGateway',
      message: expect.stringContaining('stage saving (round trip above'),
    })
    expect(house.begun('forced')).toEqual([])
    await house.setGateway('gw-a', { policy: null })
    await refuses('gw-a', false)
    expect((await house.pod('forced'))?.metadata.uid).not.toBe('')
  }, 90_000)

  it('has no will while it is led, and its room is what its spec leaves', async () => {
    await house.setGateway('gw-a', {
      ...{ policy: stage('refuse'), pods: { max: 3, cpu: '1500m', memory: '512Mi' }, mode: 'tethered' },
      tether: { lease: '10s', grace: '10s', onLoss: 'keep' },
    })
    await eventually(async () => {
      const { cpu, memory, pods } = (await node('gw-a')).status.allocatable ?? {}
      return cpu === '1500m' && memory === '524288Ki' && pods === '3'
    }, 'the limits are on the Node')
    await house.createPod('obeyed', { nodeName: 'gw-a' })
    await house.running('obeyed', 'gw-a', 40_000)
    await refuses('gw-a', false)
  }, 90_000)
})
