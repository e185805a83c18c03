import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { runSluice } from '../cli/run-sluice.ts'
import { missingForHouse, PodHouse, skipHouse } from '../harness/pod-house.ts'
import { eventually } from '../harness/until.ts'

describe.skipIf(skipHouse)(`sluice explain and sluice offload ${missingForHouse ?? ''}`, () => {
  let house: PodHouse
  beforeAll(async () => {
    house = await PodHouse.start({ gateways: ['gw-a', 'gw-b'] })
    await house.kubectl('label', 'node', 'gw-a', 'sluice.dev/location=hall-north')
    const annotations = { 'fluidos-intent-location': 'hall-north' }
    await eventually(async () => (await house.kubectl('get', 'node', 'gw-b')).code === 0, 'gw-b is a node')
    await house.createPod('patrol', {}, { annotations })
    await house.createPod('anywhere')
    await house.running('patrol', 'gw-a')
    await house.running('anywhere')
  }, 90_000)
  afterAll(() => house[Symbol.asyncDispose](), 90_000)
  beforeEach(() => house.tellOnFailure())

  const sluice = (verb: string, ...args: string[]) =>
    runSluice(verb, ...args, '-n', house.namespace, '--data', house.cloudData)

  it('says where a pod is, why, and what is wrong with each other place', async () => {
    const { code, stdout } = await sluice('explain', 'patrol')
    expect(code).toBe(0)
    expect(stdout).toContain(`${house.namespace}/patrol is on gw-a (Running)`)
    expect(stdout).toContain('chosen with')
    expect(stdout).toContain('intents: location hall-north')
    expect(stdout).toMatch(/^● gw-a +\d+\.\d +workload-balance \d+: /m)
    expect(stdout).toMatch(/^✗ gw-b +intent location: says nothing of its location .*location of the Node/m)
    expect(stdout.trimEnd()).toMatch(/It would be placed there again\.$/)
    const json = JSON.parse((await sluice('explain', 'patrol', '--json')).stdout)
    expect(json).toMatchObject({ node: 'gw-a', now: { node: 'gw-a' } })
    expect(json.now.candidates).toContainEqual(
      expect.objectContaining({ node: 'gw-b', obstacles: [expect.stringContaining('intent location')] }),
    )
  })

  it('shows a typo and what was meant, and that the pod waits for it', async () => {
    await house.createPod('typo', {}, { annotations: { 'fluidos-intent-latncy': '20' } })
    const { code, stdout } = await sluice('explain', 'typo')
    expect(code).toBe(0)
    expect(stdout).toContain("no intent is called 'latncy'")
    expect(stdout).toContain("Did you mean 'fluidos-intent-latency'?")
    expect(stdout.trimEnd()).toMatch(/It waits until its annotations are corrected\.$/)
    await house.kubectl('delete', 'pod', 'typo')
  })

  it('moves a pod, and says when it runs there; the same pod is told nothing new', async () => {
    const before = await house.running('anywhere')
    const to = before.spec.nodeName === 'gw-a' ? 'gw-b' : 'gw-a'
    const { code, stdout } = await sluice('offload', 'anywhere', '--to', to)
    expect([code, stdout]).toEqual([0, `✓ ${house.namespace}/anywhere runs on ${to}\n`])
    const after = await house.running('anywhere', to)
    expect(after.metadata.uid).not.toBe(before.metadata.uid)
    expect(after.metadata.annotations?.['sluice.dev/placed-because']).toContain('a person asked for it')
    expect(house.processes('anywhere')).toHaveLength(1)
    expect((await sluice('offload', 'anywhere', '--to', to)).code).toBe(0)
    expect((await house.running('anywhere', to)).metadata.uid).toBe(after.metadata.uid)
  }, 60_000)

  it('refuses a place that is none, and names what is near', async () => {
    const none = await sluice('offload', 'patrol', '--to', 'gw-bb')
    expect(none.code).not.toBe(0)
    expect(none.stderr).toContain('There is no node gw-bb')
    expect(none.stderr).toContain('Did you mean gw-b?')
    const forbidden = await sluice('offload', 'patrol', '--to', 'gw-b')
    expect(forbidden.code).not.toBe(0)
    expect(forbidden.stderr).toContain('gw-b is no place for')
    expect(forbidden.stderr).toContain('intent location')
    expect((await house.running('patrol', 'gw-a')).metadata.annotations).not.toHaveProperty('sluice.dev/offload-to')
    const unknown = await sluice('explain', 'nobody')
    expect(unknown.code).not.toBe(0)
    expect(unknown.stderr).toContain(`There is no pod ${house.namespace}/nobody`)
    expect((await sluice('offload', 'patrol')).stderr).toContain('--to GATEWAY')
  })
})
