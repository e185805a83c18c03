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
import { ServedSet } from '../../mappers/sdk/served-set.ts'
import { WriteQueue } from '../../mappers/sdk/write-queue.ts'

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

class TinyDevice {
  readonly binding: DeviceBinding
  readonly queue: WriteQueue
  readonly socket: Socket
  readonly heard = new Set<(property: string, value: number) => void>()

  constructor(binding: DeviceBinding, host: GatewayHost) {
    const device = binding.key
    this.binding = binding
    this.queue = new WriteQueue('tiny', host)
    this.socket = connect(addressOf(binding))
    const reach = (online: boolean, reason?: string) =>
      host.reachability([{ device, online, atMs: host.clock.now(), ...(reason ? { reason } : {}) }])
    this.socket.on('connect', () => reach(true))
    this.socket.on('error', (error) => reach(false, error.message))
    createInterface({ input: this.socket }).on('line', (line) => {
      const [word, number] = line.split(' ')
      const property = binding.model.properties.find(({ name }) => wordOf(binding, name) === word)?.name
      if (property === undefined) return
      const value = Number(number)
      host.readings([{ device, property, value, atMs: host.clock.now(), quality: 'good' }])
      for (const listener of this.heard) listener(property, value)
    })
  }

  async set(word: string, { property, value }: WriteCommand, host: GatewayHost, stop: AbortSignal) {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const onHeard = (name: string, said: number) => {
      if (name === property && said === value) resolve(said)
    }
    this.heard.add(onHeard)
    stop.addEventListener('abort', () => reject(stop.reason), { once: true })
    this.socket.write(`set ${word} ${String(value)}\n`)
    const readBack = await promise.finally(() => this.heard.delete(onHeard))
    return { state: 'applied', readBack, atMs: host.clock.now() } as const
  }

  stop(): void {
    this.queue[Symbol.dispose]()
    this.socket.destroy()
  }
}

class TinyMapper implements Mapper {
  readonly #host: GatewayHost
  readonly #set: ServedSet<DeviceBinding, TinyDevice>

  constructor(host: GatewayHost) {
    this.#host = host
    this.#set = new ServedSet('tiny', host, (binding) => binding)
  }

  configure(bindings: readonly DeviceBinding[]): void {
    const wanted = this.#set.compile(bindings)
    this.#set.retire(wanted, (device) => device.stop())
    this.#set.serve(wanted, (binding) => new TinyDevice(binding, this.#host))
    this.#set.tell()
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const device = this.#set.get(command.device)
    if (device === undefined) return this.#set.notServed(command)
    const word = wordOf(device.binding, command.property)
    if (word === undefined) return this.#set.notBound(command)
    return device.queue.run(command, signal, (stop) => device.set(word, command, this.#host, stop))
  }

  links() {
    return []
  }

  explain() {
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closing = this.#set.values().map(({ socket }) => socket.closed || once(socket, 'close'))
    this.#set.clear((device) => device.stop())
    await Promise.all(closing)
  }
}

export const tiny: Protocol = {
  name: 'tiny',
  listens: () => true,
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
