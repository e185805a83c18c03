import type { ServerResponse } from 'node:http'
import type { GatewayStats, UseNow } from '../../api/link/pod-streams.ts'
import type { KubeClient } from '../kube/client.ts'
import type { StatsKeeper } from './stats-keeper.ts'

/** Answers `/pods`, `/stats/summary` and `/metrics/resource` of one gateway. */
export async function answerAboutNode(
  what: 'pods' | 'summary' | 'resource',
  gateway: string,
  { client, stats }: { readonly client: KubeClient; readonly stats: StatsKeeper },
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  if (what === 'pods') {
    const query = { fieldSelector: `spec.nodeName=${gateway}` }
    const { items } = await client.list<object>('/api/v1/pods', { query, signal })
    send(response, 'application/json', JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items }))
    return
  }
  const reading = await stats.of(gateway)
  if (what === 'summary') send(response, 'application/json', JSON.stringify(summary(gateway, reading)))
  else send(response, 'text/plain; version=0.0.4; charset=utf-8', resourceMetrics(reading))
}

function send(response: ServerResponse, type: string, text: string): void {
  response.writeHead(200, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

/** As `kubelet/pkg/apis/stats/v1alpha1` has it; what a gateway does not measure is left out. */
export function summary(gateway: string, { atMs, node, pods }: GatewayStats): object {
  const time = new Date(atMs).toISOString()
  return {
    node: { nodeName: gateway, ...usage(node, time) },
    pods: pods.map(({ namespace, name, uid, containers, ...use }) => ({
      podRef: { name, namespace, uid },
      ...usage(use, time),
      containers: containers.map(({ name: container, ...own }) => ({ name: container, ...usage(own, time) })),
    })),
  }
}

function usage({ cpuS, cpuCores, memoryBytes, startedMs }: UseNow, time: string): object {
  const cores = cpuCores === undefined ? {} : { usageNanoCores: Math.round(cpuCores * 1e9) }
  return {
    ...(startedMs === undefined ? {} : { startTime: new Date(startedMs).toISOString() }),
    cpu: { time, ...cores, usageCoreNanoSeconds: Math.round(cpuS * 1e9) },
    memory: { time, workingSetBytes: Math.round(memoryBytes) },
  }
}

/** As metrics-server reads them: counters and gauges with their time in milliseconds. */
export function resourceMetrics({ atMs, node, pods }: GatewayStats): string {
  const lines: string[] = []
  const family = (name: string, type: 'counter' | 'gauge', help: string, rows: readonly string[]) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...rows.map((row) => `${name}${row} ${atMs}`))
  }
  const containers = pods.flatMap(({ namespace, name, containers: own }) =>
    own.map((use) => ({ use, labels: labels({ container: use.name, namespace, pod: name }) })),
  )
  family('node_cpu_usage_seconds_total', 'counter', 'Processor time of the node.', [` ${node.cpuS}`])
  family('node_memory_working_set_bytes', 'gauge', 'Memory in use on the node.', [` ${node.memoryBytes}`])
  const cpu = containers.map(({ use, labels: own }) => `${own} ${use.cpuS}`)
  family('container_cpu_usage_seconds_total', 'counter', 'Processor time of the container.', cpu)
  const memory = containers.map(({ use, labels: own }) => `${own} ${use.memoryBytes}`)
  family('container_memory_working_set_bytes', 'gauge', 'Memory in use by the container.', memory)
  const started = containers
    .filter(({ use }) => use.startedMs !== undefined)
    .map(({ use, labels: own }) => `${own} ${(use.startedMs ?? 0) / 1000}`)
  family('container_start_time_seconds', 'gauge', 'When the container began, in seconds since 1970.', started)
  family('resource_scrape_error', 'gauge', '1 if there was an error while getting these metrics, 0 otherwise.', [' 0'])
  return `${lines.join('\n')}\n`
}

const labels = (values: Readonly<Record<string, string>>): string =>
  `{${Object.entries(values)
    .map(([name, value]) => `${name}="${value.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')}"`)
    .join(',')}}`
