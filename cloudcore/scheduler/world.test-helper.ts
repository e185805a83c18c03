import { choose } from './choose.ts'
import { Cluster, readNode } from './cluster.ts'
import type { GatewayFacts } from './gateway-facts.ts'
import { type PodView, readPod } from './pod-view.ts'

export const node = (
  name: string,
  more: { labels?: object; annotations?: object; taints?: object[]; cpu?: string; ready?: string } = {},
) =>
  readNode({
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...more.labels }, annotations: more.annotations ?? {} },
    spec: { taints: more.taints ?? [] },
    status: {
      allocatable: { cpu: more.cpu ?? '4', memory: '4Gi', pods: '110' },
      conditions: [{ type: 'Ready', status: more.ready ?? 'True' }],
      nodeInfo: { architecture: 'arm64' },
    },
  })

let uids = 0
export const pod = (name: string, annotations: object = {}, spec: object = {}, more: object = {}): PodView =>
  readPod({
    metadata: {
      name,
      namespace: 'default',
      uid: `u${uids++}`,
      annotations,
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...more,
    },
    spec: {
      containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: '500m', memory: '64Mi' } } }],
      ...spec,
    },
  })

export const onBattery = (percent: number, leftS?: number): GatewayFacts => ({
  ...{ online: true, mode: 'autonomous', supply: 'battery' },
  battery: { percent, state: 'discharging', ...(leftS === undefined ? {} : { leftS, leftLowS: leftS }) },
})
export const onMains: GatewayFacts = { online: true, mode: 'autonomous', supply: 'mains' }

export function cluster(
  gateways: Readonly<Record<string, GatewayFacts>>,
  nodes = Object.keys(gateways).map((name) => node(name)),
): Cluster {
  const made = new Cluster()
  for (const each of nodes) made.setNode(each)
  for (const [name, facts] of Object.entries(gateways)) made.setGateway(name, facts)
  return made
}

export const NOW = Date.UTC(2026, 0, 1, 1)
export const where = (given: PodView, on: Cluster) => choose(given, on, { nowMs: NOW }).node
