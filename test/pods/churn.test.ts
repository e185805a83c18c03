import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seeded } from '../harness/lossy-relay.ts'
import { type Mortal, missingForEngine, missingForHouse, PodHouse, skipHouse } from '../harness/pod-house.ts'
import { eventually } from '../harness/until.ts'

/** Rounds of `kill -9` of some parts at a time; SLUICE_KILLS=100 is the long run (`npm run test:soak`). */
const KILLS = Number(process.env['SLUICE_KILLS'] ?? 9)
const SEED = Number(process.env['SLUICE_SEED'] ?? 20260102)
const GATEWAYS = ['gw-a', 'gw-b', 'gw-c']
const REPLICAS = 6
/** The last gateway's pods are containerd's, and that is killed with the others: always in the long run. */
const CONTAINERD = process.env['SLUICE_CHURN_CONTAINERD'] !== undefined || KILLS >= 50
/** With root the gateways have networks of their own; without, ports of one machine. */
const namespaces = process.getuid?.() === 0

const missing = CONTAINERD ? missingForEngine : missingForHouse

describe.skipIf(missing !== undefined && (CONTAINERD || skipHouse))(
  `${KILLS} rounds of kills among three gateways with bad links ${missing ?? ''}`,
  () => {
    let house: PodHouse
    beforeAll(async () => {
      const withContainerd = CONTAINERD ? GATEWAYS.slice(-1) : []
      house = await PodHouse.start({ gateways: GATEWAYS, apart: true, namespaces, seed: SEED, withContainerd })
    }, 90_000)
    afterAll(() => house[Symbol.asyncDispose](), 120_000)

    it(
      'leave every pod running exactly as often as it is wanted, and none was started twice',
      async () => {
        house.tellOnFailure()
        const random = seeded(SEED)
        const labels = { app: 'steady' }
        const silent = ['not-ready', 'unreachable'].map((word) => ({
          ...{ key: `node.kubernetes.io/${word}`, operator: 'Exists', effect: 'NoExecute' },
        }))
        const deployments = `/apis/apps/v1/namespaces/${house.namespace}/deployments`
        await house.kube.create(deployments, {
          ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'steady' } },
          spec: {
            ...{ replicas: REPLICAS, selector: { matchLabels: labels } },
            template: { metadata: { labels }, spec: house.template('steady', { tolerations: silent }) },
          },
        })
        await house.createPod('lone', { tolerations: silent })
        const running = async () => (await house.pods()).filter(({ status }) => status.phase === 'Running')
        await eventually(async () => (await running()).length === REPLICAS + 1, 'all run', 60_000)
        for (const { relay } of house.gateways.values()) relay.loss = 0.1
        // How many there are of all says little: what a silent gateway was to end is still there beside what began elsewhere.
        const twice = new Set<string>()
        const watching = setInterval(() => {
          const uids = [...house.processes('steady'), ...house.processes('lone')].flatMap(({ pid }) => podOf(pid) ?? [])
          for (const [index, uid] of uids.entries()) if (uids.indexOf(uid) < index) twice.add(uid)
        }, 250)
        const sites = [...house.gateways.values()]
        const parts: Mortal[] = [
          house.api!,
          house.cloud,
          ...sites.flatMap(({ agent, engine }) => (engine ? [agent, engine] : [agent])),
        ]
        const killedOf = new Map<string, number>()
        const scale = (replicas: number) => house.kube.patch(`${deployments}/steady`, 'merge', { spec: { replicas } })
        for (let done = 0; done < KILLS; done++) {
          const victims = parts.filter(() => random() < 0.35)
          if (victims.length === 0) victims.push(parts[Math.floor(random() * parts.length)]!)
          // Something is always under way when they die.
          await scale(REPLICAS + (done % 2 === 0 ? 2 : 0))
          if (random() < 0.5) house.gateway(GATEWAYS[done % GATEWAYS.length]!).relay.cut()
          await Promise.all(victims.map((part) => part.kill()))
          for (const { name } of victims) killedOf.set(name, (killedOf.get(name) ?? 0) + 1)
          const order = CONTAINERD ? anyOrder(victims, house, random) : victims
          for (const part of order) await part.start()
        }
        await eventually(() => scale(REPLICAS), 'the last word', 60_000)
        for (const { relay } of house.gateways.values()) relay.loss = 0
        await eventually(
          async () => {
            const pods = await house.pods()
            return pods.length === REPLICAS + 1 && (await running()).length === REPLICAS + 1
          },
          'as many as wanted',
          120_000,
        )
        await eventually(
          () => house.processes('steady').length === REPLICAS && house.processes('lone').length === 1,
          'as many processes as pods',
          60_000,
        )
        clearInterval(watching)
        expect([...twice]).toEqual([])
        const cut = startsCutShort(sites.map(({ engine }) => engine?.log() ?? '').join('\n'))
        const all = house.begun()
        const times = Map.groupBy(all, (uid) => uid)
        // Once each; and once more for each start that containerd was killed in, which it then ends itself.
        for (const [uid, lines] of times) expect([uid, lines.length - 1 <= (cut.get(uid) ?? 0)]).toEqual([uid, true])
        for (const { metadata, status } of await house.pods()) {
          const { name, uid } = metadata
          const { restartCount = 0, lastState } = status.containerStatuses?.[0] ?? {}
          const again = (times.get(uid)?.length ?? 0) - 1
          expect([name, again >= 0, again <= restartCount]).toEqual([name, true, true])
          expect([name, restartCount <= (cut.get(uid) ?? 0)]).toEqual([name, true])
          if (restartCount > 0) expect(lastState?.terminated?.reason).toBe('ContainerStatusUnknown')
        }
        expect(new Set(house.begun('lone')).size).toBe(1)
        const resets = [...house.gateways.values()].reduce((sum, { relay }) => sum + relay.resets, 0)
        expect(resets).toBeGreaterThan(0)
        console.log(
          JSON.stringify({
            rounds: KILLS,
            seed: SEED,
            killed: Object.fromEntries(killedOf),
            begun: all.length,
            again: all.length - times.size,
            cutShort: [...cut.values()].reduce((sum, each) => sum + each, 0),
            resets,
          }),
        )
      },
      300_000 + KILLS * 15_000,
    )
  },
)

