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
        const ofEngine = new Set<string>()
        const lookAtEngine = async () => {
          const last = CONTAINERD ? GATEWAYS.at(-1) : undefined
          if (last === undefined) return
          for (const { metadata, spec } of await house.pods()) if (spec.nodeName === last) ofEngine.add(metadata.uid)
        }
        for (let done = 0; done < KILLS; done++) {
          await lookAtEngine()
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
        await lookAtEngine()
        // A start that containerd was killed in may be made once more when nothing of it is left: it does not say how far it came.
        const uids = house.begun().filter((uid) => !ofEngine.has(uid))
        expect(uids.length).toBe(new Set(uids).size)
        const all = house.begun()
        const pods = await house.pods()
        for (const { metadata, status } of pods) {
          const { name, uid } = metadata
          expect([name, all.includes(uid)]).toEqual([name, true])
          if (!ofEngine.has(uid)) expect([name, status.containerStatuses?.[0]?.restartCount]).toEqual([name, 0])
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
            again: all.length - new Set(all).size,
            resets,
          }),
        )
      },
      300_000 + KILLS * 15_000,
    )
  },
)

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
