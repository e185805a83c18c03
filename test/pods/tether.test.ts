import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Gateway } from '../../api/resources.ts'
import { GATEWAYS, objectPath } from '../../cloudcore/kube/paths.ts'
import { missingForHouse, PodHouse, skipHouse } from '../harness/pod-house.ts'
import { eventually } from '../harness/until.ts'

const tethered = (onLoss: string) => ({ mode: 'tethered', tether: { lease: '2s', grace: '1s', onLoss } })

describe.skipIf(skipHouse)(`a tethered gateway and the pods it runs ${missingForHouse ?? ''}`, () => {
  let house: PodHouse
  beforeAll(async () => {
    house = await PodHouse.start({ gateways: ['gw-a', 'gw-b'], cloudFlags: ['--away-after', '5s'] })
  }, 60_000)
  afterAll(() => house[Symbol.asyncDispose](), 90_000)
  beforeEach(() => house.tellOnFailure())

  const tetherOf = async (name: string) => (await house.kube.get<Gateway>(objectPath(GATEWAYS, name))).status?.tether
  const tetherIs = (name: string, state: string) =>
    // A gateway that was away for long asks for its link again only after a while.
    eventually(async () => (await tetherOf(name))?.state === state, `${name} is ${state}`, 60_000)
  /** One that lost its link again and again asks for it ever more seldom; one that is started anew asks at once. */
  const restart = async (name: string) => {
    const { agent } = house.gateway(name)
    await agent.kill()
    await agent.start()
  }
  const only = (name: string) => ({ nodeSelector: { 'kubernetes.io/hostname': name } })

  it('is shown by kubectl, and what it does comes as Events', async () => {
    await tetherIs('gw-a', 'autonomous')
    await house.setGateway('gw-a', tethered('keep'))
    await tetherIs('gw-a', 'led')
    const { stdout } = await house.kubectl('get', 'gateways')
    expect(stdout.split('\n')[0]).toMatch(/NAME +STATE +MODE +TETHER/)
    expect(stdout).toMatch(/gw-a +online +tethered +led/)
    expect(stdout).toMatch(/gw-b +\S+ +autonomous +autonomous/)
  }, 40_000)

  it('keeps, and begins nothing without a lease; resumes without a second start', async () => {
    await house.setGateway('gw-a', tethered('keep'))
    await tetherIs('gw-a', 'led')
    const before = await house.createPod('keeper', only('gw-a')).then(() => house.running('keeper', 'gw-a'))
    const [one] = await eventually(() => house.processes('keeper').length === 1 && house.processes('keeper'), 'it runs')
    house.gateway('gw-a').relay.unplugged = true
    await tetherIs('gw-a', 'lost')
    expect(house.processes('keeper')).toEqual([one])
    house.gateway('gw-a').relay.unplugged = false
    await tetherIs('gw-a', 'led')
    expect((await house.running('keeper', 'gw-a')).metadata.uid).toBe(before.metadata.uid)
    expect(house.processes('keeper')).toEqual([one])
    expect(house.begun('keeper')).toEqual([before.metadata.uid])
    const events = await house.kubectl('get', 'events', '-A', '--field-selector', 'involvedObject.name=gw-a')
    for (const reason of ['TetherLed', 'TetherSlack', 'TetherLost']) expect(events.stdout).toContain(reason)
  }, 60_000)

  it('freezes what runs when the tether is lost, also with the agent dead in between, and lets the same process go on', async () => {
    await house.setGateway('gw-a', tethered('freeze'))
    await tetherIs('gw-a', 'led')
    await house.createPod('frozen', only('gw-a'))
    const { metadata } = await house.running('frozen', 'gw-a')
    const [one] = await eventually(() => house.processes('frozen').length === 1 && house.processes('frozen'), 'it runs')
    const { relay, agent } = house.gateway('gw-a')
    relay.unplugged = true
    const stands = () => eventually(() => isFrozen(one!.pid), 'it stands still')
    await stands()
    await agent.kill()
    await agent.start()
    await stands()
    relay.unplugged = false
    await tetherIs('gw-a', 'led')
    await eventually(() => !isFrozen(one!.pid), 'it goes on')
    expect(house.processes('frozen').map(({ pid }) => pid)).toEqual([one!.pid])
    expect(house.begun('frozen')).toEqual([metadata.uid])
    expect((await house.pod('frozen'))?.metadata.uid).toBe(metadata.uid)
  }, 60_000)

  it('ends what runs before it begins elsewhere, and never has both', async () => {
    await restart('gw-a')
    await house.setGateway('gw-a', tethered('stop'))
    await tetherIs('gw-a', 'led')
    const tolerations = ['not-ready', 'unreachable'].map((word) => ({
      ...{ key: `node.kubernetes.io/${word}`, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 1 },
    }))
    await house.kubectl('cordon', 'gw-b')
    await house.kube.create(`/apis/apps/v1/namespaces/${house.namespace}/deployments`, {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'work' } },
      spec: {
        ...{ replicas: 1, selector: { matchLabels: { app: 'work' } } },
        template: { metadata: { labels: { app: 'work' } }, spec: house.template('work', { tolerations }) },
      },
    })
    const of = (node: string) =>
      eventually(
        async () =>
          (await house.pods()).find(
            ({ metadata, spec, status }) =>
              metadata.name.startsWith('work-') && spec.nodeName === node && status.phase === 'Running',
          ),
        `work runs on ${node}`,
        90_000,
      )
    const first = await of('gw-a')
    await house.kubectl('uncordon', 'gw-b')
    house.gateway('gw-a').relay.unplugged = true
    const most: number[] = []
    const watching = setInterval(() => most.push(house.processes('work').length), 100)
    const second = await of('gw-b').finally(() => clearInterval(watching))
    expect(Math.max(...most)).toBe(1)
    expect(most).toContain(0)
    // The old one comes back and finds that its work is another's.
    house.gateway('gw-a').relay.unplugged = false
    await tetherIs('gw-a', 'led')
    await eventually(
      async () => (await house.pods()).every(({ metadata }) => metadata.uid !== first.metadata.uid),
      'the old pod is gone',
    )
    expect(house.processes('work')).toHaveLength(1)
    expect(house.begun('work')).toEqual([first.metadata.uid, second.metadata.uid])
  }, 150_000)

  it('is led by nobody who was replaced: a cloud core from before has no say any more', async () => {
    await restart('gw-a')
    await house.setGateway('gw-a', tethered('keep'))
    await tetherIs('gw-a', 'led')
    const { term = 0 } = (await tetherOf('gw-a')) ?? {}
    await house.cloud.kill()
    await house.cloud.start()
    // Both at once: what the API still says of the lease before is no answer.
    await eventually(
      async () => {
        const tether = await tetherOf('gw-a')
        return tether?.state === 'led' && (tether.term ?? 0) > term
      },
      'gw-a is led in a later term',
      60_000,
    )
  }, 60_000)
})

/** A frozen process sleeps where nothing wakes it: in its freezer, of whichever version. */
function isFrozen(pid: number): boolean {
  const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n')
  for (const line of groups) {
    const [, names = '', path = ''] = line.split(':')
    const files =
      names === 'freezer'
        ? [`/sys/fs/cgroup/freezer${path}/freezer.state`]
        : names === ''
          ? [`/sys/fs/cgroup${path}/cgroup.freeze`, `/sys/fs/cgroup/unified${path}/cgroup.freeze`]
          : []
    for (const file of files) {
      try {
        const text = readFileSync(file, 'utf8').trim()
        if (text === 'FROZEN' || text === '1') return true
      } catch {
        // Not of this version.
      }
    }
  }
  return false
}
