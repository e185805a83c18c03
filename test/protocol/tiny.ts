import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { integer, object, text } from '../../api/schema/parts.ts'
import type {
  DeviceBinding,
  GatewayHost,
  Mapper,
  Protocol,
  WriteCommand,
  WriteOutcome,
} from '../../mappers/sdk/mapper.ts'

/**
 * A protocol of its own, as small as one can be: lines of text over TCP. The device says `name value`, and is written
 * with `set name value`, which it answers with the line it then says.
 */
interface Address {
  readonly host: string
  readonly port: number
}

const addressOf = (binding: DeviceBinding) => binding.device['tiny'] as Address
const wordOf = (binding: DeviceBinding, property: string) =>
  (binding.model.properties.find(({ name }) => name === property)?.['tiny'] as { readonly word: string } | undefined)
    ?.word

class TinyMapper implements Mapper {
  readonly #host: GatewayHost
  readonly #devices = new Map<string, { readonly binding: DeviceBinding; readonly socket: Socket }>()
  readonly #heard = new Set<(device: string, property: string, value: number) => void>()

  constructor(host: GatewayHost) {
    this.#host = host
  }

  configure(bindings: readonly DeviceBinding[]): void {
    const wanted = new Map(bindings.map((binding) => [binding.key, binding]))
    for (const [key, { binding, socket }] of [...this.#devices]) {
      if (wanted.get(key)?.revision === binding.revision) continue
      socket.destroy()
      this.#devices.delete(key)
    }
    for (const binding of bindings) if (!this.#devices.has(binding.key)) this.#serve(binding)
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const { device, property, value, deadlineMs } = command
    const served = this.#devices.get(device)
    const atMs = this.#host.clock.now()
    const word = served && wordOf(served.binding, property)
    if (served === undefined || word === undefined) {
      return { state: 'rejected', code: 'SLUICE_WRITE_NOT_SERVED', reason: `${property} is not served`, atMs }
    }
    const { promise, resolve } = Promise.withResolvers<WriteOutcome>()
    const onHeard = (key: string, name: string, said: number) => {
      if (key === device && name === property && said === value) resolve({ state: 'applied', readBack: said, atMs })
    }
    const leftMs = deadlineMs - this.#host.clock.monotonic()
    const timer = this.#host.clock.after(leftMs, () => resolve({ state: 'timedOut', reason: 'no answer', atMs }))
    signal.addEventListener('abort', () => resolve({ state: 'timedOut', reason: 'replaced', atMs }), { once: true })
    this.#heard.add(onHeard)
    served.socket.write(`set ${word} ${String(value)}\n`)
    return promise.finally(() => {
      timer.cancel()
      this.#heard.delete(onHeard)
    })
  }

  links() {
    return []
  }

  explain() {
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closing = [...this.#devices.values()].map(({ socket }) => socket.closed || once(socket.destroy(), 'close'))
    await Promise.all(closing)
  }

  #serve(binding: DeviceBinding): void {
    const device = binding.key
    const socket = connect(addressOf(binding))
    this.#devices.set(device, { binding, socket })
    const reach = (online: boolean, reason?: string) =>
      this.#host.reachability([{ device, online, atMs: this.#host.clock.now(), ...(reason ? { reason } : {}) }])
    socket.on('connect', () => reach(true))
    socket.on('error', (error) => reach(false, error.message))
    createInterface({ input: socket }).on('line', (line) => {
      const [word, number] = line.split(' ')
      const property = binding.model.properties.find(({ name }) => wordOf(binding, name) === word)?.name
      if (property === undefined) return
      const value = Number(number)
      this.#host.readings([{ device, property, value, atMs: this.#host.clock.now(), quality: 'good' }])
      for (const listener of this.#heard) listener(device, property, value)
    })
  }
}

export const tiny: Protocol = {
  name: 'tiny',
  schema: async () => ({
    name: 'tiny',
    property: object({ word: text({ minLength: 1, maxLength: 32 }) }),
    address: object({ host: text(), port: integer({ minimum: 1, maximum: 65_535 }) }),
  }),
  lint: async () => () => [],
  explain:
    async () =>
    ({ key }) => ({ device: key, link: 'tiny', requests: [], load: 0, naiveLoad: 0, notes: [] }),
  load: async () => (host) => new TinyMapper(host),
}
