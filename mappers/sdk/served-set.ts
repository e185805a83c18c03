import { toSluiceError } from '../../api/errors.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { DeviceBinding, MapperHost, WriteCommand, WriteOutcome } from './mapper.ts'
import { rejected } from './write-queue.ts'

/** What every protocol's compiled device has. */
export interface Compiled {
  readonly key: ObjectKey
  /** `DeviceBinding.revision` it was compiled from. */
  readonly revision: string
}

/**
 * Turns the full set of bindings that `configure()` is given into what changed. A turn is always the same:
 *
 *     const wanted = set.compile(bindings)    // unchanged devices come back as the very same object
 *     set.refuse(key, reason)                 // what the protocol itself cannot serve
 *     set.retire(wanted, stop)                // what is gone, changed or refused
 *     set.serve(wanted, start)                // what is new or changed
 *     set.tell()                              // refusals that are news
 */
export class ServedSet<Config extends Compiled, Served> {
  readonly #protocol: string
  readonly #host: MapperHost
  readonly #compileDevice: (binding: DeviceBinding) => Config
  readonly #served = new Map<ObjectKey, { readonly config: Config; readonly served: Served }>()
  #compiled = new Map<ObjectKey, Config>()
  /** Devices that cannot be served, with the reason that was told. */
  #told = new Map<ObjectKey, string>()
  #refused = new Map<ObjectKey, string>()

  /** @param compileDevice throws a SluiceError when the device cannot be served as it is written. */
  constructor(protocol: string, host: MapperHost, compileDevice: (binding: DeviceBinding) => Config) {
    this.#protocol = protocol
    this.#host = host
    this.#compileDevice = compileDevice
  }

  compile(bindings: readonly DeviceBinding[]): ReadonlyMap<ObjectKey, Config> {
    this.#refused = new Map()
    const compiled = new Map<ObjectKey, Config>()
    for (const binding of bindings) {
      try {
        const known = this.#compiled.get(binding.key)
        compiled.set(binding.key, known?.revision === binding.revision ? known : this.#compileDevice(binding))
      } catch (error) {
        this.refuse(binding.key, toSluiceError(error).message)
      }
    }
    this.#compiled = compiled
    return compiled
  }

  /** Neither kept nor started in this turn; told by `tell`. */
  refuse(key: ObjectKey, reason: string): void {
    this.#refused.set(key, reason)
  }

  /** @param stays whether a device that did not change itself may go on as it runs. Default yes. */
  retire(
    wanted: ReadonlyMap<ObjectKey, Config>,
    stop: (served: Served, key: ObjectKey, gone: boolean) => void,
    stays: (config: Config, served: Served) => boolean = () => true,
  ): void {
    for (const [key, { config, served }] of [...this.#served]) {
      if (wanted.get(key) === config && !this.#refused.has(key) && stays(config, served)) continue
      this.#served.delete(key)
      stop(served, key, !wanted.has(key))
    }
  }

  serve(wanted: ReadonlyMap<ObjectKey, Config>, start: (config: Config) => Served): void {
    for (const [key, config] of wanted) {
      if (!this.#served.has(key) && !this.#refused.has(key)) this.#served.set(key, { config, served: start(config) })
    }
  }

  /** A device that is refused is offline, and says why; the same reason is told once. */
  tell(): void {
    const atMs = this.#host.clock.now()
    for (const [device, reason] of this.#refused) {
      if (this.#told.get(device) === reason) continue
      this.#host.reachability([{ device, online: false, atMs, reason }])
      this.#host.log('warn', `${this.#protocol}: ${device} is not served`, { reason })
    }
    this.#told = this.#refused
  }

  get(key: ObjectKey): Served | undefined {
    return this.#served.get(key)?.served
  }

  values(): Served[] {
    return [...this.#served.values()].map(({ served }) => served)
  }

  /** Ends all of it, without another turn to come. */
  clear(stop: (served: Served, key: ObjectKey) => void = () => {}): void {
    const all = [...this.#served]
    this.#served.clear()
    for (const [key, { served }] of all) stop(served, key)
  }

  /** The answer to a write to a device that is not served. */
  notServed({ device }: WriteCommand): WriteOutcome {
    const reason = this.#told.get(device) ?? `${device} is not served by this gateway`
    return rejected(this.#host, 'SLUICE_WRITE_NOT_SERVED', reason)
  }

  /** The answer to a write to a property that the device's model does not bind. */
  notBound({ device, property }: WriteCommand): WriteOutcome {
    const reason = `${property} has no ${this.#protocol} binding in the model of ${device}`
    return rejected(this.#host, 'SLUICE_WRITE_UNKNOWN_PROPERTY', reason)
  }
}

/** Closes what `configure()` has no time to wait for; a failure is logged and nothing more. */
export async function closeAside(
  closing: AsyncDisposable | undefined,
  protocol: string,
  name: string,
  host: Pick<MapperHost, 'log'>,
): Promise<void> {
  try {
    await closing?.[Symbol.asyncDispose]()
  } catch (error) {
    host.log('warn', `${protocol}: closing ${name} failed`, { reason: toSluiceError(error).message })
  }
}
