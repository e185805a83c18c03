import { ROBOT_STATUS_PROPERTIES } from '../api/intents/robot-status.ts'
import type { Device, Gateway } from '../api/resources.ts'
import type { KubeClient, KubeList } from '../cloudcore/kube/client.ts'
import { collectionPath, DEVICES, GATEWAYS, type KubeResource, NODES, PODS } from '../cloudcore/kube/paths.ts'
import { Cluster, readNode } from '../cloudcore/scheduler/cluster.ts'
import { type DeviceFacts, gatewayFacts } from '../cloudcore/scheduler/gateway-facts.ts'
import { readPod } from '../cloudcore/scheduler/pod-view.ts'

const PAGE = 500

/** Nodes, gateways, devices and pods as the API has them now: what the scheduler decides from. */
export async function loadCluster(kube: KubeClient, signal: AbortSignal): Promise<Cluster> {
  const cluster = new Cluster()
  for await (const node of every<unknown>(kube, NODES, signal)) cluster.setNode(readNode(node))
  for await (const { metadata, spec, status } of every<Gateway>(kube, GATEWAYS, signal)) {
    cluster.setGateway(metadata.name, gatewayFacts(status ?? {}, spec))
  }
  const devices: DeviceFacts[] = []
  for await (const device of every<Device>(kube, DEVICES, signal)) devices.push(...factsOf(device))
  cluster.setDevices(devices)
  for await (const pod of every<unknown>(kube, PODS, signal)) cluster.setPod(readPod(pod))
  return cluster
}

async function* every<T>(kube: KubeClient, resource: KubeResource, signal: AbortSignal): AsyncGenerator<T> {
  let token: string | undefined
  do {
    const page: KubeList<T> = await kube.list<T>(collectionPath(resource), {
      query: { limit: PAGE, continue: token },
      signal,
    })
    yield* page.items
    token = page.metadata.continue || undefined
  } while (token !== undefined)
}

function factsOf({ metadata, spec, status }: Device): DeviceFacts[] {
  const gateway = status?.gateway ?? spec.nodeName
  if (gateway === undefined) return []
  const key = `${metadata.namespace ?? 'default'}/${metadata.name}`
  const twin = status?.twins?.find(({ name }) => ROBOT_STATUS_PROPERTIES.some((each) => each === name))
  const told = twin?.reported?.value
  const robot = typeof told === 'string' ? { robotStatus: told } : {}
  return [{ key, gateway, model: spec.model, online: status?.state === 'online', ...robot }]
}
