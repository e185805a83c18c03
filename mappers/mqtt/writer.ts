import { toSluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import { matchesDesired, sameValue } from '../../api/twin/twin.ts'
import { checkDesired } from '../sdk/convert.ts'
import type { GatewayHost, WriteCommand, WriteOutcome } from '../sdk/mapper.ts'
import { encodePayload, isEncodable, type Metric, topicOf } from '../sdk/sparkplug-payload.ts'
import { rejected as rejectedBy, superseded as supersededBy, timedOut } from '../sdk/write-queue.ts'
import { encodeCbor } from './cbor.ts'
import { valueAt } from './path.ts'
import { Payload } from './payload.ts'
import type { CommandPlan, ConfirmPlan, Point } from './point.ts'
import type { ServedDevice } from './served-device.ts'
import { fillPayload } from './template.ts'

/** A connection that is away is looked for this often while a write waits for it. */
const RETRY_MS = 250

let lastId = 0

/** Applies one desired value: publishes the command and waits until the device has said that it did. */
export async function writeProperty(
  served: ServedDevice,
  point: Point,
  command: WriteCommand,
  host: GatewayHost,
  signal: AbortSignal,
): Promise<WriteOutcome> {
  const rejected = (code: string, reason: string) => rejectedBy(host, code, reason)
  const problem = checkDesired(point.property, command.value)
  if (problem !== undefined) return rejected(problem.code, problem.reason)
  const message = messageFor(served, point, command.value, host.clock.now())
  if (typeof message === 'string') return rejected('SLUICE_MQTT_COMMAND', message)
  const leftMs = command.deadlineMs - host.clock.monotonic()
  if (leftMs <= 0) return timedOut(host, 'the deadline had passed before the command could be sent')
  const ended = Promise.withResolvers<WriteOutcome>()
  using stack = new DisposableStack()
  const deadline = host.clock.after(leftMs, () => ended.resolve(timedOut(host, `not sent by its deadline: ${waiting}`)))
  stack.defer(() => deadline.cancel())
  let waiting = 'waiting for the broker'
  let over = false
  stack.defer(() => {
    over = true
  })
  const superseded = () => ended.resolve(supersededBy(host))
  if (signal.aborted) superseded()
  signal.addEventListener('abort', superseded, { once: true })
  stack.defer(() => signal.removeEventListener('abort', superseded))

  const applied = (readBack?: Json) =>
    ended.resolve({ state: 'applied', atMs: host.clock.now(), ...(readBack === undefined ? {} : { readBack }) })
  const refused = (reason: string) => ended.resolve(rejected('SLUICE_WRITE_REFUSED', `${point.name}: ${reason}`))
  const { confirm, timeoutMs } = message
  if (confirm === 'state') {
    const tolerance = point.property.write?.tolerance ?? 0
    stack.use(
      served.watch(point.name, (value) => {
        if (sent && matchesDesired(command.value, value, tolerance)) applied(value)
      }),
    )
  } else if (confirm !== 'none') {
    stack.use(
      served.broker.session.subscribe(confirm.topic, 1, (_topic, payload, retained) => {
        if (!sent || retained) return
        const answer = answerOf(confirm, new Payload(payload), point.encode(command.value), command.value, message.id)
        if (answer === 'yes') applied()
        else if (answer !== undefined) refused(answer.refused)
      }),
    )
  }
  let sent = false
  const send = async () => {
    for (;;) {
      if (over) return
      try {
        // What the device says while the broker still acknowledges the command counts already.
        sent = true
        served.count(message.topic.length + message.payload.length)
        await served.broker.session.publish(message.topic, message.payload, message.qos, message.retain)
        break
      } catch (error) {
        sent = false
        waiting = toSluiceError(error).message
        await new Promise<void>((resolve) => host.clock.after(RETRY_MS, resolve, true))
      }
    }
    if (over) return
    if (confirm === 'none') return applied()
    const unheard = host.clock.after(
      Math.min(timeoutMs, Math.max(0, command.deadlineMs - host.clock.monotonic())),
      () => ended.resolve(unconfirmed(served, point, command.value, timeoutMs, confirm === 'state', host)),
    )
    stack.defer(() => unheard.cancel())
    deadline.cancel()
  }
  void send()
  return await ended.promise
}

interface Message {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1
  readonly retain: boolean
  readonly timeoutMs: number
  readonly confirm: CommandPlan['confirm']
  readonly id: number
}

/** The command as bytes, or why there is none. */
function messageFor(served: ServedDevice, point: Point, value: Json, nowMs: number): Message | string {
  const id = ++lastId
  const { sparkplug } = served.config
  if (point.command !== undefined) {
    const { topic, qos, retain, timeoutMs, confirm } = point.command
    const payload = payloadOf(point.command, point.encode(value), id)
    return typeof payload === 'string' ? payload : { topic, payload, qos, retain, timeoutMs, confirm, id }
  }
  if (point.metric === undefined || sparkplug === undefined) return `${point.name} has no command in its model`
  const { group, node, device } = sparkplug
  const metric = { value: point.encode(value), ...sparkplugMetric(served, point.metric, point) }
  if (!isEncodable(metric)) return `${point.name} is a ${metric.type}, and this value cannot be sent as one`
  return {
    topic: topicOf(group, device === undefined ? 'NCMD' : 'DCMD', node, device),
    payload: encodePayload({ timestampMs: nowMs, metrics: [metric] }),
    qos: 0,
    retain: false,
    timeoutMs: 10_000,
    confirm: point.property.write?.readBack === 'never' ? 'none' : 'state',
    id,
  }
}

const SPARKPLUG_TYPES = { int: 'Int64', float: 'Double', bool: 'Boolean', string: 'String', bytes: 'Bytes' } as const

/**
 * A metric that was born with an alias is commanded by that alone (Sparkplug B 3.0, section 6.4.7). Nodes want the type
 * they were born with; where that is not known, the widest of the property's own.
 */
function sparkplugMetric(served: ServedDevice, name: string, { property: { type } }: Point): Metric {
  const { alias, wide, type: asBorn } = served.born.get(name) ?? {}
  const known = asBorn ?? (type === 'object' || type === 'array' ? undefined : SPARKPLUG_TYPES[type])
  return {
    ...(alias === undefined ? { name } : { alias }),
    ...(known === undefined ? {} : { type: known }),
    ...(wide === undefined ? {} : { wide }),
  }
}

function payloadOf(plan: CommandPlan, raw: Json, id: number): Uint8Array | string {
  if (plan.as === 'bytes') {
    return typeof raw === 'string' ? Buffer.from(raw, 'base64') : 'bytes are written as a text in base64'
  }
  const text = fillPayload(plan.payload, raw, id)
  if (plan.as === 'text') return Buffer.from(text)
  try {
    return encodeCbor(JSON.parse(text) as Json)
  } catch {
    return `the payload of the command is no JSON, and so cannot be sent as CBOR: ${text.slice(0, 60)}`
  }
}

type Answer = 'yes' | { readonly refused: string } | undefined

/** What an answer says about the command with this id; undefined when it is about something else. */
export function answerOf(confirm: ConfirmPlan, payload: Payload, raw: Json, value: Json, id: number): Answer {
  const { place, equals } = confirm
  const whole = payload.extract(place.format, [], place.wire)
  const body = 'raw' in whole ? whole.raw : undefined
  if (confirm.id !== undefined && String(valueAt(body, confirm.id)) !== String(id)) return undefined
  const error = confirm.error === undefined ? undefined : valueAt(body, confirm.error)
  if (error !== undefined && error !== null && error !== false) {
    return { refused: typeof error === 'string' ? error.slice(0, 200) : JSON.stringify(error).slice(0, 200) }
  }
  if (!confirm.compares) return 'yes'
  const got = payload.extract(place.format, place.path, place.wire)
  if (!('raw' in got)) return undefined
  const wanted = equals === undefined ? [raw, value] : [equals]
  const same = wanted.some((one) => sameValue(one, got.raw) || matchesDesired(one, got.raw) || String(one) === got.raw)
  return same ? 'yes' : undefined
}

function unconfirmed(
  served: ServedDevice,
  point: Point,
  wanted: Json,
  timeoutMs: number,
  byState: boolean,
  host: GatewayHost,
): WriteOutcome {
  const latest = served.latest.get(point.name)
  // A device that reports changes only has nothing to say when it was asked for what is so already.
  if (byState && matchesDesired(wanted, latest, point.property.write?.tolerance ?? 0)) {
    return { state: 'applied', atMs: host.clock.now(), ...(latest === undefined ? {} : { readBack: latest }) }
  }
  const says = latest === undefined || !byState ? '' : `; it reports ${JSON.stringify(latest).slice(0, 60)}`
  return timedOut(host, `sent, but the device did not confirm it within ${timeoutMs / 1000} s${says}`)
}