/** How many starts of each pod containerd was killed in, by its own log: it says when it begins one, and how it went. */
function startsCutShort(log: string): ReadonlyMap<string, number> {
  const podOf = new Map<string, string>()
  const cut = new Map<string, number>()
  for (const line of log.replaceAll('\\"', "'").split('\n')) {
    const [, uid, sandbox] =
      /RunPodSandbox for &PodSandboxMetadata\{.*?Uid:([^,]+),.*returns sandbox id '(\w+)'/.exec(line) ?? []
    if (uid !== undefined && sandbox !== undefined) podOf.set(sandbox, uid)
    const [, within, made] = /CreateContainer within sandbox '(\w+)' .*returns container id '(\w+)'/.exec(line) ?? []
    if (within !== undefined && made !== undefined) podOf.set(made, podOf.get(within) ?? '')
    const [, id, outcome = ''] = /StartContainer for '(\w+)'( returns successfully| failed)?/.exec(line) ?? []
    const pod = podOf.get(id ?? '')
    if (pod !== undefined) cut.set(pod, (cut.get(pod) ?? 0) + (outcome === '' ? 1 : -1))
  }
  return cut
}

/** Whoever comes first finds the others away; only the cloud core is not ready before its API is. */
function anyOrder(parts: readonly Mortal[], { api, cloud }: PodHouse, random: () => number): readonly Mortal[] {
  const order = parts.map((part) => ({ part, at: random() })).sort((a, b) => a.at - b.at)
  const [ofApi, ofCloud] = [api, cloud].map((wanted) => order.find(({ part }) => part === wanted))
  if (ofApi !== undefined && ofCloud !== undefined && ofCloud.at < ofApi.at) {
    const { part } = ofApi
    ofApi.part = ofCloud.part
    ofCloud.part = part
  }
  return order.map(({ part }) => part)
}

/** The pod that a process belongs to; undefined for one that has just ended. */
function podOf(pid: number): string | undefined {
  try {
    return /(?:^|\0)POD_UID=([^\0]+)/.exec(readFileSync(`/proc/${pid}/environ`, 'utf8'))?.[1]
  } catch {
    return undefined
  }
}
