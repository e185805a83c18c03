import type { Json } from '../../api/resources.ts'
import { matchesDesired } from '../../api/twin/twin.ts'
import type { MapperHost, WriteCommand, WriteOutcome } from '../sdk/mapper.ts'
import { rejected as rejectedBy, timedOut } from '../sdk/write-queue.ts'
import type { Decoders } from './decoder/decoders.ts'
import type { Downlink, Network } from './network.ts'
import type { EncodedDownlink, Point } from './point.ts'
import type { TwinFeed } from './twin-feed.ts'

/** Carries a desired value to a device as a downlink and finds out what became of it. Never rejects. */
export async function writeValue(
  { feed, network, decoders, host }: { feed: TwinFeed; network: Network; decoders: () => Decoders; host: MapperHost },
  point: Point,
  command: WriteCommand,
  signal: AbortSignal,
): Promise<WriteOutcome> {
  const now = () => host.clock.now()
  const rejected = (code: string, reason: string) => rejectedBy(host, code, reason)
  const { write } = point
  if (write === undefined) return rejected('SLUICE_WRITE_READ_ONLY', `${point.name} has no downlink in its model`)
  const encoded = write.encode(command.value)
  if ('code' in encoded) return rejected(encoded.code, encoded.reason)
  const bytes = await bytesOf(encoded, feed, decoders)
  if ('reason' in bytes) return rejected('SLUICE_LORA_ENCODER', bytes.reason)
  if (signal.aborted) return rejected('SLUICE_WRITE_SUPERSEDED', 'a newer value replaced it')
  const tell = (reason: string) =>
    host.writeNews({ device: command.device, property: command.property, version: command.version, reason })
  const waiting = (what: string) => {
    const nextMs = network.nextWindowAtMs(command.device)
    const when = nextMs === undefined ? '' : `, expected about ${new Date(nextMs).toISOString()}`
    return `${what}; the device tells with its next uplink${when}`
  }
  // Watched from now on: the uplink with the acknowledgement may carry the value already.
  using seen = new ReadBack(feed, point, command, write.tolerance)
  const downlink: Downlink = {
    device: command.device,
    ...bytes,
    confirmed: write.confirmed,
    deadlineMs: command.deadlineMs,
    signal,
    onWait: tell,
  }
  if (feed.device.network.kind !== 'local') tell(waiting('queued at the network server'))
  const end = await network.send(downlink)
  switch (end.state) {
    case 'refused':
      return rejected(end.code, end.reason)
    case 'expired':
      return { state: 'timedOut', reason: end.reason, atMs: end.atMs }
    default:
      if (!write.readBack) return { state: 'applied', atMs: end.atMs }
  }
  tell(waiting(end.state === 'acknowledged' ? 'acknowledged by the device' : 'sent'))
  const value = await seen.value(host, command.deadlineMs, signal)
  if (value !== undefined) return { state: 'applied', readBack: value, atMs: now() }
  if (signal.aborted) return rejected('SLUICE_WRITE_SUPERSEDED', 'a newer value replaced it')
  const next = network.nextWindowAtMs(command.device)
  const when = next === undefined ? '' : `; the next uplink is expected at ${new Date(next).toISOString()}`
  const reason = `${end.state === 'acknowledged' ? 'acknowledged by the device' : 'sent'}, but no uplink showed the value before the deadline${when}`
  return timedOut(host, reason)
}

async function bytesOf(
  encoded: EncodedDownlink,
  feed: TwinFeed,
  decoders: () => Decoders,
): Promise<{ readonly port: number; readonly payload: Uint8Array } | { readonly reason: string }> {
  if (encoded.kind === 'bytes') return { port: encoded.port, payload: encoded.payload }
  const result = await decoders().call(feed.device.decoder!, { kind: 'encode', data: encoded.data, port: encoded.port })
  if (!result.ok) return { reason: `${result.reason}; the value was ${JSON.stringify(encoded.data).slice(0, 200)}` }
  if (!('bytes' in result)) return { reason: 'the encoder gave no bytes' }
  return { port: result.port ?? encoded.port ?? 1, payload: result.bytes }
}

/** Waits for the desired value to come back in an uplink. */
class ReadBack implements Disposable {
  readonly #watch: Disposable
  #value: Json | undefined
  #found: (() => void) | undefined

  constructor(feed: TwinFeed, point: Point, command: WriteCommand, tolerance: number) {
    this.#watch = feed.watch(point.name, (value) => {
      if (!matchesDesired(command.value, value, tolerance)) return
      this.#value = value
      this.#found?.()
    })
  }

  /** Undefined when the deadline passed or the write was replaced. */
  async value(host: MapperHost, deadlineMs: number, signal: AbortSignal): Promise<Json | undefined> {
    if (this.#value !== undefined || signal.aborted) return this.#value
    await new Promise<void>((resolve) => {
      const timer = host.clock.after(Math.max(0, deadlineMs - host.clock.monotonic()), () => end())
      const end = () => {
        timer.cancel()
        signal.removeEventListener('abort', end)
        resolve()
      }
      this.#found = end
      signal.addEventListener('abort', end, { once: true })
    })
    return this.#value
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]()
  }
}
