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
  /** How many properties of each device change at once; 1 unless told. */
  readonly properties?: number
  /** How many of a gateway's devices are in a report, in turn; all unless told. A link that is silent for long is cut. */
  readonly atOnce?: number
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

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** A link as a real agent holds it: it says something before the hub takes it for dead. */
async function opened(identity: AgentIdentity, lastSeq = 0): Promise<ScriptedAgent> {
  const agent = await ScriptedAgent.open(identity)
  const { heartbeatMs } = await agent.hello({ lastSeq })
  let id = 0
  const timer = setInterval(() => agent.send({ t: 'ping', id: ++id }), heartbeatMs)
  void agent.closed.then(() => clearInterval(timer))
  return agent
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
  agents.push(await opened(identity))
})
for (const agent of agents) {
  const complete = () => [...agent.objects.keys()].filter((id) => id.startsWith('Device ')).length >= task.devices
  while (!complete()) await agent.next((frame) => frame.t === 'objects')
}
say({ connected: agents.length, tookMs: performance.now() - connectMs })

await lines.next()
const latencies: number[] = []
const changing = Array.from({ length: task.properties ?? 1 }, (_, index) => `p${index}`)
let sent = 0
let reopened = 0
const endMs = performance.now() + task.seconds * 1000
await Promise.all(
  agents.map(async (first, index) => {
    let agent = first
    const devices = [...agent.objects.values()].filter((object) => object.kind === 'Device')
    const named = devices.map((object) => [object.key, (object.object as LinkDevice).uid] as const)
    await pause((index / agents.length) * task.everyMs)
    for (let round = index; performance.now() < endMs; round++) {
      const startedMs = performance.now()
      const d = Array.from({ length: task.atOnce ?? named.length }, (_, at) => named[(round + at) % named.length]!)
      const r = d.flatMap((_, device) => changing.map((name) => [device, name, startedMs, Date.now()] as const))
      const body: BatchBody = { d, r }
      const cut = await Promise.race([agent.batch(body).then(() => false), agent.closed.then(() => true)])
      if (cut) {
        await pause(1_000)
        agent = await opened(agent.identity, agent.seq).catch(() => agent)
        reopened++
        continue
      }
      sent += r.length
      latencies.push(performance.now() - startedMs)
      agent.frames.length = 0
      await pause(Math.max(0, task.everyMs - (performance.now() - startedMs)))
    }
  }),
)
say({ sent, reopened, ackP50Ms: percentile(latencies, 0.5), ackP99Ms: percentile(latencies, 0.99) })
await lines.next()
process.exit(0)
