import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seeded } from '../harness/lossy-relay.ts'
import type { Part } from '../harness/part.ts'
import { missingForHouse, PodHouse, skipHouse } from '../harness/pod-house.ts'
import { eventually } from '../harness/until.ts'

/** Rounds of `kill -9` of some parts at a time; SLUICE_KILLS=100 is the long run (`npm run test:soak`). */
const KILLS = Number(process.env['SLUICE_KILLS'] ?? 9)
const SEED = Number(process.env['SLUICE_SEED'] ?? 20260102)
const GATEWAYS = ['gw-a', 'gw-b', 'gw-c']
const REPLICAS = 6
/** With root the gateways have networks of their own; without, ports of one machine. */
const namespaces = process.getuid?.() === 0

describe.skipIf(skipHouse)(
  `${KILLS} rounds of kills among three gateways with bad links ${missingForHouse ?? ''}`,
  () => {
    let house: PodHouse
    beforeAll(async () => {
      house = await PodHouse.start({ gateways: GATEWAYS, apart: true, namespaces, seed: SEED })
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
        let killed = 0
        const parts: Part[] = [house.api!, house.cloud, ...[...house.gateways.values()].map(({ agent }) => agent)]
        const scale = (replicas: number) => house.kube.patch(`${deployments}/steady`, 'merge', { spec: { replicas } })
        for (let done = 0; done < KILLS; done++) {
          const victims = parts.filter(() => random() < 0.35)
          if (victims.length === 0) victims.push(parts[Math.floor(random() * parts.length)]!)
          // Something is always under way when they die.
          await scale(REPLICAS + (done % 2 === 0 ? 2 : 0))
          if (random() < 0.5) house.gateway(GATEWAYS[done % GATEWAYS.length]!).relay.cut()
          await Promise.all(victims.map((part) => part.kill()))
          killed += victims.length
          for (const part of parts) if (victims.includes(part)) await part.start()
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
        const uids = house.begun()
        expect(uids.length).toBe(new Set(uids).size)
        const pods = await house.pods()
        for (const { metadata, status } of pods) {
          expect([metadata.name, uids.includes(metadata.uid)]).toEqual([metadata.name, true])
          expect([metadata.name, status.containerStatuses?.[0]?.restartCount]).toEqual([metadata.name, 0])
        }
        expect(house.begun('lone')).toHaveLength(1)
        const resets = [...house.gateways.values()].reduce((sum, { relay }) => sum + relay.resets, 0)
        expect(resets).toBeGreaterThan(0)
        console.log(JSON.stringify({ rounds: KILLS, seed: SEED, killed, begun: uids.length, resets }))
      },
      300_000 + KILLS * 15_000,
    )
  },
)

/** The pod that a process belongs to; undefined for one that has just ended. */
function podOf(pid: number): string | undefined {
  try {
    return /(?:^|\0)POD_UID=([^\0]+)/.exec(readFileSync(`/proc/${pid}/environ`, 'utf8'))?.[1]
  } catch {
    return undefined
  }
}
