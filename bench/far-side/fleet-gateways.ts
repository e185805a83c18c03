import { createInterface } from 'node:readline'
import type { BatchBody, LinkDevice } from '../../api/link/messages.ts'
import { type AgentIdentity, httpsCall, newRequest, ScriptedAgent } from '../../cloudcore/testing/scripted-agent.ts'
import { percentile } from '../harness.ts'

/**
 * Many simulated gateways in one process. Reads one JSON line with what to do, then one line `report` to start sending
 * and answers each step with one JSON line.
 */
interface Task {
  readonly hubUrl: string
  readonly caPem: string
  readonly tokens: readonly { readonly gateway: string; readonly token: string }[]
  readonly devices: number
  readonly seconds: number
  readonly everyMs: number
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const task = JSON.parse((await lines.next()).value ?? '') as Task
const say = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`)

/** At most 20 at once: a real fleet does not come up in one millisecond either. */
async function each<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items]
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await act(item)
    }),
  )
}

const { csrPem, keyPem } = await newRequest()
const identities: AgentIdentity[] = []
await each(task.tokens, async ({ gateway, token }) => {
  const answer = await httpsCall(`${task.hubUrl}/join`, { method: 'POST', caPem: task.caPem, body: { token, csrPem } })
  const { certPem, caPem, hubUrl } = JSON.parse(answer.body) as AgentIdentity
  identities.push({ gateway, certPem, keyPem, caPem, hubUrl })
})
say({ joined: identities.length })

await lines.next()
const connectMs = performance.now()
const agents: ScriptedAgent[] = []
await each(identities, async (identity) => {
  const agent = await ScriptedAgent.open(identity)
  agents.push(agent)
  await agent.hello()
})
for (const agent of agents) {
  const complete = () => [...agent.objects.keys()].filter((id) => id.startsWith('Device ')).length >= task.devices
  while (!complete()) await agent.next((frame) => frame.t === 'objects')
}
say({ connected: agents.length, tookMs: performance.now() - connectMs })

await lines.next()
const latencies: number[] = []
let sent = 0
const endMs = performance.now() + task.seconds * 1000
await Promise.all(
  agents.map(async (agent, index) => {
    const devices = [...agent.objects.values()].filter((object) => object.kind === 'Device')
    const named = devices.map((object) => [object.key, (object.object as LinkDevice).uid] as const)
    await new Promise((resolve) => setTimeout(resolve, (index / agents.length) * task.everyMs))
    while (performance.now() < endMs) {
      const startedMs = performance.now()
      const body: BatchBody = { d: named, r: named.map((_, device) => [device, 'p0', startedMs, Date.now()]) }
      await agent.batch(body)
      sent += named.length
      latencies.push(performance.now() - startedMs)
      agent.frames.length = 0
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, task.everyMs - (performance.now() - startedMs))))
    }
  }),
)
say({ sent, ackP50Ms: percentile(latencies, 0.5), ackP99Ms: percentile(latencies, 0.99) })
await lines.next()
process.exit(0)
