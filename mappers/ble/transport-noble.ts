import { existsSync } from 'node:fs'
import type { Noble } from '@stoprocent/noble'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { type HciAdapter, nameOf, RADIO_HINT } from './adapter.ts'
import { HciSieve } from './codec/hci-sieve.ts'
import { type Patience, withDeadline } from './guard.ts'
import { NobleLink, refused } from './noble-link.ts'
import { hciOf, loadNoble, poweredOn, serialOf, takeUnparsed, tapReports } from './noble-stack.ts'
import { type SievedReads, sieveReads } from './sieved-reads.ts'
import type { BleLink, BleTransport, Heard, Peer } from './transport.ts'

/** @stoprocent/noble behind our own deadlines. Loaded when the first device needs it. */
export class NobleTransport implements BleTransport {
  readonly #adapter: HciAdapter
  readonly #clock: Clock
  readonly #heard: ((heard: Heard) => void)[] = []
  readonly #down: ((reason: string) => void)[] = []
  readonly #links = new Set<NobleLink>()
  #noble: Noble | undefined
  #up = false
  #scanWanted = false
  /** Links and calls that somebody waits for. */
  #busy = 0
  #reads: SievedReads | undefined

  constructor(adapter: HciAdapter, clock: Clock) {
    this.#adapter = adapter
    this.#clock = clock
  }

  async open(patience: Patience): Promise<void> {
    const adapter = this.#adapter
    const failed = (reason: string) =>
      new SluiceError('SLUICE_BLE_RADIO', `the radio ${nameOf(adapter)} ${reason}`, { hint: RADIO_HINT[adapter.kind] })
    if (adapter.kind === 'uart' && !existsSync(adapter.port)) throw failed('is not there')
    const noble = await loadNoble(adapter)
    this.#noble = noble
    noble.on('stateChange', (state) => this.#changed(state))
    noble.on('warning', () => undefined)
    try {
      await withDeadline(this.#clock, patience, `opening ${nameOf(this.#adapter)}`, () => poweredOn(noble, failed))
    } catch (thrown) {
      this.#stop()
      const timedOut = thrown instanceof SluiceError && thrown.code === 'SLUICE_BLE_TIMEOUT'
      throw timedOut ? failed('does not answer') : thrown
    }
    this.#up = true
    const hear = (heard: Heard) => this.#hear(heard)
    const hci = hciOf(noble)
    if (hci !== undefined) tapReports(hci, hear)
    const serial = serialOf(noble)
    if (serial === undefined) return
    const rest = () => takeUnparsed(noble)
    this.#reads = sieveReads(Reflect.get(serial, 'port'), this.#clock, new HciSieve(hear), rest, () => this.#busy === 0)
    // A port may also end without a "close", and noble would never know.
    serial.once('end', () => this.#changed('gone'))
  }

  onHeard(listener: (heard: Heard) => void): void {
    this.#heard.push(listener)
  }

  onDown(listener: (reason: string) => void): void {
    this.#down.push(listener)
  }

  async scan(on: boolean, patience: Patience): Promise<void> {
    const noble = this.#opened()
    this.#scanWanted = on
    const done = this.#occupied()
    try {
      await withDeadline(this.#clock, patience, on ? 'starting the scan' : 'stopping the scan', () =>
        on ? noble.startScanningAsync([], true) : noble.stopScanningAsync(),
      )
    } finally {
      done()
    }
  }

  async connect(peer: Peer, patience: Patience): Promise<BleLink> {
    const noble = this.#opened()
    const id = peer.mac.replaceAll(':', '').toLowerCase()
    const options = {
      addressType: peer.random ? 'random' : 'public',
      ...(peer.mtu === undefined ? {} : { mtu: peer.mtu }),
    } as const
    const done = this.#occupied()
    try {
      const peripheral = await withDeadline(
        this.#clock,
        patience,
        `connecting to ${peer.mac}`,
        () => noble.connectAsync(id, options),
        () => noble.cancelConnect(id),
      )
      const link = new NobleLink(peer.mac, peripheral, this.#clock)
      this.#links.add(link)
      void link.ended.then(() => {
        this.#links.delete(link)
        done()
      })
      return link
    } catch (thrown) {
      done()
      throw thrown instanceof SluiceError ? thrown : refused(peer.mac, 'connecting', thrown)
    } finally {
      this.#resumeScan(noble)
    }
  }

  async alive(patience: Patience): Promise<boolean> {
    const noble = this.#noble
    if (noble === undefined || !this.#up) return false
    const hci = hciOf(noble)
    const ask = hci === undefined ? undefined : Reflect.get(hci, 'readBdAddr')
    if (typeof ask !== 'function') return noble.state === 'poweredOn'
    const answer = Promise.withResolvers<boolean>()
    const heard = () => answer.resolve(true)
    const done = this.#occupied()
    noble.once('addressChange', heard)
    try {
      return await withDeadline(this.#clock, patience, 'asking the radio', () => {
        Reflect.apply(ask, hci, [])
        return answer.promise
      })
    } catch {
      return false
    } finally {
      done()
      noble.removeListener('addressChange', heard)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#heard.length = 0
    this.#down.length = 0
    this.#stop()
    this.#endLinks('closed')
  }

  /** While anybody waits for an answer, bytes are read as they come. */
  #occupied(): () => void {
    this.#busy++
    this.#reads?.hurry()
    let over = false
    return () => {
      if (!over) this.#busy--
      over = true
    }
  }

  #endLinks(state: string): void {
    for (const link of [...this.#links]) link.over(`the radio ${nameOf(this.#adapter)} is ${state}`)
  }

  #opened(): Noble {
    if (this.#noble === undefined || !this.#up) {
      throw new SluiceError('SLUICE_BLE_RADIO', `the radio ${nameOf(this.#adapter)} is not up`, {
        hint: RADIO_HINT[this.#adapter.kind],
      })
    }
    return this.#noble
  }

  #changed(state: string): void {
    if (!this.#up || state === 'poweredOn') return
    this.#up = false
    this.#endLinks(state)
    for (const listener of [...this.#down]) listener(`the radio ${nameOf(this.#adapter)} is ${state}`)
  }

  /** noble ends the scan before every connection and does not take it up again. */
  #resumeScan(noble: Noble): void {
    if (!this.#scanWanted || !this.#up) return
    try {
      noble.startScanning([], true)
    } catch {
      // The radio just went down: onDown has told it.
    }
  }

  #stop(): void {
    const noble = this.#noble
    this.#noble = undefined
    this.#up = false
    if (noble === undefined) return
    const serial = serialOf(noble)
    try {
      noble.stop()
    } catch {
      // It had not come up far enough to be stopped.
    }
    noble.removeAllListeners()
    // noble takes its listeners off a port that may still fail to open; an "error" that nobody hears ends the process.
    serial?.on('error', () => undefined)
  }

  #hear(heard: Heard): void {
    for (const listener of this.#heard) listener(heard)
  }
}
